//! How often each class of fault was met.

use std::fmt;
use std::ops::AddAssign;

macro_rules! classes {
    ($($(#[$documentation:meta])* $class:ident = $name:literal,)*) => {
        /// A class of fault. For each chance of [`Faults`](super::Faults) there is one of its name, and one for each bounded
        /// queue.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[non_exhaustive]
        pub enum FaultClass {
            $($(#[$documentation])* $class,)*
        }

        impl FaultClass {
            /// All of them.
            pub const ALL: &'static [FaultClass] = &[$(FaultClass::$class),*];

            /// Its name, which is that of its knob.
            pub fn name(self) -> &'static str {
                match self {
                    $(FaultClass::$class => $name,)*
                }
            }
        }
    };
}

classes! {
    /// A segment took longer.
    Delay = "delays",
    /// A connection's way was longer.
    SlowPath = "slow_paths",
    /// A segment let those of others pass.
    OvertakenSegment = "overtaken_segments",
    /// A connection was reset on its way.
    Reset = "resets",
    /// A connection's state was lost on its way.
    HalfOpen = "half_open",
    /// A partition began.
    Partition = "partitions",
    /// The answer to a request to connect was lost.
    LostAnswer = "lost_answers",
    /// ECONNREFUSED.
    ConnectRefused = "connects_refused",
    /// EHOSTUNREACH.
    ConnectUnreachable = "connects_unreachable",
    /// No answer at all.
    ConnectTimedOut = "connects_timed_out",
    /// EADDRNOTAVAIL.
    ConnectWithoutAddress = "connects_without_address",
    /// EMFILE for the socket of a connect.
    SocketRefused = "sockets_refused",
    /// ECONNABORTED.
    AcceptAborted = "accepts_aborted",
    /// One accept failed for want of something.
    AcceptRefused = "accepts_refused",
    /// An accept failed in a lasting shortage.
    DescriptorShortage = "descriptor_shortages",
    /// Completions came in another order.
    ShuffledTurn = "shuffled_turns",
    /// A completion waited for a later turn.
    HeldCompletion = "held_completions",
    /// A send took a part.
    ShortSend = "short_sends",
    /// A send waited although there was room.
    HeldSend = "held_sends",
    /// A receive brought a part.
    ShortReceive = "short_receives",
    /// A multishot receive ended by itself.
    EndedMultishot = "ended_multishots",
    /// A receive was told that there is no buffer.
    EmptyPool = "empty_pools",
    /// A receive found that no buffer was left of those that the knob allows.
    ExhaustedPool = "receive_buffers_max",
    /// A completion did not fit the queue.
    Overflow = "completion_entries_max",
    /// A cancelled operation came back late.
    LateCancel = "late_cancels",
    /// A cancel lost the race.
    LostCancel = "lost_cancels",
    /// A send failed.
    SendError = "send_errors",
    /// A receive failed.
    ReceiveError = "receive_errors",
    /// A port was woken late.
    LateWake = "late_wakes",
    /// A port's thread was held up.
    Pause = "pauses",
    /// A wait ended late.
    LateWait = "late_waits",
    /// Workers had their turns in another order.
    ShuffledRound = "shuffled_rounds",
    /// A task of a pool waited for a thread.
    HeldTask = "held_tasks",
}

/// How often each class of fault was met. Those of several runs can be added.
#[derive(Clone, PartialEq, Eq)]
pub struct FaultCounts([u64; FaultClass::ALL.len()]);

impl Default for FaultCounts {
    fn default() -> FaultCounts {
        FaultCounts([0; FaultClass::ALL.len()])
    }
}

impl FaultCounts {
    /// How often faults of this class were met.
    pub fn of(&self, class: FaultClass) -> u64 {
        self.0.get(class as usize).copied().unwrap_or(0)
    }

    /// Every class by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        FaultClass::ALL.iter().map(|class| (class.name(), self.of(*class)))
    }

    /// All faults together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn count(&mut self, class: FaultClass) {
        if let Some(count) = self.0.get_mut(class as usize) {
            *count += 1;
        }
    }
}

impl AddAssign<&FaultCounts> for FaultCounts {
    fn add_assign(&mut self, other: &FaultCounts) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }
}

impl fmt::Debug for FaultCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultCounts({self})")
    }
}

/// Those that were met, on one line.
impl fmt::Display for FaultCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, count) in self.iter().filter(|(_, count)| *count > 0) {
            write!(f, "{separator}{name} {count}")?;
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Faults;
    use super::*;

    #[test]
    fn every_class_has_the_name_of_a_knob_and_every_chance_a_class() {
        let classes: Vec<_> = FaultClass::ALL.iter().map(|class| class.name()).collect();
        assert!(classes.iter().all(|name| Faults::KNOBS.contains(name)));
        for name in Faults::KNOBS.iter().filter(|name| !name.ends_with("_max")) {
            assert!(classes.contains(name), "{name}");
        }
    }

    #[test]
    fn counts_of_several_runs_are_added_and_worded() {
        let mut counts = FaultCounts::default();
        assert_eq!(counts.to_string(), "none");
        counts.count(FaultClass::Reset);
        let mut sum = counts.clone();
        sum += &counts;
        assert_eq!((sum.of(FaultClass::Reset), sum.total(), sum.iter().count()), (2, 2, FaultClass::ALL.len()));
        assert_eq!(sum.to_string(), "resets 2");
    }
}
