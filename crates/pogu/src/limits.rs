//! The limits of a service: every bound that is always on, with its unit, its reason, and what happens when it is hit.
//!
//! Limits may change while the service runs. Its workers read them on the path of every message, so each is a word of its
//! own that is read without a lock ([`LiveLimits`]); a change holds for what happens next, value by value.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};

/// What happens to a frame for which the send queue has no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SendOverflow {
    /// The session ends with [`Limit::SendBytes`](crate::Limit::SendBytes). Default: a stream with a hole is worse than
    /// a closed one.
    #[default]
    Disconnect,
    /// The new frame is dropped and counted; what is queued stays.
    DropNewest,
}

/// What happens to a session that goes over one of its rates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RateExceeded {
    /// Nothing more is received from it until it is within its rate again: TCP slows its sender down. Default. One for which
    /// that would last longer than [`Limits::delay_max`] ends.
    #[default]
    Delay,
    /// It ends, and the cause names the rate.
    Disconnect,
}

/// So much per second on average, and so much at once.
///
/// A full bucket holds `burst`; `per_second` flow in, what is used flows out. Whoever has been quiet for long enough may use
/// the whole burst at once. The last use may take more than there is: the rest is owed, and paid before the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// What flows in per second, at least 1.
    pub per_second: u32,
    /// What can be used at once after a pause, at least 1.
    pub burst: u32,
}

impl Rate {
    /// A rate whose burst is one second's worth.
    pub const fn per_second(per_second: u32) -> Rate {
        Rate { per_second, burst: per_second }
    }
}

