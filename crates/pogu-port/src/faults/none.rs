//! Without the feature: no faults, and nothing left of the questions.

use super::FaultPoint;

/// No plan.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults(());

impl Faults {
    #[inline(always)]
    pub(crate) const fn at_call(&self, _point: FaultPoint) -> Option<i32> {
        None
    }

    #[inline(always)]
    pub(crate) const fn at_result(&self, _point: FaultPoint) -> Option<i32> {
        None
    }

    #[inline(always)]
    pub(crate) const fn releases_early(&self, _point: FaultPoint) -> bool {
        false
    }

    #[inline(always)]
    pub(crate) const fn note_memory_fault(&self) {}

    #[inline(always)]
    #[cfg(any(target_os = "linux", windows))]
    pub(crate) const fn note_drain(&self, _in_flight: usize, _memory_faults: u64, _lost_buffers: Option<usize>) {}
}
