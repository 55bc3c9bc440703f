//! A room server on monoio, one of the peers that pogu is measured against. The choices are in the README.

#![forbid(unsafe_code)]

mod session;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use io_uring::IoUring;
use monoio::io::AsyncReadRent;
use monoio::net::{ListenerOpts, TcpListener, UnixStream};
use monoio::time::{Instant, TimeDriver, sleep_until};
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};
use peer_frame::{arguments, local};
use signal_hook::consts::SIGTERM;
use signal_hook::low_level::pipe;

/// Connections that the system completes before they are accepted: the same for all peers.
const BACKLOG: i32 = 4096;

/// How long no connection is accepted when that failed: most likely there is no descriptor left.
const BACK_OFF: Duration = Duration::from_millis(10);

fn main() -> io::Result<()> {
    let listen = arguments::listen_of_one_thread();
    runtime()?.block_on(serve(listen))
}

/// With what the kernel does for a ring of one thread: completions come when it enters the kernel, not by interrupting it.
fn runtime() -> io::Result<Runtime<TimeDriver<IoUringDriver>>> {
    let mut ring = IoUring::builder();
    ring.setup_single_issuer().setup_coop_taskrun();
    RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).enable_timer().build()
}

/// Serves until SIGTERM.
async fn serve(listen: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind_with_config(listen, &ListenerOpts::new().reuse_port(false).backlog(BACKLOG))?;
    let mut terminated = sigterm()?;
    println!("monoio serves on {}, 1 workers", listener.local_addr()?);
    monoio::spawn(accept(listener));
    terminated.read(vec![0]).await.0?;
    local::print_cut_off();
    Ok(())
}

/// A socket in which there is a byte when SIGTERM has come.
fn sigterm() -> io::Result<UnixStream> {
    let (read, write) = std::os::unix::net::UnixStream::pair()?;
    pipe::register(SIGTERM, write)?;
    UnixStream::from_std(read)
}

async fn accept(listener: TcpListener) {
    let rooms = Rc::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(monoio::spawn(session::run(stream, Rc::clone(&rooms)))),
            Err(_) => sleep_until(Instant::now() + BACK_OFF).await,
        }
    }
}