macro_rules! limits {
    ($($(#[$document:meta])* $name:ident: $type:ty = $default:expr,)*) => {
        /// The limits of the sessions of one service. The defaults keep a server alive.
        #[derive(Clone, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub struct Limits {
            $($(#[$document])* pub $name: $type,)*
        }

        impl Default for Limits {
            fn default() -> Limits {
                Limits { $($name: $default,)* }
            }
        }

        /// [`Limits`] that may change while they are read.
        pub(crate) struct LiveLimits {
            $(pub(crate) $name: Live<$type>,)*
        }

        impl LiveLimits {
            pub(crate) fn new(limits: &Limits) -> LiveLimits {
                LiveLimits { $($name: Live::new(limits.$name),)* }
            }

            pub(crate) fn replace(&self, limits: &Limits) {
                $(self.$name.set(limits.$name);)*
            }

            pub(crate) fn copy(&self) -> Limits {
                Limits { $($name: self.$name.get(),)* }
            }
        }
    };
}

limits! {
    /// Sessions at one time, connecting and ending ones included. Above it a connection is refused. Default 10,000.
    sessions_max: usize = 10_000,
    /// Bytes queued to be sent per session, charged from `send` until they have left: each frame with its header, and
    /// [`FRAME_OVERHEAD_BYTES`](crate::FRAME_OVERHEAD_BYTES) for its entry, or
    /// [`LARGE_FRAME_OVERHEAD_BYTES`](crate::LARGE_FRAME_OVERHEAD_BYTES) if it is above 1,024 bytes. At the bound
    /// [`Limits::send_overflow`] decides. Default 256 KiB.
    send_bytes_max: usize = 256 * 1024,
    /// What happens at [`Limits::send_bytes_max`].
    send_overflow: SendOverflow = SendOverflow::Disconnect,
    /// How long the oldest unsent byte may wait before the session ends. What has left is known batch by batch, of 64 KiB or
    /// one larger frame. Default 10 s.
    send_age_max: Duration = Duration::from_secs(10),
    /// How long a connection may take until its first whole frame has come, however its bytes trickle. For services whose
    /// clients speak first; many clients only listen. Default `None`.
    first_frame_timeout: Option<Duration> = None,
    /// How long a frame may stay unfinished after its first byte, however its bytes trickle. Default 10 s.
    frame_timeout: Duration = Duration::from_secs(10),
    /// How long a session may be silent in both directions. Heartbeats of ours do not count as speaking, answers to them do.
    /// This clock, those of frames and those of heartbeats stand still while nothing is received because the session does
    /// not read its answers or is delayed; what it does not read ages on ([`Limits::send_age_max`]). This one stands still, too,
    /// while handlers [on a pool](crate::Jobs::pooled) have something of the session to do. Default 60 s.
    idle_timeout: Duration = Duration::from_secs(60),
    /// How long an ending session may take to have what came before handled [on a pool](crate::Jobs::pooled), if that is
    /// where its handlers run, to flush what was sent, and to wait for the peer's end of stream. Then it is reset. Default 5 s.
    linger_timeout: Duration = Duration::from_secs(5),
    /// How long a client service waits for a connection. Default 10 s.
    connect_timeout: Duration = Duration::from_secs(10),
    /// Refused connections that may linger at one time per worker, so that the reason reaches them. Further ones are
    /// reset at once. Default 256.
    lingering_refusals_max: usize = 256,
    /// Connections that a client service opens at one time per worker, so that a large one does not overrun its server's
    /// backlog. First ones stand in line; those of [`Reconnect`](crate::Reconnect) are put off. Default 128.
    connects_in_flight_max: usize = 128,
    /// Connections at one time from one address (IPv6: from one /64, which is what one customer has). One more is reset at
    /// once and counted; who is refused otherwise counts until it is gone. Where neither this nor
    /// [`Limits::connection_rate_per_address`] was set, setting it on a running service counts newcomers only. Default
    /// `None`: behind one address may be an internet cafe.
    connections_per_address_max: Option<u32> = None,
    /// New connections from one address (IPv6: /64). One that comes too soon is reset at once and counted. Default `None`.
    connection_rate_per_address: Option<Rate> = None,
    /// Frames received per session. Default `None`.
    message_rate: Option<Rate> = None,
    /// Bytes of whole frames received per session. Default `None`.
    byte_rate: Option<Rate> = None,
    /// What handlers charge with [`Context::charge`](crate::Context::charge), in units of the user's choice. Default `None`.
    cost_rate: Option<Rate> = None,
    /// How long a session may be delayed by its rates without a break; then it ends, and the cause names the rate. While it is
    /// delayed nothing is received from it, so that its peer has gone is not seen either. Default 10 min.
    delay_max: Duration = Duration::from_secs(600),
    /// What happens at [`Limits::message_rate`], [`Limits::byte_rate`] and [`Limits::cost_rate`]. Default: delay.
    rate_exceeded: RateExceeded = RateExceeded::Delay,
}

impl Limits {
    /// Refuses values that make no sense.
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |field, value: String, allowed| Err(Error::Configuration { field, value, allowed });
        let counts = [
            ("sessions_max", self.sessions_max),
            ("send_bytes_max", self.send_bytes_max),
            ("connects_in_flight_max", self.connects_in_flight_max),
            ("connections_per_address_max", self.connections_per_address_max.map_or(1, |count| count as usize)),
        ];
        let timeouts = [
            ("send_age_max", Some(self.send_age_max)),
            ("first_frame_timeout", self.first_frame_timeout),
            ("frame_timeout", Some(self.frame_timeout)),
            ("idle_timeout", Some(self.idle_timeout)),
            ("connect_timeout", Some(self.connect_timeout)),
            ("delay_max", Some(self.delay_max)),
        ];
        let rates = [
            ("connection_rate_per_address", self.connection_rate_per_address),
            ("message_rate", self.message_rate),
            ("byte_rate", self.byte_rate),
            ("cost_rate", self.cost_rate),
        ];
        if let Some((field, count)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return refuse(field, count.to_string(), "1 or more");
        }
        if let Some((field, _)) = timeouts.into_iter().find(|(_, timeout)| timeout.is_some_and(|time| time.is_zero())) {
            return refuse(field, "0".to_owned(), "more than 0");
        }
        let empty = |rate: &Rate| rate.per_second == 0 || rate.burst == 0;
        match rates.into_iter().find(|(_, rate)| rate.as_ref().is_some_and(empty)) {
            Some((field, rate)) => refuse(field, format!("{rate:?}"), "1 or more per second and at once"),
            None => Ok(()),
        }
    }
}

/// A value that fits a word.
pub(crate) trait Word: Copy {
    fn to_word(self) -> u64;
    fn from_word(word: u64) -> Self;
}

/// One value that may change while it is read. Readers may see two values of one change at different times.
pub(crate) struct Live<T> {
    word: AtomicU64,
    value: PhantomData<T>,
}

impl<T: Word> Live<T> {
    fn new(value: T) -> Live<T> {
        Live { word: AtomicU64::new(value.to_word()), value: PhantomData }
    }

    pub(crate) fn get(&self) -> T {
        T::from_word(self.word.load(Ordering::Relaxed))
    }

    fn set(&self, value: T) {
        self.word.store(value.to_word(), Ordering::Relaxed);
    }
}

impl Word for usize {
    fn to_word(self) -> u64 {
        self as u64
    }

    fn from_word(word: u64) -> usize {
        usize::try_from(word).unwrap_or(usize::MAX)
    }
}

/// No value of ours takes the whole word: durations end at 2^64 - 2 nanoseconds (584 years), rates have a `burst` below 2^32.
const NONE: u64 = u64::MAX;

impl Word for Duration {
    fn to_word(self) -> u64 {
        u64::try_from(self.as_nanos()).unwrap_or(NONE).min(NONE - 1)
    }

    fn from_word(word: u64) -> Duration {
        Duration::from_nanos(word)
    }
}

impl Word for u32 {
    fn to_word(self) -> u64 {
        u64::from(self)
    }

    fn from_word(word: u64) -> u32 {
        u32::try_from(word).unwrap_or(u32::MAX)
    }
}

impl Word for Rate {
    fn to_word(self) -> u64 {
        (u64::from(self.per_second) << 32 | u64::from(self.burst)).min(NONE - 1)
    }

    fn from_word(word: u64) -> Rate {
        Rate { per_second: u32::from_word(word >> 32), burst: u32::from_word(word & u64::from(u32::MAX)) }
    }
}

impl<T: Word> Word for Option<T> {
    fn to_word(self) -> u64 {
        self.map_or(NONE, T::to_word)
    }

    fn from_word(word: u64) -> Option<T> {
        (word != NONE).then(|| T::from_word(word))
    }
}

impl Word for SendOverflow {
    fn to_word(self) -> u64 {
        u64::from(self == SendOverflow::DropNewest)
    }

    fn from_word(word: u64) -> SendOverflow {
        if word == 0 { SendOverflow::Disconnect } else { SendOverflow::DropNewest }
    }
}

impl Word for RateExceeded {
    fn to_word(self) -> u64 {
        u64::from(self == RateExceeded::Disconnect)
    }

    fn from_word(word: u64) -> RateExceeded {
        if word == 0 { RateExceeded::Delay } else { RateExceeded::Disconnect }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_what_is_read() {
        let mut limits = Limits::default();
        let live = LiveLimits::new(&limits);
        assert_eq!(live.copy(), limits);
        limits.sessions_max = 7;
        limits.send_overflow = SendOverflow::DropNewest;
        limits.first_frame_timeout = Some(Duration::from_millis(3));
        limits.idle_timeout = Duration::from_secs(7 * 86_400);
        limits.connections_per_address_max = Some(u32::MAX);
        limits.message_rate = Some(Rate { per_second: u32::MAX, burst: 1 });
        limits.byte_rate = Some(Rate { per_second: 1, burst: u32::MAX });
        limits.rate_exceeded = RateExceeded::Disconnect;
        live.replace(&limits);
        assert_eq!(live.copy(), limits);
    }

    #[test]
    fn the_longest_duration_stays_a_duration() {
        let longest = Duration::from_word(Duration::MAX.to_word());
        assert!(longest > Duration::from_secs(500 * 365 * 86_400));
        assert_eq!(Option::<Duration>::from_word(Some(Duration::MAX).to_word()), Some(longest));
    }

    #[test]
    fn values_without_sense_are_refused_by_name() {
        let refused = |change: fn(&mut Limits)| {
            let mut limits = Limits::default();
            change(&mut limits);
            limits.check().expect_err("it makes no sense").to_string()
        };
        assert_eq!(refused(|limits| limits.sessions_max = 0), "sessions_max is 0, allowed is 1 or more");
        assert_eq!(refused(|limits| limits.idle_timeout = Duration::ZERO), "idle_timeout is 0, allowed is more than 0");
        assert!(refused(|limits| limits.byte_rate = Some(Rate::per_second(0))).starts_with("byte_rate is "));
        assert!(Limits::default().check().is_ok());
    }
}
