//! Where the tests' jobs are: a file in a folder of the test.

use crate::cli_support::Place;

/// A folder with a store of this test's own.
pub(crate) fn place() -> Place {
    Place::new()
}
