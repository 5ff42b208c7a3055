//! That the cells of a circle cover it, wherever on the globe it lies.

use super::*;
use crate::geo::circle::{Circle, RADIUS_MIN_M};
use crate::geo::position::EARTH_RADIUS_M;
use proptest::prelude::*;

fn position(latitude: f64, longitude: f64) -> Position {
    Position::new(latitude, longitude).unwrap_or_else(|| panic!("{latitude} {longitude}"))
}

/// What lies so many metres from a position, in a direction clockwise from north.
fn beside(from: Position, metres: f64, bearing: f64) -> Position {
    let (sin_lat, cos_lat) = from.latitude().to_radians().sin_cos();
    let (sin_way, cos_way) = (metres / EARTH_RADIUS_M).sin_cos();
    let sin_there = (sin_lat * cos_way + cos_lat * sin_way * bearing.cos()).clamp(-1.0, 1.0);
    let east = (bearing.sin() * sin_way * cos_lat).atan2(cos_way - sin_lat * sin_there);
    let longitude = (from.longitude() + east.to_degrees() + 540.0).rem_euclid(360.0) - 180.0;
    position(sin_there.asin().to_degrees(), longitude.clamp(-180.0, 180.0))
}

fn is_covered(centre: Position, radius_m: f64) -> bool {
    let grid = Grid::of(radius_m);
    let cells = grid.cell(centre).with_neighbours();
    let ways = [0.5, 1.0].into_iter().flat_map(|part| (0..24).map(move |n| (part, n)));
    ways.into_iter().all(|(part, n)| {
        let there = beside(centre, radius_m * part, f64::from(n) / 24.0 * std::f64::consts::TAU);
        cells.contains(&grid.cell(there))
    })
}

/// The largest circles of each grid, which are those that its cells barely cover.
fn largest() -> impl Iterator<Item = f64> {
    GRIDS.iter().map(|(_, radius_m)| *radius_m)
}

#[test]
fn circles_at_the_poles_and_the_antimeridian_are_covered() {
    for radius_m in largest() {
        for (latitude, longitude) in
            [(90.0, 0.0), (-90.0, 0.0), (89.999, 45.0), (0.0, 180.0), (0.0, -180.0), (-16.5, 179.9999), (65.0, -180.0)]
        {
            assert!(is_covered(position(latitude, longitude), radius_m), "{latitude} {longitude} {radius_m}");
        }
    }
}

#[test]
fn circles_around_pentagons_are_covered_where_the_grid_is_most_distorted() {
    for (resolution, radius_m) in GRIDS {
        for pentagon in resolution.pentagons() {
            for cell in pentagon.grid_disk::<Vec<_>>(1) {
                // From a corner it is nearest to what is not covered.
                for corner in cell.boundary().iter() {
                    let corner = position(corner.lat(), corner.lng());
                    assert!(is_covered(corner, radius_m), "{corner:?} {radius_m}");
                }
            }
        }
    }
}

#[test]
fn a_cell_is_named_as_h3_names_it() {
    let cell = Grid::of(RADIUS_MIN_M).cell(position(37.775_938_728_915_946, -122.417_953_078_949_5));
    assert_eq!(&cell.name("cell:")[..], "cell:8928308280fffff");
}

#[test]
fn a_grid_is_used_as_long_as_there_are_circles_in_it() {
    let (used, fine, coarse) = (GridUse::default(), Grid::of(50.0), Grid::of(50_000.0));
    assert_eq!(used.grids().count(), 0);
    [fine, coarse, fine].iter().for_each(|grid| used.add(*grid));
    used.remove(fine);
    assert_eq!(used.grids().collect::<Vec<_>>(), [fine, coarse]);
    used.remove(fine);
    assert_eq!(used.grids().collect::<Vec<_>>(), [coarse]);
}

proptest! {
    #[test]
    fn a_circle_is_covered_wherever_it_lies(
        sin_latitude in -1.0f64..=1.0, longitude in -180.0f64..=180.0, radius_m in RADIUS_MIN_M..=RADIUS_MAX_M,
    ) {
        let centre = position(sin_latitude.asin().to_degrees(), longitude);
        for radius_m in largest().chain([radius_m]) {
            prop_assert!(is_covered(centre, radius_m), "{} m", radius_m);
        }
    }

    /// What is in the circle is in one of its cells, and in one only.
    #[test]
    fn whatever_is_in_a_circle_is_in_exactly_one_of_its_cells(
        sin_latitude in -1.0f64..=1.0, longitude in -180.0f64..=180.0, bearing in 0.0f64..7.0, part in 0.0f64..1.0,
        radius_m in RADIUS_MIN_M..=RADIUS_MAX_M,
    ) {
        let centre = position(sin_latitude.asin().to_degrees(), longitude);
        let there = beside(centre, radius_m * part, bearing);
        prop_assert_eq!(Circle::new(centre, radius_m).unwrap().has(&there.place()), true);
        let grid = Grid::of(radius_m);
        let cells = grid.cell(centre).with_neighbours();
        prop_assert_eq!(cells.iter().filter(|cell| **cell == grid.cell(there)).count(), 1);
    }
}
