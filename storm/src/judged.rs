//! What storms have come to a judgement on, and how often: a check that never judges finds nothing, and nobody misses it.
//!
//! A check counts where both outcomes were possible: something came that might not have, or that was not the right thing.
//! Where it was excused, or nobody was there to look, it does not count.

/// Defines the checks, and the list of them, once.
macro_rules! checks {
    ($($(#[$what:meta])* $check:ident = $name:literal, $least:literal;)*) => {
        /// Something that storms judge.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Check {
            $($(#[$what])* $check,)*
        }

        impl Check {
            /// All of them.
            pub const ALL: &'static [Check] = &[$(Check::$check),*];

            /// Its name in tables.
            pub fn name(self) -> &'static str {
                match self {
                    $(Check::$check => $name,)*
                }
            }

            /// How often a thousand small seeds judge it at least: about half of what the first do, and less where few are met.
            pub fn least_per_thousand(self) -> u64 {
                match self {
                    $(Check::$check => $least,)*
                }
            }
        }
    };
}

checks! {
    /// An answer that was waited for came in its turn.
    Answer = "answers", 170_000;
    /// A stream was finished in good order: all of it came.
    WholeStream = "whole streams", 9_000;
    /// A join was acknowledged.
    Join = "joins", 13_000;
    /// A broadcast came to a member.
    Broadcast = "broadcasts", 75_000;
    /// A last word in a room came, before the end.
    LastWord = "last words", 400;
    /// A packet of another session came.
    Forward = "forwards", 13_000;
    /// What the owner says to everybody came.
    Announcement = "announcements", 9_000;
    /// A list of sessions named those who were there.
    List = "lists", 3_500;
    /// A closure ran in the session that it was posted to.
    Visit = "closures", 4_500;
    /// The state of a room saw a join that it was to see.
    StateJoin = "joins that states saw", 7_500;
    /// A closure ran in the state of a room, behind the joins and leaves before it.
    StateVisit = "closures in states", 2_000;
    /// A room whose state had panicked was seen again from the next one on.
    StateAgain = "states after a panic", 1;
    /// The timer of a session fired.
    Timer = "timers", 11_000;
    /// The timer of a room fired.
    RoomTimer = "timers of rooms", 2_500;
    /// A frame that had nothing in its way came within its window.
    Window = "windows", 1_500;
    /// A job ran in its turn.
    Job = "jobs", 40_000;
    /// A job ran late, because its pool was.
    LateJob = "late jobs", 3_000;
    /// The answer of a job queue came.
    JobAnswer = "answers of jobs", 15_000;
    /// A frame was refused, or ended its session, for a queue that can have been full.
    FullQueue = "full queues", 1_000;
    /// A message was refused in a core whose inboxes are small.
    FullInbox = "full inboxes", 150;
}

/// How often each check has judged. Those of several storms can be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Judged([u64; Check::ALL.len()]);

impl Default for Judged {
    fn default() -> Judged {
        Judged([0; Check::ALL.len()])
    }
}

impl Judged {
    /// How often this one has.
    pub fn of(&self, check: Check) -> u64 {
        self.0.get(check as usize).copied().unwrap_or(0)
    }

    /// Every check.
    pub fn iter(&self) -> impl Iterator<Item = (Check, u64)> {
        Check::ALL.iter().map(|check| (*check, self.of(*check)))
    }

    pub(crate) fn count(&mut self, check: Check) {
        self.add(check, 1);
    }

    pub(crate) fn add(&mut self, check: Check, times: u64) {
        if let Some(count) = self.0.get_mut(check as usize) {
            *count += times;
        }
    }

    /// Adds another storm's.
    pub(crate) fn add_all(&mut self, other: &Judged) {
        other.iter().for_each(|(check, times)| self.add(check, times));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_counts_for_itself_and_storms_are_added() {
        let mut judged = Judged::default();
        judged.count(Check::List);
        let mut sum = judged;
        sum.add_all(&judged);
        assert_eq!((sum.of(Check::List), sum.of(Check::Answer)), (2, 0));
        assert_eq!(sum.iter().map(|(_, times)| times).sum::<u64>(), 2);
        assert!(Check::ALL.iter().all(|check| check.least_per_thousand() > 0));
    }
}
