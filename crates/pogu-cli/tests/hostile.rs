//! Hostile clients: what becomes of them, and that their neighbours do not notice. Those that are ended by a deadline are in
//! `deadlines`.

mod support;

use std::io::Read;

use support::{Client, JOIN, SAY, Server, frame, on_each_driver};

const ROOM: u32 = 7;

/// Two sessions in the hostile client's room that talk to each other and miss nothing.
struct Neighbours {
    clients: [Client; 2],
    said: u64,
}

impl Neighbours {
    fn join(server: &Server) -> Neighbours {
        Neighbours { clients: [(); 2].map(|()| Client::joined(server.address, ROOM)), said: 0 }
    }

    /// Both say a message of `bytes` in turn; both must hear it, unaltered and in order.
    fn talk(&mut self, rounds: usize, bytes: usize) {
        for round in 0..rounds {
            let mut body = vec![0xa5; bytes.max(8)];
            body[..8].copy_from_slice(&self.said.to_le_bytes());
            self.said += 1;
            self.clients[round % 2].send(SAY, &body);
            self.clients.iter_mut().for_each(|client| client.expect(SAY, &body));
        }
    }

    /// In good order: nothing came that they did not expect.
    fn leave(self) {
        self.clients.into_iter().for_each(Client::leave);
    }
}

/// What is left of the stream, to its end.
fn read_to_the_end(client: &mut Client) -> std::io::Result<usize> {
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest)
}

/// A member of the room sends these bytes and is ended for it.
fn misbehaves(bytes: &[u8]) {
    on_each_driver(|driver| {
        let server = Server::start(driver, &[]);
        let mut neighbours = Neighbours::join(&server);
        let mut hostile = Client::joined(server.address, ROOM);
        neighbours.talk(10, 100);
        (0..10).for_each(|_| assert_eq!(hostile.receive().expect("a member hears the room").1.len(), 100));
        hostile.raw(bytes);
        neighbours.talk(10, 100);
        read_to_the_end(&mut hostile).expect("an end in good order");
        neighbours.talk(10, 100);
        neighbours.leave();
        drop(hostile);
        let summary = server.stop();
        assert!(summary.contains("1 peer misbehaved"), "{summary}");
    });
}

#[test]
fn four_zero_bytes() {
    misbehaves(&[0; 4]);
}

#[test]
fn a_size_of_3() {
    misbehaves(&[3, 0, 3, 0]);
}

#[test]
fn an_id_of_65535() {
    misbehaves(&frame(65_535, b"what is this"));
}

#[test]
fn a_size_of_65535_and_then_an_end() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &[]);
        let mut neighbours = Neighbours::join(&server);
        let mut hostile = Client::joined(server.address, ROOM);
        hostile.raw(&[0xff, 0xff, 3, 0]);
        neighbours.talk(20, 100);
        // It is a member like any other while its frame is unfinished; for how long it may be, `deadlines` tells.
        (0..20).for_each(|_| assert_eq!(hostile.receive().expect("a member hears the room").1.len(), 100));
        hostile.leave();
        neighbours.talk(20, 100);
        neighbours.leave();
        let summary = server.stop();
        assert!(summary.ends_with("disconnects  3 peer closed"), "{summary}");
    });
}

#[test]
fn a_member_that_never_reads_is_ended_at_the_bound_of_its_queue() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &["--send-queue", "262144"]);
        let mut neighbours = Neighbours::join(&server);
        let mut hostile = Client::joined(server.address, ROOM);
        // More than the system's buffers of a connection can take, on both ends.
        let (rounds, bytes) = (400, 60_000);
        neighbours.talk(rounds, bytes);
        // What the system had taken may still come; then the connection is reset.
        let came = read_to_the_end(&mut hostile);
        assert!(came.as_ref().is_err() || came.is_ok_and(|came| came < rounds * bytes));
        neighbours.talk(20, 100);
        neighbours.leave();
        drop(hostile);
        let summary = server.stop();
        assert!(summary.contains("1 send queue bytes"), "{summary}");
    });
}

#[test]
fn one_that_floods_its_own_room_and_reads_nothing_harms_itself_alone() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &["--send-queue", "65536"]);
        let mut neighbours = Neighbours::join(&server);
        let mut hostile = Client::connect(server.address);
        hostile.send(JOIN, &8_u32.to_le_bytes());
        hostile.expect(JOIN, &8_u32.to_le_bytes());
        let flood = frame(SAY, &[1; 30_000]);
        let refused = (0..2000).any(|round| {
            if round % 100 == 0 {
                neighbours.talk(2, 100);
            }
            std::io::Write::write_all(&mut hostile.stream, &flood).is_err()
        });
        assert!(refused, "60 MB were taken and nothing of it was read");
        neighbours.talk(10, 100);
        neighbours.leave();
        drop(hostile);
        let summary = server.stop();
        assert!(summary.contains("1 send queue bytes"), "{summary}");
    });
}
