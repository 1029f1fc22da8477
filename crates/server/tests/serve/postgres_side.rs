//! Where the tests' jobs are: a schema of the test in the tests' server.

use crate::{
    cli_support::Place,
    postgres_place::{server, with_schema},
};

/// A folder with a store of this test's own.
pub(crate) fn place() -> Place {
    Place::of(with_schema(&server(), "serve"))
}
