//! What tests of programs and of stores need. Behind the feature `testing`.
//!
//! For programs that use Backroom: [`drain`] and [`perform`] run jobs, [`assert_enqueued`] checks what was
//! enqueued, [`TestClock`] owns the time. For authors of stores: [`conformance`] says what every verb must do, and
//! [`faults`] loses calls on purpose.

mod clock;
pub mod conformance;
pub mod faults;
#[doc(hidden)]
pub mod fuzz;
mod kit;

pub use clock::TestClock;
pub use kit::{Performed, assert_enqueued, drain, enqueued, perform, perform_with, refute_enqueued};
