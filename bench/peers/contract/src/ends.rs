//! Promises about what goes wrong: violations, half-closes, resets, clients that do not read, no descriptors.

use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use crate::client::{Client, ECHO, SAY, frame};
use crate::server::Server;
use crate::{Failure, Verdict, ensure};

pub fn ends_violators(program: &Path) -> Verdict {
    let server = Server::start(program)?;
    let mut honest = Client::connect(server.address)?;
    let violations: [(&str, &[u8]); 5] = [
        ("a size of 3", &[3, 0, 3, 0]),
        ("a size of 0", &[0, 0, 3, 0, 0, 0]),
        ("an unknown id", &[4, 0, 77, 0]),
        ("the id 0", &[5, 0, 0, 0, 1]),
        ("a SAY before any JOIN", &[5, 0, 2, 0, 1]),
    ];
    for (violation, bytes) in violations {
        let mut violator = Client::connect(server.address)?;
        violator.ask(&frame(ECHO, b"honest so far"))?;
        violator.send(bytes)?;
        let answered_bytes = violator.bytes_to_the_end().map_err(|failure| format!("{violation}: {failure}"))?;
        ensure(answered_bytes == 0, || format!("{violation} was answered with {answered_bytes} bytes"))?;
        honest.ask(&frame(ECHO, violation.as_bytes()))?;
    }
    Ok(())
}

pub fn answers_after_a_half_close(program: &Path) -> Verdict {
    let server = Server::start(program)?;
    let mut client = Client::connect(server.address)?;
    let asked = frame(ECHO, &[7; 1000]).repeat(50);
    client.send(&asked)?;
    client.finish_sending()?;
    client.expect(&asked)?;
    let more_bytes = client.bytes_to_the_end()?;
    ensure(more_bytes == 0, || format!("{more_bytes} bytes more than were asked for"))
}

pub fn survives_resets(program: &Path) -> Verdict {
    let server = Server::start(program)?;
    let mut honest = Client::joined(server.address, 7)?;
    for round in 0..50u8 {
        let mut client = Client::joined(server.address, 7)?;
        client.send(&frame(ECHO, &[round; 100]))?;
        set_socket_linger(&client.stream, Some(Duration::ZERO))?;
        drop(client);
        honest.ask(&frame(SAY, &[round]))?;
    }
    let cut_off = server.stop()?;
    ensure(cut_off == 0, || format!("{cut_off} sessions were ended as if they did not read"))
}

/// Messages that are said together, and how often: more than the buffers of the system and of any peer hold.
const BATCH: usize = 64;
const BATCHES: usize = 1000;

pub fn ends_who_never_reads(program: &Path) -> Verdict {
    let server = Server::start(program)?;
    let mut silent = Client::joined(server.address, 7)?;
    let mut speaker = Client::joined(server.address, 7)?;
    let mut elsewhere = Client::joined(server.address, 8)?;
    let batch = frame(SAY, &[9; 1000]).repeat(BATCH);
    for _ in 0..BATCHES {
        speaker.ask(&batch)?;
        elsewhere.ask(&frame(ECHO, b"on and on"))?;
    }
    let said_bytes = BATCHES * batch.len();
    let heard_bytes = silent.bytes_to_the_end()?;
    ensure(heard_bytes < said_bytes, || format!("all {said_bytes} bytes had waited"))?;
    let cut_off = server.stop()?;
    ensure(cut_off == 1, || format!("{cut_off} sessions were ended instead of one"))
}

const DESCRIPTORS: usize = 48;

pub fn survives_without_descriptors(program: &Path) -> Verdict {
    let server = Server::start_with_descriptors(program, DESCRIPTORS)?;
    let clients = (0..2 * DESCRIPTORS).map(|_| Client::connect(server.address)).collect::<Result<Vec<_>, Failure>>()?;
    let mut served = 0;
    for client in &clients {
        if !is_served(client)? {
            break;
        }
        served += 1;
    }
    ensure(served > 0, || "nobody was served".to_owned())?;
    ensure(served < DESCRIPTORS, || format!("{served} were served with {DESCRIPTORS} descriptors"))?;
    drop(clients);
    Client::connect(server.address)?.ask(&frame(ECHO, b"there is room again"))?;
    let cut_off = server.stop()?;
    ensure(cut_off == 0, || format!("{cut_off} sessions were ended as if they did not read"))
}

/// Whether a client is answered. Who is not yet accepted is not answered, and who is refused finds the end.
fn is_served(client: &Client) -> Result<bool, Failure> {
    let asked = frame(ECHO, b"is there a descriptor for me?");
    let mut stream = &client.stream;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    if stream.write_all(&asked).is_err() {
        return Ok(false);
    }
    let mut answer = vec![0; asked.len()];
    match stream.read_exact(&mut answer) {
        Ok(()) => Ok(answer == asked),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => Ok(false),
            _ => Err(error.into()),
        },
    }
}
