//! Where something is: as it was said, and as it is compared.

/// The mean radius of the Earth, in metres.
pub const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// Degrees, checked: there is such a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    latitude: f64,
    longitude: f64,
}

/// A position as a point on the unit sphere: poles and the antimeridian are places like all others, and a distance
/// needs no more than sums and products.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place([f64; 3]);

impl Position {
    /// `None` beyond 90 and 180 degrees, and for what is no number.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let is_there = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        is_there.then_some(Self { latitude, longitude })
    }

    pub fn latitude(self) -> f64 {
        self.latitude
    }

    pub fn longitude(self) -> f64 {
        self.longitude
    }

    pub fn place(self) -> Place {
        let (sin_lat, cos_lat) = self.latitude.to_radians().sin_cos();
        let (sin_lng, cos_lng) = self.longitude.to_radians().sin_cos();
        Place([cos_lat * cos_lng, cos_lat * sin_lng, sin_lat])
    }
}

impl Place {
    /// The square of the straight way to another place, through the Earth, whose radius is 1.
    pub(super) fn chord_squared(&self, other: &Self) -> f64 {
        let [x, y, z] = std::array::from_fn(|axis| self.0[axis] - other.0[axis]);
        x * x + y * y + z * z
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_place_is_refused() {
        for (latitude, longitude) in [
            (90.000_000_1, 0.0),
            (-91.0, 0.0),
            (0.0, 180.000_000_1),
            (0.0, -1e300),
            (f64::NAN, 0.0),
            (0.0, f64::NAN),
            (f64::INFINITY, 0.0),
            (0.0, f64::NEG_INFINITY),
        ] {
            assert_eq!(Position::new(latitude, longitude), None, "{latitude} {longitude}");
        }
        for (latitude, longitude) in [(90.0, 180.0), (-90.0, -180.0), (-0.0, -0.0), (5e-324, 0.0)] {
            assert!(Position::new(latitude, longitude).is_some(), "{latitude} {longitude}");
        }
    }

    #[test]
    fn one_place_may_have_several_names() {
        let place = |latitude, longitude| Position::new(latitude, longitude).unwrap().place();
        assert!(place(10.0, 180.0).chord_squared(&place(10.0, -180.0)) < 1e-30);
        assert!(place(90.0, 17.0).chord_squared(&place(90.0, -120.0)) < 1e-30);
        assert!((place(90.0, 0.0).chord_squared(&place(-90.0, 0.0)) - 4.0).abs() < 1e-12);
    }
}
