//! Sources that start jobs of Backroom.
#![deny(missing_docs)]
