//! Processor time, from the operating system: user and system, all threads, those that have ended included.
//!
//! What an interrupt does while a process runs is counted as that process's: over the loopback, a send carries its segment
//! through the receiver's half of TCP, and that is paid by the sender.
//!
//! Only the sum is read. How it divides into user and system is guessed by the kernel from what runs at its ticks, and a load
//! that speaks in step with them is always caught at the same.

use std::io;
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The processor clock of a process, to the nanosecond.
#[derive(Clone, Copy, Debug)]
pub struct ProcessorClock(ClockId);

impl ProcessorClock {
    /// The clock of this process.
    pub fn own() -> ProcessorClock {
        ProcessorClock(ClockId::CLOCK_PROCESS_CPUTIME_ID)
    }

    /// The clock of another one.
    pub fn of(process: i32) -> io::Result<ProcessorClock> {
        Ok(ProcessorClock(clock_getcpuclockid(Pid::from_raw(process))?))
    }

    pub fn read(self) -> io::Result<Duration> {
        Ok(clock_gettime(self.0)?.into())
    }
}
