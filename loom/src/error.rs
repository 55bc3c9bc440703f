//! The errors of the port, and of the engine those that its files here give.

#[allow(dead_code)]
#[path = "../../crates/pogu-port/src/error.rs"]
mod port;

pub(crate) use port::*;

#[derive(Debug)]
#[expect(dead_code, reason = "for whoever reads what a model says")]
pub(crate) enum Error {
    Configuration { field: &'static str, value: String, allowed: &'static str },
}

pub(crate) type Result<T> = std::result::Result<T, Error>;
