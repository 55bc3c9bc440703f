//! Bugs that are planted, to see whether storms find them.
//!
//! Thousands of seeds without a failure say nothing as long as nobody knows what a failure would take. So the mistakes that
//! people make in servers on completions stand in the code, each at the place where it would be made, behind a question:
//!
//! ```text
//!   storm's thread:  with(DoubleRearm, || storm of seed 0, 1, 2, ...)      one at a time, in this thread alone
//!   driver, engine:  if plant::is(Plant::DoubleRearm) { the mistake }      reading the site shows what would be wrong
//! ```
//!
//! Only the crate feature `planted` gives the question an answer. In every other build it is a constant `false`, and nothing of
//! the mistakes is compiled. Above the simulated driver they are those of the engine; the drivers of the system have none, for
//! no storm reaches them.

#[cfg(feature = "planted")]
mod switch;

#[cfg(feature = "planted")]
pub use switch::{is, sown, with};

/// Without the feature: no bug is planted, and nothing left of the question.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn is(_plant: Plant) -> bool {
    false
}

/// Defines the plants, and the list of them, once.
macro_rules! plants {
    ($($plant:ident = $mistake:literal,)*) => {
        /// A mistake that can be switched on. See the [module](self).
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Plant {
            $(#[doc = $mistake] $plant,)*
        }

        impl Plant {
            /// All of them: the drivers' first, then the engine's.
            pub const ALL: &'static [Plant] = &[$(Plant::$plant),*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Plant::$plant => stringify!($plant),)*
                }
            }

            /// What is wrong when it is switched on, in one sentence.
            pub const fn mistake(self) -> &'static str {
                match self {
                    $(Plant::$plant => $mistake,)*
                }
            }
        }
    };
}

plants! {
    // ---- The port ----
    DoubleRearm = "A receive is armed again while the cancel of the one before is on its way.",
    IgnoredMore = "A multishot receive that has ended with its last bytes counts as armed.",
    BelievedCancel = "A receive counts as back as soon as it was asked back.",
    LostCancel = "An abort asks for the receive back, and not for the send.",
    EarlyRelease = "The buffer of bytes that nobody wants any more is released at once, and once more with its completion.",
    StarvedForGood = "A receive that found no buffer is not armed again when buffers are back.",
    EndBeforeRest = "The end of the stream is delivered before the bytes that are kept.",
    RestDropped = "Bytes that the receiver did not consume are dropped if it has paused meanwhile.",
    ShortSendTaken = "A short send is taken for a whole one.",
    AcceptNotRearmed = "An accept whose client was reset in the backlog is not armed again.",
    PauseForGood = "A listener that waits for the end of a shortage is not looked at again when it is over.",
    MissedWake = "A port that finds something in its inbox on its way to sleep sleeps all the same.",
    SkippedGeneration = "A slot is used again under the generation that it had.",
    // ---- The engine ----
    TwoSendsInFlight = "A session sends again while its last send is in flight.",
    WaitingForgotten = "What was queued behind a send in flight does not leave when that has left.",
    Uncharged = "A large frame is not charged where it enters the queue.",
    ForgottenCharge = "A large frame that has left stays charged with a part of what it was charged.",
    FullAtHalf = "A send queue that is half full says that there is no room.",
    CloseBeforeFlush = "The write side is shut while frames wait behind a send in flight.",
    CloseWithoutDrain = "A connection is closed as soon as its write side is shut, whatever the peer still sends.",
    SpareNotEmptied = "The memory of an unfinished frame is given to the next session with what is in it.",
    ReplyToReusedSlot = "A packet from another worker goes to whoever has the slot now.",
    ForgottenPlace = "A connection that the factory refuses keeps its place in the service.",
    OvertakingMail = "A message between workers that finds room overtakes those that wait for it.",
    JoinRefused = "A join is refused now and then, though there is room.",
    JoinAcknowledgedEarly = "A join is acknowledged by the answer to an earlier one of the same session and room.",
    MemberCountedOnce = "The home of a room counts all members of a worker as one.",
    MovedMemberLost = "The member that takes the place of one that leaves a room is not told its new place.",
    MovedNowhere = "A move leaves the one room, and does not ask to join the other.",
    StateSpeaksFirst = "The state of a room is told of a member before the member's worker is.",
    EndUntold = "The home of a room is not told of a member that has ended.",
    OrderlessNearby = "A broadcast without order goes to the members in the speaker's worker alone.",
    ExceptedNamesake = "Whoever has the name of the one who is left out is left out in every worker.",
    FilterOfFirst = "A filter is asked about the first member, and its answer is taken for all.",
    FenceIgnored = "A newer frame takes the place of an older one also where a plain one waits between them.",
    BacklogOvertaken = "A plain frame goes past those that wait to be replaced.",
    UncountedReplaced = "A frame that gives its place to a newer one is not counted.",
    ForgottenInWindow = "A session whose window has ended still counts as one that waits for its end.",
    EarlyTick = "A timer is due at the begin of the millisecond that its time falls into.",
    CancelledFires = "A timer that is cancelled is counted as cancelled, and fires.",
    ReplacedTimerFires = "The timer of a room that is set anew fires at its old time as well.",
    KeptStateDropped = "The state of a room that stays is dropped with its last member.",
    ToldAndEnded = "A worker that stops ends its sessions in the turn in which it told them.",
    HomeEndsFirst = "A worker that stops does not wait for members of rooms whose home it is.",
    ListWithoutLast = "A list of sessions leaves out those of the last worker.",
    QueueForgotten = "A job queue whose time is up while jobs wait is not handed out again.",
    DelayedJobEarly = "A delayed job is due at the begin of the millisecond that its time falls into.",
    CancelledJobStays = "A delayed job that is taken back loses its appointment, and stays in its queue.",
    DroppedJobUncounted = "A job that is dropped for a newer one is not counted.",
    RefusedIsAnswered = "A question that a job queue refuses is answered as well.",
    AnswerDropped = "An answer that finds the inbox of its session's worker full is dropped.",
}
