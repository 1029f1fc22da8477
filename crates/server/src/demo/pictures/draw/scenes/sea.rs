//! A setting sun over the sea, with its path of light on the waves.

use super::super::canvas::Canvas;
use super::super::chance::Chance;
use super::super::palette::{Colour, Palette};
use super::super::terrain::Terrain;

pub(super) fn paint(canvas: &mut Canvas, palette: &Palette, chance: &mut Chance) {
    let (width, height) = (canvas.width(), canvas.height());
    let size = width.min(height);
    let horizon = 0.58;

    canvas.fill_rows(|down| {
        if down < horizon {
            palette.at(0.3 + 0.6 * down / horizon)
        } else {
            palette.at(0.55 - 0.55 * ((down - horizon) / (1.0 - horizon)).sqrt())
        }
    });
    let clouds = Terrain::new(chance);
    veil(canvas, &clouds, palette.at(1.0), horizon);

    let light = palette.at(1.0).mix(Colour::WHITE, 0.6);
    let sun = (width * chance.between(0.35, 0.65), height * horizon - size * 0.13);
    canvas.disc(sun, size * 0.5, size * 0.5, light, 0.45);
    canvas.disc(sun, size * 0.1, 2.0, light, 1.0);
    glitter(canvas, chance, sun.0, horizon, light);
}

/// Thin bands of cloud in the sky.
fn veil(canvas: &mut Canvas, clouds: &Terrain, colour: Colour, horizon: f32) {
    let (width, height) = (canvas.width(), canvas.height());
    let size = width.min(height);
    for y in 0..(height * horizon * 0.85) as u32 {
        let edge = 1.0 - y as f32 / (height * horizon * 0.85);
        for x in 0..width as u32 {
            let (along, up) = (x as f32 / size * 2.0, y as f32 / size * 11.0);
            let thick = clouds.rough(along + up * 0.15, up, 3) - 0.52;
            canvas.blend(x, y, colour, thick * 2.2 * edge.min(0.6));
        }
    }
}

/// Flat strokes of light, the nearer the longer and the sparser, most of them under the sun.
fn glitter(canvas: &mut Canvas, chance: &mut Chance, under: f32, horizon: f32, colour: Colour) {
    const STROKES: u16 = 900;
    let (width, height) = (canvas.width(), canvas.height());
    let size = width.min(height);
    for _ in 0..STROKES {
        let near = chance.unit().powf(1.6);
        let y = height * (horizon + (1.0 - horizon) * near) + 2.0;
        let spread = size * (0.07 + 0.28 * near);
        // Three throws add up to something like a bell curve.
        let aside = chance.between(-1.0, 1.0) + chance.between(-1.0, 1.0) + chance.between(-1.0, 1.0);
        let centre = under + spread * aside * 0.6;
        let half_length = size * (0.006 + 0.05 * near) * chance.between(0.4, 1.0);
        let half_height = size * (0.0008 + 0.004 * near);
        let opacity = 0.75 * (1.0 - aside.abs() / 3.2);
        stroke(canvas, (centre, y), (half_length, half_height), colour, opacity);
    }
}

/// A lens-shaped stroke: an ellipse, painted column by column.
fn stroke(canvas: &mut Canvas, centre: (f32, f32), half: (f32, f32), colour: Colour, opacity: f32) {
    let (from, to) = (centre.0 - half.0, centre.0 + half.0);
    for x in from.max(0.0) as u32..=to.max(0.0) as u32 {
        let along = (x as f32 + 0.5 - centre.0) / half.0;
        let reach = half.1 * (1.0 - along * along).max(0.0);
        for y in (centre.1 - reach) as u32..=(centre.1 + reach) as u32 {
            let distance = (y as f32 + 0.5 - centre.1).abs();
            canvas.blend(x, y, colour, opacity * (reach + 0.5 - distance).clamp(0.0, 1.0));
        }
    }
}
