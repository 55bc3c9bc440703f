//! What the peers written in Rust share, so that they differ by their runtimes alone.

#![forbid(unsafe_code)]

pub mod arguments;
pub mod frame;
pub mod local;
