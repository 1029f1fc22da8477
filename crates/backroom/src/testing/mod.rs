//! What tests of programs and of stores need. Behind the feature `testing`.

pub mod conformance;
pub mod faults;
