//! A crumpled sheet of triangles.

use super::super::canvas::Canvas;
use super::super::chance::Chance;
use super::super::palette::{Colour, Palette};
use super::super::terrain::Terrain;

/// Squares along the shorter side; each is cut into two triangles.
const SQUARES: f32 = 11.0;

pub(super) fn paint(canvas: &mut Canvas, palette: &Palette, chance: &mut Chance) {
    let (width, height) = (canvas.width(), canvas.height());
    let side = width.min(height) / SQUARES;
    // One square more on each side, so that shifted corners leave no gap.
    let columns = (width / side).ceil() as usize + 3;
    let rows = (height / side).ceil() as usize + 3;
    let corners: Vec<(f32, f32)> = (0..columns * rows)
        .map(|index| {
            let x = (index % columns) as f32 - 1.0 + chance.between(-0.34, 0.34);
            let y = (index / columns) as f32 - 1.0 + chance.between(-0.34, 0.34);
            (x * side, y * side)
        })
        .collect();
    let terrain = Terrain::new(chance);

    // Neighbours share their edges to the pixel; what rounding leaves open shows this and not nothing.
    canvas.fill_rows(|_| palette.at(0.5));
    for row in 0..rows - 1 {
        for column in 0..columns - 1 {
            let start = row * columns + column;
            let [a, b] = [corners[start], corners[start + 1]];
            let [c, d] = [corners[start + columns], corners[start + columns + 1]];
            for corners in [[a, b, c], [b, d, c]] {
                let centre = (
                    (corners[0].0 + corners[1].0 + corners[2].0) / 3.0 / width,
                    (corners[0].1 + corners[1].1 + corners[2].1) / 3.0 / height,
                );
                let swell = terrain.smooth(centre.0 * 3.0, centre.1 * 3.0) - 0.5;
                let slant = centre.0 * 0.35 + centre.1 * 0.65;
                let shade = slant + swell * 0.5 + chance.between(-0.08, 0.08);
                triangle(canvas, corners, palette.at(shade));
            }
        }
    }
}

/// Fills the pixels whose centres lie inside. The colours of neighbours are close, so that hard edges do.
fn triangle(canvas: &mut Canvas, [a, b, c]: [(f32, f32); 3], colour: Colour) {
    let top = a.1.min(b.1).min(c.1).max(0.0) as u32;
    let bottom = a.1.max(b.1).max(c.1).clamp(0.0, canvas.height()) as u32;
    for y in top..=bottom {
        let middle = y as f32 + 0.5;
        let crossings =
            [(a, b), (b, c), (c, a)].into_iter().filter_map(|(from, to)| crossing(from, to, middle));
        let (left, right) =
            crossings.fold((f32::MAX, f32::MIN), |(left, right), x| (left.min(x), right.max(x)));
        if left < right {
            let right = right.min(canvas.width());
            for x in (left - 0.5).ceil().max(0.0) as u32..(right + 0.5).max(0.0) as u32 {
                canvas.blend(x, y, colour, 1.0);
            }
        }
    }
}

/// Where the line between two points crosses a height, if it does.
fn crossing(from: (f32, f32), to: (f32, f32), y: f32) -> Option<f32> {
    let is_crossed = (from.1 <= y) != (to.1 <= y);
    is_crossed.then(|| from.0 + (y - from.1) / (to.1 - from.1) * (to.0 - from.0))
}
