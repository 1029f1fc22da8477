//! Random cases that are the same in every run.

/// The generator SplitMix64, from a seed.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `min` to `max`, both possible.
    pub(crate) fn number(&mut self, min: i64, max: i64) -> i64 {
        min + (self.next() % (max - min + 1).unsigned_abs()).cast_signed()
    }

    /// True once in `of` times.
    pub(crate) fn one_in(&mut self, of: i64) -> bool {
        self.number(1, of) == 1
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.number(0, from.len() as i64 - 1)).expect("an index")]
    }
}
