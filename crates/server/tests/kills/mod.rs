//! Kills servers with `kill -9` while 64 connections enqueue, and then looks for everything that was promised.
//!
//! [`run`] is the story. [`load`] are the clients, [`ledger`] is what they were promised and what arrived, [`receiver`] takes
//! the callbacks.

mod client;
mod ledger;
mod load;
mod receiver;

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use backroom::{Backroom, Filter, State};

use self::{client::Addresses, ledger::Ledger, load::Load, receiver::Receiver};
use crate::{cli_support::Place, serve_support::Server};

/// How often a server is killed.
const KILLS: usize = 20;
/// Longest time until everything that was promised has happened, once the servers are left alone.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs so many servers on one store, kills one after the other under load, and checks every promise.
pub(crate) fn run(place: &Place, store: &str, servers: usize) {
    let receiver = Receiver::start();
    let start = || {
        let args = [
            &["--store", store, "--bench-slots", "8", "--callbacks-send", "true"][..],
            &["--callbacks-allow-unsigned", "true", "--callbacks-allowed-addresses", "127.0.0.1"],
        ]
        .concat();
        Server::start(place, &args)
    };
    let mut running: Vec<_> = (0..servers).map(|_| start()).collect();
    let addresses = Addresses::new(running.iter().map(|server| server.address).collect());
    let ledger = Arc::new(Ledger::default());
    let load = Load::start(&addresses, &ledger, &receiver);
    for kill in 0..KILLS {
        // Differently far into each life.
        let enough = ledger.answers() + 25 * (kill % 7 + 1);
        wait_until("the clients are answered", || ledger.answers() >= enough);
        if kill % 3 == 0 {
            // So far that jobs have run and their callers have enqueued the next ones.
            let enough = ledger.links() + 30;
            wait_until("jobs end while their callers wait", || ledger.links() >= enough);
        }
        let victim = kill % servers;
        // Dropping the server kills it with SIGKILL and waits for its end.
        drop(running.remove(victim));
        running.insert(victim, start());
        addresses.replace(victim, running[victim].address);
    }
    load.stop_enqueueing();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(check(store, &ledger, &receiver));
    load.stop();
    for server in running {
        #[cfg(unix)]
        server.stop();
        #[cfg(not(unix))]
        drop(server);
    }
}

/// Everything that was promised has happened, or happens in time.
async fn check(store: &str, ledger: &Ledger, receiver: &Receiver) {
    let promised = ledger.promised();
    assert!(promised.jobs.len() > 20 * KILLS, "there was load: {} jobs", promised.jobs.len());
    assert!(promised.callbacks.len() > KILLS, "{} jobs with a callback", promised.callbacks.len());
    assert!(promised.replies.len() > KILLS, "{} jobs with a reply queue", promised.replies.len());

    let backroom = Backroom::open(store).await.unwrap();
    let mut stored = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "other processes are waited for, on the machine's clock")]
    let began = Instant::now();
    loop {
        stored.clear();
        let mut before = None;
        loop {
            let page = backroom.list(Filter::default(), before, 1000).await.unwrap();
            stored.extend(page.jobs);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        let live = stored.iter().filter(|job| !job.state.is_finished()).count();
        let missing = ledger.missing_replies(&promised.replies);
        if live == 0 && missing == 0 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{live} jobs are live, and {missing} replies are missing");
        tokio::time::timeout(Duration::from_millis(300), std::future::pending::<()>()).await.unwrap_err();
    }

    let ids: HashSet<String> = stored.iter().map(|job| job.id.to_string()).collect();
    let lost: Vec<_> = promised.jobs.difference(&ids).collect();
    assert!(lost.is_empty(), "{} jobs are lost whose 2xx was read: {lost:?}", lost.len());
    for job in &stored {
        let attempts = backroom.attempts(job.id).await.unwrap();
        assert_eq!(job.state, State::Completed, "{job:?} {attempts:?}");
    }
    // Also of jobs whose answer was cut off.
    let called: HashSet<String> = receiver.called().into_iter().collect();
    let with_callback = stored.iter().filter(|job| job.extras.callback.is_some());
    let silent: Vec<_> = with_callback.filter(|job| !called.contains(&job.id.to_string())).collect();
    assert!(silent.is_empty(), "{} callbacks are lost: {silent:?}", silent.len());
    assert!(promised.callbacks.is_subset(&called));
    ledger.check_order();
    // The tests' PostgreSQL server runs without fsync, which protects against the loss of the machine only.
    let mut checks = backroom.health().await.unwrap().checks;
    checks.retain(|check| !check.ok && check.name != "durable writes");
    assert!(checks.is_empty(), "{checks:?}");
    backroom.close().await.unwrap();
}

/// Asks again and again until the answer is yes.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "other processes are waited for, on the machine's clock")]
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it does not happen: {what}");
        pause(Duration::from_millis(2));
    }
}

fn pause(span: Duration) {
    #[expect(clippy::disallowed_methods, reason = "other processes are waited for, on the machine's clock")]
    std::thread::sleep(span);
}
