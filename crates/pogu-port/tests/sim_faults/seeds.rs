//! All knobs at once, as seeds draw them.

use pogu_port::sim::{FaultClass, FaultCounts, Faults};

use super::echo::play;

#[test]
fn whatever_a_seed_draws_adds_up_and_ends() {
    let mut met = FaultCounts::default();
    for seed in 0..400 {
        let story = play(Faults::drawn(seed), seed, 8);
        assert!(story.completed >= 8, "seed {seed}");
        met += &story.met;
    }
    let only_elsewhere = [FaultClass::LateWait, FaultClass::ShuffledRound, FaultClass::HeldTask];
    for class in FaultClass::ALL.iter().filter(|class| !only_elsewhere.contains(class)) {
        assert!(met.of(*class) > 0, "{class:?} was met in none of the seeds: {met}");
    }
}

#[test]
fn a_seed_tells_the_same_story_again_and_another_tells_another() {
    let stories = [7, 7, 8].map(|seed| play(Faults::drawn(seed), seed, 8));
    let [first, again, other] = &stories;
    assert_eq!((&first.transcript, first.end, &first.met), (&again.transcript, again.end, &again.met));
    assert_eq!((first.operations, first.servers), (again.operations, again.servers));
    assert_ne!(first.transcript, other.transcript);
}

#[test]
fn a_knob_that_is_off_is_never_met() {
    for seed in 0..40 {
        let faults = Faults::drawn(seed);
        let off: Vec<&str> = faults.knobs().filter(|(_, value)| *value == 0).map(|(name, _)| name).collect();
        let met = play(faults, seed, 4).met;
        for (name, count) in met.iter().filter(|(name, _)| off.contains(name)) {
            assert_eq!(count, 0, "{name} in seed {seed}");
        }
    }
}
