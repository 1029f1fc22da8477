//! The pictures of the demo: those that it brings along, and making a thumbnail of one.
//!
//! All of this blocks and knows no store; a handler calls it on a thread for blocking work. Start reading at [`make`].

mod thumbnail;
mod write;

use std::{io, path::Path};

pub(crate) use self::{
    thumbnail::{Made, make},
    write::{write_apart, write_whole},
};

/// Name and content, in four formats; one was taken with the camera held sideways. The stranger ones come early, so that even a
/// small handful has them.
const PICTURES: [(&str, &[u8]); 12] = [
    ("hills.jpg", include_bytes!("brought/hills.jpg")),
    ("night.jpg", include_bytes!("brought/night.jpg")),
    ("sea-sideways.jpg", include_bytes!("brought/sea-sideways.jpg")),
    ("planet.png", include_bytes!("brought/planet.png")),
    ("tiles.gif", include_bytes!("brought/tiles.gif")),
    ("contours.webp", include_bytes!("brought/contours.webp")),
    ("lights.jpg", include_bytes!("brought/lights.jpg")),
    ("facets.png", include_bytes!("brought/facets.png")),
    ("hills.webp", include_bytes!("brought/hills.webp")),
    ("sea.jpg", include_bytes!("brought/sea.jpg")),
    ("contours.jpg", include_bytes!("brought/contours.jpg")),
    ("tiles.png", include_bytes!("brought/tiles.png")),
];

/// Writes `count` pictures, and half of one so that a job is discarded, into `folder`, and answers how many of these files were missing. Beyond twelve the
/// pictures repeat under further names. A file that is there stays, whatever its content.
pub(crate) fn bring(folder: &Path, count: u16) -> io::Result<usize> {
    let numbered = (1..=count).zip(PICTURES.iter().cycle());
    let whole = numbered.map(|(number, (name, content))| (format!("{number:02}-{name}"), *content));
    let hills = PICTURES[0].1;
    let mut written = 0;
    for (name, content) in whole.chain([("cut-short.jpg".to_owned(), &hills[..hills.len() / 2])]) {
        let path = folder.join(name);
        if !path.try_exists()? {
            write_whole(&path, content)?;
            written += 1;
        }
    }
    Ok(written)
}
