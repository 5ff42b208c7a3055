//! Places on the globe: positions as clients send them, circles around them, and the cells of H3 by which somebody who
//! moves finds those whose circle he is in.
//!
//! Sans-IO: knows neither channels nor connections. Degrees and metres everywhere, on a sphere of the mean radius of
//! the Earth: a distance is wrong by at most half a percent.

pub mod cells;
pub mod circle;
pub mod position;

pub use cells::{Cell, Grid, GridUse};
pub use circle::Circle;
pub use position::{Place, Position};
