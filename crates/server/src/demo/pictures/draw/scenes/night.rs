//! Northern lights over a dark forest.

use super::super::canvas::Canvas;
use super::super::chance::Chance;
use super::super::palette::{Colour, Palette};
use super::super::terrain::Terrain;

const STARS: u16 = 700;
const CURTAINS: u8 = 3;
const NIGHT: Colour = Colour::hex(0x08_0c_22);
const OXYGEN: Colour = Colour::hex(0x6d_f5_b4);

pub(super) fn paint(canvas: &mut Canvas, palette: &Palette, chance: &mut Chance) {
    let (width, height) = (canvas.width(), canvas.height());

    canvas.fill_rows(|down| NIGHT.mix(palette.at(0.25), 0.75 * down));
    for _ in 0..STARS {
        let place = (width * chance.unit(), height * chance.unit());
        let brightness = chance.unit().powi(3);
        let radius = 1.2 + 2.2 * brightness;
        canvas.disc(place, radius, radius, Colour::WHITE, 0.35 + 0.65 * brightness);
    }
    let terrain = Terrain::new(chance);
    for curtain in 0..CURTAINS {
        // Oxygen glows green lowest down; the palette tints the rest.
        let colour = OXYGEN.mix(palette.at(0.65), 0.75 - 0.3 * f32::from(curtain));
        hang(canvas, &terrain, f32::from(curtain), colour);
    }
    plant(canvas, &terrain, chance);
}

/// One curtain of light: brightest at its winding lower hem, fading upwards in folds.
fn hang(canvas: &mut Canvas, terrain: &Terrain, curtain: f32, colour: Colour) {
    let (width, height) = (canvas.width(), canvas.height());
    for x in 0..width as u32 {
        let along = x as f32 / width;
        let winding = terrain.rough(along * 2.5, curtain * 9.1, 2) - 0.5;
        let hem = height * (0.4 + 0.13 * curtain + 0.4 * winding);
        let folds = terrain.rough(along * 26.0, curtain * 7.7 + 20.0, 3);
        let presence = (terrain.smooth(along * 3.0, curtain * 3.3 + 40.0) * 1.6 - 0.3).clamp(0.0, 1.0);
        let length = height * (0.2 + 0.3 * folds);
        for y in (hem - length).max(0.0) as u32..(hem + height * 0.03).max(0.0) as u32 {
            let up = (hem - y as f32) / length;
            let shine = if up < 0.0 { 1.0 + up * length / (height * 0.03) } else { (1.0 - up).powi(2) };
            canvas.blend(x, y, colour, 0.95 * shine * presence * (0.35 + 0.65 * folds));
        }
    }
}

/// Firs on a low ridge, black against the sky.
fn plant(canvas: &mut Canvas, terrain: &Terrain, chance: &mut Chance) {
    let (width, height) = (canvas.width(), canvas.height());
    let ground = NIGHT.mix(Colour::BLACK, 0.6);
    let ridge = |x: f32| height * (0.9 - 0.1 * terrain.rough(x / width * 3.0, 55.0, 3));
    for x in 0..width as u32 {
        canvas.column(x, ridge(x as f32), height, |_| ground);
    }
    let mut x = 0.0;
    while x < width {
        let tall = height * chance.between(0.04, 0.13);
        fir(canvas, (x, ridge(x) + height * 0.01), tall, ground);
        x += tall * chance.between(0.12, 0.4);
    }
}

/// Tiers of branches, each wider than the one above.
fn fir(canvas: &mut Canvas, foot: (f32, f32), tall: f32, colour: Colour) {
    const TIERS: f32 = 7.0;
    let top = foot.1 - tall;
    for y in top.max(0.0) as u32..foot.1 as u32 {
        let down = (y as f32 - top) / tall;
        let within_tier = (down * TIERS).fract();
        let half_width = tall * 0.2 * down * (0.45 + 0.55 * within_tier) + 0.7;
        for x in (foot.0 - half_width).max(0.0) as u32..=(foot.0 + half_width) as u32 {
            let inside = half_width - (x as f32 + 0.5 - foot.0).abs();
            canvas.blend(x, y, colour, inside.clamp(0.0, 1.0));
        }
    }
}
