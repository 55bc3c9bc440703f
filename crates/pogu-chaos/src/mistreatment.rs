//! How badly.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How badly a proxy treats connections. The default is a bad path with a short temper; [`Mistreatment::gentle`] is none.
///
/// As text it is a list of what differs from the default: `delay_ms=5,piece_bytes_max=1,resets_per_minute=6`, or `gentle` and
/// then what differs from that.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Mistreatment {
    /// How long a piece is held back at least, and at most this and `jitter` less. Default 20 ms.
    pub delay: Duration,
    /// A piece is held back for `delay` and a drawn time from minus to plus this; it never overtakes. Default 20 ms.
    pub jitter: Duration,
    /// The smallest piece that is sent by itself, in bytes. Default 1.
    pub piece_bytes_min: usize,
    /// The largest, in bytes. Default 512: most game packets are cut, none is sure not to be.
    pub piece_bytes_max: usize,
    /// How often one direction of one connection stands still, per minute. Default 2.
    pub stalls_per_minute: f64,
    /// For how long at most. Default 500 ms, far below the time that a server gives a frame.
    pub stall: Duration,
    /// How often a connection is reset, per minute of its life. Default 0.5: in half a minute about one in five.
    pub resets_per_minute: f64,
    /// How often one direction is shut in good order, per minute of a connection's life; every other time the other end is
    /// reset with it. Default 0.5.
    pub half_closes_per_minute: f64,
    /// Bytes that one direction may hold; at the bound nothing is received for it. Default 64 KiB. What is received at one time
    /// costs 64 bytes more.
    pub waiting_bytes_max: usize,
    /// Pairs of connections at one time; one more client is reset. Default 20,000.
    pub pairs_max: usize,
    /// What decides everything that is drawn. Default 1.
    pub seed: u64,
}

impl Default for Mistreatment {
    fn default() -> Mistreatment {
        Mistreatment {
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(20),
            piece_bytes_min: 1,
            piece_bytes_max: 512,
            stalls_per_minute: 2.0,
            stall: Duration::from_millis(500),
            resets_per_minute: 0.5,
            half_closes_per_minute: 0.5,
            waiting_bytes_max: 64 * 1024,
            pairs_max: 20_000,
            seed: 1,
        }
    }
}

/// A text that is no mistreatment: one sentence.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KnobError {
    /// There is no knob of this name.
    #[error("there is no knob '{0}' (knobs are {KNOBS})")]
    Unknown(String),
    /// Its value cannot be that.
    #[error("the knob {knob} cannot be '{value}': expected {expected}")]
    Value {
        /// Which.
        knob: String,
        /// What it was to be.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
    /// The smallest piece is larger than the largest.
    #[error("the smallest piece of {min} bytes is larger than the largest of {max}")]
    Pieces {
        /// The smallest.
        min: usize,
        /// The largest.
        max: usize,
    },
}

const KNOBS: &str = "delay_ms, jitter_ms, piece_bytes_min, piece_bytes_max, stalls_per_minute, stall_ms, \
     resets_per_minute, half_closes_per_minute, waiting_bytes_max, pairs_max, seed";

/// An hour: nothing that is tested waits for so long.
const MILLISECONDS_MAX: u64 = 3_600_000;

/// A thousand a second: more of anything per minute is a mistake.
const PER_MINUTE_MAX: f64 = 60_000.0;

/// A gibibyte.
const BYTES_MAX: u64 = 1 << 30;

impl Mistreatment {
    /// None at all: bytes are passed on when they come, and as they come.
    pub fn gentle() -> Mistreatment {
        Mistreatment {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            piece_bytes_min: usize::MAX,
            piece_bytes_max: usize::MAX,
            stalls_per_minute: 0.0,
            stall: Duration::ZERO,
            resets_per_minute: 0.0,
            half_closes_per_minute: 0.0,
            ..Mistreatment::default()
        }
    }

