//! Failover: a primary with a synchronous standby dies while jobs come in and are worked, the standby takes over, and
//! workers and client follow by themselves. No acknowledged job is lost, each is finished once in the record.

#![cfg(all(feature = "postgres", unix))]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod postgres_support;
mod postgres_testbed;

use std::time::Duration;

use backroom_testbed::Server;
use postgres_support::client;
use postgres_testbed::{crew::Crew, feed::Feed, record, server, shift, until};

const WORKERS: usize = 3;
/// Jobs acknowledged between two steps.
const JOBS: u64 = 400;

/// How a primary dies.
#[derive(Debug, Clone, Copy)]
enum Death {
    Killed,
    StoppedAtOnce,
}

#[test]
fn worker_process() {
    shift::work_if_asked();
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_and_client_follow_a_failover_and_no_acknowledged_job_is_lost() {
    let (mut primary, mut standby) = (server::make(), server::empty());
    primary.start().unwrap();
    let url = format!(
        "postgres://backroom@{},{}/postgres?target_session_attrs=read-write",
        primary.address(),
        standby.address()
    );
    let backroom = shift::open(&url).await.unwrap();
    record::note_finishes(&server::url(&primary)).await;
    let mut crew = Crew::start(&url, WORKERS);
    let feed = Feed::start(&backroom);
    let deaths = [Death::Killed, Death::StoppedAtOnce];
    for death in deaths {
        standby.become_standby_of(&primary).unwrap();
        standby.start().unwrap();
        wait_for_the_standby_at_each_commit(&primary).await;
        feed.more(JOBS).await;
        match death {
            Death::Killed => primary.kill().unwrap(),
            Death::StoppedAtOnce => primary.stop("immediate").unwrap(),
        }
        standby.promote().unwrap();
        commit_alone(&standby).await;
        // Back the same way: what was the primary becomes the standby of the other, and takes over from it.
        std::mem::swap(&mut primary, &mut standby);
        feed.more(JOBS).await;
        crew.check();
    }
    let acknowledged = feed.stop().await;
    record::settled(&backroom).await;
    let said = crew.stop().await;
    let summary = record::check(&backroom, &server::url(&primary), &acknowledged).await;
    println!("{summary:?}");
    record::no_flood(&said, WORKERS * deaths.len());
    backroom.close().await.unwrap();
}

/// From here on an acknowledged commit is on both servers.
async fn wait_for_the_standby_at_each_commit(primary: &Server) {
    let client = client(&server::url(primary)).await;
    set(&client, "SET synchronous_standby_names = '*'").await;
    until("the standby is synchronous", Duration::from_secs(30), async || {
        let rows = client.query("SELECT sync_state FROM pg_stat_replication", &[]).await.unwrap();
        rows.iter().any(|row| row.get::<_, Option<&str>>(0) == Some("sync")).then_some(())
    })
    .await;
}

/// A promoted standby has no standby to wait for; until it knows that, no commit ends.
async fn commit_alone(server: &Server) {
    set(&client(&server::url(server)).await, "RESET synchronous_standby_names").await;
}

async fn set(client: &tokio_postgres::Client, what: &str) {
    client.batch_execute(&format!("ALTER SYSTEM {what}")).await.unwrap();
    client.query_one("SELECT pg_reload_conf()", &[]).await.unwrap();
}
