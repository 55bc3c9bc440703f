//! One connection: a task that reads and a task that writes.

use std::error::Error;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use peer_frame::frame::{self, ECHO, Frame, JOIN, SAY, Violation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{self, Receiver};
use tokio_util::sync::CancellationToken;

use crate::room::{Outbox, Room, Rooms};

/// Frames that may wait for one client; one more ends its session.
const QUEUE_FRAMES: usize = 4096;

/// Frames of one vectored write: what the system takes (`IOV_MAX`).
const BATCH_FRAMES: usize = 1024;

/// What a connection that says little is read into; it grows with what comes.
const READ_BYTES: usize = 8 * 1024;

/// How long what was answered may take to leave when a session ends.
const LINGER: Duration = Duration::from_secs(5);

/// The half that reads, and the room that it talks to.
struct Reader {
    rooms: Arc<Rooms>,
    outbox: Outbox,
    room: Option<Arc<Room>>,
}

/// Serves a connection until it ends.
pub async fn run(session: u64, stream: TcpStream, rooms: Arc<Rooms>) {
    let (read, write) = stream.into_split();
    let (queue, frames) = mpsc::channel(QUEUE_FRAMES);
    let mut writer = tokio::spawn(drain(frames, write));
    let end = CancellationToken::new();
    let mut reader = Reader { rooms, outbox: Outbox { session, queue, end: end.clone() }, room: None };
    // Neither a reset nor a violation concerns anybody else.
    let _ = end.run_until_cancelled(reader.read(read)).await;
    drop(reader);
    if !end.is_cancelled() {
        let _ = tokio::time::timeout(LINGER, &mut writer).await;
    }
    writer.abort();
}

impl Reader {
    async fn read(&mut self, mut stream: OwnedReadHalf) -> Result<(), Box<dyn Error + Send + Sync>> {
        stream.as_ref().set_nodelay(true)?;
        let mut received = BytesMut::with_capacity(READ_BYTES);
        while stream.read_buf(&mut received).await? > 0 {
            while let Some(frame) = frame::next(&mut received)? {
                self.take(&frame)?;
            }
            received.reserve(frame::missing_bytes(&received).max(READ_BYTES / 4));
        }
        Ok(())
    }

    fn take(&mut self, frame: &Frame) -> Result<(), Violation> {
        match (frame.id, &self.room) {
            (JOIN, _) => self.join(frame)?,
            (SAY, Some(room)) => room.say(&frame.whole),
            (SAY, None) => return Err(Violation("a SAY before any JOIN")),
            (ECHO, _) => self.outbox.push(frame.whole.clone()),
            _ => return Err(Violation("an unknown id")),
        }
        Ok(())
    }

    fn join(&mut self, frame: &Frame) -> Result<(), Violation> {
        let number = frame::body(&frame.whole).try_into().map_err(|_| Violation("a room is four bytes"))?;
        self.leave();
        let room = self.rooms.get(u32::from_le_bytes(number));
        room.join(&self.outbox);
        self.room = Some(room);
        self.outbox.push(frame.whole.clone());
        Ok(())
    }

    fn leave(&mut self) {
        if let Some(room) = self.room.take() {
            room.leave(self.outbox.session);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Writes what waits, all of it at once, until nobody can queue any more.
async fn drain(mut frames: Receiver<Bytes>, mut stream: OwnedWriteHalf) -> io::Result<()> {
    let mut batch = Vec::new();
    while frames.recv_many(&mut batch, BATCH_FRAMES).await > 0 {
        match batch.as_slice() {
            [frame] => stream.write_all(frame).await?,
            several => write_all_vectored(&mut stream, several).await?,
        }
        batch.clear();
    }
    stream.shutdown().await
}

async fn write_all_vectored(stream: &mut OwnedWriteHalf, frames: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        match stream.write_vectored(rest).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut rest, written),
        }
    }
    Ok(())
}
