//! The contract of the port as tests: the same bodies on every driver.
//!
//! Each scenario is a function of a [`Stage`](support::Stage): a [`World`](support::World), which makes ports of one driver,
//! connections and time, and [peers](support::Peer), which are told what to do and do it between the turns of the ports, so
//! that one thread plays all parts. Nothing sleeps: a scenario waits for completions, and fails when they do not come.
//! Whatever a scenario is about, a checker watches the rules that hold for all: every operation ends exactly once,
//! nothing comes after the last word, and at its end every port drains.
//!
//! A scenario is skipped only where its world declares that it lacks what the scenario needs; one that needs faults fails if
//! it meets none;
//! `every_driver_skips_exactly_what_is_known` prints what is played and what is not, and fails if that is not the list written
//! down here. Where io_uring is refused its tests say so on the error stream and pass; with `POGU_REQUIRE_URING` set they
//! fail.

mod accepting;
mod bytes;
#[path = "../codes/mod.rs"]
mod codes;
mod connecting;
mod crowding;
mod ending;
mod failing;
mod gathering;
mod keeping;
mod leaving;
mod moving;
mod racing;
mod refusing;
mod stalling;
mod support;
mod turning;

use support::{Capability, Driver, Scenario, play, table};

macro_rules! scenarios {
    ($($module:ident: $($name:ident $([$($need:ident)+])?)*;)*) => {
        const SCENARIOS: &[Scenario] = &[$($(Scenario {
            name: stringify!($name),
            needs: &[$($(Capability::$need),+)?],
            play: $module::$name,
        }),*),*];

        #[cfg(unix)]
        mod readiness {
            $($(#[test] fn $name() { crate::play_by_name(crate::Driver::Readiness, stringify!($name)); })*)*
        }

        mod sim {
            $($(#[test] fn $name() { crate::play_by_name(crate::Driver::Sim, stringify!($name)); })*)*
        }

        mod far_sim {
            $($(#[test] fn $name() { crate::play_by_name(crate::Driver::FarSim, stringify!($name)); })*)*
        }

        mod rough_sim {
            $($(#[test] fn $name() { crate::play_by_seeds(stringify!($name)); })*)*
        }

        #[cfg(unix)]
        mod uring {
            $($(#[test] fn $name() { crate::play_by_name(crate::Driver::Uring, stringify!($name)); })*)*
        }

        #[cfg(windows)]
        mod iocp {
            $($(#[test] fn $name() { crate::play_by_name(crate::Driver::Iocp, stringify!($name)); })*)*
        }
    };
}

fn play_by_name(driver: Driver, name: &str) {
    play(driver, SCENARIOS.iter().find(|scenario| scenario.name == name).expect("it is in the list"));
}

/// Seeds of the rough simulation, for each scenario.
const SEEDS: u64 = 8;

fn play_by_seeds(name: &str) {
    (0..SEEDS).for_each(|seed| play_by_name(Driver::RoughSim(seed), name));
}

/// What each driver skips. Its world says why.
#[cfg(unix)]
const SKIPS: [(Driver, &[&str]); 5] = [
    (Driver::Readiness, SKIPS_OF_READINESS),
    (Driver::Uring, &[]),
    (Driver::Sim, SKIPS_IN_MEMORY),
    (Driver::FarSim, SKIPS_IN_MEMORY),
    (Driver::RoughSim(0), SKIPS_IN_ROUGH_MEMORY),
];

#[cfg(windows)]
const SKIPS: [(Driver, &[&str]); 4] = [
    (Driver::Iocp, SKIPS_OF_IOCP),
    (Driver::Sim, SKIPS_IN_MEMORY),
    (Driver::FarSim, SKIPS_IN_MEMORY),
    (Driver::RoughSim(0), SKIPS_IN_ROUGH_MEMORY),
];

#[cfg(target_os = "linux")]
const SKIPS_OF_READINESS: &[&str] = &["a_queue_that_counts_as_full_loses_nothing"];

#[cfg(all(unix, not(target_os = "linux")))]
const SKIPS_OF_READINESS: &[&str] = &[
    "a_peer_that_vanishes_while_a_receive_is_pending_is_ended_by_its_owner",
    "a_peer_that_vanishes_amid_a_send_is_ended_by_its_owner",
    "a_queue_that_counts_as_full_loses_nothing",
];

#[cfg(windows)]
const SKIPS_OF_IOCP: &[&str] = &[
    "a_send_that_waits_moves_with_its_connection",
    "a_detached_connection_takes_its_bytes_along",
    "a_connection_may_be_detached_amid_received_bytes",
    "a_stream_moves_between_drivers_and_back",
    "what_came_along_is_lent_in_turns",
    "a_detach_amid_a_send_takes_the_rest_along",
    "a_stream_that_moves_amid_arriving_bytes_loses_none",
    "a_peer_that_vanishes_while_a_receive_is_pending_is_ended_by_its_owner",
    "a_peer_that_vanishes_amid_a_send_is_ended_by_its_owner",
    "a_queue_that_counts_as_full_loses_nothing",
];

const SKIPS_IN_MEMORY: &[&str] = &[
    "a_stream_moves_to_a_port_on_another_thread",
    "a_stream_moves_between_drivers_and_back",
    "posts_of_four_threads_arrive_each_in_order",
    "posts_amid_a_budget_are_all_handled",
    "interrupted_calls_are_made_again_and_nobody_notices",
    "a_receive_that_fails_says_why_and_ends_nothing_else",
    "a_send_that_fails_gives_back_what_has_not_left",
    "a_connect_that_fails_says_why_and_the_next_succeeds",
    "a_connect_without_a_socket_is_refused_at_once",
    "an_option_that_is_refused_gives_the_stream_back",
    "a_listener_survives_whatever_accept_answers",
    "a_queue_that_counts_as_full_loses_nothing",
];

/// Besides what all do without in memory: what counts on calm.
const SKIPS_IN_ROUGH_MEMORY: &[&str] = &[
    "what_is_kept_is_bounded_and_nothing_is_lost",
    "a_stale_name_reaches_nobody",
    "a_stream_moves_to_a_port_on_another_thread",
    "a_stream_moves_between_drivers_and_back",
    "posts_of_four_threads_arrive_each_in_order",
    "an_always_ready_peer_does_not_starve_a_quiet_one",
    "posts_amid_a_budget_are_all_handled",
    "a_listener_survives_clients_that_reset_in_its_backlog",
    "completions_outnumber_their_queue_and_none_is_lost",
    "ready_peers_outnumber_the_receive_buffers_and_all_are_served",
    "interrupted_calls_are_made_again_and_nobody_notices",
    "a_receive_that_fails_says_why_and_ends_nothing_else",
    "a_send_that_fails_gives_back_what_has_not_left",
    "a_connect_that_fails_says_why_and_the_next_succeeds",
    "a_connect_without_a_socket_is_refused_at_once",
    "an_option_that_is_refused_gives_the_stream_back",
    "a_listener_survives_whatever_accept_answers",
    "a_queue_that_counts_as_full_loses_nothing",
];

#[test]
fn every_driver_skips_exactly_what_is_known() {
    for (driver, known) in SKIPS {
        // Where a driver is refused as a whole, the table has said so, and `Driver` that it may be.
        if let Ok(skipped) = table(driver, SCENARIOS) {
            assert_eq!(skipped, known, "{driver}");
        }
    }
}

#[test]
fn there_are_at_least_fifty_scenarios() {
    assert!(SCENARIOS.len() >= 50, "{}", SCENARIOS.len());
}

scenarios! {
    bytes:
        what_a_peer_sends_comes_back
        a_megabyte_arrives_in_order_whatever_its_pieces
        a_megabyte_leaves_in_order_whatever_its_pieces
        bytes_still_leave_after_the_peer_has_finished
        bytes_still_come_after_the_write_side_is_shut
        a_shut_waits_for_the_send_in_flight
        short_sends_arrive_in_order_and_end_once
        a_second_send_in_flight_is_refused_and_comes_back
        an_empty_gather_completes_like_any_other
        a_send_that_has_left_gives_its_memory_back
        lent_bytes_may_be_changed_in_place;
    keeping:
        a_pause_amid_received_bytes_delivers_the_rest_first
        kept_bytes_come_again_without_a_pause
        the_end_of_the_stream_waits_behind_kept_bytes
        a_reset_waits_behind_kept_bytes
        nothing_is_delivered_while_paused
        a_pause_that_is_taken_back_at_once_is_still_confirmed
        a_reset_while_paused_does_not_spin;
    refusing:
        what_is_refused_comes_once_more_and_then_with_more
        receive_shows_again_what_was_refused
        a_refused_beginning_does_not_hide_the_end
        what_is_kept_is_bounded_and_nothing_is_lost [Calm];
    stalling:
        a_peer_that_has_finished_and_does_not_read_costs_nothing
        a_send_that_waits_ends_at_once_with_its_connection
        a_send_that_waits_moves_with_its_connection [Detaching]
        many_sends_that_wait_all_continue
        dropping_a_port_ends_sends_that_wait;
    ending:
        a_reset_ends_a_pending_receive
        a_peer_that_never_reads_does_not_hold_up_an_abort
        close_after_shut_and_drain_loses_nothing
        close_lets_the_send_in_flight_leave
        close_with_unread_input_ends
        abort_resets_the_peer
        close_resets_the_peer_if_asked_to
        an_abort_may_follow_a_close
        an_ending_connection_takes_nothing_more
        a_stale_name_reaches_nobody [Calm]
        a_send_to_a_peer_that_has_gone_fails_with_the_rest
        a_callback_that_panics_leaves_the_port_usable
        a_port_dropped_with_a_thousand_connections_ends_them_all;
    connecting:
        two_ports_connect_and_echo
        a_refused_connect_fails_and_closes_by_itself
        a_connection_may_be_closed_while_it_connects
        a_connection_may_be_aborted_while_it_connects
        nothing_may_be_submitted_before_connected
        a_full_port_connects_to_nobody;
    accepting:
        an_accepted_stream_knows_both_addresses
        an_accepted_stream_that_is_dropped_is_closed
        accepts_per_turn_are_bounded
        a_closed_listener_refuses_and_its_connections_live
        a_listener_may_be_closed_by_its_own_client
        a_refused_bind_names_the_step
        a_stream_may_be_adopted_where_it_is_accepted;
    moving:
        a_stream_moves_to_a_port_on_another_thread [Threads]
        a_detached_connection_takes_its_bytes_along [Detaching]
        a_connection_may_be_detached_amid_received_bytes [Detaching]
        a_stream_moves_between_drivers_and_back [Descriptors Detaching]
        a_full_port_gives_the_stream_back
        a_detach_succeeds_or_is_refused_and_harms_nothing
        what_came_along_is_lent_in_turns [Detaching]
        what_is_of_another_kind_comes_back_as_it_was;
    turning:
        posts_of_four_threads_arrive_each_in_order [Threads]
        a_full_inbox_gives_the_value_back
        a_port_that_has_gone_gives_the_value_back
        an_inbox_that_is_closed_gives_what_waits_and_takes_no_more
        a_deadline_is_kept
        a_deadline_that_has_passed_does_not_wait
        an_always_ready_peer_does_not_starve_a_quiet_one [Calm]
        a_turn_has_one_time
        bytes_are_counted
        a_configuration_that_makes_no_sense_is_refused;
    gathering:
        a_busy_port_waits_for_company
        a_budget_does_not_outlast_a_deadline
        a_post_that_is_there_is_not_kept_waiting
        posts_amid_a_budget_are_all_handled [Threads]
        a_port_with_a_budget_drains_without_it;
    racing:
        pauses_amid_arriving_bytes_lose_none
        a_pause_that_another_connection_takes_back_keeps_the_order
        an_abort_amid_arriving_bytes_is_the_last_word
        a_close_amid_arriving_bytes_is_the_last_word
        an_abort_amid_a_send_ends_it_once
        a_detach_amid_a_send_takes_the_rest_along [Detaching]
        a_stream_that_moves_amid_arriving_bytes_loses_none [Detaching]
        a_connect_that_is_aborted_as_it_succeeds_ends_once
        a_listener_that_is_closed_amid_accepts_leaves_no_client_waiting
        a_listener_survives_clients_that_reset_in_its_backlog [Calm]
        a_slot_that_is_used_again_hears_nothing_of_its_past
        an_end_amid_received_bytes_takes_the_rest_along;
    crowding:
        cancels_outnumber_the_submission_queue_and_none_is_lost
        completions_outnumber_their_queue_and_none_is_lost [Calm]
        ready_peers_outnumber_the_receive_buffers_and_all_are_served [Calm]
        bytes_over_the_budget_wait_for_the_next_turn
        a_pause_amid_bytes_over_the_budget_loses_none
        a_gather_of_thousands_of_pieces_leaves_whole
        both_sides_write_at_once_and_neither_waits_for_the_other
        a_peer_that_never_reads_does_not_hold_up_the_others
        a_refusal_at_the_cap_arrives_with_its_reason;
    leaving:
        a_peer_that_vanishes_while_a_receive_is_pending_is_ended_by_its_owner [Vanishing]
        a_peer_that_vanishes_amid_a_send_is_ended_by_its_owner [Vanishing]
        a_connect_that_takes_too_long_is_aborted_by_its_owner
        bytes_that_come_after_a_deadline_still_come
        memory_outlives_its_owner_until_the_send_has_ended
        a_port_that_goes_amid_operations_frees_all_their_memory
        a_port_that_goes_amid_a_connect_and_an_accept_leaves_nobody_waiting
        an_idle_port_may_be_dropped_at_once
        both_sides_finish_and_only_a_close_ends_the_connection;
    failing:
        interrupted_calls_are_made_again_and_nobody_notices [Faults]
        a_receive_that_fails_says_why_and_ends_nothing_else [Faults]
        a_send_that_fails_gives_back_what_has_not_left [Faults]
        a_connect_that_fails_says_why_and_the_next_succeeds [Faults]
        a_connect_without_a_socket_is_refused_at_once [Faults]
        an_option_that_is_refused_gives_the_stream_back [Faults]
        a_listener_survives_whatever_accept_answers [Faults]
        a_queue_that_counts_as_full_loses_nothing [Faults Rings];
}
