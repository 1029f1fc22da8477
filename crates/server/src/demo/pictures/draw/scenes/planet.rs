//! A banded planet with a ring, on nothing: the surroundings are transparent.

use super::super::canvas::Canvas;
use super::super::chance::Chance;
use super::super::palette::{Colour, Palette};
use super::super::terrain::Terrain;

/// How flat the ring looks: its height for its width.
const RING_FLATNESS: f32 = 0.26;
/// The ring's inner and outer edge, in radii of the planet.
const RING: (f32, f32) = (1.3, 2.05);

pub(super) fn paint(canvas: &mut Canvas, palette: &Palette, chance: &mut Chance) {
    let terrain = Terrain::new(chance);
    let tilt = chance.between(-0.45, 0.45);
    let radius = canvas.width().min(canvas.height()) * 0.27;

    // From the far side to the near one.
    ring(canvas, &terrain, palette, radius, tilt, Half::Behind);
    ball(canvas, &terrain, palette, radius, tilt);
    ring(canvas, &terrain, palette, radius, tilt, Half::Before);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Behind,
    Before,
}

fn ball(canvas: &mut Canvas, terrain: &Terrain, palette: &Palette, radius: f32, tilt: f32) {
    each_pixel(canvas, tilt, |across, down| {
        let (across, down) = (across / radius, down / radius);
        let distance = across.hypot(down);
        let covered = ((1.0 - distance) * radius).clamp(0.0, 1.0);
        if covered == 0.0 {
            return None;
        }
        let depth = (1.0 - distance * distance).max(0.0).sqrt();
        let swirl = terrain.rough(across * 1.5 + 8.0, down * 4.0 + 8.0, 3) - 0.5;
        let band = terrain.rough(3.5, down * 5.0 + swirl * 1.2 + 20.0, 2);
        // Lit from the upper left.
        let light = (0.55 * depth - 0.5 * across - 0.55 * down).max(0.0) + 0.12;
        let colour = palette
            .at(0.25 + band * 0.9)
            .mix(Colour::WHITE, 0.12)
            .mix(palette.at(0.0).mix(Colour::BLACK, 0.5), 1.0 - light.min(1.0));
        Some((colour, covered))
    });
}

fn ring(canvas: &mut Canvas, terrain: &Terrain, palette: &Palette, radius: f32, tilt: f32, half: Half) {
    each_pixel(canvas, tilt, |across, down| {
        if (down > 0.0) != (half == Half::Before) {
            return None;
        }
        let distance = across.hypot(down / RING_FLATNESS) / radius;
        let edge = (distance - RING.0).min(RING.1 - distance) * radius * RING_FLATNESS;
        if edge <= 0.0 {
            return None;
        }
        let grooves = terrain.rough(distance * 16.0, 5.5, 3);
        let opacity = (0.25 + grooves).min(1.0) * edge.min(1.0);
        Some((palette.at(0.35 + 0.6 * grooves), opacity))
    });
}

/// Lays over each pixel what `colour` says for it, given how far it is to the right of and below the centre,
/// along axes that are turned by `tilt`.
fn each_pixel(canvas: &mut Canvas, tilt: f32, colour: impl Fn(f32, f32) -> Option<(Colour, f32)>) {
    let (width, height) = (canvas.width(), canvas.height());
    let (sin, cos) = tilt.sin_cos();
    for y in 0..height as u32 {
        for x in 0..width as u32 {
            let (right, below) = (x as f32 + 0.5 - width / 2.0, y as f32 + 0.5 - height / 2.0);
            let (across, down) = (right * cos + below * sin, below * cos - right * sin);
            if let Some((colour, opacity)) = colour(across, down) {
                canvas.blend(x, y, colour, opacity);
            }
        }
    }
}
