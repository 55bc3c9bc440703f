//! A room server on tokio, one of the peers that pogu is measured against. The choices are in the README.

#![forbid(unsafe_code)]

mod room;
mod session;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use room::{CUT_OFF, Rooms};

/// Connections that the system completes before they are accepted: the same for all peers.
const BACKLOG: u32 = 4096;

/// How long no connection is accepted when that failed: most likely there is no descriptor left.
const BACK_OFF: Duration = Duration::from_millis(10);

/// A room server on tokio.
#[derive(Parser)]
struct Arguments {
    /// Address to listen on; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:7777")]
    listen: SocketAddr,
    /// Threads; 1 is the current-thread runtime.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    runtime(arguments.workers)?.block_on(serve(arguments))
}

fn runtime(workers: u16) -> io::Result<Runtime> {
    match workers {
        1 => Builder::new_current_thread().enable_all().build(),
        workers => Builder::new_multi_thread().worker_threads(usize::from(workers)).enable_all().build(),
    }
}

/// Serves until SIGTERM.
async fn serve(arguments: Arguments) -> io::Result<()> {
    let listener = bind(arguments.listen)?;
    let mut terminated = signal(SignalKind::terminate())?;
    println!("tokio serves on {}, {} workers", listener.local_addr()?, arguments.workers);
    tokio::spawn(accept(listener));
    terminated.recv().await;
    println!("{} sessions did not read and were ended", CUT_OFF.load(Ordering::Relaxed));
    Ok(())
}

fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener) -> Infallible {
    let rooms = Arc::new(Rooms::default());
    let mut session = 0;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(session::run(session, stream, Arc::clone(&rooms)));
                session += 1;
            }
            Err(_) => sleep_until(Instant::now() + BACK_OFF).await,
        }
    }
}
