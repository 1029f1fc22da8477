//! A map of an island world: coloured heights with contour lines.

use super::super::canvas::Canvas;
use super::super::chance::Chance;
use super::super::palette::{Colour, Palette};
use super::super::terrain::Terrain;

/// Heights are worked out at every so many pixels and interpolated between, as each is costly.
const GRID: usize = 8;
const BANDS: f32 = 14.0;
/// Half a line's thickness, in pixels.
const LINE: f32 = 1.6;

pub(super) fn paint(canvas: &mut Canvas, palette: &Palette, chance: &mut Chance) {
    let terrain = Terrain::new(chance);
    let heights = Heights::of(&terrain, canvas);
    let line = palette.at(0.0).mix(Colour::BLACK, 0.3);

    canvas.fill_pixels(|x, y| {
        let (height, slope) = heights.at(x, y);
        let height = height * BANDS;
        let band = height.floor();
        let fill = palette.at(band / (BANDS - 1.0));
        // Measured along the slope, lines are equally thick on steep and on flat ground.
        let to_line = (height - band).min(band + 1.0 - height) / (slope * BANDS).max(1e-4);
        if to_line < LINE { fill.mix(line, 0.55 * (LINE - to_line).min(1.0)) } else { fill }
    });
}

struct Heights {
    columns: usize,
    values: Vec<f32>,
}

impl Heights {
    fn of(terrain: &Terrain, canvas: &Canvas) -> Heights {
        let size = canvas.width().min(canvas.height());
        // Two more than fit, for what is right of and below the last pixel.
        let columns = canvas.width() as usize / GRID + 2;
        let rows = canvas.height() as usize / GRID + 2;
        let values = (0..columns * rows)
            .map(|index| {
                let x = (index % columns * GRID) as f32 / size * 3.2;
                let y = (index / columns * GRID) as f32 / size * 3.2;
                // Stretched, as an average of random heights seldom reaches 0 or 1.
                ((terrain.rough(x, y, 4) - 0.5) * 1.7 + 0.5).clamp(0.0, 0.999)
            })
            .collect();
        Heights { columns, values }
    }

    /// The height at a pixel, and how much it changes from there to the next pixel uphill.
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        let (x, y) = (x / GRID as f32, y / GRID as f32);
        let (column, row) = (x as usize, y as usize);
        let (across, down) = (x - column as f32, y - row as f32);
        let above = row * self.columns + column;
        let below = above + self.columns;
        let (a, b) = (self.values[above], self.values[above + 1]);
        let (c, d) = (self.values[below], self.values[below + 1]);
        let (upper, lower) = (a + (b - a) * across, c + (d - c) * across);
        let to_the_right = (b - a) + (d - c - b + a) * down;
        let downwards = lower - upper;
        let slope = (to_the_right * to_the_right + downwards * downwards).sqrt();
        (upper + downwards * down, slope / GRID as f32)
    }
}
