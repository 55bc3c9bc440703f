//! Log lines, processor time and reaction time of one thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Counts lines that an operator would see.
#[derive(Clone, Default)]
pub struct Lines(Arc<AtomicUsize>);

impl Lines {
    /// What the calling thread logs while `body` runs.
    pub fn count<R>(body: impl FnOnce(&Lines) -> R) -> R {
        let lines = Lines::default();
        tracing::subscriber::with_default(lines.clone(), || body(&lines))
    }

    pub fn so_far(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Processor time that the calling thread has used.
#[cfg(unix)]
pub fn processor_time() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("below a second"))
}

/// Processor time that the calling thread has used, in its own code and in the system's.
#[cfg(windows)]
pub fn processor_time() -> Duration {
    use windows_sys::Win32::Foundation::FILETIME;
    use windows_sys::Win32::System::Threading::{GetCurrentThread, GetThreadTimes};
    let nothing = FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 };
    let [mut created, mut ended, mut kernel, mut user] = [nothing; 4];
    // SAFETY: it has no conditions; what it gives needs no closing.
    let thread = unsafe { GetCurrentThread() };
    // SAFETY: the handle stands for the calling thread, and the four places live until the call has returned.
    let told = unsafe { GetThreadTimes(thread, &raw mut created, &raw mut ended, &raw mut kernel, &raw mut user) };
    assert!(told != 0, "a thread may ask about itself");
    // In units of 100 ns.
    let units = |time: FILETIME| u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime);
    Duration::from_nanos((units(kernel) + units(user)) * 100)
}

/// With a sanitizer on time tells nothing: threads also wait for each other inside of it. Nor with guarded memory, where each buffer
/// that changes hands calls the kernel, which makes all threads of the process wait. That a client is served in the end is judged
/// there all the same, where it waits, and how often the listener tries.
pub fn time_tells() -> bool {
    let guarded = std::env::var_os("POGU_GUARDED").is_some_and(|value| value == "1");
    std::env::var_os("POGU_SANITIZER").is_none() && !guarded
}

/// A stopwatch that also tells for how long the calling thread could have run while the machine ran others, so that a busy
/// machine can be told from slow code.
pub struct Reaction {
    began: Instant,
    queued: Duration,
}

impl Reaction {
    pub fn begin() -> Reaction {
        Reaction { began: Instant::now(), queued: queued() }
    }

    pub fn took(&self) -> Took {
        Took { wall: self.began.elapsed(), queued: queued().saturating_sub(self.queued) }
    }
}

/// How long something took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    pub wall: Duration,
    /// Of this, the time in which the thread was ready and the system let others run.
    pub queued: Duration,
}

impl Took {
    /// What the code under test is to blame for.
    pub fn own(&self) -> Duration {
        self.wall.saturating_sub(self.queued)
    }
}

/// How long the calling thread has waited for a processor; zero where the system does not tell.
fn queued() -> Duration {
    // On the processor, waiting for it (nanoseconds), and how often.
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = text.split_whitespace().nth(1).and_then(|field| field.parse().ok());
    Duration::from_nanos(waited.unwrap_or_default())
}
