//! Who wants to hear of what is near: the circles of a shard's connections, by slot, for those only who have one.
//!
//! A circle makes its connection a member of some `cell:` channels ([`crate::geo::cells`]). A position reaches those
//! members of the cell it lies in whose circle it lies in as well ([`Nearby::sees`]), on the shards that
//! [`Nearby::shards`] finds.
//!
//! Invariant: who has a circle is in the cells of that circle and in no others, and is counted in its grid.

use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::channel::name::CELL_PREFIX;
use crate::channel::{Interest, ShardSet, Table};
use crate::geo::{Cell, Circle, Grid, GridUse, Place, Position};
use crate::shard::io::Slot;

pub struct Nearby {
    watches: HashTable<Watch>,
    grid_use: Arc<GridUse>,
}

/// A connection with its circle.
struct Watch {
    slot: Slot,
    grid: Grid,
    /// How many there are.
    cells: u8,
    /// That of the centre, from which the others follow.
    cell: Cell,
    circle: Circle,
}

const _: () = assert!(size_of::<Watch>() == 48);

impl Nearby {
    pub fn new(grid_use: Arc<GridUse>) -> Self {
        Self { watches: HashTable::new(), grid_use }
    }

    /// Gives a connection a circle, in the place of the one it has. False, and nothing changes, when the radius makes
    /// none.
    pub fn watch(&mut self, slot: Slot, table: &mut Table, centre: Position, radius_m: f64) -> bool {
        let Some(circle) = Circle::new(centre, radius_m) else { return false };
        let grid = Grid::of(radius_m);
        let cell = grid.cell(centre);
        let cells = cell.with_neighbours();
        let watch = Watch { slot, grid, cells: cells.len() as u8, cell, circle };
        // First in the new grid and its cells: whoever publishes meanwhile, on another shard, finds one of the two.
        self.grid_use.add(grid);
        let before = match self.watches.entry(hash(slot), |w| w.slot == slot, |w| hash(w.slot)) {
            Entry::Occupied(mut entry) => Some(std::mem::replace(entry.get_mut(), watch)),
            Entry::Vacant(entry) => {
                entry.insert(watch);
                None
            }
        };
        match before {
            Some(before) if before.cell == cell => self.grid_use.remove(before.grid),
            Some(before) => {
                exchange(slot, table, &before.cell.with_neighbours(), &cells);
                self.grid_use.remove(before.grid);
            }
            None => exchange(slot, table, &[], &cells),
        }
        true
    }

    /// Takes the circle away. False when there is none.
    pub fn unwatch(&mut self, slot: Slot, table: &mut Table) -> bool {
        let Some(watch) = self.take(slot) else { return false };
        exchange(slot, table, &watch.cell.with_neighbours(), &[]);
        true
    }

    /// The connection has left all its channels.
    pub fn forget(&mut self, slot: Slot) {
        self.take(slot);
    }

    /// Whether the place lies in the connection's circle.
    pub fn sees(&self, slot: Slot, place: &Place) -> bool {
        self.find(slot).is_some_and(|watch| watch.circle.has(place))
    }

    /// How many channels the connection is in for its circle.
    pub fn cells_of(&self, slot: Slot) -> usize {
        self.find(slot).map_or(0, |watch| usize::from(watch.cells))
    }

    /// Connections that have one.
    pub fn circles(&self) -> usize {
        self.watches.len()
    }

    /// The shards on which somebody's circle may hold this position. Whoever moves his circle into another grid there
    /// meanwhile is in one cell of the two at any time; he may come into one that has been looked at and go out of one
    /// that has not, and then is found at the second look.
    pub fn shards(&self, position: Position, interest: &Interest) -> ShardSet {
        let look = || {
            let of_cell = |cell: Cell| interest.shards(interest.hash(&cell.name(CELL_PREFIX)));
            self.cells_at(position).map(of_cell).fold(ShardSet::default(), ShardSet::union)
        };
        look().union(look())
    }

    /// The cell of this position in each grid in which anybody has a circle, on any shard.
    pub fn cells_at(&self, position: Position) -> impl Iterator<Item = Cell> {
        self.grid_use.grids().map(move |grid| grid.cell(position))
    }

    /// Whether nobody has a circle, on any shard.
    #[cfg(test)]
    pub fn is_unused(&self) -> bool {
        self.grid_use.grids().next().is_none()
    }

