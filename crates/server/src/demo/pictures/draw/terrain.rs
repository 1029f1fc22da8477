//! Random heights that change smoothly from place to place (value noise), for ranges of hills and maps.

use super::chance::Chance;

/// How many random heights there are along each side before they repeat; a power of two.
const SIDE: usize = 64;

/// An endless plane of heights. Places one apart are independent; between them the height changes smoothly.
pub(super) struct Terrain {
    heights: Vec<f32>,
}

impl Terrain {
    pub(super) fn new(chance: &mut Chance) -> Terrain {
        Terrain { heights: (0..SIDE * SIDE).map(|_| chance.unit()).collect() }
    }

    /// The height at a place, from 0 to 1.
    pub(super) fn smooth(&self, x: f32, y: f32) -> f32 {
        let (left, top) = (x.floor(), y.floor());
        let (across, down) = (eased(x - left), eased(y - top));
        let at = |dx: usize, dy: usize| {
            // Wrapped by the mask, whatever the sign.
            let column = (left as i64 as usize).wrapping_add(dx) & (SIDE - 1);
            let row = (top as i64 as usize).wrapping_add(dy) & (SIDE - 1);
            self.heights[row * SIDE + column]
        };
        let upper = at(0, 0) + (at(1, 0) - at(0, 0)) * across;
        let lower = at(0, 1) + (at(1, 1) - at(0, 1)) * across;
        upper + (lower - upper) * down
    }

    /// The same with `octaves` of ever finer and lower detail; again from 0 to 1.
    pub(super) fn rough(&self, x: f32, y: f32, octaves: u8) -> f32 {
        let (mut sum, mut total) = (0.0, 0.0);
        let (mut scale, mut weight) = (1.0, 1.0);
        for octave in 0..octaves {
            // Shifted, as the octaves would else all have a corner at the same places.
            let shift = f32::from(octave) * 17.3;
            sum += self.smooth(x * scale + shift, y * scale + shift) * weight;
            total += weight;
            scale *= 2.0;
            weight *= 0.5;
        }
        sum / total
    }
}

/// Starts and ends level, so that no creases show.
fn eased(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}
