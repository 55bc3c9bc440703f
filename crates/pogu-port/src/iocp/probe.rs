//! What the system does with memory that nobody may touch any more: what guarded mode can show on it.
//!
//! An OVERLAPPED that is made inaccessible in flight is not tried here: under Wine that ends the process, and Wine's server with
//! it, and so every other program.

use std::collections::VecDeque;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use windows_sys::Win32::Networking::WinSock::WSABUF;

use super::operation::SendOperation;
use super::queue::{CompletionPort, Event, Queue, WAIT_MAX};
use super::winsock;
use crate::codes;
use crate::faults::Faults;
use crate::identity::Name;
use crate::memory::{Access, Held, Memory, Pages};

const NAME: Name = Name { slot: 1, generation: 1 };

/// More than two sockets take.
const BYTES: usize = 8 << 20;

/// A connected socket whose packets come to a queue, and its peer.
fn associated() -> (Socket, Queue, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
    let peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let socket = Socket::from(listener.accept().expect("it waits").0);
    let port = Arc::new(CompletionPort::open().expect("a port"));
    port.associate(&socket).expect("it is nobody else's");
    (socket, Queue::new(port, Faults::default()), peer)
}

fn next(queue: &mut Queue) -> Event {
    let mut events = VecDeque::new();
    for _ in 0..5 {
        queue.wait(WAIT_MAX, &mut events).expect("it waits");
        if let Some(event) = events.pop_front() {
            return event;
        }
    }
    panic!("no packet came");
}

fn whole(pages: &Pages) -> WSABUF {
    WSABUF { len: u32::try_from(pages.len()).expect("a few megabytes"), buf: pages.start().as_ptr() }
}

fn shut(pages: &Pages) {
    pages.protect(0, pages.len(), Access::Shut).expect("own pages can be shut");
}

#[test]
fn a_call_whose_memory_is_shut_fails_and_queues_nothing() {
    let (socket, mut queue, _peer) = associated();
    let pages = Pages::map(BYTES, Access::Open).expect("maps");
    shut(&pages);
    let operation = Held::new(SendOperation::new(NAME), &Memory::new(false));
    // SAFETY: what is held outlives the call, which fails; the system is told to read what nobody can.
    let sent = unsafe { winsock::send(&socket, &[whole(&pages)], &operation) };
    assert_eq!(sent, Err(codes::FAULT));
    assert!(!queue.wait(Duration::from_millis(50), &mut VecDeque::new()).expect("it waits"), "there is no packet");
}

/// A system that has locked the pages when it took the operation (as Windows may) sends them all the same.
#[test]
fn a_buffer_that_is_shut_in_flight_fails_its_operation_or_leaves_whole() {
    let (socket, mut queue, mut peer) = associated();
    let pages = Pages::map(BYTES, Access::Open).expect("maps");
    let operation = Held::new(SendOperation::new(NAME), &Memory::new(false));
    // SAFETY: operation and pages outlive the packet, which is waited for below; that they are shut meanwhile is what is tried.
    unsafe { winsock::send(&socket, &[whole(&pages)], &operation) }.expect("it waits for room");
    shut(&pages);
    let reader = std::thread::spawn(move || {
        peer.set_read_timeout(Some(Duration::from_millis(500))).expect("an option");
        let mut read = 0;
        let mut place = vec![0; 1 << 20];
        while let Ok(count @ 1..) = peer.read(&mut place) {
            read += count;
        }
        read
    });
    let event = next(&mut queue);
    let read = reader.join().expect("it reads");
    match event.failure {
        Some(code) => assert!(code == codes::FAULT && read < BYTES, "{code}, {read} bytes"),
        None => assert_eq!(read, BYTES),
    }
    println!("a send whose buffer is shut in flight: {event:?}, {read} bytes");
}