    fn find(&self, slot: Slot) -> Option<&Watch> {
        if self.watches.is_empty() { None } else { self.watches.find(hash(slot), |watch| watch.slot == slot) }
    }

    fn take(&mut self, slot: Slot) -> Option<Watch> {
        if self.watches.is_empty() {
            return None;
        }
        let (watch, _) = self.watches.find_entry(hash(slot), |watch| watch.slot == slot).ok()?.remove();
        self.grid_use.remove(watch.grid);
        Some(watch)
    }
}

/// Joins the cells that are new and leaves those that are not needed any more.
fn exchange(slot: Slot, table: &mut Table, old: &[Cell], new: &[Cell]) {
    new.iter().filter(|cell| !old.contains(cell)).for_each(|cell| _ = table.join(slot, &cell.name(CELL_PREFIX)));
    old.iter().filter(|cell| !new.contains(cell)).for_each(|cell| _ = table.leave(slot, &cell.name(CELL_PREFIX)));
}

/// Slots are numbers of our own: nobody can choose them so that they collide.
fn hash(slot: Slot) -> u64 {
    u64::from(slot).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn position(latitude: f64, longitude: f64) -> Position {
        Position::new(latitude, longitude).unwrap()
    }

    fn cells_of(table: &Table, slot: Slot) -> BTreeSet<String> {
        table.channels_of(slot).map(str::to_owned).collect()
    }

    /// What the invariant says of one connection.
    fn assert_in_its_cells(nearby: &Nearby, table: &Table, slot: Slot, of: Option<(Position, f64)>) {
        let cells = of.map(|(centre, radius_m)| Grid::of(radius_m).cell(centre).with_neighbours()).unwrap_or_default();
        let names: BTreeSet<String> = cells.iter().map(|cell| cell.name(CELL_PREFIX).to_string()).collect();
        assert_eq!(cells_of(table, slot), names);
        assert_eq!(nearby.cells_of(slot), names.len());
        assert_eq!(of.is_some_and(|(centre, _)| nearby.sees(slot, &centre.place())), of.is_some());
    }

    #[test]
    fn a_circle_that_cannot_be_changes_nothing() {
        let (mut nearby, mut table) = (Nearby::new(Arc::default()), Table::new(0, Arc::default(), 0));
        let here = position(48.1, 11.6);
        assert!(nearby.watch(7, &mut table, here, 500.0));
        for radius_m in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(!nearby.watch(7, &mut table, here, radius_m));
        }
        assert_in_its_cells(&nearby, &table, 7, Some((here, 500.0)));
        assert!(nearby.unwatch(7, &mut table) && !nearby.unwatch(7, &mut table));
        assert_eq!((table.channel_count(), nearby.grid_use.grids().count(), nearby.circles()), (0, 0, 0));
    }

    proptest! {
        #[test]
        fn whoever_has_a_circle_is_in_its_cells_and_in_no_others(
            steps in prop::collection::vec((0u32..4, 0u8..6, -0.02f64..0.02, 1.0f64..2_000.0), 1..60),
        ) {
            let grid_use = Arc::<GridUse>::default();
            let (mut nearby, mut table) = (Nearby::new(grid_use.clone()), Table::new(0, Arc::default(), 0));
            let mut model = std::collections::BTreeMap::new();
            for (slot, step, aside, radius_m) in steps {
                match step {
                    0 => prop_assert_eq!(nearby.unwatch(slot, &mut table), model.remove(&slot).is_some()),
                    1 => {
                        table.leave_all(slot);
                        nearby.forget(slot);
                        model.remove(&slot);
                    }
                    _ => {
                        // Around a pentagon, where the cells are six.
                        let centre = position(64.7 + aside, 10.536 + aside);
                        prop_assert!(nearby.watch(slot, &mut table, centre, radius_m));
                        model.insert(slot, (centre, radius_m));
                    }
                }
                (0..4).for_each(|slot| assert_in_its_cells(&nearby, &table, slot, model.get(&slot).copied()));
                let grids: BTreeSet<String> = model.values().map(|(_, r)| format!("{:?}", Grid::of(*r))).collect();
                prop_assert_eq!(nearby.grid_use.grids().map(|grid| format!("{grid:?}")).collect::<BTreeSet<_>>(), grids);
            }
        }
    }
}
