//! The plan: what a test wants to fail, and what has failed so far.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{FaultPoint, FaultStage};

/// One kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    point: FaultPoint,
    stage: FaultStage,
    code: i32,
    spared: u32,
    times: u32,
}

impl Fault {
    /// Answers with `code` (an `errno`) whenever the point is reached, until it is [lifted](Faults::lift).
    pub const fn new(point: FaultPoint, stage: FaultStage, code: i32) -> Fault {
        Fault { point, stage, code, spared: 0, times: u32::MAX }
    }

    /// At most so often.
    pub const fn times(mut self, times: u32) -> Fault {
        self.times = times;
        self
    }

    /// Only after the point has been reached so often.
    pub const fn after(mut self, spared: u32) -> Fault {
        self.spared = spared;
        self
    }
}

/// How ports ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Drains {
    /// Ports that freed their memory, nothing being in flight.
    pub clean: u64,
    /// Ports that leaked it, something being in flight.
    pub leaked: u64,
    /// Operations that ended with EFAULT, over all these ports.
    pub memory_faults: u64,
    /// Receive buffers that were neither in the kernel's hands nor in the port's when a port ended. Counted where the kernel
    /// tells which it has (Linux 6.8 or newer).
    pub lost_buffers: u64,
    /// Ports for which such a kernel did not tell.
    pub untold: u64,
}

/// A plan that a test shares with ports. Clones are the same plan.
#[derive(Clone, Default)]
pub struct Faults {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// There may be faults: what every port looks at.
    armed: AtomicBool,
    faults: Mutex<Vec<Fault>>,
    hits: AtomicU64,
    clean: AtomicU64,
    leaked: AtomicU64,
    memory_faults: AtomicU64,
    lost_buffers: AtomicU64,
    untold: AtomicU64,
    /// Memory was told to be released early, so that EFAULT is what the test is about.
    planted: AtomicBool,
}

impl Faults {
    /// No faults yet.
    pub fn new() -> Faults {
        Faults::default()
    }

    /// Adds a fault.
    pub fn inject(&self, fault: Fault) {
        self.shared.planted.fetch_or(fault.stage == FaultStage::Memory, Ordering::AcqRel);
        self.faults().push(fault);
        self.shared.armed.store(true, Ordering::Release);
    }

    /// The causes of all faults have gone.
    pub fn lift(&self) {
        self.shared.armed.store(false, Ordering::Release);
        self.faults().clear();
    }

    /// Answers replaced, and memory released, so far.
    pub fn hits(&self) -> u64 {
        self.shared.hits.load(Ordering::Acquire)
    }

    /// How the ports of this plan ended so far. The readiness driver, which has nothing in flight ever, does not count.
    pub fn drains(&self) -> Drains {
        let count = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        let Shared { clean, leaked, memory_faults, lost_buffers, untold, .. } = &*self.shared;
        Drains {
            clean: count(clean),
            leaked: count(leaked),
            memory_faults: count(memory_faults),
            lost_buffers: count(lost_buffers),
            untold: count(untold),
        }
    }

    pub(crate) fn at_call(&self, point: FaultPoint) -> Option<i32> {
        self.take(point, FaultStage::Call)
    }

    pub(crate) fn at_result(&self, point: FaultPoint) -> Option<i32> {
        self.take(point, FaultStage::Result)
    }

    pub(crate) fn releases_early(&self, point: FaultPoint) -> bool {
        self.take(point, FaultStage::Memory).is_some()
    }

    /// `lost_buffers`: none if the kernel should have told and did not.
    #[cfg(any(target_os = "linux", windows))]
    pub(crate) fn note_drain(&self, in_flight: usize, memory_faults: u64, lost_buffers: Option<usize>) {
        let counter = if in_flight == 0 { &self.shared.clean } else { &self.shared.leaked };
        counter.fetch_add(1, Ordering::AcqRel);
        self.shared.memory_faults.fetch_add(memory_faults, Ordering::AcqRel);
        self.shared.lost_buffers.fetch_add(lost_buffers.unwrap_or(0) as u64, Ordering::AcqRel);
        self.shared.untold.fetch_add(u64::from(lost_buffers.is_none()), Ordering::AcqRel);
    }

    /// An operation has ended with EFAULT. A test that has not asked for that fails here, whatever it looks at itself.
    ///
    /// # Panics
    /// No release was planted.
    pub(crate) fn note_memory_fault(&self) {
        let expected = self.shared.planted.load(Ordering::Acquire) || std::thread::panicking();
        assert!(expected, "the kernel could not touch the memory of an operation (EFAULT)");
    }

    fn faults(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, point: FaultPoint, stage: FaultStage) -> Option<i32> {
        if !self.shared.armed.load(Ordering::Acquire) {
            return None;
        }
        let mut faults = self.faults();
        for fault in faults.iter_mut().filter(|fault| fault.point == point && fault.stage == stage) {
            if fault.spared > 0 {
                fault.spared -= 1;
            } else if fault.times > 0 {
                fault.times -= u32::from(fault.times != u32::MAX);
                self.shared.hits.fetch_add(1, Ordering::AcqRel);
                return Some(fault.code);
            }
        }
        None
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("faults", &*self.faults()).field("hits", &self.hits()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_fault_fails_a_test_that_has_not_planted_it() {
        let plan = Faults::new();
        plan.inject(Fault::new(FaultPoint::Send, FaultStage::Call, 14));
        let noted = std::panic::catch_unwind(|| plan.note_memory_fault());
        assert!(noted.is_err(), "an answer is not a plant");
        plan.inject(Fault::new(FaultPoint::Send, FaultStage::Memory, 0));
        plan.lift();
        plan.note_memory_fault();
    }

    #[test]
    fn a_fault_is_met_as_often_as_planned() {
        let faults = Faults::new();
        assert_eq!(faults.at_call(FaultPoint::Accept), None);
        faults.inject(Fault::new(FaultPoint::Accept, FaultStage::Call, 24).after(1).times(2));
        let met: Vec<Option<i32>> = (0..4).map(|_| faults.clone().at_call(FaultPoint::Accept)).collect();
        assert_eq!(met, [None, Some(24), Some(24), None]);
        assert_eq!(faults.at_result(FaultPoint::Accept), None, "another stage");
        assert_eq!(faults.at_call(FaultPoint::Send), None, "another point");
        faults.inject(Fault::new(FaultPoint::Send, FaultStage::Result, 5));
        assert_eq!((0..100).filter_map(|_| faults.at_result(FaultPoint::Send)).count(), 100);
        assert_eq!(faults.hits(), 102);
        faults.lift();
        assert_eq!(faults.at_result(FaultPoint::Send), None);
    }
}
