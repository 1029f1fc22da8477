//! Ranges of hills, one behind the other in the haze, and a low sun.

use std::array;

use super::super::canvas::Canvas;
use super::super::chance::Chance;
use super::super::palette::{Colour, Palette};
use super::super::terrain::Terrain;

const RANGES: usize = 6;

pub(super) fn paint(canvas: &mut Canvas, palette: &Palette, chance: &mut Chance) {
    let (width, height) = (canvas.width(), canvas.height());
    let size = width.min(height);

    canvas.fill_rows(|down| palette.at(0.45 + 0.75 * down));
    let sun = (width * chance.between(0.25, 0.75), height * chance.between(0.28, 0.4));
    let glow = palette.at(1.0).mix(Colour::WHITE, 0.5);
    canvas.disc(sun, size * 0.45, size * 0.45, glow, 0.5);
    canvas.disc(sun, size * 0.09, 2.0, glow, 1.0);

    let terrain = Terrain::new(chance);
    for x in 0..width as u32 {
        let tops: [f32; RANGES] = array::from_fn(|range| {
            let near = nearness(range);
            let along = x as f32 / size * (2.5 + 1.5 * near);
            let rise = height * (0.17 + 0.05 * near) * terrain.rough(along, range as f32 * 5.7, 5);
            height * (0.56 + 0.36 * near) - rise
        });
        for (range, &top) in tops.iter().enumerate() {
            // Only down to where nearer ones hide it, and a pixel further, as their edges are soft.
            let hidden_from = tops[range + 1..].iter().copied().fold(height, f32::min) + 1.0;
            let colour = palette.at(0.72 * (1.0 - nearness(range)));
            let haze = palette.at(0.78 * (1.0 - nearness(range)) + 0.12);
            canvas.column(x, top, hidden_from, |y| colour.mix(haze, ((y - top) / (height * 0.22)).min(1.0)));
        }
    }
}

/// From 0 for the farthest range to 1 for the nearest.
fn nearness(range: usize) -> f32 {
    range as f32 / (RANGES - 1) as f32
}
