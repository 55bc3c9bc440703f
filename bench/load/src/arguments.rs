//! What the workloads are told alike.

use std::net::SocketAddr;

use crate::message::{BODY_BYTES_MAX, BODY_BYTES_MIN};

/// Who is spoken to.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Target {
    /// The server's address.
    #[arg(long)]
    pub target: SocketAddr,
    /// The server's process: its processor time is measured.
    #[arg(long)]
    pub server: Option<i32>,
}

pub fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if number > 0.0 && number <= 1e6 { Ok(number) } else { Err("it must be above 0 and at most 1,000,000".to_owned()) }
}

pub fn milliseconds(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.0..=1000.0).contains(&number) { Ok(number) } else { Err("it must be between 0 and 1,000".to_owned()) }
}

pub fn body(text: &str) -> Result<usize, String> {
    let bytes: usize = text.parse().map_err(|error| format!("{error}"))?;
    match (BODY_BYTES_MIN..=BODY_BYTES_MAX).contains(&bytes) {
        true => Ok(bytes),
        false => Err(format!("it must be between {BODY_BYTES_MIN} and {BODY_BYTES_MAX}")),
    }
}
