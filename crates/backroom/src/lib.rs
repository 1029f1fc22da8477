//! Background jobs for Rust programs.

#![deny(missing_docs)]

pub mod clock;
mod error;
pub mod ids;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use backroom_core as core;
pub use error::{Error, ErrorKind};