    fn turn(&mut self, knob: &str, value: &str) -> Result<(), KnobError> {
        let refuse = |expected| KnobError::Value { knob: knob.to_owned(), value: value.to_owned(), expected };
        let whole = |least, most, expected| {
            value.parse::<u64>().ok().filter(|number| (least..=most).contains(number)).ok_or_else(|| refuse(expected))
        };
        let milliseconds =
            || whole(0, MILLISECONDS_MAX, "whole milliseconds up to 3,600,000").map(Duration::from_millis);
        let bytes = || {
            let number = whole(1, BYTES_MAX, "whole bytes from 1 to 1,073,741,824")?;
            Ok(usize::try_from(number).unwrap_or(usize::MAX))
        };
        let per_minute = || {
            let number = value.parse::<f64>().ok().filter(|number| (0.0..=PER_MINUTE_MAX).contains(number));
            number.ok_or_else(|| refuse("a number from 0 to 60,000"))
        };
        match knob {
            "delay_ms" => self.delay = milliseconds()?,
            "jitter_ms" => self.jitter = milliseconds()?,
            "piece_bytes_min" => self.piece_bytes_min = bytes()?,
            "piece_bytes_max" => self.piece_bytes_max = bytes()?,
            "stalls_per_minute" => self.stalls_per_minute = per_minute()?,
            "stall_ms" => self.stall = milliseconds()?,
            "resets_per_minute" => self.resets_per_minute = per_minute()?,
            "half_closes_per_minute" => self.half_closes_per_minute = per_minute()?,
            "waiting_bytes_max" => self.waiting_bytes_max = bytes()?,
            "pairs_max" => {
                self.pairs_max = usize::try_from(whole(1, 500_000, "1 to 500,000")?).unwrap_or(usize::MAX);
            }
            "seed" => self.seed = whole(0, u64::MAX, "a whole number")?,
            _ => return Err(KnobError::Unknown(knob.to_owned())),
        }
        Ok(())
    }
}

impl FromStr for Mistreatment {
    type Err = KnobError;

    fn from_str(text: &str) -> Result<Mistreatment, KnobError> {
        let mut words = text.split(',').map(str::trim).filter(|word| !word.is_empty()).peekable();
        let mut mistreatment = match words.next_if_eq(&"gentle") {
            Some(_) => Mistreatment::gentle(),
            None => Mistreatment::default(),
        };
        let mut smallest_named = false;
        for word in words {
            let (knob, value) = word.split_once('=').ok_or_else(|| KnobError::Unknown(word.to_owned()))?;
            mistreatment.turn(knob, value)?;
            smallest_named |= knob == "piece_bytes_min";
        }
        let (min, max) = (mistreatment.piece_bytes_min, mistreatment.piece_bytes_max);
        match min > max {
            true if smallest_named => return Err(KnobError::Pieces { min, max }),
            // Gentle pieces are as large as can be, until somebody says how large they may be.
            true => mistreatment.piece_bytes_min = 1,
            false => {}
        }
        Ok(mistreatment)
    }
}

impl fmt::Display for Mistreatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (delay, jitter) = (self.delay.as_millis(), self.jitter.as_millis());
        write!(f, "delay {delay} ms +- {jitter} ms, ")?;
        match self.piece_bytes_max {
            usize::MAX => write!(f, "whole pieces")?,
            most => write!(f, "pieces of {} to {most} bytes", self.piece_bytes_min)?,
        }
        write!(f, ", per minute {} stalls of up to {} ms", self.stalls_per_minute, self.stall.as_millis())?;
        write!(f, ", {} resets, {} half-closes", self.resets_per_minute, self.half_closes_per_minute)?;
        write!(f, ", seed {}", self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Mistreatment, String> {
        text.parse().map_err(|error: KnobError| error.to_string())
    }

    #[test]
    fn what_is_named_differs_from_the_default() {
        assert_eq!(read(""), Ok(Mistreatment::default()));
        let named = read("delay_ms=5, piece_bytes_max=1,resets_per_minute=6.5,seed=9");
        let delay = Duration::from_millis(5);
        let expected =
            Mistreatment { delay, piece_bytes_max: 1, resets_per_minute: 6.5, seed: 9, ..Mistreatment::default() };
        assert_eq!(named, Ok(expected));
    }

    #[test]
    fn gentle_can_be_made_less_gentle() {
        assert_eq!(read("gentle"), Ok(Mistreatment::gentle()));
        let cut_small = Mistreatment { piece_bytes_min: 1, piece_bytes_max: 3, ..Mistreatment::gentle() };
        assert_eq!(read("gentle,piece_bytes_max=3"), Ok(cut_small));
    }

    #[test]
    fn what_makes_no_sense_is_one_sentence() {
        for (text, words) in [
            ("dely_ms=5", "no knob 'dely_ms'"),
            ("delay_ms", "no knob 'delay_ms'"),
            ("delay_ms=-1", "delay_ms cannot be '-1'"),
            ("resets_per_minute=nan", "expected a number from 0 to 60,000"),
            ("piece_bytes_max=0", "from 1"),
            ("piece_bytes_min=600", "the smallest piece of 600 bytes is larger than the largest of 512"),
            ("pairs_max=0", "1 to 500,000"),
        ] {
            let sentence = read(text).expect_err(text);
            assert!(sentence.contains(words), "{text}: {sentence}");
        }
    }
}
