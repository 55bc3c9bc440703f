//! Several measurements of the same thing: their median, and how far they are apart.

use std::fmt;

use serde_json::{Value, json};

/// Never empty.
#[derive(Clone, Debug)]
pub struct Sample {
    ascending: Vec<f64>,
}

impl Sample {
    /// `None` if there is nothing.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Sample> {
        let mut ascending: Vec<f64> = values.into_iter().collect();
        ascending.sort_by(f64::total_cmp);
        (!ascending.is_empty()).then_some(Sample { ascending })
    }

    /// The middle one, or what lies between the two in the middle.
    pub fn median(&self) -> f64 {
        let count = self.ascending.len();
        let at = |index: usize| self.ascending.get(index).copied().unwrap_or(f64::NAN);
        (at((count - 1) / 2) + at(count / 2)) / 2.0
    }

    pub fn least(&self) -> f64 {
        self.ascending.first().copied().unwrap_or(f64::NAN)
    }

    pub fn most(&self) -> f64 {
        self.ascending.last().copied().unwrap_or(f64::NAN)
    }

    pub fn told(&self) -> Value {
        json!({ "median": self.median(), "least": self.least(), "most": self.most() })
    }
}

/// `median (least - most)`, with the precision that is asked for.
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        write!(f, "{:.digits$} ({:.digits$} - {:.digits$})", self.median(), self.least(), self.most())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_spread_the_ends() {
        let odd = Sample::of([3.0, 1.0, 2.5]).expect("values");
        assert_eq!((odd.median(), odd.least(), odd.most()), (2.5, 1.0, 3.0));
        assert_eq!(Sample::of([4.0, 1.0, 2.0, 9.0]).expect("values").median(), 3.0);
        assert_eq!(format!("{odd:.2}"), "2.50 (1.00 - 3.00)");
        assert!(Sample::of([]).is_none());
    }
}
