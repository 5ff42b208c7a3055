//! The cells of H3 that belong to a circle, and the cell of a position: how who moves and who listens find each other.
//!
//! A circle is covered by the cell of its centre and the neighbours of that: seven cells, or six around a pentagon.
//! They are taken from the finest [`Grid`] in which they surely cover it. A position has one cell in every grid, so
//! whoever publishes it needs to know which grids anybody listens in ([`GridUse`]); it is told to one cell of each,
//! which is why nobody is told twice.
//!
//! ```text
//!   ⬡ ⬡         from anywhere in the cell in the middle to the rim of the seven it is
//!  ⬡ ⬢ ⬡        as far as its shortest side at least: 0.70 of the mean side of the grid,
//!   ⬡ ⬡         where the globe distorts it most
//! ```

use std::fmt::Write;
use std::sync::atomic::{AtomicU32, Ordering};

use arrayvec::ArrayString;
use h3o::{CellIndex, LatLng, Resolution};
use smallvec::SmallVec;

use super::circle::RADIUS_MAX_M;
use super::position::Position;

/// The grids in use, from fine to coarse: the resolution of H3, and the radius in metres of the largest circle for
/// which its cells are taken. That is at most 0.58 of the mean side of the grid's cells, so a sixth of what is covered
/// is to spare.
const GRIDS: [(Resolution, f64); 8] = [
    (Resolution::Nine, 110.0),
    (Resolution::Eight, 300.0),
    (Resolution::Seven, 800.0),
    (Resolution::Six, 2_000.0),
    (Resolution::Five, 5_500.0),
    (Resolution::Four, 15_000.0),
    (Resolution::Three, 40_000.0),
    (Resolution::Two, RADIUS_MAX_M),
];

/// One of the grids, by its place among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid(u8);

/// A cell of a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell(CellIndex);

/// The 15 hexadecimal digits of a cell's index behind some letters.
pub type CellName = ArrayString<24>;

/// The cells of a circle.
pub type Cells = SmallVec<[Cell; 7]>;

impl Grid {
    /// The grid whose cells cover a circle of this radius.
    pub fn of(radius_m: f64) -> Self {
        debug_assert!(radius_m <= RADIUS_MAX_M);
        let grid = GRIDS.iter().position(|(_, up_to_m)| radius_m <= *up_to_m).unwrap_or(GRIDS.len() - 1);
        Self(grid as u8)
    }

    /// The cell of a position.
    pub fn cell(self, position: Position) -> Cell {
        let (resolution, _) = GRIDS[usize::from(self.0)];
        let degrees = LatLng::new(position.latitude(), position.longitude()).expect("a position is finite");
        Cell(degrees.to_cell(resolution))
    }
}

impl Cell {
    /// The cell with its neighbours. The same for every circle whose centre lies in it.
    pub fn with_neighbours(self) -> Cells {
        let cells: Cells = self.0.grid_disk::<Vec<_>>(1).into_iter().map(Cell).collect();
        debug_assert!((6..=7).contains(&cells.len()));
        cells
    }

    /// `prefix`, of some letters, with the name of the cell, as H3 writes it. Made once per position and grid: without
    /// an allocation.
    pub fn name(self, prefix: &str) -> CellName {
        let mut name = CellName::new();
        write!(name, "{prefix}{}", self.0).expect("there is room for both");
        name
    }
}

/// How many circles there are in each grid, of all shards. Written when a circle comes, moves to another grid or goes;
/// read once per position, which then costs nothing for a grid that nobody uses.
#[derive(Debug, Default)]
pub struct GridUse([AtomicU32; GRIDS.len()]);

impl GridUse {
    pub fn add(&self, grid: Grid) {
        self.0[usize::from(grid.0)].fetch_add(1, Ordering::Relaxed);
    }

    pub fn remove(&self, grid: Grid) {
        let before = self.0[usize::from(grid.0)].fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "who goes has come");
    }

    pub fn grids(&self) -> impl Iterator<Item = Grid> {
        let used = self.0.iter().enumerate().filter(|(_, circles)| circles.load(Ordering::Relaxed) > 0);
        used.map(|(grid, _)| Grid(grid as u8))
    }
}

#[cfg(test)]
mod tests;
