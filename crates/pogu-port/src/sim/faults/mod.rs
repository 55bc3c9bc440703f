//! What goes wrong in a simulation: which faults there are, how likely each is, and how often each was met.
//!
//! A loopback at rest shows a program one order of events. A kernel and a network are free to show it thousands, and the bugs
//! of servers on completions live in the others. So every freedom that a kernel takes is a *knob* here, and one seed draws
//! them all, anew for each run: a fault that is on in every run hides what happens without it, so each is off in about half
//! of the seeds ("swarm testing": Groce et al., ISSTA 2012).
//!
//! ```text
//!   seed -- Faults::drawn --> knobs --> SimulationOptions --> fate (dice of their own) --> network, kernel, ports
//!                                                              \--> FaultCounts: what was really met
//! ```
//!
//! **A fault is counted when it has changed something**, not when the dice said so. And the dice are the simulation's own,
//! thrown in the order of events: runs with one seed are the same, byte for byte.

mod counts;
mod fate;

use std::time::Duration;

pub use self::counts::{FaultClass, FaultCounts};
pub(super) use self::fate::Fate;
use crate::random::Random;

/// Defines the knobs, and all lists of them, once.
macro_rules! knobs {
    ($($(#[$documentation:meta])* $knob:ident: $kind:ty = $least:expr, $most:expr;)*) => {
        /// The faults of one simulation. See the [module](super) for what it is for.
        ///
        /// A *chance* is in parts per 1,000, each time that the fault could happen; 0 is never, and 1,000 is for ever where the
        /// same is tried again at once (a held completion, an empty pool). What a fault needs besides (how long, how many) is a
        /// bound with the same prefix: how long is drawn anew each time, up to the bound. [`Faults::default`] is none at all.
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        #[non_exhaustive]
        pub struct Faults {
            $($(#[$documentation])* pub $knob: $kind,)*
        }

        impl Faults {
            /// The names of all knobs, in the order of [`Faults::knobs`].
            pub const KNOBS: &'static [&'static str] = &[$(stringify!($knob)),*];

            /// Knobs as `seed` draws them: each chance is 0 in about half of the seeds, and otherwise somewhere in its range;
            /// bounds are always somewhere in theirs.
            pub fn drawn(seed: u64) -> Faults {
                let random = &mut Random::new(seed);
                Faults { $($knob: <$kind as Knob>::drawn(random, $least, $most),)* }
            }

            /// True if nothing at all can go wrong, whatever the bounds are.
            pub(super) fn is_none(&self) -> bool {
                $(!Knob::is_fault(&self.$knob))&&*
            }

            /// Every knob with its value, for traces: chances in parts per 1,000, times in microseconds, sizes in entries.
            pub fn knobs(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($knob), Knob::value(&self.$knob)),)*].into_iter()
            }
        }
    };
}

