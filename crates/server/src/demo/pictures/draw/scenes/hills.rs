//! Ranges of hills, one behind the other in the haze, and a low sun.

use super::super::canvas::Canvas;
use super::super::chance::Chance;
use super::super::palette::{Colour, Palette};
use super::super::terrain::Terrain;

const RANGES: u8 = 6;

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
        let along = x as f32 / size;
        // From front to back, so that a range is painted only down to where a nearer one hides it.
        let mut hidden_from = height;
        for range in (0..RANGES).rev() {
            // From 0 for the farthest range to 1 for the nearest.
            let near = f32::from(range) / f32::from(RANGES - 1);
            let rise = height * (0.17 + 0.05 * near);
            let bends = 2.5 + 1.5 * near;
            let top = height * (0.56 + 0.36 * near)
                - rise * terrain.rough(along * bends, f32::from(range) * 5.7, 5);
            let colour = palette.at(0.72 * (1.0 - near));
            let haze = palette.at(0.78 * (1.0 - near) + 0.12);
            canvas.column(x, top, hidden_from, |y| colour.mix(haze, ((y - top) / (height * 0.22)).min(1.0)));
            hidden_from = hidden_from.min(top);
        }
    }
}
