//! Every deadline of `pogu serve`, from the flag to the end that it makes, under virtual time: not a nanosecond early, and not
//! one late.

mod support;

use std::time::Duration;

use pogu::sim::PeerState;
use pogu_cli::serve::DRAIN_TIMEOUT;
use support::simulated::{Client, Flow, World, at};
use support::{SAY, frame};

const ROOM: u32 = 7;

/// Two members of the hostile client's room that talk to each other and miss nothing.
fn neighbours(world: &mut World) -> [Client; 2] {
    [(); 2].map(|()| world.joined(ROOM))
}

/// Both say `body` in turn, and both hear all of it.
fn talk(world: &mut World, neighbours: &mut [Client; 2], rounds: usize, body: &[u8]) {
    for round in 0..rounds {
        neighbours[round % 2].send(SAY, body);
        world.settle();
        neighbours.iter_mut().for_each(|client| client.expect(SAY, body));
    }
}

#[test]
fn a_silent_session_ends_at_the_time_of_the_flag() {
    for (flags, milliseconds) in [
        (&[][..], 60_000),
        (&["--idle-timeout", "0.5"], 500),
        (&["--idle-timeout", "0.001"], 1),
        (&["--idle-timeout", "86400"], 86_400_000),
    ] {
        let mut world = World::serve(flags);
        world.run_to(at(200));
        let mut client = world.connect();
        world.echo(&mut client, b"here");
        world.run_to_just_before(at(200 + milliseconds));
        assert_eq!(client.flow(), Flow::Open, "{flags:?}");
        world.run_to(at(200 + milliseconds));
        assert_eq!(client.flow(), Flow::Finished, "{flags:?}");
        client.expect_nothing_more();
        drop(client);
        let summary = world.summary();
        assert!(summary.contains("1 idle timeout") && summary.contains("1 in, 1 out"), "{summary}");
    }
}

#[test]
fn a_member_that_only_listens_is_not_silent() {
    let mut world = World::serve(&["--idle-timeout", "2"]);
    let (mut speaker, mut listener) = (world.joined(ROOM), world.joined(ROOM));
    for second in 1..=100 {
        world.run_to(at(second * 1000));
        speaker.send(SAY, b"tick");
        world.settle();
        listener.expect(SAY, b"tick");
    }
    world.run_to_just_before(at(102_000));
    assert_eq!((speaker.flow(), listener.flow()), (Flow::Open, Flow::Open));
    world.run_to(at(102_000));
    assert_eq!((speaker.flow(), listener.flow()), (Flow::Finished, Flow::Finished));
}

#[test]
fn a_size_of_65535_and_then_silence() {
    let mut world = World::serve(&["--room-window", "0"]);
    let mut neighbours = neighbours(&mut world);
    let mut hostile = world.joined(ROOM);
    world.run_to(at(3000));
    hostile.raw(&[0xff, 0xff, 3, 0]);
    talk(&mut world, &mut neighbours, 10, &[1; 100]);
    // It is a member like any other until the frame has been unfinished for too long.
    world.run_to_just_before(at(13_000));
    talk(&mut world, &mut neighbours, 10, &[1; 100]);
    (0..20).for_each(|_| hostile.expect(SAY, &[1; 100]));
    assert_eq!(hostile.flow(), Flow::Open);
    world.run_to(at(13_000));
    assert_eq!(hostile.flow(), Flow::Finished);
    talk(&mut world, &mut neighbours, 10, &[1; 100]);
    hostile.expect_nothing_more();
    drop(hostile);
    neighbours.iter_mut().for_each(Client::expect_nothing_more);
    let summary = world.summary();
    assert!(summary.ends_with("disconnects  1 frame timeout"), "{summary}");
}

