//! What tests of queues share: messages with numbers.

use std::{collections::BTreeSet, ops::Range};

use backroom::Backroom;

use crate::support::{jobs, until};

/// Messages with a number each.
pub(crate) fn numbers(range: Range<u64>) -> impl Iterator<Item = String> {
    range.map(|n| format!("{{\"n\":{n}}}"))
}

/// Waits until each number is a job, and checks that none is there twice.
pub(crate) async fn until_numbers(backroom: &Backroom, range: Range<u64>) {
    let count = usize::try_from(range.end - range.start).unwrap();
    until(backroom, &format!("there are {count} jobs"), async || jobs(backroom).await.len() >= count).await;
    let number =
        |job: &backroom::JobRow| job.args.decode::<serde_json::Value>().unwrap()["n"].as_u64().unwrap();
    let found: Vec<u64> = jobs(backroom).await.iter().map(number).collect();
    assert_eq!(found.len(), count, "{found:?}");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), range.collect());
}
