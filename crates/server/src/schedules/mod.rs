//! What settings, API and command line share about schedules: the short forms that people write, and what is answered.
//!
//! When a schedule fires is decided in [`backroom::core::schedule`]. Nothing here asks a store.

pub(crate) mod body;
pub(crate) mod form;
pub(crate) mod own;
pub(crate) mod preview;
pub(crate) mod short;
pub(crate) mod view;
