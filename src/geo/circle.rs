//! What somebody wants to hear of: everything within some metres of a position. Asked once per recipient of a position,
//! so it costs no more than a distance.

use super::position::{EARTH_RADIUS_M, Place, Position};

/// A smaller circle is smaller than the error of any position.
pub const RADIUS_MIN_M: f64 = 1.0;

/// A larger one is no neighbourhood: its members would be told of every vendor of a country.
pub const RADIUS_MAX_M: f64 = 50_000.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circle {
    centre: Place,
    /// From the centre to the rim ([`Place::chord_squared`]).
    chord_squared: f64,
}

impl Circle {
    /// `None` for a radius that is not between [`RADIUS_MIN_M`] and [`RADIUS_MAX_M`].
    pub fn new(centre: Position, radius_m: f64) -> Option<Self> {
        let half_chord = (radius_m / EARTH_RADIUS_M / 2.0).sin();
        let chord_squared = 4.0 * half_chord * half_chord;
        let is_fit = (RADIUS_MIN_M..=RADIUS_MAX_M).contains(&radius_m);
        is_fit.then(|| Self { centre: centre.place(), chord_squared })
    }

    pub fn has(&self, place: &Place) -> bool {
        self.centre.chord_squared(place) <= self.chord_squared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position(latitude: f64, longitude: f64) -> Position {
        Position::new(latitude, longitude).unwrap()
    }

    #[test]
    fn a_radius_that_makes_no_circle_is_refused() {
        for radius_m in [0.0, -0.0, 0.999, -5.0, 50_000.1, 1e300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(Circle::new(position(1.0, 2.0), radius_m), None, "{radius_m}");
        }
        assert!(Circle::new(position(1.0, 2.0), RADIUS_MIN_M).is_some());
        assert!(Circle::new(position(1.0, 2.0), RADIUS_MAX_M).is_some());
    }

    proptest! {
        /// Along the meridian a metre is the same everywhere.
        #[test]
        fn the_rim_is_known_to_the_millimetre(
            latitude in -89.0f64..89.0, longitude in -180.0f64..180.0, radius_m in RADIUS_MIN_M..RADIUS_MAX_M,
        ) {
            let circle = Circle::new(position(latitude, longitude), radius_m).unwrap();
            let north = |metres: f64| position(latitude + (metres / EARTH_RADIUS_M).to_degrees(), longitude).place();
            for side in [-1.0, 1.0] {
                prop_assert!(circle.has(&north(side * (radius_m - 0.001))));
                prop_assert!(!circle.has(&north(side * (radius_m + 0.001))));
            }
        }
    }
}
