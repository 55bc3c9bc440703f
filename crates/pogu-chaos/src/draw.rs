//! What is drawn.

use std::time::Duration;

use pogu_port::Random;

/// A time from nothing to `most`.
pub(crate) fn up_to(most: Duration, random: &mut Random) -> Duration {
    Duration::from_nanos(random.below(u64::try_from(most.as_nanos()).unwrap_or(u64::MAX).saturating_add(1)))
}

/// The time until something happens that happens so often per minute on average, whatever happened before; `None`: never.
pub(crate) fn until_next(per_minute: f64, random: &mut Random) -> Option<Duration> {
    if per_minute <= 0.0 {
        return None;
    }
    // From above 0 up to 1, so that the logarithm is finite.
    let uniform = ((random.next_number() >> 11) + 1) as f64 / (1u64 << 53) as f64;
    let seconds = -uniform.ln() * 60.0 / per_minute;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_so_often_per_minute_does() {
        let mut random = Random::new(3);
        let total: Duration = (0..10_000).filter_map(|_| until_next(6.0, &mut random)).sum();
        let mean_seconds = total.as_secs_f64() / 10_000.0;
        assert!((9.5..10.5).contains(&mean_seconds), "{mean_seconds}");
        assert_eq!(until_next(0.0, &mut random), None);
    }

    #[test]
    fn a_time_reaches_its_ends() {
        let mut random = Random::new(3);
        let drawn: Vec<u128> = (0..100).map(|_| up_to(Duration::from_nanos(2), &mut random).as_nanos()).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&0), Some(&2)));
    }
}
