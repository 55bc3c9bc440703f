//! The examples with rooms as programs: clients speak to them, and Ctrl-C ends them.

#![cfg(unix)]

mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

use support::{PATIENCE, Peer, eventually};

/// An example that runs.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    /// Starts it on a free port.
    fn start(name: &str) -> Program {
        let test = std::env::current_exe().expect("this program has a path");
        // This one is in `deps`; `cargo test` builds examples with everything else.
        let program = test.parent().and_then(|deps| deps.parent()).expect("a folder").join("examples").join(name);
        assert!(program.exists(), "first run: cargo build --package pogu --example {name}");
        let mut command = Command::new(program);
        command.arg("127.0.0.1:0").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let stdout = child.stdout.take().expect("piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        let ready = lines.recv_timeout(PATIENCE);
        let address = ready.iter().flat_map(|line| line.split([' ', ','])).find_map(|word| word.parse().ok());
        let address = address.expect("the line that it prints has an address");
        Program { child, address }
    }

    /// Ctrl-C, with these clients still there: they read the end of their stream, and it ends well.
    fn interrupt(mut self, clients: Vec<Peer>) {
        eventually("it waits for Ctrl-C", || self.catches_interrupts());
        let own = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &own]).status().expect("there is `kill`").success());
        for mut client in clients {
            assert!(client.ends_well().1, "a reset");
        }
        let mut ended = None;
        eventually("its end", || {
            ended = self.child.try_wait().expect("it was started");
            ended.is_some()
        });
        assert_eq!(ended.and_then(|status| status.code()), Some(0));
    }

    /// It says that it is ready just before it begins to.
    fn catches_interrupts(&self) -> bool {
        if !cfg!(target_os = "linux") {
            return true;
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("there is such a line");
        let caught = u64::from_str_radix(caught.trim(), 16).expect("a mask of signals");
        caught & 1 << 1 != 0
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Harmless once it has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Packets but those of one id, which comes by the clock.
fn receive_but(client: &mut Peer, id: u16) -> (u16, Vec<u8>) {
    loop {
        let packet = client.receive();
        if packet.0 != id {
            return packet;
        }
    }
}

#[test]
fn example_program_rooms_counts_hits_and_tells_what_the_leader_has() {
    const JOIN: u16 = 1;
    const HIT: u16 = 2;
    const TOTAL: u16 = 3;
    const LEADER: u16 = 4;
    let program = Program::start("rooms");
    let address = program.address;
    let join = |arena| {
        let mut client = Peer::connect(address);
        client.number(JOIN, arena);
        client
    };
    // A total may be replaced by a newer one.
    let totals = |client: &mut Peer, expected: u32| loop {
        let (id, body) = receive_but(client, LEADER);
        assert_eq!(id, TOTAL);
        let total = u32::from_le_bytes(body.try_into().expect("a number"));
        assert!(total <= expected, "{total}");
        if total == expected {
            return;
        }
    };
    let [mut one, mut other, mut elsewhere] = [join(7), join(7), join(1000)];
    for _ in 0..3 {
        one.send(HIT, b"");
    }
    totals(&mut one, 3);
    other.send(HIT, b"");
    elsewhere.send(HIT, b"");
    totals(&mut elsewhere, 1);
    for client in [&mut one, &mut other] {
        totals(client, 4);
        let mut leader = (LEADER, 0);
        // One that was told before the last hit may still be on its way.
        while leader != (LEADER, 3) {
            let (id, body) = client.receive();
            leader = (id, u32::from_le_bytes(body.try_into().expect("a number")));
            assert!(leader.0 == LEADER && leader.1 <= 3, "{leader:?}");
        }
    }

    for (mut wrong, id, number) in [
        (join(1), JOIN, 1),
        (join(2), 9, 0),
        (Peer::connect(address), HIT, 0),
        (Peer::connect(address), JOIN, 0),
        (Peer::connect(address), JOIN, 1001),
    ] {
        wrong.number(id, number);
        assert!(wrong.ends_well().1, "a reset");
    }
    // The others have not noticed.
    one.send(HIT, b"");
    totals(&mut one, 5);
    program.interrupt(vec![one, other, elsewhere]);
}

#[test]
fn example_program_town_lets_people_in_and_tells_the_news() {
    const ENTER: u16 = 1;
    const SHOUT: u16 = 2;
    const NEWS: u16 = 3;
    const HOUR: u16 = 4;
    const REFUSED: u16 = 5;
    let program = Program::start("town");
    let address = program.address;
    // The second answer comes behind the first, by which the session has joined.
    let enter = |name: &str| {
        let mut client = Peer::connect(address);
        client.send(ENTER, name.as_bytes());
        client.send(ENTER, name.as_bytes());
        assert_eq!(receive_but(&mut client, HOUR), (REFUSED, Vec::new()), "the name is taken");
        client
    };
    let hears = |client: &mut Peer, news: &str| {
        assert_eq!(receive_but(client, HOUR), (NEWS, news.as_bytes().to_vec()));
    };
    let mut ada = enter("Ada");
    // Who is inside stays who it is.
    ada.send(ENTER, b"Eve");
    assert_eq!(receive_but(&mut ada, HOUR), (REFUSED, Vec::new()), "she is inside already");
    ada.send(SHOUT, b"anybody here?");
    hears(&mut ada, "Ada: anybody here?");
    let mut bob = enter("Bob");
    bob.send(SHOUT, b"me");
    hears(&mut ada, "Bob has come");
    hears(&mut ada, "Bob: me");
    hears(&mut bob, "Bob: me");
    bob.send(9, b"");
    assert!(bob.ends_well().1, "a reset");
    // Its session has ended once both sides have closed.
    drop(bob);
    hears(&mut ada, "Bob has gone");
    program.interrupt(vec![ada]);
}