knobs! {
    // ---- The network ----

    /// Chance that a segment takes longer than the network's latency: a queue on its way, or a retransmission (tcp(7)).
    delays: u16 = 20, 500;
    /// How much longer, at most.
    delays_max: Duration = Duration::from_micros(10), Duration::from_millis(200);
    /// Chance that a connection's way is longer than others', for all its segments.
    slow_paths: u16 = 50, 500;
    /// How much longer, at most.
    slow_paths_max: Duration = Duration::from_millis(1), Duration::from_millis(150);
    /// Chance that a segment is overtaken by those of other connections that were sent within the next 50 microseconds.
    /// Segments of one direction of one connection stay in order, as TCP has it.
    overtaken_segments: u16 = 20, 300;
    /// Chance that a segment meets a reset that neither side asked for: a firewall or balancer that has forgotten the
    /// connection and says so (RFC 9293, 3.5.2). Both sides read ECONNRESET.
    resets: u16 = 1, 8;
    /// Chance that the state of a connection is lost on its way without a word (a peer without power, a translator of
    /// addresses that forgot). Who sends from then on is reset, or hears nothing until it gives up after 924 s
    /// (`tcp_retries2`, tcp(7)); who does not send never learns it.
    half_open: u16 = 1, 6;
    /// Chance that a segment meets the beginning of a partition: hosts fall into two groups that cannot reach each other. What
    /// was sent meanwhile arrives after the end, as TCP sends it again; requests to connect are made again too. A client's
    /// address counts as a host of its own.
    partitions: u16 = 1, 6;
    /// How long it lasts, at most.
    partitions_max: Duration = Duration::from_millis(10), Duration::from_secs(20);

    // ---- Connecting ----

    /// Chance that the answer to a request to connect is lost, and comes a second later (`tcp_synack_retries`, tcp(7)): the
    /// server has the connection long before the client.
    lost_answers: u16 = 20, 300;
    /// Chance of ECONNREFUSED although somebody listens: a restart, a full queue with `tcp_abort_on_overflow` (connect(2)).
    connects_refused: u16 = 20, 250;
    /// Chance of EHOSTUNREACH: a router said so (connect(2), ip(7)).
    connects_unreachable: u16 = 20, 250;
    /// Chance that nobody ever answers, which is ETIMEDOUT after 127 s (`tcp_syn_retries`, tcp(7)).
    connects_timed_out: u16 = 20, 250;
    /// Chance of EADDRNOTAVAIL: no local port is left (connect(2), `ip_local_port_range`).
    connects_without_address: u16 = 20, 250;
    /// Chance of EMFILE when the socket of a connect is opened: the connect is refused inside the submit call (socket(2)).
    sockets_refused: u16 = 20, 250;

    // ---- Accepting ----

    /// Chance of ECONNABORTED: the client was reset while it waited in the backlog (accept(2)).
    accepts_aborted: u16 = 20, 300;
    /// Chance that one accept fails with EMFILE, ENFILE, ENOBUFS or ENOMEM (accept(2)); the client goes on waiting.
    accepts_refused: u16 = 20, 300;
    /// Chance that an accept meets the beginning of a lasting shortage of descriptors: until its end all fail with EMFILE.
    descriptor_shortages: u16 = 20, 200;
    /// How long it lasts, at most.
    descriptor_shortages_max: Duration = Duration::from_millis(1), Duration::from_secs(2);

    // ---- Operations ----

    /// Chance that the completions of one turn come in another order. Those of one operation stay in theirs
    /// (io_uring(7): completions may arrive in any order).
    shuffled_turns: u16 = 50, 1000;
    /// Chance that a completion, and those of the same operation behind it, is not delivered in this turn but in a later one.
    held_completions: u16 = 20, 500;
    /// Chance that a send takes only a part of what there is room for (send(2), `io_uring` without MSG_WAITALL).
    short_sends: u16 = 20, 700;
    /// Chance that a send stays in flight for a while although there is room.
    held_sends: u16 = 20, 400;
    /// How long, at most.
    held_sends_max: Duration = Duration::from_micros(1), Duration::from_millis(100);
    /// Chance that a receive brings only a part of what fits its buffer (recv(2)).
    short_receives: u16 = 20, 700;
    /// Chance that a multishot receive ends with the bytes that it brings, without IORING_CQE_F_MORE, and has to be armed again
    /// (io_uring_prep_recv_multishot(3)).
    ended_multishots: u16 = 20, 500;
    /// Chance that a receive finds no buffer although some are free: ENOBUFS (io_uring_register_buf_ring(3)).
    empty_pools: u16 = 20, 300;
    /// Receive buffers of a port, if not 0 and fewer than configured. What finds none is parked.
    receive_buffers_max: usize = 1, 12;
    /// Entries of a port's completion queue, if not 0. What does not fit is kept aside until the next turn, and disarms the
    /// multishot that it belongs to (IORING_FEAT_NODROP, io_uring_setup(2)).
    completion_entries_max: usize = 2, 24;
    /// Chance that a cancelled operation comes back late.
    late_cancels: u16 = 20, 600;
    /// How late, at most.
    late_cancels_max: Duration = Duration::from_micros(1), Duration::from_millis(50);
    /// Chance that a cancel loses the race: the operation goes on for the time above, and bytes arrive, or leave, or a client is
    /// accepted, before it ends (io_uring_prep_cancel(3), -EALREADY).
    lost_cancels: u16 = 50, 800;
    /// Chance that a send fails in the middle: ECONNRESET or EPIPE, which break the connection, or ENOBUFS (send(2)).
    send_errors: u16 = 1, 10;
    /// Chance that a receive fails: ECONNRESET or ETIMEDOUT, which break the connection (recv(2), tcp(7)).
    receive_errors: u16 = 1, 10;

    // ---- Threads and time ----

    /// Chance that a port which sleeps is woken late: an eventfd or a completion reaches a thread that has to be scheduled
    /// first (sched(7)).
    late_wakes: u16 = 20, 400;
    /// How late, at most.
    late_wakes_max: Duration = Duration::from_micros(1), Duration::from_millis(30);
    /// Chance, per turn with work, that the port's thread is held up before it: preempted, stopped, swapped out.
    pauses: u16 = 1, 30;
    /// How long, at most.
    pauses_max: Duration = Duration::from_micros(100), Duration::from_secs(3);
    /// Chance that a wait ends after its time: the granularity of the clock and its timers (time(7), `timerslack_ns`).
    late_waits: u16 = 50, 1000;
    /// How late, at most.
    late_waits_max: Duration = Duration::from_micros(1), Duration::from_millis(16);
    /// Chance, per round, that workers get their turns in another order.
    shuffled_rounds: u16 = 50, 1000;
    /// Chance that a task of job queues, or of handlers on a pool, waits for a thread: all of them are busy, or the one that
    /// took it is preempted.
    held_tasks: u16 = 20, 300;
    /// How long, at most.
    held_tasks_max: Duration = Duration::from_micros(10), Duration::from_millis(200);
}

