//! Log lines, processor time and reaction time of one thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
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
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("below a second"))
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
