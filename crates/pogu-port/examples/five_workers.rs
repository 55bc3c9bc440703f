//! The first program of the course: a listener, five worker threads, and a client that says hello.
//!
//! ```text
//! cargo run -p pogu-port --example five_workers                  # until Ctrl-C
//! cargo run -p pogu-port --example five_workers -- --seconds 3   # for three seconds
//! ```
//!
//! Registering is `listen`, `adopt` and `receive` here; `GetQueuedCompletionStatus` is `dispatch`; the completion key is an
//! `Owner`. Two things differ, on purpose. Every worker has a port of its *own*, so nothing of a connection needs a lock:
//! one that was accepted on one worker moves to another as a value. And nobody keeps buffers or events alive for the
//! system: received bytes are lent for the length of the callback.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use pogu_port::{
    BoundListener, Completion, Detached, DriverChoice, ListenOptions, Operations, Owner, PortConfig, PortSeed, Poster,
    Selection, StreamOptions,
};

const WORKERS: usize = 5;

/// Owners are tokens of our own choice: every completion says whom it concerns.
const LISTENER: Owner = Owner(0);
const CLIENT: Owner = Owner(1);

/// What workers post to each other: accepted streams.
type Seed = PortSeed<Detached>;
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Result<()> {
    // 1. Choose how to talk to the kernel: io_uring where that is allowed, readiness elsewhere. The program is the same.
    let selection = Selection::choose(DriverChoice::Auto)?;
    println!("driver: {} ({})", selection.kind(), selection.reason());

    // 2. Open five ports. A seed may go to another thread; once started, a port stays. Posters reach it from anywhere.
    let config = PortConfig::default();
    let seeds = (0..WORKERS).map(|_| Ok(Seed::open(&selection, &config)?)).collect::<Result<Vec<_>>>()?;
    let posters: Vec<_> = seeds.iter().map(Seed::poster).collect();

    // 3. Bind. From here on clients can connect, even though nobody accepts yet. Port 0: the system chooses one.
    let listener = BoundListener::bind("127.0.0.1:0".parse()?, &ListenOptions::default())?;
    let address = listener.local_address();
    println!("listening on {address}");

    // 4. Start the workers. The first one gets the listener too.
    let mut listener = Some(listener);
    for (number, seed) in seeds.into_iter().enumerate() {
        let (posters, listener) = (posters.clone(), listener.take());
        thread::spawn(move || work(number, seed, listener, &posters).expect("the port of a worker works"));
    }

    // 5. Play the clients: one for each worker. The program ends with its main thread.
    let end = seconds_from_arguments()?.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    say_hello(address, end)
}

/// One worker: a port, and the loop that dispatches it.
fn work(number: usize, seed: Seed, listener: Option<BoundListener>, posters: &[Poster<Detached>]) -> Result<()> {
    let mut port = seed.start()?;
    if let Some(listener) = listener {
        port.operations().listen(LISTENER, listener).map_err(|refused| refused.error)?;
    }
    let mut accepted = 0;
    loop {
        // Sleeps until something completes, then hands over everything that has. `None`: no deadline.
        port.dispatch(None, |operations, completion| match completion {
            // A client came. Workers take turns; a stream that cannot be posted comes back in the error, and is closed.
            Completion::Accepted { stream, .. } => {
                let _ = posters[accepted % WORKERS].post(CLIENT, stream);
                accepted += 1;
            }
            // A client was posted to this worker.
            Completion::Posted { owner, value: stream } => welcome(number, operations, owner, stream),
            // Bytes came. The stream has no frames yet: what is lent is whatever has arrived.
            Completion::Received { bytes, .. } => {
                println!("worker {number}: {} bytes: {}", bytes.len(), String::from_utf8_lossy(&bytes));
            }
            // The client has finished, or the connection has failed. Either way we are done with it.
            Completion::PeerFinished { connection, .. } | Completion::ReceiveEnded { connection, .. } => {
                let _ = operations.close(connection);
            }
            // The last word: from here on the name reaches nobody.
            Completion::Closed { connection, .. } => println!("worker {number}: {connection:?} is closed"),
            _ => {}
        })?;
    }
}

/// Takes a stream into this worker's port and begins to receive: the registration of the classic design.
fn welcome(number: usize, operations: &mut Operations<'_>, owner: Owner, stream: Detached) {
    let peer = stream.peer_address();
    match operations.adopt(owner, stream, &StreamOptions::default()) {
        Ok(connection) => {
            println!("worker {number}: {connection:?} is {peer:?}");
            // Refused only for a stale name, and this one is fresh.
            let _ = operations.receive(connection);
        }
        Err(refused) => println!("worker {number}: not adopted: {}", refused.error),
    }
}

/// Clients in the old style, on blocking sockets: each says hello every second.
fn say_hello(address: SocketAddr, end: Option<Instant>) -> Result<()> {
    let mut clients = (0..WORKERS).map(|_| TcpStream::connect(address)).collect::<std::io::Result<Vec<_>>>()?;
    while end.is_none_or(|end| Instant::now() < end) {
        for client in &mut clients {
            client.write_all(b"Hello World!")?;
        }
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

fn seconds_from_arguments() -> Result<Option<u64>> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--seconds").skip(1);
    Ok(arguments.next().map(|seconds| seconds.parse()).transpose()?)
}