/// A kind of knob.
trait Knob: Sized {
    fn drawn(random: &mut Random, least: Self, most: Self) -> Self;
    fn value(&self) -> u64;
    /// True if something can go wrong because of it alone.
    fn is_fault(&self) -> bool {
        self.value() > 0
    }
}

/// A number from `least` to `most`.
fn between(random: &mut Random, least: u64, most: u64) -> u64 {
    least.saturating_add(random.below(most.saturating_sub(least).saturating_add(1)))
}

/// A chance: off in about half of the draws.
impl Knob for u16 {
    fn drawn(random: &mut Random, least: u16, most: u16) -> u16 {
        let value = between(random, u64::from(least), u64::from(most));
        if random.below(2) == 0 { 0 } else { u16::try_from(value).unwrap_or(most) }
    }

    fn value(&self) -> u64 {
        u64::from(*self)
    }
}

/// A bound of time. Short ones are as likely as long ones: the order of magnitude is drawn first.
impl Knob for Duration {
    fn drawn(random: &mut Random, least: Duration, most: Duration) -> Duration {
        let (mut bound, least) = (most.as_micros() as u64, least.as_micros() as u64);
        while bound > least.saturating_mul(10) && random.below(2) == 0 {
            bound /= 10;
        }
        Duration::from_micros(between(random, least, bound))
    }

    fn value(&self) -> u64 {
        self.as_micros() as u64
    }

    fn is_fault(&self) -> bool {
        false
    }
}

/// A bound of a size, which is a fault by itself: off in about half of the draws.
impl Knob for usize {
    fn drawn(random: &mut Random, least: usize, most: usize) -> usize {
        let value = between(random, least as u64, most as u64);
        if random.below(2) == 0 { 0 } else { value as usize }
    }

    fn value(&self) -> u64 {
        *self as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chance_is_off_in_about_half_of_the_seeds_and_on_in_the_others() {
        let mut on = vec![0; Faults::KNOBS.len()];
        for seed in 0..2000 {
            for (count, (_, value)) in on.iter_mut().zip(Faults::drawn(seed).knobs()) {
                *count += u32::from(value > 0);
            }
        }
        for (name, on) in Faults::KNOBS.iter().zip(on) {
            let is_time = name.ends_with("_max") && !name.contains("buffers") && !name.contains("entries");
            assert!(if is_time { on == 2000 } else { (800..1200).contains(&on) }, "{name}: {on}");
        }
    }

    #[test]
    fn one_seed_draws_the_same_and_two_draw_others() {
        assert_eq!(Faults::drawn(7), Faults::drawn(7));
        assert_ne!(Faults::drawn(7), Faults::drawn(8));
        assert!(Faults::default().is_none());
        assert!(!Faults::drawn(7).is_none());
        assert!(Faults::KNOBS.len() >= 18);
    }
}