#[test]
fn a_frame_that_trickles_byte_by_byte_is_not_prolonged() {
    let mut world = World::serve(&[]);
    let mut hostile = world.joined(ROOM);
    world.run_to(at(3000));
    hostile.raw(&[0xff, 0xff, 3, 0]);
    for milliseconds in (3200..13_000).step_by(200) {
        world.run_to(at(milliseconds));
        assert_eq!(hostile.flow(), Flow::Open, "after {milliseconds} ms");
        hostile.raw(&[0]);
    }
    world.run_to_just_before(at(13_000));
    assert_eq!(hostile.flow(), Flow::Open);
    world.run_to(at(13_000));
    assert_eq!(hostile.flow(), Flow::Finished);
    drop(hostile);
    let summary = world.summary();
    assert!(summary.ends_with("disconnects  1 frame timeout"), "{summary}");
}

#[test]
fn a_member_that_never_reads_ends_when_what_waits_for_it_is_too_old() {
    let mut world = World::serve(&["--send-queue", "1073741824", "--room-window", "0"]);
    let mut neighbours = neighbours(&mut world);
    let deaf = world.joined(ROOM);
    world.run_to(at(2000));
    // The first of it is in the system's buffers; from now on something waits.
    talk(&mut world, &mut neighbours, 10, &[1; 10_000]);
    world.run_to_just_before(at(12_000));
    talk(&mut world, &mut neighbours, 10, &[1; 10_000]);
    assert_eq!(deaf.peer.state(), PeerState::Connected);
    world.run_to(at(12_000));
    assert_eq!(deaf.peer.state(), PeerState::Broken, "it would not take part in an orderly end");
    talk(&mut world, &mut neighbours, 10, &[1; 10_000]);
    let summary = world.summary();
    assert!(summary.ends_with("disconnects  1 send queue age"), "{summary}");
}

#[test]
fn one_that_is_ended_and_does_not_finish_keeps_its_place_for_the_linger_time() {
    let mut world = World::serve(&["--max-sessions", "1"]);
    let mut hostile = world.connect();
    world.run_to(at(1000));
    hostile.raw(&frame(65_535, b"what is this"));
    world.settle();
    assert_eq!(hostile.flow(), Flow::Finished, "it is told at once");
    world.run_to_just_before(at(6000));
    assert_eq!(world.connect().flow(), Flow::Finished, "turned away");
    assert_eq!(hostile.peer.state(), PeerState::Connected);
    world.run_to(at(6000));
    assert_eq!(hostile.flow(), Flow::Reset);
    let mut next = world.connect();
    world.echo(&mut next, b"in its place");
    let summary = world.summary();
    assert!(summary.contains("refused      1\n") && summary.ends_with("1 peer misbehaved"), "{summary}");
}

/// A server that is told to stop at 20 s, and a client that does not finish when it is asked to.
fn stopping() -> (World, Client) {
    let mut world = World::serve(&[]);
    let (polite, mut stubborn) = (world.connect(), world.connect());
    world.run_to(at(20_000));
    world.server.core().begin_stop(DRAIN_TIMEOUT);
    // Sessions may still speak to each other for 20 ms.
    world.run_to(at(20_020));
    drop(polite);
    world.run_to(at(21_000));
    assert_eq!((stubborn.flow(), world.server.core().has_stopped()), (Flow::Finished, false));
    (world, stubborn)
}

#[test]
fn a_stop_waits_for_a_client_no_longer_than_the_linger_time() {
    let (mut world, mut stubborn) = stopping();
    world.run_to_just_before(at(25_020));
    assert_eq!((stubborn.peer.state(), world.server.core().has_stopped()), (PeerState::Connected, false));
    world.run_to(at(25_020));
    assert_eq!((stubborn.flow(), world.server.core().has_stopped()), (Flow::Reset, true));
    let summary = world.summary();
    assert!(summary.ends_with("disconnects  2 service stopping"), "{summary}");
}

/// What a second interrupt asks of the core.
#[test]
fn a_stop_that_is_cut_short_waits_for_nobody() {
    let (mut world, mut stubborn) = stopping();
    world.run_to(at(22_000));
    assert_eq!((stubborn.peer.state(), world.server.core().has_stopped()), (PeerState::Connected, false));
    world.server.core().begin_stop(Duration::ZERO);
    world.settle();
    assert_eq!((stubborn.flow(), world.server.core().has_stopped()), (Flow::Reset, true));
}
