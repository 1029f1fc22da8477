//! Kit for testing programs that use Backroom.

mod clock;
mod kit;

pub use clock::TestClock;
pub use kit::{Performed, assert_enqueued, drain, enqueued, perform, perform_with, refute_enqueued};
