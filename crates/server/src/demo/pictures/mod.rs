//! The pictures of the demo: those it brings along, listing them, and making a thumbnail of each.
//!
//! Everything here is synchronous, knows nothing of jobs, and returns values or typed errors; a handler calls
//! it from a blocking thread. It never reads a file's extension to learn what is inside, never follows
//! folders through symbolic links, and never leaves half a file under a visible name.
//!
//! Start reading at [`make`].

mod brought;
mod error;
mod jpeg;
mod listing;
mod target_name;
mod thumbnail;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use brought::bring;
pub(crate) use error::PictureError;
pub(crate) use listing::list;
pub(crate) use target_name::target_name;
pub(crate) use thumbnail::make;
pub(crate) use write::write_whole;
