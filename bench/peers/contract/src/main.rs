//! `peer-contract PROGRAM`: tells of each promise of the peers' contract whether the program keeps it; 1 if one is broken.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(program), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: peer-contract PROGRAM");
        return ExitCode::from(2);
    };
    let broken = peer_contract::broken_promises(Path::new(&program), |promise, verdict| match verdict {
        Ok(()) => println!("kept    {promise}"),
        Err(failure) => println!("BROKEN  {promise}: {failure}"),
    });
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
