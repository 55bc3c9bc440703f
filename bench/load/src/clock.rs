//! The load's clock: nanoseconds since the run began.

use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    pub fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }

    /// How long it is until then; nothing if that has passed.
    pub fn until(self, time: u64) -> Duration {
        Duration::from_nanos(time.saturating_sub(self.now()))
    }
}

pub fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
