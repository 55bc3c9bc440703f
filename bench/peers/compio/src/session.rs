//! One connection: a task that reads and writes.

use std::error::Error;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use compio::BufResult;
use compio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use compio::net::TcpStream;
use compio::time::sleep_until;
use futures_lite::future;
use peer_frame::frame;
use peer_frame::local::{self, Outbox};

type Waiting = Vec<Bytes>;
pub type Rooms = local::Rooms<Waiting>;
type Member = local::Member<Waiting>;

/// Frames of one vectored write: what the system takes (`IOV_MAX`).
const BATCH_FRAMES: usize = 1024;

/// What a connection that says little is read into; it grows with what comes.
const READ_BYTES: usize = 8 * 1024;

/// How long what was answered may take to leave when a session ends.
const LINGER: Duration = Duration::from_secs(5);

/// Serves a connection until it ends. Who is dropped half way cancels what it has given to the kernel.
pub async fn run(stream: TcpStream, rooms: Rc<Rooms>) {
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

async fn read(mut stream: TcpStream, mut member: Member) -> Result<(), Box<dyn Error>> {
    stream.set_nodelay(true)?;
    let mut received = BytesMut::with_capacity(READ_BYTES);
    loop {
        let BufResult(read_bytes, buffer) = stream.append(received).await;
        received = buffer;
        if read_bytes? == 0 {
            return Ok(());
        }
        while let Some(frame) = frame::next(&mut received)? {
            member.take(frame.id, &frame.whole)?;
        }
        received.reserve(frame::missing_bytes(&received).max(READ_BYTES / 4));
    }
}

/// Writes what waits, all of it at once, until nobody can add any more.
async fn write(mut stream: TcpStream, outbox: &Outbox<Waiting>) -> io::Result<()> {
    let mut batch = Vec::new();
    while outbox.take(&mut batch).await {
        while batch.len() > BATCH_FRAMES {
            let rest = batch.split_off(BATCH_FRAMES);
            write_batch(&mut stream, batch).await?;
            batch = rest;
        }
        batch = write_batch(&mut stream, batch).await?;
    }
    stream.shutdown().await
}

/// Gives the batch back, empty.
async fn write_batch(stream: &mut TcpStream, mut batch: Waiting) -> io::Result<Waiting> {
    if batch.len() == 1 {
        for frame in batch.drain(..) {
            stream.write_all(frame).await.0?;
        }
        return Ok(batch);
    }
    let BufResult(written, mut batch) = stream.write_vectored_all(batch).await;
    written?;
    batch.clear();
    Ok(batch)
}
