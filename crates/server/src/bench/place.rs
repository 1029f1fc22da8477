//! Where a measurement takes place: a store of its own, or one that the user names.

use std::path::PathBuf;

use backroom::{Backroom, Durability, Error, ErrorKind, Options};

use super::args::BenchArgs;

/// An open store and what to remove afterwards.
pub(crate) struct Place {
    pub(crate) backroom: Backroom,
    pub(crate) url: String,
    pub(crate) durability: Durability,
    /// The folder of a file that was made for this measurement.
    folder: Option<Folder>,
}

/// A folder that is removed when its value is dropped, also when a measurement is interrupted.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is named after the program and does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Place {
    /// Without a store it makes a file of its own in the current folder, because that is the disk people mean; a
    /// temporary folder is often memory.
    pub(super) async fn open(args: &BenchArgs, store: Option<&str>) -> Result<Self, Error> {
        let durability = if args.relaxed { Durability::Relaxed } else { Durability::Full };
        let (url, folder) = match store {
            Some(url) => (url.to_owned(), None),
            None => {
                let folder = PathBuf::from(format!("backroom-bench-{}", std::process::id()));
                std::fs::create_dir(&folder).map_err(|error| {
                    let message = format!("make the folder {} for the measurement", folder.display());
                    Error::new(ErrorKind::NoSpace, message).caused_by(error)
                })?;
                (format!("sqlite:{}", folder.join("bench.db").display()), Some(Folder(folder)))
            }
        };
        let backroom = Options::new().durability(durability).open(&url).await?;
        Ok(Self { backroom, url, durability, folder })
    }

    /// The file next to this one for the bare loop; none if this is not a file.
    pub(super) fn file_beside(&self) -> Option<PathBuf> {
        let file = backroom::store::sqlite_file(&self.url)?;
        Some(PathBuf::from(format!("{}-baseline", file.display())))
    }

    pub(super) async fn close(self) -> Result<(), Error> {
        let closed = self.backroom.close().await;
        drop(self.folder);
        closed
    }
}
