//! What the checks share: a check that asks the store, and one that could not be made.

use backroom::{Error, HealthCheck};

/// A check that failed because it could not be made.
pub(super) fn not_made(name: &str, why: &dyn std::fmt::Display) -> HealthCheck {
    HealthCheck { name: name.into(), ok: false, found: format!("this could not be checked: {why}") }
}

/// A check that answers whether all is well, and what was found.
pub(super) async fn check(
    name: &str,
    query: impl Future<Output = Result<(bool, String), Error>>,
) -> HealthCheck {
    match query.await {
        Ok((ok, found)) => HealthCheck { name: name.into(), ok, found },
        Err(error) => not_made(name, &error),
    }
}
