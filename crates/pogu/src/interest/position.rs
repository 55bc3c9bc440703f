//! Where something is. Peers say where they are: what is no place stops here, and no [`Grid`](super::Grid) meets it.

/// A place in the plane of a world, in the world's units: two finite numbers.
///
/// A world with a height gives the two axes of its ground: who stands above whom is seen.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Position {
    x: f64,
    y: f64,
}

/// A coordinate is infinite or not a number.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
#[error("({x}, {y}) is no position: both coordinates must be finite")]
pub struct NotFinite {
    /// The first coordinate, as it came.
    pub x: f64,
    /// The second one.
    pub y: f64,
}

impl Position {
    /// A place, unless a coordinate is infinite or not a number. An `f32` is taken without loss.
    pub fn new(x: impl Into<f64>, y: impl Into<f64>) -> Result<Position, NotFinite> {
        let (x, y) = (x.into(), y.into());
        match x.is_finite() && y.is_finite() {
            true => Ok(Position { x, y }),
            false => Err(NotFinite { x, y }),
        }
    }

    /// The first coordinate.
    pub fn x(self) -> f64 {
        self.x
    }

    /// The second coordinate.
    pub fn y(self) -> f64 {
        self.y
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_place_is_refused_by_either_coordinate() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(Position::new(bad, 0).is_err() && Position::new(0, bad).is_err());
        }
        let refused = Position::new(1, f64::INFINITY).unwrap_err();
        assert_eq!(refused.to_string(), "(1, inf) is no position: both coordinates must be finite");
        for good in [0.0, -0.0, f64::MIN, f64::MAX, f64::MIN_POSITIVE, -5e-324] {
            assert_eq!(Position::new(good, -good).map(|place| (place.x(), place.y())), Ok((good, -good)));
        }
    }
}
