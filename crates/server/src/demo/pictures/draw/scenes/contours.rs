//! A map of an island world: coloured heights with contour lines.

use super::super::canvas::Canvas;
use super::super::chance::Chance;
use super::super::palette::{Colour, Palette};
use super::super::terrain::Terrain;

/// Heights are worked out at every so many pixels and interpolated between, as each is costly.
const GRID: usize = 8;
const BANDS: f32 = 14.0;

pub(super) fn paint(canvas: &mut Canvas, palette: &Palette, chance: &mut Chance) {
    let terrain = Terrain::new(chance);
    let heights = Heights::of(&terrain, canvas);
    let line = palette.at(0.0).mix(Colour::BLACK, 0.3);

    canvas.fill_pixels(|x, y| {
        let height = heights.at(x, y) * BANDS;
        // How much the height changes within one pixel makes lines equally thick on steep and on flat ground.
        let slope = (heights.at(x + 1.0, y) * BANDS - height)
            .hypot(heights.at(x, y + 1.0) * BANDS - height)
            .max(1e-4);
        let band = height.floor();
        let fill = palette.at(band / (BANDS - 1.0));
        let to_line = (height - band).min(band + 1.0 - height) / slope;
        fill.mix(line, 0.55 * (1.6 - to_line).clamp(0.0, 1.0))
    });
}

struct Heights {
    columns: usize,
    values: Vec<f32>,
}

impl Heights {
    fn of(terrain: &Terrain, canvas: &Canvas) -> Heights {
        let size = canvas.width().min(canvas.height());
        // Two more than fit: one for the right edge, one for the slope at it.
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

    fn at(&self, x: f32, y: f32) -> f32 {
        let (x, y) = (x / GRID as f32, y / GRID as f32);
        let (column, row) = (x as usize, y as usize);
        let (across, down) = (x - column as f32, y - row as f32);
        let start = row * self.columns + column;
        let upper = self.values[start] + (self.values[start + 1] - self.values[start]) * across;
        let below = start + self.columns;
        let lower = self.values[below] + (self.values[below + 1] - self.values[below]) * across;
        upper + (lower - upper) * down
    }
}
