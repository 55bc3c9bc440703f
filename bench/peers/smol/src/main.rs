//! A room server on smol, one of the peers that pogu is measured against. The choices are in the README.

#![forbid(unsafe_code)]

mod session;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use async_executor::{LocalExecutor, StaticLocalExecutor};
use async_io::{Async, Timer, block_on};
use async_signal::{Signal, Signals};
use futures_lite::StreamExt;
use peer_frame::{arguments, local};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the system completes before they are accepted: the same for all peers.
const BACKLOG: i32 = 4096;

/// How long no connection is accepted when that failed: most likely there is no descriptor left.
const BACK_OFF: Duration = Duration::from_millis(10);

fn main() -> io::Result<()> {
    let listen = arguments::listen_of_one_thread();
    let executor = LocalExecutor::new().leak();
    block_on(executor.run(serve(executor, listen)))
}

/// Serves until SIGTERM.
async fn serve(executor: &'static StaticLocalExecutor, listen: SocketAddr) -> io::Result<()> {
    let listener = bind(listen)?;
    let mut terminated = Signals::new([Signal::Term])?;
    println!("smol serves on {}, 1 workers", listener.get_ref().local_addr()?);
    executor.spawn(accept(executor, listener)).detach();
    terminated.next().await.transpose()?;
    local::print_cut_off();
    Ok(())
}

fn bind(listen: SocketAddr) -> io::Result<Async<TcpListener>> {
    let socket = Socket::new(Domain::for_address(listen), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&listen.into())?;
    socket.listen(BACKLOG)?;
    Async::new(socket.into())
}

async fn accept(executor: &'static StaticLocalExecutor, listener: Async<TcpListener>) {
    let rooms = Rc::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => executor.spawn(session::run(executor, stream, Rc::clone(&rooms))).detach(),
            Err(_) => {
                Timer::after(BACK_OFF).await;
            }
        }
    }
}
