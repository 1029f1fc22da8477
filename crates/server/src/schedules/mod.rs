//! What settings, API and command line share about schedules: the short forms that people write, and what may be done by hand.
//!
//! When a schedule fires is decided in [`backroom::core::schedule`]. What is asked is in [`crate::bodies::schedule`], what is answered in
//! [`crate::views::schedule`].

pub(crate) mod form;
pub(crate) mod own;
pub(crate) mod short;
