//! One connection: a task that reads and writes.

use std::error::Error;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable};
use monoio::net::TcpStream;
use monoio::time::{Instant, sleep_until};
use peer_frame::frame;
use peer_frame::local::{self, Outbox};

type Waiting = Vec<u8>;
pub type Rooms = local::Rooms<Waiting>;
type Member = local::Member<Waiting>;

/// What a connection that says little is read into; it grows with what comes.
const READ_BYTES: usize = 8 * 1024;

/// What a batch may keep of its memory when it has been written.
const KEPT_BYTES: usize = 256 * 1024;

/// How long what was answered may take to leave when a session ends.
const LINGER: Duration = Duration::from_secs(5);

/// Serves a connection until it ends. Who is dropped half way cancels what it has given to the kernel.
pub async fn run(stream: TcpStream, rooms: Rc<Rooms>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let member = Member::new(rooms);
    let outbox = member.outbox();
    let (reader, writer) = stream.into_split();
    let reading = async {
        // Neither a reset nor a violation concerns anybody else.
        let _ = read(reader, member).await;
        sleep_until(Instant::now() + LINGER).await;
    };
    let writing = async {
        let _ = write(writer, &outbox).await;
    };
    // In this order: what the first answers, the second writes at once.
    future::or(outbox.cut_off(), future::or(reading, writing)).await;
}

async fn read(mut stream: OwnedReadHalf<TcpStream>, mut member: Member) -> Result<(), Box<dyn Error>> {
    let mut received = Vec::with_capacity(READ_BYTES);
    loop {
        let held_bytes = received.len();
        let (read_bytes, buffer) = stream.read(received.slice_mut(held_bytes..)).await;
        received = buffer.into_inner();
        if read_bytes? == 0 {
            return Ok(());
        }
        let used_bytes = frame::each(&received, |id, whole| member.take(id, whole))?;
        received.drain(..used_bytes);
        received.reserve(frame::missing_bytes(&received).max(READ_BYTES / 4));
    }
}

/// Writes what waits, all of it at once, until nobody can add any more.
async fn write(mut stream: OwnedWriteHalf<TcpStream>, outbox: &Outbox<Waiting>) -> io::Result<()> {
    let mut batch = Vec::new();
    while outbox.take(&mut batch).await {
        let (written, buffer) = stream.write_all(batch).await;
        written?;
        batch = buffer;
        batch.clear();
        batch.shrink_to(KEPT_BYTES);
    }
    stream.shutdown().await
}
