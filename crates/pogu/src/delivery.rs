//! When a frame leaves, and what may take its place before it does.
//!
//! A gather send costs a system call's worth of time however small it is, and a room of fifty makes fifty of them for each
//! packet that leaves at once. So a frame may wait for company, for a *window* that the sender names; and a frame that tells a
//! state may give its place to a newer one, so that a slow reader gets the present instead of a backlog.
//!
//! ```text
//!   sent      all 1   key 1: here   key 2   key 1: there   event   all 2
//!   quick     all 1   key 1: here   key 2   key 1: there   event   all 2
//!   slow      all 1                 key 1: there   key 2   event   all 2       it reads when all of them wait
//! ```
//!
//! What may be replaced has less order than the rest. Frames that may not be replaced reach a session in the order in which they
//! were sent; what was sent before one of them is heard before it or never, what was sent after it after it. So do the frames of
//! one key, or of one class, among each other. But between two frames that may not be replaced, a [`latest`](Delivery::latest)
//! one has the turn of the first that it stands for: whoever reads slowly may hear it before what was sent in between.

use std::time::Duration;

/// The longest window. A longer one is taken for this: what waits longer belongs into a timer of the user's.
pub const WINDOW_MAX: Duration = Duration::from_secs(4);

/// How a frame is delivered. [`Delivery::PROMPT`] unless something else is asked for.
///
/// ```
/// use std::time::Duration;
/// use pogu::Delivery;
///
/// let chat = Delivery::within(Duration::from_millis(10));
/// let position_of_entity_7 = chat.latest(7);
/// let damage_numbers = chat.newest(1, 20);
/// assert_eq!(Delivery::default(), Delivery::PROMPT);
/// # assert_ne!(position_of_entity_7, damage_numbers);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Delivery {
    window: Duration,
    pub(crate) keep: Keep,
}

/// What may take the place of a frame that waits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Keep {
    All,
    /// A newer one of the same key.
    Latest(u64),
    /// Of a class so many newest wait.
    Newest {
        class: u8,
        frames_max: u16,
    },
}

impl Delivery {
    /// It leaves at the end of the turn, with everything else that waits for the session.
    pub const PROMPT: Delivery = Delivery { window: Duration::ZERO, keep: Keep::All };

    /// It leaves at once if nothing was sent to the session for one window; else with the next flush, at the latest when one
    /// window, and the [latency budget](crate::CoreBuilder::latency_budget) of the core, have passed since the last. A prompt frame
    /// takes it along, and so do 16 KiB or 128 frames that wait. Windows above [`WINDOW_MAX`] are taken for that.
    pub const fn within(window: Duration) -> Delivery {
        let window = if window.as_nanos() > WINDOW_MAX.as_nanos() { WINDOW_MAX } else { window };
        Delivery { window, keep: Keep::All }
    }

    /// A newer frame of the same `key` takes its place as long as it has not begun to leave. It keeps its turn in the queue, but
    /// never overtakes a frame that may not be replaced. Keys are of one session: 64 bits of your own, an entity's number, say.
    ///
    /// It may overtake others that may be replaced, of another key or of a class, where they wait: two members of a room may
    /// hear `here` of one key and `there` of another in two orders. What has to be heard in one is sent under one key, or may not
    /// be replaced.
    ///
    /// It begins to leave when the kernel takes it. So a slow reader first hears what the kernel holds for it, which can be
    /// megabytes, and then the present: bound that by [`StreamOptions::send_buffer_bytes`](crate::StreamOptions::send_buffer_bytes).
    pub const fn latest(self, key: u64) -> Delivery {
        Delivery { keep: Keep::Latest(key), ..self }
    }

    /// Of the frames of `class` that have not begun to leave, the newest `frames_max` (at least one) are kept; the oldest give way
    /// to one more. Where frames of a class name different numbers, that of the last one counts. They overtake nothing: two
    /// members of a room hear those that come to them in one order, but may miss others.
    pub const fn newest(self, class: u8, frames_max: u16) -> Delivery {
        let frames_max = if frames_max == 0 { 1 } else { frames_max };
        Delivery { keep: Keep::Newest { class, frames_max }, ..self }
    }

    /// How long it may wait for company; zero: not at all.
    pub const fn window(self) -> Duration {
        self.window
    }
}

impl Default for Delivery {
    fn default() -> Delivery {
        Delivery::PROMPT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_brought_into_its_range() {
        assert_eq!(Delivery::within(Duration::MAX).window(), WINDOW_MAX);
        assert_eq!(Delivery::PROMPT.newest(3, 0).keep, Keep::Newest { class: 3, frames_max: 1 });
    }
}
