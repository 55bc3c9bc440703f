//! Rates: how much has been used, and when there is enough again.

use std::time::Duration;

use pogu_port::Time;

use crate::limits::Rate;

const NANOSECONDS: u64 = 1_000_000_000;

/// A bucket of a [`Rate`], as one time: when it will be full again. What is missing from it is what flows in until then. When
/// the rate changes, what is missing stays missing, and flows in at the new rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Meter {
    full_at: Time,
    /// What flows in per second until then.
    per_second: u32,
}

impl Meter {
    /// Takes `amount`, which may be more than there is.
    pub(crate) fn take(&mut self, rate: Rate, now: Time, amount: u64) {
        *self = self.at_rate(rate, now);
        self.full_at = self.full_at.max(now) + time_of(rate, amount);
    }

    /// When the bucket owes nothing any more; `None` if it does not owe anything now.
    pub(crate) fn in_debt_until(&self, rate: Rate, now: Time) -> Option<Time> {
        let missing = self.at_rate(rate, now).full_at.since(now);
        let debt = missing.saturating_sub(time_of(rate, u64::from(rate.burst)));
        (!debt.is_zero()).then(|| now + debt)
    }

    /// True if one can be taken without owing.
    pub(crate) fn has(&self, rate: Rate, now: Time) -> bool {
        let mut after = *self;
        after.take(rate, now, 1);
        after.in_debt_until(rate, now).is_none()
    }

    /// What has been used of the burst, for whoever is told.
    pub(crate) fn used(&self, rate: Rate, now: Time) -> u64 {
        let missing = self.at_rate(rate, now).full_at.since(now).as_nanos().saturating_mul(u128::from(rate.per_second));
        u64::try_from(missing.div_ceil(u128::from(NANOSECONDS))).unwrap_or(u64::MAX)
    }

    /// The same amount missing, at another rate.
    fn at_rate(self, rate: Rate, now: Time) -> Meter {
        if self.per_second == rate.per_second || self.per_second == 0 {
            return Meter { per_second: rate.per_second, ..self };
        }
        let missing = self.full_at.since(now).as_nanos().saturating_mul(u128::from(self.per_second));
        let missing = missing.checked_div(u128::from(rate.per_second)).unwrap_or(0);
        let missing = Duration::from_nanos(u64::try_from(missing).unwrap_or(u64::MAX));
        Meter { full_at: now + missing, per_second: rate.per_second }
    }

    /// True if nothing is missing.
    pub(crate) fn is_full(&self, now: Time) -> bool {
        self.full_at <= now
    }

    /// True if nothing was ever taken.
    pub(crate) fn is_unused(&self) -> bool {
        self.full_at == Time::ZERO
    }
}

/// How long it takes until so much has flowed in.
fn time_of(rate: Rate, amount: u64) -> Duration {
    Duration::from_nanos(amount.saturating_mul(NANOSECONDS).checked_div(u64::from(rate.per_second)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_burst_is_free_and_what_goes_beyond_is_owed() {
        let rate = Rate { per_second: 10, burst: 5 };
        let mut meter = Meter::default();
        for _ in 0..5 {
            assert!(meter.has(rate, at(1000)));
            meter.take(rate, at(1000), 1);
            assert_eq!(meter.in_debt_until(rate, at(1000)), None);
        }
        assert!(!meter.has(rate, at(1000)));
        meter.take(rate, at(1000), 3);
        assert_eq!(meter.in_debt_until(rate, at(1000)), Some(at(1300)));
        assert_eq!(meter.used(rate, at(1000)), 8);
        assert_eq!(meter.in_debt_until(rate, at(1300)), None);
        assert!(!meter.is_full(at(1799)) && meter.is_full(at(1800)));
    }

    #[test]
    fn a_quiet_time_gives_no_more_than_the_burst() {
        let rate = Rate { per_second: 1000, burst: 2 };
        let mut meter = Meter::default();
        meter.take(rate, at(0), 1);
        meter.take(rate, at(60_000), 3);
        assert_eq!(meter.in_debt_until(rate, at(60_000)), Some(at(60_001)));
    }

    #[test]
    fn a_rate_that_changes_keeps_what_is_missing() {
        let (slow, fast) = (Rate { per_second: 1, burst: 60 }, Rate { per_second: 100, burst: 100 });
        let mut meter = Meter::default();
        meter.take(slow, at(0), 50);
        assert_eq!((meter.used(fast, at(0)), meter.in_debt_until(fast, at(0))), (50, None));
        meter.take(fast, at(0), 60);
        assert_eq!(meter.in_debt_until(fast, at(0)), Some(at(100)));
        assert_eq!(meter.in_debt_until(slow, at(0)), Some(at(50_000)));
    }

    #[test]
    fn in_the_long_run_the_rate_holds() {
        let rate = Rate { per_second: 7, burst: 3 };
        let (mut meter, mut now, mut taken) = (Meter::default(), at(0), 0);
        while now < at(100_000) {
            meter.take(rate, now, 1);
            taken += 1;
            now = meter.in_debt_until(rate, now).unwrap_or(now);
        }
        assert!((700..=704).contains(&taken), "{taken}");
    }
}
