//! How a notification ends. Said by its stripe, and counted.

/// How one has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A device of the user has said so.
    Confirmed,
    /// Nobody has, within its time.
    Expired,
    /// It was the oldest where newer ones needed its room.
    Dropped,
}
