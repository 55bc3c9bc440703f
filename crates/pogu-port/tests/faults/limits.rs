//! Real limits: queues and buffers as small as they can be.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use pogu_port::{Counters, DriverKind, PortConfig};

use crate::on_each_driver;
use crate::server::{Server, client};

const SENDERS: usize = 100;
const BYTES: usize = 3_000;

fn senders(address: SocketAddr) {
    let mut streams: Vec<TcpStream> = (0..SENDERS).map(|_| client(address)).collect();
    let script = |sender: usize| (0..BYTES).map(|index| (index * 7 + sender) as u8).collect::<Vec<u8>>();
    for (sender, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&script(sender)).expect("is taken");
        stream.shutdown(Shutdown::Write).expect("finishes");
    }
    for (sender, stream) in streams.iter_mut().enumerate() {
        let mut echoed = Vec::new();
        stream.read_to_end(&mut echoed).expect("is echoed");
        assert!(echoed == script(sender), "sender {sender}: {} bytes", echoed.len());
    }
}

/// A hundred senders at once, none of which loses a byte, and what a driver with a queue and a ring of buffers counted meanwhile.
fn everything_comes_back(change: impl Fn(&mut PortConfig), check_rings: impl Fn(&Counters)) {
    on_each_driver(|selection| {
        let mut server = Server::start_with(selection, &change);
        let address = server.address;
        let thread = std::thread::spawn(move || senders(address));
        server.run_until("the senders", |_| thread.is_finished());
        thread.join().expect("the senders are content");
        server.settle();
        assert_eq!(server.seen.failed, []);
        if server.driver == DriverKind::Uring {
            check_rings(&server.counters());
        }
    });
}

fn ran_out_of_buffers(counters: &Counters) {
    assert!(counters.buffer_starvations > 0, "{counters:?}");
}

fn overflowed(counters: &Counters) {
    assert!(counters.completion_overflows > 0, "{counters:?}");
}

#[test]
fn a_buffer_ring_of_two() {
    let change = |config: &mut PortConfig| {
        config.receive_buffers = 2;
        config.receive_buffer_bytes = 64;
    };
    everything_comes_back(change, ran_out_of_buffers);
}

#[test]
fn a_completion_queue_of_eight() {
    let change = |config: &mut PortConfig| {
        config.submission_entries = 4;
        config.completion_entries = 8;
    };
    everything_comes_back(change, overflowed);
}

#[test]
fn everything_tiny() {
    let change = |config: &mut PortConfig| {
        config.submission_entries = 1;
        config.completion_entries = 2;
        config.receive_buffers = 1;
        config.receive_buffer_bytes = 64;
        config.accepts_per_turn_max = 1;
        config.accepts_outstanding = 1;
    };
    everything_comes_back(change, |counters| {
        ran_out_of_buffers(counters);
        overflowed(counters);
    });
}
