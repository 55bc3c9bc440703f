//! Which files are changed, and which tests have to see it.

/// Files that belong together.
pub struct Piece {
    pub name: &'static str,
    /// As `cargo mutants --file` takes them.
    pub files: &'static [&'static str],
    pub rounds: &'static [Round],
}

/// Tests that are shown one mutant after the other: the library's own, and some suites.
pub struct Round {
    /// Whose tests, with commas between them.
    pub packages: &'static str,
    /// Those of the package that is changed.
    pub suites: &'static [&'static str],
    /// Those of the other packages.
    pub beyond: &'static [&'static str],
    /// Tests whose names contain one of these; all, if there are none.
    pub only: &'static [&'static str],
    /// Tests whose names contain one of these say nothing here: they wait for a kernel, or take long.
    pub skipped: &'static [&'static str],
}

/// Real drivers have clocks and a machine that may be busy: a test of theirs can fail for that. The rest are pieces of the engine that
/// none of these files touch, and take ten times as long as all others.
const SIMULATED: &[&str] =
    &["uring::", "readiness::", "memory::", "wheel::", "keyed::", "addresses::", "resolver::", "interest::", "watch::"];

/// Storms, but for those that take minutes: the last round, of what every other test has missed.
const STORMS: Round = Round {
    packages: "pogu,pogu-storm",
    suites: &[],
    beyond: &["seeds"],
    only: &["the_first_small_seeds_hold"],
    skipped: &[],
};

pub const PIECES: [Piece; 4] = [
    Piece {
        name: "wire",
        files: &["crates/pogu-wire/src/*.rs"],
        rounds: &[Round {
            packages: "pogu-wire",
            suites: &["corpus", "cursors", "formats", "properties"],
            beyond: &[],
            only: &[],
            skipped: &[],
        }],
    },
    Piece {
        name: "pools",
        files: &[
            "crates/pogu-port/src/{gather,kept,post,slots}.rs",
            "crates/pogu-port/src/memory/*.rs",
            "crates/pogu-port/src/uring/buffers.rs",
            "crates/pogu-port/src/sim/kernel/{ledger,pool}.rs",
        ],
        rounds: &[
            Round {
                packages: "pogu-port",
                suites: &[],
                beyond: &[],
                only: &["buffers::", "gather::", "kept::", "ledger::", "memory::", "pool::", "post_tests::", "slots::"],
                skipped: &["ran_out_is_retired"],
            },
            Round {
                packages: "pogu-port",
                suites: &["contract", "guarded", "sim", "sim_faults"],
                beyond: &[],
                only: &[],
                skipped: &[],
            },
            Round { packages: "pogu-port,pogu,pogu-storm", ..STORMS },
        ],
    },
    Piece {
        name: "send-queue",
        files: &["crates/pogu/src/worker/{backlog,blocks,send_queue,sending,spares,windows}.rs"],
        rounds: &[
            Round { packages: "pogu", suites: &["delivery", "send_queue"], beyond: &[], only: &[], skipped: SIMULATED },
            Round {
                packages: "pogu",
                suites: &[
                    "admission",
                    "crowd_memory",
                    "delivery_ways",
                    "empty_frames",
                    "first_frames_and_heartbeats",
                    "held_back",
                    "layers",
                    "outcomes",
                    "pauses",
                    "pooled_ends",
                    "pooled_sessions",
                    "rooms",
                    "send_queue_memory",
                    "services_virtual_time",
                    "virtual_time",
                ],
                beyond: &[],
                only: &[],
                skipped: SIMULATED,
            },
            STORMS,
        ],
    },
    Piece {
        name: "life-cycle",
        files: &["crates/pogu/src/worker/{carrier,caught,deadlines,ending,handling,roster,timing}.rs"],
        rounds: &[
            Round {
                packages: "pogu",
                suites: &[
                    "first_frames_and_heartbeats",
                    "outcomes",
                    "pauses",
                    "services_virtual_time",
                    "stalls",
                    "virtual_time",
                    "wounds",
                ],
                beyond: &[],
                only: &[],
                skipped: SIMULATED,
            },
            Round {
                packages: "pogu",
                suites: &[
                    "admission",
                    "held_back",
                    "last_words",
                    "layers",
                    "log_of_ends",
                    "pooled_ends",
                    "pooled_sessions",
                    "reconnect",
                    "room_states",
                    "rooms",
                    "send_queue",
                    "timer_memory",
                    "timers",
                ],
                beyond: &[],
                only: &[],
                skipped: SIMULATED,
            },
            Round {
                suites: &["panics", "sessions", "stall_watch"],
                only: &["readiness::", "the_first_small_seeds_hold"],
                ..STORMS
            },
        ],
    },
];
