//! The PostgreSQL store does what every store must do.

#![cfg(feature = "postgres")]

mod postgres_support;

use backroom::testing::conformance;
use postgres_support::{Schemas, server};

/// The tests' server does not sync to its disk, so a store with full durability would report a failed check.
const RELAXED: &str = "&durability=relaxed";

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms() {
    let schemas = Schemas::at(&server(), RELAXED).await;
    conformance::conforms(async || schemas.fresh().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms_under_faults() {
    let schemas = Schemas::at(&server(), RELAXED).await;
    conformance::conforms_under_faults(async || schemas.fresh().await).await;
}

/// Every claim puts what it takes on a tray, however few jobs that are; so each behaviour is shown for jobs on trays, too.
const ON_TRAYS: &str = "&durability=relaxed&trays_from=1";

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms_with_every_claim_on_a_tray() {
    let schemas = Schemas::at(&server(), ON_TRAYS).await;
    conformance::conforms(async || schemas.fresh().await).await;
}

/// The families whose jobs may lie on a tray while a call is lost. Jobs of the others never do, or are not claimed, so that the run above
/// has shown them.
const FAMILIES_ON_TRAYS: &[&str] = &[
    "insert",
    "extras",
    "unique",
    "claim",
    "priority_and_order",
    "commit",
    "fencing",
    "held",
    "note",
    "history",
    "rescue",
    "expire",
    "prune",
    "delete",
    "leases",
];

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms_under_faults_with_every_claim_on_a_tray() {
    let schemas = Schemas::at(&server(), ON_TRAYS).await;
    conformance::families_conform_under_faults(FAMILIES_ON_TRAYS, async || schemas.fresh().await).await;
}
