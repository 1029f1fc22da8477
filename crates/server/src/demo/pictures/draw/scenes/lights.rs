//! The lights of a town at night, out of focus.

use super::super::canvas::Canvas;
use super::super::chance::Chance;
use super::super::palette::{Colour, Palette};

const LIGHTS: u8 = 110;

pub(super) fn paint(canvas: &mut Canvas, palette: &Palette, chance: &mut Chance) {
    let (width, height) = (canvas.width(), canvas.height());
    let size = width.min(height);

    canvas.fill_rows(|down| palette.at(0.3 * down).mix(Colour::BLACK, 0.45));
    // Street lamps in one family of colours, signs in another.
    let families = [palette.clone(), Palette::any(chance)];
    for index in 0..LIGHTS {
        // The far, small ones first.
        let near = f32::from(index) / f32::from(LIGHTS);
        let radius = size * (0.012 + 0.1 * near * near) * chance.between(0.7, 1.2);
        let place = (width * chance.unit(), height * chance.between(0.1, 1.0));
        let colour = chance.pick(&families).at(chance.between(0.35, 0.9));
        let opacity = chance.between(0.35, 0.9) * (1.2 - near);
        // A lens draws a flat disc with a brighter rim.
        canvas.disc(place, radius, radius * 0.06, colour.mix(Colour::WHITE, 0.35), opacity);
        canvas.disc(place, radius * 0.93, radius * 0.06, colour, opacity * 0.7);
    }
}
