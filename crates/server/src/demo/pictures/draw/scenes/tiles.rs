//! A floor of tiles with quarter arcs that join into bands and rings (after Truchet and Smith), in few colours.

use super::super::canvas::Canvas;
use super::super::chance::Chance;
use super::super::palette::{Colour, Palette};

/// Tiles along the shorter side.
const TILES: u32 = 8;

pub(super) fn paint(canvas: &mut Canvas, palette: &Palette, chance: &mut Chance) {
    let (width, height) = (canvas.width() as u32, canvas.height() as u32);
    let side = width.min(height).div_ceil(TILES);
    // Every tile is one of two: fired once each, then laid.
    let tiles = [tile(side, palette, false), tile(side, palette, true)];
    for top in (0..height).step_by(side as usize) {
        for left in (0..width).step_by(side as usize) {
            canvas.stamp(chance.pick(&tiles), left, top);
        }
    }
}

fn tile(side: u32, palette: &Palette, is_turned: bool) -> Canvas {
    let [dark, _, middle, _, light] = palette.colours();
    let mut tile = Canvas::new(side, side);
    let side = side as f32;
    tile.fill_pixels(|x, y| {
        let (across, down) = (x + 0.5, y + 0.5);
        let across = if is_turned { side - across } else { across };
        // The arcs run round two opposite corners; the nearer one counts.
        let radius = across.hypot(down).min((side - across).hypot(side - down));
        let aside = (radius - side / 2.0).abs();
        let rim = edge(side * 0.2 - aside);
        let band = edge(side * 0.14 - aside);
        let line = edge(side * 0.03 - aside);
        middle.mix(*dark, rim).mix(*light, band).mix(shade(*middle), line)
    });
    tile
}

/// How much of a pixel is inside an edge that is so many pixels away.
fn edge(inside: f32) -> f32 {
    (inside + 0.5).clamp(0.0, 1.0)
}

fn shade(colour: Colour) -> Colour {
    colour.mix(Colour::BLACK, 0.25)
}
