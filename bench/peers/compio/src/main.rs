//! A room server on compio, one of the peers that pogu is measured against. The choices are in the README.

#![forbid(unsafe_code)]

mod session;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use compio::driver::ProactorBuilder;
use compio::net::{TcpListener, TcpSocket};
use compio::runtime::{Runtime, RuntimeBuilder, spawn};
use compio::signal::unix::signal;
use compio::time::sleep_until;
use futures_lite::{StreamExt, future};
use peer_frame::{arguments, local};

/// Connections that the system completes before they are accepted: the same for all peers.
const BACKLOG: i32 = 4096;

/// How long no connection is accepted when that failed: most likely there is no descriptor left.
const BACK_OFF: Duration = Duration::from_millis(10);

fn main() -> io::Result<()> {
    let listen = arguments::listen_of_one_thread();
    runtime()?.block_on(serve(listen))
}

/// With what the kernel does for a ring of one thread: completions come when it waits for them, not by interrupting it.
fn runtime() -> io::Result<Runtime> {
    let mut driver = ProactorBuilder::new();
    driver.single_issuer(true).defer_taskrun(true);
    RuntimeBuilder::new().with_proactor(driver).build()
}

/// Serves until SIGTERM.
async fn serve(listen: SocketAddr) -> io::Result<()> {
    let listener = bind(listen).await?;
    let mut terminated = pin!(signal(libc::SIGTERM));
    // It listens to the signal from its first poll on.
    if let Some(refused) = future::poll_once(&mut terminated).await {
        return refused;
    }
    println!("compio serves on {}, 1 workers", listener.local_addr()?);
    // A task of its own: what is blocked on is polled in every round.
    let accepting = spawn(accept(listener));
    terminated.await?;
    drop(accepting);
    local::print_cut_off();
    Ok(())
}

async fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4().await? } else { TcpSocket::new_v6().await? };
    socket.set_reuseaddr(true)?;
    socket.bind(listen).await?;
    socket.listen(BACKLOG).await
}

async fn accept(listener: TcpListener) {
    let rooms = Rc::default();
    let mut incoming = listener.incoming();
    while let Some(accepted) = incoming.next().await {
        match accepted {
            Ok(stream) => spawn(session::run(stream, Rc::clone(&rooms))).detach(),
            Err(_) => sleep_until(Instant::now() + BACK_OFF).await,
        }
    }
}
