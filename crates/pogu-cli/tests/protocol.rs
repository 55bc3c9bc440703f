//! What `pogu serve` answers, frame by frame.

mod support;

use std::time::Instant;

use support::{Client, ECHO, JOIN, PATIENCE, SAY, Server, frame, on_each_driver};

#[test]
fn echo_comes_back_verbatim_whatever_its_size() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &[]);
        let mut client = Client::connect(server.address);
        for size in [0, 1, 4, 60, 1020, 1021, 2044, 2045, 16_000, 65_530, 65_531] {
            let body: Vec<u8> = (0..size).map(|index: usize| (index * 7) as u8).collect();
            client.echo(&body);
        }
    });
}

#[test]
fn say_goes_verbatim_to_every_member_the_sender_included_and_to_nobody_else() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &[]);
        // Five members are on both workers.
        let mut members: Vec<Client> = (0..5).map(|_| Client::joined(server.address, 40)).collect();
        let mut stranger = Client::joined(server.address, 41);
        for sender in 0..members.len() {
            for body in [&b""[..], b"hello", &[sender as u8; 65_531]] {
                members[sender].send(SAY, body);
                members.iter_mut().for_each(|member| member.expect(SAY, body));
            }
        }
        stranger.echo(b"nothing else came");
    });
}

#[test]
fn all_members_see_one_order() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &[]);
        let mut members: Vec<Client> = (0..4).map(|_| Client::joined(server.address, 9)).collect();
        for (sender, member) in members.iter_mut().enumerate() {
            let burst: Vec<u8> = (0..100_u8).flat_map(|number| frame(SAY, &[sender as u8, number])).collect();
            member.raw(&burst);
        }
        let mut orders = Vec::new();
        for member in &mut members {
            let order: Vec<_> = (0..400).map(|_| member.receive().expect("the connection lives")).collect();
            orders.push(order);
        }
        assert!(orders.iter().all(|order| *order == orders[0]));
    });
}

#[test]
fn a_second_join_moves() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &[]);
        let mut stays = Client::joined(server.address, 1);
        let mut moves = Client::joined(server.address, 1);
        moves.join(2);
        stays.send(SAY, b"to room 1");
        stays.expect(SAY, b"to room 1");
        moves.send(SAY, b"to room 2");
        moves.expect(SAY, b"to room 2");
        stays.echo(b"nothing of room 2 came");
        moves.join(1);
        stays.send(SAY, b"back again");
        stays.expect(SAY, b"back again");
        moves.expect(SAY, b"back again");
    });
}

#[test]
fn every_join_is_answered_once_and_in_order() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &[]);
        let mut client = Client::connect(server.address);
        let rooms = [1_u32, 2, 2, 1, 3, 3, 3, u32::MAX, 0];
        let burst: Vec<u8> = rooms.iter().flat_map(|room| frame(JOIN, &room.to_le_bytes())).collect();
        client.raw(&burst);
        rooms.iter().for_each(|room| client.expect(JOIN, &room.to_le_bytes()));
        // It is in the last one, and a JOIN into the same room is answered too.
        client.join(0);
        let mut other = Client::joined(server.address, 0);
        other.send(SAY, b"to room 0");
        client.expect(SAY, b"to room 0");
        client.echo(b"and nothing more");
    });
}

#[test]
fn a_say_right_behind_a_join_is_heard_in_that_room() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &[]);
        let mut hears = Client::joined(server.address, 77);
        let mut hurries = Client::connect(server.address);
        hurries.raw(&[frame(JOIN, &77_u32.to_le_bytes()), frame(SAY, b"in a hurry")].concat());
        hurries.expect(JOIN, &77_u32.to_le_bytes());
        hurries.expect(SAY, b"in a hurry");
        hears.expect(SAY, b"in a hurry");
    });
}

#[test]
fn a_flood_of_joins_without_waiting_is_a_violation() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &[]);
        let mut client = Client::connect(server.address);
        let burst: Vec<u8> = (0..200_u32).flat_map(|room| frame(JOIN, &room.to_le_bytes())).collect();
        client.raw(&burst);
        client.expect_end();
        drop(client);
        assert!(server.stop().contains("1 peer misbehaved"));
    });
}

#[test]
fn a_violation_ends_the_session_after_what_was_answered() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &[]);
        let violations = [
            frame(SAY, b"without a room"),
            frame(JOIN, b""),
            frame(JOIN, b"123"),
            frame(JOIN, b"12345"),
            frame(0, b""),
            frame(4, b"four"),
            frame(65_535, b""),
            vec![0, 0, 0, 0],
            vec![3, 0, 3, 0],
        ];
        for violation in &violations {
            let mut client = Client::connect(server.address);
            let ignored = frame(ECHO, b"too late");
            client.raw(&[&frame(ECHO, b"one"), &frame(ECHO, b"two"), &violation[..], &ignored].concat());
            client.expect(ECHO, b"one");
            client.expect(ECHO, b"two");
            client.expect_end();
        }
        let summary = server.stop();
        assert!(summary.contains(&format!("{} peer misbehaved", violations.len())), "{summary}");
    });
}

#[test]
fn a_peer_that_finishes_still_gets_its_answers() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &[]);
        let mut client = Client::connect(server.address);
        client.raw(&frame(ECHO, &[5; 9000]));
        client.stream.shutdown(std::net::Shutdown::Write).expect("connected");
        client.expect(ECHO, &[5; 9000]);
        client.expect_end();
    });
}

#[test]
fn frames_may_come_byte_by_byte() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &[]);
        let mut client = Client::connect(server.address);
        let bytes = [frame(ECHO, b"a"), frame(ECHO, b""), frame(ECHO, &[9; 300])].concat();
        for byte in bytes {
            client.raw(&[byte]);
        }
        client.expect(ECHO, b"a");
        client.expect(ECHO, b"");
        client.expect(ECHO, &[9; 300]);
    });
}

#[test]
fn many_frames_may_come_at_once() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &[]);
        let mut client = Client::connect(server.address);
        let burst: Vec<u8> = (0..2000_u32).flat_map(|number| frame(ECHO, &number.to_le_bytes())).collect();
        client.raw(&burst);
        (0..2000_u32).for_each(|number| client.expect(ECHO, &number.to_le_bytes()));
    });
}

#[test]
fn a_client_above_the_cap_is_turned_away_until_one_leaves() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &["--max-sessions", "2"]);
        let mut first = Client::connect(server.address);
        let mut second = Client::connect(server.address);
        first.echo(b"first");
        second.echo(b"second");
        Client::connect(server.address).expect_end();
        drop(first);
        let began = Instant::now();
        // Its place is free when its end has been drained; until then newcomers are turned away.
        let mut turned_away = 1;
        loop {
            let mut next = Client::connect(server.address);
            next.send(ECHO, b"next");
            match next.try_receive() {
                Ok(Some(answer)) => break assert_eq!(answer, (ECHO, b"next".to_vec())),
                // Turned away: an end, or a reset because of the unread frame.
                Ok(None) | Err(_) => turned_away += 1,
            }
            assert!(began.elapsed() < PATIENCE, "the place was never free again");
        }
        second.echo(b"still here");
        drop(second);
        let summary = server.stop();
        assert!(summary.contains("served 3 sessions"), "{summary}");
        assert!(summary.contains(&format!("refused      {turned_away}")), "{summary}");
    });
}
