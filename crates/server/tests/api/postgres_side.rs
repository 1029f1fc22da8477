//! Where the tests' jobs are: a schema of the test in the tests' server.

use crate::{
    cli_support::Place,
    postgres_place::{server, with_schema},
};

/// The URL of a store of this test's own.
pub(crate) fn store(_: &Place, test: &str) -> String {
    with_schema(&server(), test)
}
