//! The text that stores hold of a schedule and of its state.

use super::{Schedule, State};
use crate::{
    Invalid,
    versioned::{read, write},
};

pub use crate::versioned::VERSION;

impl Schedule {
    /// The text for a store.
    pub fn stored(&self) -> Result<String, Invalid> {
        write("schedule", self)
    }

    /// Reads the text of a store.
    pub fn from_stored(text: &str) -> Result<Self, Invalid> {
        read("stored schedule", text)
    }
}

impl State {
    /// The text for a store.
    pub fn stored(&self) -> Result<String, Invalid> {
        write("schedule state", self)
    }

    /// Reads the text of a store.
    pub fn from_stored(text: &str) -> Result<Self, Invalid> {
        read("stored schedule state", text)
    }
}
