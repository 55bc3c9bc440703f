//! Time as a value that the port hands out.
//!
//! Everything above the port takes its time from [`Port::now`](crate::Port::now), never from the operating
//! system, so that a driver of virtual time can run the same code. Ports that are given clones of one [`Clock`]
//! agree on the origin, and their times may be compared.

use std::fmt;
use std::ops::Add;
use std::time::{Duration, Instant};

/// A point in time: nanoseconds since the origin of the [`Clock`] that it was read from. Monotonic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The origin of the clock.
    pub const ZERO: Time = Time(0);

    /// The time `nanoseconds` after the origin.
    pub const fn from_nanos(nanoseconds: u64) -> Time {
        Time(nanoseconds)
    }

    /// Nanoseconds since the origin; 64 bits last for 584 years.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`, or zero if `earlier` is later.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    /// Saturates at the end of representable time.
    fn add(self, duration: Duration) -> Time {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(nanoseconds))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

/// Sixty-four bits that nobody can foresee, from the operating system's seed of the process: for what must differ between
/// two starts. Everything above the port takes its randomness from here.
pub fn entropy() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// The source of [`Time`]. Clones share the origin.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// The operating system's monotonic clock; its origin is now.
    pub fn monotonic() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// Reads the clock.
    pub fn now(&self) -> Time {
        let nanoseconds = self.origin.elapsed().as_nanos();
        Time(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}
