//! A floor of tiles with quarter arcs that join into bands and rings (after Truchet and Smith), in few colours.

use super::super::canvas::Canvas;
use super::super::chance::Chance;
use super::super::palette::{Colour, Palette};

/// Tiles along the shorter side.
const TILES: f32 = 8.0;

pub(super) fn paint(canvas: &mut Canvas, palette: &Palette, chance: &mut Chance) {
    let (width, height) = (canvas.width(), canvas.height());
    let side = (width.min(height) / TILES).ceil();
    let columns = (width / side).ceil() as usize;
    let rows = (height / side).ceil() as usize;
    let is_turned: Vec<bool> = (0..columns * rows).map(|_| chance.unit() < 0.5).collect();
    let [dark, _, middle, _, light] = palette.colours();

    canvas.fill_pixels(|x, y| {
        let (column, row) = ((x / side) as usize, (y / side) as usize);
        let (mut across, down) = (x + 0.5 - column as f32 * side, y + 0.5 - row as f32 * side);
        if is_turned[row * columns + column] {
            across = side - across;
        }
        // The arcs run round two opposite corners; the nearer one counts.
        let radius = across.hypot(down).min((side - across).hypot(side - down));
        let aside = (radius - side / 2.0).abs();
        let ground = *middle;
        let rim = edge(side * 0.2 - aside);
        let band = edge(side * 0.14 - aside);
        let line = edge(side * 0.03 - aside);
        ground.mix(*dark, rim).mix(*light, band).mix(shade(*middle), line)
    });
}

/// How much of a pixel is inside an edge that is so many pixels away.
fn edge(inside: f32) -> f32 {
    (inside + 0.5).clamp(0.0, 1.0)
}

fn shade(colour: Colour) -> Colour {
    colour.mix(Colour::BLACK, 0.25)
}
