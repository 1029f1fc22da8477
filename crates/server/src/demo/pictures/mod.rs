//! The pictures of the demo: drawing some, listing them, and making a thumbnail of each.
//!
//! Everything here is synchronous, knows nothing of jobs, and returns values or typed errors; a handler calls
//! it from a blocking thread. It never looks at a file's extension to learn what is inside, never follows
//! folders through symbolic links, and never leaves half a file under a visible name.
//!
//! Start reading at [`make`]; [`draw()`] is what feeds it in the demo.

pub(crate) mod thumbnail;

mod atomically;
mod draw;
mod error;
mod listing;

#[cfg(test)]
mod tests;

pub(crate) use atomically::write as write_whole;
pub(crate) use draw::{draw, draw_broken};
pub(crate) use error::PictureError;
pub(crate) use listing::{Skipped, list};
pub(crate) use thumbnail::{make, target_name};
