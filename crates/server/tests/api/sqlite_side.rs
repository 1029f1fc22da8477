//! Where the tests' jobs are: a file in a folder of the test.

use crate::cli_support::Place;

/// The URL of a store of this test's own.
pub(crate) fn store(place: &Place, _: &str) -> String {
    format!("sqlite:{}", place.path("backroom.db").display())
}
