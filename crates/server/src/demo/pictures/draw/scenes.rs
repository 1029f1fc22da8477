//! What there is to be drawn. Each scene paints a whole canvas of any size, in proportion to its width and
//! height, and takes all chance from the one that it is given.

mod contours;
mod facets;
mod hills;
mod lights;
mod night;
mod planet;
mod sea;
mod tiles;

use super::canvas::Canvas;
use super::chance::Chance;
use super::palette::Palette;

/// The motifs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scene {
    Contours,
    Facets,
    Hills,
    Lights,
    Night,
    Planet,
    Sea,
    Tiles,
}

impl Scene {
    /// For the file's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Scene::Contours => "contours",
            Scene::Facets => "facets",
            Scene::Hills => "hills",
            Scene::Lights => "lights",
            Scene::Night => "night",
            Scene::Planet => "planet",
            Scene::Sea => "sea",
            Scene::Tiles => "tiles",
        }
    }

    /// Covers all of the canvas, except for `Planet`, which leaves its surroundings transparent.
    pub(super) fn paint(self, canvas: &mut Canvas, palette: &Palette, chance: &mut Chance) {
        match self {
            Scene::Contours => contours::paint(canvas, palette, chance),
            Scene::Facets => facets::paint(canvas, palette, chance),
            Scene::Hills => hills::paint(canvas, palette, chance),
            Scene::Lights => lights::paint(canvas, palette, chance),
            Scene::Night => night::paint(canvas, palette, chance),
            Scene::Planet => planet::paint(canvas, palette, chance),
            Scene::Sea => sea::paint(canvas, palette, chance),
            Scene::Tiles => tiles::paint(canvas, palette, chance),
        }
    }
}
