//! What the simulated kernel does to a run: the head of an input says which faults happen, and how often.
//!
//! ```text
//!   which, a bit for each of KNOBS (3 bytes) | nothing if none is, else: seed | strength of each that is | ...
//! ```
//!
//! Only faults that no connection breaks of: whatever a client may demand of a calm network it may demand here. Accepts that
//! fail are not among them: who waits when descriptors are short may be turned away.

use std::time::Duration;

use pogu::sim::{Faults, SimulationOptions};

use super::script::Script;

/// Sets a knob to a strength.
type Knob = fn(&mut Faults, u8);

const KNOBS: [Knob; 19] = [
    |faults, strength| (faults.delays, faults.delays_max) = (chance(strength), time(strength, 50_000)),
    |faults, strength| (faults.slow_paths, faults.slow_paths_max) = (chance(strength), time(strength, 50_000)),
    |faults, strength| faults.overtaken_segments = chance(strength),
    |faults, strength| faults.shuffled_turns = chance(strength),
    |faults, strength| faults.held_completions = chance(strength),
    |faults, strength| faults.short_sends = chance(strength),
    |faults, strength| (faults.held_sends, faults.held_sends_max) = (chance(strength), time(strength, 50_000)),
    |faults, strength| faults.short_receives = chance(strength),
    |faults, strength| faults.ended_multishots = chance(strength),
    |faults, strength| faults.empty_pools = chance(strength),
    |faults, strength| faults.receive_buffers_max = 1 + usize::from(strength % 12),
    |faults, strength| faults.completion_entries_max = 2 + usize::from(strength % 16),
    |faults, strength| (faults.late_cancels, faults.late_cancels_max) = (chance(strength), time(strength, 50_000)),
    |faults, strength| (faults.lost_cancels, faults.late_cancels_max) = (chance(strength), time(strength, 50_000)),
    |faults, strength| (faults.late_wakes, faults.late_wakes_max) = (chance(strength), time(strength, 30_000)),
    |faults, strength| (faults.pauses, faults.pauses_max) = (chance(strength) / 8, time(strength, 1_000_000)),
    |faults, strength| (faults.late_waits, faults.late_waits_max) = (chance(strength), time(strength, 16_000)),
    |faults, strength| faults.shuffled_rounds = chance(strength),
    |faults, strength| faults.lost_answers = chance(strength),
];

/// From seldom to two times out of three, in parts per 1,000: nothing that is tried again at once fails for ever.
fn chance(strength: u8) -> u16 {
    20 + u16::from(strength) * 5 / 2
}

/// A bound of time that grows with the strength, up to `microseconds_max`.
fn time(strength: u8, microseconds_max: u64) -> Duration {
    Duration::from_micros(1 + microseconds_max * u64::from(strength) / 255)
}

/// Reads the head of an input.
pub fn read(script: &mut Script<'_>, options: &mut SimulationOptions) {
    let which = [script.byte(), script.byte(), script.byte(), 0];
    let which = u32::from_le_bytes(which);
    if which == 0 {
        return;
    }
    options.seed = script.byte().into();
    for (bit, knob) in KNOBS.iter().enumerate() {
        if which >> bit & 1 == 1 {
            knob(&mut options.faults, script.byte());
        }
    }
}
