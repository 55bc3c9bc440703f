//! The contract of the port as tests: the same bodies on every driver.
//!
//! Each scenario is a function of a [`World`](harness::World), which opens ports with one driver. Peers are plain
//! sockets. Nothing sleeps: a scenario waits for completions, and fails when they do not come. Whatever a scenario is
//! about, a [checker](checker::Checker) watches the rules that hold for all: every operation ends exactly once, nothing
//! comes after the last word, and at its end every port drains.
//!
//! Where io_uring is refused its tests say so on the error stream and pass; with `POGU_REQUIRE_URING` set they fail.

mod accepting;
mod bytes;
mod checker;
mod connecting;
mod desk;
mod ending;
mod harness;
mod keeping;
mod moving;
mod refusing;
mod stalling;
mod turning;

macro_rules! scenarios {
    ($($module:ident: $($name:ident)*;)*) => {
        mod readiness {
            $($(
                #[test]
                fn $name() {
                    crate::harness::run(pogu_port::DriverChoice::Readiness, stringify!($name), crate::$module::$name);
                }
            )*)*
        }

        mod uring {
            $($(
                #[test]
                fn $name() {
                    crate::harness::run(pogu_port::DriverChoice::Uring, stringify!($name), crate::$module::$name);
                }
            )*)*
        }
    };
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
        what_is_kept_is_bounded_and_nothing_is_lost;
    stalling:
        a_peer_that_has_finished_and_does_not_read_costs_nothing
        a_send_that_waits_ends_at_once_with_its_connection
        a_send_that_waits_moves_with_its_connection
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
        a_stale_name_reaches_nobody
        a_send_to_a_peer_that_has_gone_fails_with_the_rest
        a_callback_that_panics_leaves_the_port_usable
        dropping_a_port_ends_its_connections;
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
        a_refused_bind_names_the_step;
    moving:
        a_stream_moves_to_a_port_on_another_thread
        a_detached_connection_takes_its_bytes_along
        a_connection_may_be_detached_amid_received_bytes
        a_stream_moves_between_drivers_and_back
        a_full_port_gives_the_stream_back
        what_came_along_is_lent_in_turns;
    turning:
        posts_of_four_threads_arrive_each_in_order
        a_full_inbox_gives_the_value_back
        a_port_that_has_gone_gives_the_value_back
        a_deadline_is_kept
        a_deadline_that_has_passed_does_not_wait
        an_always_ready_peer_does_not_starve_a_quiet_one
        a_turn_has_one_time
        bytes_are_counted
        a_configuration_that_makes_no_sense_is_refused;
}
