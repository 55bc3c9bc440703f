//! One connection: a task that reads and a task that writes.

use std::error::Error;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use async_executor::StaticLocalExecutor;
use async_io::{Async, Timer};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
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

/// Serves a connection until it ends.
pub async fn run(executor: &'static StaticLocalExecutor, stream: Async<TcpStream>, rooms: Rc<Rooms>) {
    let stream = Rc::new(stream);
    let member = Member::new(rooms);
    let outbox = member.outbox();
    // Two tasks: who is polled without need tries a system call. The writer goes with its handle.
    let writing = executor.spawn(write(Rc::clone(&stream), member.outbox()));
    let reading = async {
        // Neither a reset nor a violation concerns anybody else.
        let _ = read(&stream, member).await;
        let lingered = async {
            Timer::after(LINGER).await;
        };
        let written = async {
            let _ = writing.await;
        };
        future::or(written, lingered).await;
    };
    future::or(outbox.cut_off(), reading).await;
}

async fn read(mut stream: &Async<TcpStream>, mut member: Member) -> Result<(), Box<dyn Error>> {
    stream.get_ref().set_nodelay(true)?;
    let mut buffer = vec![0; READ_BYTES];
    let mut held_bytes = 0;
    loop {
        match stream.read(&mut buffer[held_bytes..]).await? {
            0 => return Ok(()),
            read_bytes => held_bytes += read_bytes,
        }
        let received = &buffer[..held_bytes];
        let used_bytes = frame::each(received, |id, whole| member.take(id, whole))?;
        let needed_bytes = held_bytes - used_bytes + frame::missing_bytes(&received[used_bytes..]);
        buffer.copy_within(used_bytes..held_bytes, 0);
        held_bytes -= used_bytes;
        if buffer.len() < needed_bytes {
            buffer.resize(needed_bytes, 0);
        }
    }
}

/// Writes what waits, all of it at once, until nobody can add any more.
async fn write(stream: Rc<Async<TcpStream>>, outbox: Rc<Outbox<Waiting>>) -> io::Result<()> {
    let mut batch = Vec::new();
    while outbox.take(&mut batch).await {
        (&*stream).write_all(&batch).await?;
        batch.clear();
        batch.shrink_to(KEPT_BYTES);
    }
    stream.get_ref().shutdown(Shutdown::Write)
}
