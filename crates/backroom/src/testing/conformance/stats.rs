//! What workers counted.

use std::{sync::Arc, time::Duration};

use backroom_core::stats::{RETENTION, KindStats, StatsRow, minute_of};

use super::env::Env;

/// What a worker counted in the minute that begins so many minutes after the first one.
fn row(env: &Env, minute: i64, worker: &str, done: u64) -> StatsRow {
    let mut kind = KindStats { done, failed: 2, discarded: 1, ..KindStats::of("mail") };
    kind.pickup.count(Duration::from_micros(700));
    kind.run.count(Duration::from_secs(90));
    kind.run.count(Duration::from_secs(7));
    let minute = minute_of(env.at(minute * 60));
    StatsRow { minute, worker: worker.into(), kinds: vec![KindStats::of("images"), kind] }
}

async fn put(env: &Env, row: &StatsRow) {
    env.store.put_stats(Arc::new(row.clone()), row.minute).await.expect("put stats");
}

async fn stats(env: &Env, minute: i64, limit: usize) -> Vec<StatsRow> {
    env.store.stats(minute_of(env.at(minute * 60)), limit).await.expect("stats")
}

pub(super) async fn what_a_worker_counted_comes_back(env: Env) {
    assert_eq!(stats(&env, 0, 10).await, []);
    let (one, other) = (row(&env, 0, "a", 5), StatsRow { kinds: Vec::new(), ..row(&env, 0, "b", 0) });
    put(&env, &other).await;
    put(&env, &one).await;
    assert_eq!(stats(&env, 0, 10).await, [one, other]);
    assert_eq!(stats(&env, 1, 10).await, []);
}

pub(super) async fn a_later_row_of_a_minute_replaces_the_earlier(env: Env) {
    let later = row(&env, 0, "a", 9);
    put(&env, &row(&env, 0, "a", 5)).await;
    put(&env, &later).await;
    assert_eq!(stats(&env, 0, 10).await, [later]);
}

pub(super) async fn the_newest_minutes_come_first_and_no_more_than_the_limit(env: Env) {
    let rows = [row(&env, 2, "a", 1), row(&env, 2, "b", 2), row(&env, 1, "b", 3), row(&env, 0, "a", 4)];
    for row in rows.iter().rev() {
        put(&env, row).await;
    }
    assert_eq!(stats(&env, 0, 10).await, rows);
    assert_eq!(stats(&env, 1, 10).await, rows[..3]);
    assert_eq!(stats(&env, 0, 2).await, rows[..2]);
}

pub(super) async fn minutes_older_than_an_hour_go(env: Env) {
    let minutes = i64::try_from(RETENTION.as_secs() / 60).expect("few");
    let (old, retained, new) = (row(&env, 0, "a", 1), row(&env, 1, "a", 2), row(&env, minutes + 1, "b", 3));
    for row in [&old, &retained, &new] {
        put(&env, row).await;
    }
    assert_eq!(stats(&env, 0, 10).await, [new, retained]);
}
