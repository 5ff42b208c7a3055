//! Chance that can be repeated: what a test draws from its seed.

/// Splitmix64: every seed gives its own sequence, the same on every machine.
pub struct Chance(pub u64);

impl Chance {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From 0 to `end` - 1.
    pub fn below(&mut self, end: usize) -> usize {
        (self.draw() % end as u64) as usize
    }

    /// From 1 to `most`: half of the time all of it, so that both whole and cut messages are common.
    pub fn up_to(&mut self, most: usize) -> usize {
        if self.below(2) == 0 { most } else { 1 + self.below(most) }
    }
}
