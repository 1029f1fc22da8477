//! Chance that repeats itself: the same seed gives the same numbers on every machine and release.

/// SplitMix64, after <https://prng.di.unimi.it/splitmix64.c>.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    /// The numbers of the `stream`th picture of `seed`; streams of one seed have nothing in common.
    pub(super) fn new(seed: u64, stream: u64) -> Chance {
        let mut mixed = Chance(seed);
        Chance(mixed.next() ^ Chance(stream).next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to just under 1.
    pub(super) fn unit(&mut self) -> f32 {
        // 24 bits are what an f32 holds exactly.
        (self.next() >> 40) as f32 / (1_u32 << 24) as f32
    }

    /// From `low` to just under `high`.
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// One of `many`, which must not be empty.
    pub(super) fn pick<'a, T>(&mut self, many: &'a [T]) -> &'a T {
        let count = u64::try_from(many.len()).expect("invariant: a slice is no longer than u64");
        let index = usize::try_from(self.next() % count).expect("invariant: it is below the length");
        &many[index]
    }
}
