//! Draws pictures to make thumbnails of, so that the demo needs no photographs: landscapes, lights and patterns
//! in four formats and several shapes, one of them taken with the camera held sideways.
//!
//! The same seed draws the same pictures. Start reading at [`draw`]; each scene is a file in `scenes/`.

mod canvas;
mod chance;
mod encode;
mod palette;
mod scenes;
mod terrain;

use std::fs;
use std::path::{Path, PathBuf};

use super::PictureError;
use super::atomically;
use canvas::Canvas;
use chance::Chance;
use encode::Encoding;
use palette::Palette;
use scenes::Scene;

/// The name of the picture that [`draw_broken`] writes.
const BROKEN_NAME: &str = "cut-short.jpg";

/// What is drawn, how large in pixels once upright, and how it is stored.
type Plan = (Scene, (u32, u32), Encoding);

/// The first twelve pictures; further ones begin again with other colours. The stranger ones come early, so
/// that even a small handful has them.
const PLANS: [Plan; 12] = [
    (Scene::Hills, (1600, 1200), Encoding::Jpeg),
    (Scene::Night, (1200, 1600), Encoding::Jpeg),
    (Scene::Sea, (1200, 1600), Encoding::JpegSideways),
    (Scene::Planet, (1400, 1200), Encoding::Png),
    (Scene::Tiles, (1600, 1200), Encoding::Gif),
    (Scene::Contours, (1600, 1200), Encoding::WebP),
    (Scene::Lights, (1600, 1067), Encoding::Jpeg),
    (Scene::Facets, (1600, 1200), Encoding::Png),
    (Scene::Hills, (1200, 1600), Encoding::WebP),
    (Scene::Sea, (2400, 900), Encoding::Jpeg),
    (Scene::Contours, (1200, 1200), Encoding::Jpeg),
    (Scene::Tiles, (1200, 1600), Encoding::Png),
];

/// Draws the first `count` pictures into `folder`, which is created if it is missing, and returns their paths
/// in the order of their names. A picture that is already there is kept as it is, whatever its content.
///
/// Each file appears under its name only when it is complete, one after the other, so that a watcher of the
/// folder sees them arrive.
///
/// # Errors
/// Only [`Io`](PictureError::Io). The pictures that were written before stay.
pub(crate) fn draw(folder: &Path, count: u16, seed: u64) -> Result<Vec<PathBuf>, PictureError> {
    (0..count)
        .zip(PLANS.iter().cycle())
        .map(|(index, plan)| {
            let path = folder.join(name(index, plan));
            // Each picture has its own seed, so that it does not depend on which others were kept.
            let chance = Chance::new(seed, u64::from(index));
            keep_or_write(path, || paint(plan, chance))
        })
        .collect()
}

/// Puts one broken picture into `folder`, so that the demo shows a discarded job: a JPEG of which the second
/// half is missing. Returns its path; one that is already there is kept.
///
/// # Errors
/// Only [`Io`](PictureError::Io).
pub(crate) fn draw_broken(folder: &Path, seed: u64) -> Result<PathBuf, PictureError> {
    let plan = (Scene::Hills, (800, 600), Encoding::Jpeg);
    keep_or_write(folder.join(BROKEN_NAME), || {
        let mut bytes = paint(&plan, Chance::new(seed, u64::MAX));
        bytes.truncate(bytes.len() / 2);
        bytes
    })
}

/// `03-sea-sideways.jpg`: the number keeps the names apart, and them in order.
fn name(index: u16, (scene, _size, encoding): &Plan) -> String {
    format!("{:02}-{}{}", index + 1, scene.name(), encoding.suffix())
}

fn paint((scene, size, encoding): &Plan, mut chance: Chance) -> Vec<u8> {
    let palette = Palette::any(&mut chance);
    let mut canvas = Canvas::new(size.0, size.1);
    scene.paint(&mut canvas, &palette, &mut chance);
    encoding.encode(canvas.into_image())
}

fn keep_or_write(path: PathBuf, bytes: impl FnOnce() -> Vec<u8>) -> Result<PathBuf, PictureError> {
    let is_there = path.try_exists().map_err(PictureError::io("look for", &path))?;
    if !is_there {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(PictureError::io("create the folder", folder))?;
        }
        atomically::write(&path, &bytes()).map_err(PictureError::io("write", &path))?;
    }
    Ok(path)
}
