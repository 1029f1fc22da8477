//! Colours that go together.

use super::chance::Chance;

/// Red, green and blue, each from 0 to 255. Floats, so that soft shapes laid over each other do not round
/// themselves into bands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Colour(pub(super) [f32; 3]);

impl Colour {
    pub(super) const WHITE: Colour = Colour::hex(0xff_ff_ff);
    pub(super) const BLACK: Colour = Colour::hex(0x00_00_00);

    /// From the way colours are usually noted.
    pub(super) const fn hex(rgb: u32) -> Colour {
        let [_, red, green, blue] = rgb.to_be_bytes();
        Colour([red as f32, green as f32, blue as f32])
    }

    /// This colour with `share` (0 to 1) of the other.
    pub(super) fn mix(self, other: Colour, share: f32) -> Colour {
        // Spelled out: it runs for millions of pixels, and iterators crawl in an unoptimised build.
        let ([a, b, c], [x, y, z]) = (self.0, other.0);
        Colour([a + (x - a) * share, b + (y - b) * share, c + (z - c) * share])
    }
}

/// Five colours from dark to light.
#[derive(Clone, Debug)]
pub(super) struct Palette([Colour; 5]);

const PALETTES: [Palette; 6] = [
    // dusk
    Palette::hex([0x2d1b4e, 0x6b2d5c, 0xc9485b, 0xf49e4c, 0xfde2a7]),
    // lagoon
    Palette::hex([0x0b3954, 0x14708f, 0x3fa7b8, 0x9fdcd4, 0xf4f9e9]),
    // meadow
    Palette::hex([0x12312b, 0x2a6049, 0x6a9f58, 0xb9cf6a, 0xf5f0cf]),
    // heather
    Palette::hex([0x23213f, 0x4c4a7d, 0x8c7fb0, 0xd3aec6, 0xf8e8e4]),
    // candy
    Palette::hex([0x33247a, 0x7445c4, 0xd66fd6, 0xffa9b8, 0xfff0e6]),
    // desert
    Palette::hex([0x3e1f1a, 0x8f3b1b, 0xd5762b, 0xf0b872, 0xfbe9cf]),
];

impl Palette {
    const fn hex(rgb: [u32; 5]) -> Palette {
        let [a, b, c, d, e] = rgb;
        Palette([Colour::hex(a), Colour::hex(b), Colour::hex(c), Colour::hex(d), Colour::hex(e)])
    }

    /// One of ours.
    pub(super) fn any(chance: &mut Chance) -> Palette {
        chance.pick(&PALETTES).clone()
    }

    /// The colour at `at`, from 0 for the darkest to 1 for the lightest; beyond, the last one.
    pub(super) fn at(&self, at: f32) -> Colour {
        let steps = self.0.len() - 1;
        let at = at.clamp(0.0, 1.0) * steps as f32;
        let lower = (at as usize).min(steps - 1);
        self.0[lower].mix(self.0[lower + 1], at - lower as f32)
    }

    /// The colours themselves, from dark to light.
    pub(super) fn colours(&self) -> &[Colour; 5] {
        &self.0
    }
}
