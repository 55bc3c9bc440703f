//! The command line of the peer contract, for programs of one thread.

use std::net::SocketAddr;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

/// A room server of one thread.
#[derive(Parser)]
struct Arguments {
    /// Address to listen on; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:7777")]
    listen: SocketAddr,
    /// Threads; there is no form with more than one.
    #[arg(long, default_value_t = 1)]
    workers: usize,
}

/// The address to listen on. Ends the program with 2 if something else is asked for than one thread.
pub fn listen_of_one_thread() -> SocketAddr {
    let arguments = Arguments::parse();
    if arguments.workers != 1 {
        let refused = format!(
            "{} workers were asked for: this peer has one thread, its rooms do not cross threads",
            arguments.workers
        );
        Arguments::command().error(ErrorKind::ValueValidation, refused).exit();
    }
    arguments.listen
}
