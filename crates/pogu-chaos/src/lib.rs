//! A TCP proxy that treats connections badly: it delays, splits, stalls, resets and half-closes.
//!
//! On a quiet loopback a frame arrives whole, at once, and no connection ends but by the will of an end. A [`Proxy`] between
//! a client and its [target](Proxy::start) is what a real path may be, as the drawn numbers of one seed will have it:
//!
//! ```text
//!             .------------------- a pair --------------------.
//!   client -->| lane up:   arrivals -> pieces with due times  |--> target
//!   client <--| lane down: pieces with due times <- arrivals  |<-- target
//!             '-----------------------------------------------'
//! ```
//!
//! **What it keeps.** Bytes of a lane never change, nor their order, and none is lost but by a cut. What an end does, finishing
//! or resetting, is passed on behind the bytes that it sent before. So whoever was not cut must find everything as over a
//! direct connection, only later and in other pieces; whoever was cut must find a beginning of it, and nothing twice.
//!
//! **What it tells.** An [`Account`] counts what was done, and names every connection that was [cut](Cut): by the address of its
//! client, and by its first bytes, since a client need not know its own address.
//!
//! **What it holds** is bounded: bytes per lane (at the bound it stops receiving, and the sender feels it) and pairs (one more
//! client is reset). Only the account grows, with each cut. [`Proxy::stop`] leaves nothing behind.

#![forbid(unsafe_code)]

mod account;
mod draw;
mod lane;
mod mistreatment;
mod pair;
mod proxy;
mod relay;

pub use account::{Account, Counts, Cut, CutKind, OPENING_BYTES, Side};
pub use mistreatment::{KnobError, Mistreatment};
pub use pogu_port::DriverChoice;
pub use proxy::{Proxy, ProxyError};
