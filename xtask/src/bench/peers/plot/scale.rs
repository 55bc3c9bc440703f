//! From values to places, and the marks between.

/// A range of values, drawn between two places.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    is_logarithmic: bool,
    /// As they are drawn: of a logarithmic scale their logarithms.
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

/// Marks on a linear scale, about.
const MARKS: f64 = 6.0;

/// Decades on a logarithmic scale below which 2 and 5 are marked, too.
const DECADES_FEW: f64 = 3.0;

impl Scale {
    /// Has all of `values`, and more where there is only one. Without any it goes from 0 to 1.
    pub fn linear(values: impl IntoIterator<Item = f64>, (from, to): (f64, f64)) -> Scale {
        let (low, high) = bounds(values).unwrap_or((0.0, 1.0));
        let high = if high > low { high } else { low + 1.0 };
        Scale { is_logarithmic: false, low, high, from, to }
    }

    /// The same for what is above 0; other values are left out.
    pub fn logarithmic(values: impl IntoIterator<Item = f64>, (from, to): (f64, f64)) -> Scale {
        let logarithms = values.into_iter().filter(|value| *value > 0.0).map(f64::log10);
        let (low, high) = bounds(logarithms).unwrap_or((0.0, 1.0));
        // A mark above and below: a scale with none says nothing.
        let (low, high) = if high - low < 0.3 { (low - 0.2, high + 0.2) } else { (low, high) };
        Scale { is_logarithmic: true, low, high, from, to }
    }

    /// True if a value lies between the ends.
    pub fn has(&self, value: f64) -> bool {
        (self.low - 1e-9..=self.high + 1e-9).contains(&self.measure(value))
    }

    fn measure(&self, value: f64) -> f64 {
        if self.is_logarithmic { value.max(f64::MIN_POSITIVE).log10() } else { value }
    }

    /// Where a value is: at the end, if it lies beyond.
    pub fn at(&self, value: f64) -> f64 {
        let value = self.measure(value);
        let part = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        // What is no number is nowhere: at the beginning.
        let part = if part.is_nan() { 0.0 } else { part };
        self.from + part * (self.to - self.from)
    }

    /// Round values between its ends, with their texts.
    pub fn marks(&self) -> Vec<(f64, String)> {
        let values = if self.is_logarithmic { self.logarithmic_marks() } else { self.linear_marks() };
        values.into_iter().map(|value| (value, short(value))).collect()
    }

    fn linear_marks(&self) -> Vec<f64> {
        let about = (self.high - self.low) / MARKS;
        let decade = 10_f64.powf(about.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * decade).into_iter().find(|step| *step >= about);
        let step = step.unwrap_or(about);
        let first = (self.low / step).ceil();
        let marks = (0_u32..20).map(|index| (first + f64::from(index)) * step);
        marks.take_while(|mark| *mark <= self.high + step * 1e-9).collect()
    }

    fn logarithmic_marks(&self) -> Vec<f64> {
        let factors: &[f64] = if self.high - self.low < DECADES_FEW { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let decades = (self.low.floor() as i32..=self.high.ceil() as i32).map(|decade| 10_f64.powi(decade));
        let marks = decades.flat_map(|decade| factors.iter().map(move |factor| factor * decade));
        marks.filter(|mark| self.has(*mark)).collect()
    }
}

fn bounds(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.into_iter().filter(|value| value.is_finite());
    finite.fold(None, |bounds, value| {
        let (low, high) = bounds.unwrap_or((value, value));
        Some((value.min(low), value.max(high)))
    })
}

/// `1.5M`, `20k`, `300`, `0.25`.
fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = format!("{value:.3}");
    format!("{}{unit}", digits.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_between_the_ends_and_what_is_beyond_at_them() {
        let scale = Scale::linear([0.0, 10.0], (100.0, 0.0));
        assert_eq!(
            [0.0, 5.0, 10.0, 11.0, -1.0, f64::NAN].map(|value| scale.at(value)),
            [100.0, 50.0, 0.0, 0.0, 100.0, 100.0]
        );
        let scale = Scale::logarithmic([1.0, 100.0, 0.0, f64::INFINITY], (0.0, 10.0));
        assert_eq!([1.0, 10.0, 100.0, 0.0, f64::INFINITY].map(|value| scale.at(value)), [0.0, 5.0, 10.0, 0.0, 10.0]);
    }

    #[test]
    fn a_scale_of_one_value_or_of_none_has_places_for_all() {
        for values in [vec![], vec![5.0], vec![f64::NAN]] {
            for scale in [Scale::linear(values.clone(), (0.0, 10.0)), Scale::logarithmic(values.clone(), (0.0, 10.0))] {
                assert!((0.0..=10.0).contains(&scale.at(5.0)) && !scale.marks().is_empty(), "{scale:?}");
            }
        }
    }

    #[test]
    fn marks_are_round_and_between_the_ends() {
        let texts = |scale: Scale| scale.marks().into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(Scale::linear([0.0, 1.3], (0.0, 1.0))), ["0", "0.5", "1"]);
        assert_eq!(
            texts(Scale::logarithmic([20.0, 2_500.0], (0.0, 1.0))),
            ["20", "50", "100", "200", "500", "1k", "2k"]
        );
        assert_eq!(texts(Scale::logarithmic([1.0, 2e6], (0.0, 1.0))), ["1", "10", "100", "1k", "10k", "100k", "1M"]);
        let scale = Scale::logarithmic([3.0, 3_000.0], (0.0, 1.0));
        assert!(scale.marks().iter().all(|(mark, _)| (3.0..=3_000.0).contains(mark)));
    }
}
