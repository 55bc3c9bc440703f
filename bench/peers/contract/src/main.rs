//! `peer-contract [--without-rooms] PROGRAM`: tells of each promise of the peers' contract whether the program keeps it; 1 if
//! one is broken.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use peer_contract::{Scope, broken_promises};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let scope = arguments.next_if(|argument| argument == "--without-rooms").map_or(Scope::Rooms, |_| Scope::EchoAlone);
    let (Some(program), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: peer-contract [--without-rooms] PROGRAM");
        return ExitCode::from(2);
    };
    let broken = broken_promises(Path::new(&program), scope, |promise, verdict| match verdict {
        Ok(()) => println!("kept    {promise}"),
        Err(failure) => println!("BROKEN  {promise}: {failure}"),
    });
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
