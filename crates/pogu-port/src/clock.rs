//! Time as a value that the port hands out.
//!
//! Everything above the port takes its time from [`Port::now`](crate::Port::now), never from the operating
//! system, so that a driver of virtual time can run the same code. Ports that are given clones of one [`Clock`]
//! agree on the origin, and their times may be compared.

use std::fmt;
use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Monotonic { origin: Instant },
    Virtual(VirtualTime),
}

impl Clock {
    /// The operating system's monotonic clock; its origin is now.
    pub fn monotonic() -> Clock {
        Clock(Source::Monotonic { origin: Instant::now() })
    }

    pub(crate) fn simulated(time: VirtualTime) -> Clock {
        Clock(Source::Virtual(time))
    }

    /// Reads the clock.
    pub fn now(&self) -> Time {
        match &self.0 {
            Source::Monotonic { origin } => Time(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX)),
            Source::Virtual(time) => time.now(),
        }
    }

    /// True exactly if it shows `time`.
    pub(crate) fn shows(&self, time: &VirtualTime) -> bool {
        matches!(&self.0, Source::Virtual(shown) if Arc::ptr_eq(&shown.0, &time.0))
    }
}

/// A time that stands still until it is moved. Clones are the same time.
#[derive(Clone, Debug, Default)]
pub(crate) struct VirtualTime(Arc<AtomicU64>);

impl VirtualTime {
    pub(crate) fn now(&self) -> Time {
        Time(self.0.load(Ordering::Acquire))
    }

    /// Moves on to `to`; never back.
    pub(crate) fn move_to(&self, to: Time) {
        self.0.fetch_max(to.0, Ordering::AcqRel);
    }
}
