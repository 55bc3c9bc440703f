//! A room server on tokio: what `cargo xtask bench rooms` measures pogu against. The choices are in the README.

#![forbid(unsafe_code)]

mod frame;
mod room;
mod session;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::Parser;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use room::{CUT_OFF, Rooms};

/// A room server on tokio.
#[derive(Parser)]
struct Arguments {
    /// Address to listen on; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:7777")]
    listen: SocketAddr,
    /// Threads; 1 is the current-thread runtime.
    #[arg(long, default_value_t = 1)]
    workers: usize,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    runtime(arguments.workers)?.block_on(serve(arguments))
}

fn runtime(workers: usize) -> io::Result<Runtime> {
    match workers {
        0 | 1 => Builder::new_current_thread().enable_all().build(),
        workers => Builder::new_multi_thread().worker_threads(workers).enable_all().build(),
    }
}

/// Serves until SIGTERM.
async fn serve(arguments: Arguments) -> io::Result<()> {
    let listener = TcpListener::bind(arguments.listen).await?;
    let mut terminated = signal(SignalKind::terminate())?;
    println!("tokio serves on {}, {} workers", listener.local_addr()?, arguments.workers);
    tokio::select! {
        ended = accept(listener) => ended?,
        _ = terminated.recv() => {}
    }
    println!("{} sessions did not read and were ended", CUT_OFF.load(Ordering::Relaxed));
    Ok(())
}

async fn accept(listener: TcpListener) -> io::Result<()> {
    let rooms = Arc::new(Rooms::default());
    for session in 0.. {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(session::run(session, stream, Arc::clone(&rooms)));
    }
    Ok(())
}
