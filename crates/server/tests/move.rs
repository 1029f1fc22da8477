//! `backroom move` and `backroom migrate` on the real binary and real files.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod cli_support;

use std::{sync::Arc, time::Duration};

use backroom::{Backroom, Context, Json, State, Worker, store::Prune};
use cli_support::{Place, Said};
use serde_json::Value;

const FROM: &str = "sqlite:backroom.db";
const TO: &str = "sqlite:new.db";

fn move_it(place: &Place, more: &[&str]) -> Said {
    place.run(["move", "--from", FROM, "--to", TO].iter().chain(more))
}

fn url(place: &Place, name: &str) -> String {
    format!("sqlite:{}", place.path(name).display())
}

fn fill(place: &Place, jobs: u32) {
    let lines: String = (0..jobs).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    place.run_with(lines.as_bytes(), &["enqueue", "k", "--lines", "--queue", "many"]).succeeded();
}

fn paused(place: &Place, store: &str) -> Vec<(String, bool)> {
    let queues = place.json(["queues", "--store", store]);
    let queues = queues["queues"].as_array().unwrap().iter();
    queues.map(|queue| (queue["name"].as_str().unwrap().into(), !queue["paused_at"].is_null())).collect()
}

fn jobs(place: &Place, store: &str) -> Vec<Value> {
    let found = place.json(["jobs", "-n", "1000", "--store", store]);
    found["jobs"].as_array().unwrap().clone()
}

#[test]
fn a_store_is_moved_whole_and_its_source_paused() {
    let place = Place::new();
    fill(&place, 300);
    let id = place.enqueue(&["other", "{}", "--queue", "held", "--tag", "t"]);
    place.run(["cancel", &id]).succeeded();
    place.run(["queues", "pause", "held"]).succeeded();

    let said = move_it(&place, &[]);
    said.succeeded();
    assert!(said.out.contains("holds all 301 jobs") && said.out.contains("301 copied now"), "{said:?}");
    assert_eq!(jobs(&place, TO), jobs(&place, FROM));
    assert_eq!(paused(&place, FROM), [("held".into(), true), ("many".into(), true)]);
    assert_eq!(paused(&place, TO), [("held".into(), true), ("many".into(), false)]);

    // Once more: what came meanwhile, and no more than that.
    place.enqueue(&["late"]);
    let again = move_it(&place, &["--json"]).succeeded().json();
    assert_eq!((&again["whole"], &again["written"]), (&true.into(), &1.into()), "{again}");
    assert_eq!(paused(&place, TO)[1..], [("held".into(), true), ("many".into(), false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_ran_at_the_target_and_were_pruned_do_not_come_back() {
    let place = Place::new();
    fill(&place, 20);
    place.run(["cancel", &place.enqueue(&["k"])]).succeeded();
    move_it(&place, &[]).succeeded();
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let work = async || {
        let target = Backroom::open(&url(&place, "new.db")).await.unwrap();
        let runs = runs.clone();
        let worker = Worker::new(&target).queue("many", 4).handle_untyped("k", move |_, _: Context| {
            runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            async { Ok(Json::null()) }
        });
        worker.run_until_empty().await.unwrap();
        target
    };
    let target = work().await;
    let prune = Prune {
        queue: "many".into(),
        state: State::Completed,
        finished_before: None,
        beyond: Some(0),
        limit: 100,
    };
    assert_eq!(target.store().prune(Arc::new(prune), target.clock().now()).await.unwrap(), 20);
    target.close().await.unwrap();

    // The last jobs are fetched, as the help says: one more, and none of those.
    let late = place.enqueue(&["k", "{}", "--queue", "many"]);
    let again = move_it(&place, &["--json"]).succeeded().json();
    assert_eq!((&again["whole"], &again["written"]), (&true.into(), &1.into()), "{again}");
    assert_eq!(
        again["compared"].as_array().unwrap().iter().map(|sum| sum["pruned"].as_u64().unwrap()).sum::<u64>(),
        20
    );
    assert!(jobs(&place, TO).iter().any(|job| job["id"] == late.as_str()));
    work().await.close().await.unwrap();
    assert_eq!(runs.load(std::sync::atomic::Ordering::SeqCst), 21, "each job ran once");
}

#[test]
fn a_target_that_lacks_jobs_is_told_and_is_a_failure() {
    let place = Place::new();
    let key = ["--unique-key", "k"];
    let at_target = place.enqueue(&["k", "{}", "--unique-key", "k", "--store", TO]);
    let here = place.enqueue(&["k", "{}", key[0], key[1]]);
    let said = move_it(&place, &[]);
    said.failed_naming("1 are missing");
    assert!(said.err.contains(&here) && said.err.contains(&at_target), "{said:?}");
    let said = move_it(&place, &["--json"]);
    assert_eq!(said.code, 1, "{said:?}");
    let answer = said.json();
    assert_eq!((&answer["whole"], &answer["compared"][0]["missing"]), (&false.into(), &1.into()));
    assert_eq!(answer["jobs_at_target_only"], 1);
}

#[test]
fn moves_that_cannot_be_meant_are_refused() {
    let place = Place::new();
    move_it(&place, &[]).failed_naming("no file backroom.db");
    assert!(!place.path("new.db").exists(), "a mistyped source creates no target");
    fill(&place, 1);
    for to in [FROM, "sqlite:./backroom.db", "sqlite://backroom.db"] {
        place.run(["move", "--from", FROM, "--to", to]).failed_naming("same");
    }
    place.run(["move", "--from", FROM, "--to", "memory:"]).failed_naming("memory");
    place.run(["move", "--from", FROM, "--to", "postgre://ada:secret@h/d"]).failed_naming("***");
    assert_eq!(paused(&place, FROM), [("many".into(), false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn living_workers_are_refused_or_waited_for() {
    let place = Place::new();
    let backroom = Backroom::open(&url(&place, "backroom.db")).await.unwrap();
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let release = std::sync::Arc::new(tokio::sync::Notify::new());
    let gate = release.clone();
    let worker = Worker::new(&backroom).queue("default", 1).handle_untyped("slow", move |_, _: Context| {
        let (begun, gate) = (begun.clone(), gate.clone());
        async move {
            begun.send(()).unwrap();
            gate.notified().await;
            Ok(Json::parse("7").unwrap())
        }
    });
    let worker = worker.start().await.unwrap();
    let slow = backroom.enqueue_untyped("slow", Json::null()).await.unwrap();
    let next = backroom.enqueue_untyped("slow", Json::null()).await.unwrap();
    begins.recv().await.unwrap();

    let said = move_it(&place, &[]);
    said.failed_naming("workers are alive");
    assert!(said.err.contains("--live"), "{said:?}");
    assert_eq!(paused(&place, FROM), [("default".into(), false)]);

    let said = move_it(&place, &["--live", "--wait", "300ms"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("still running") && said.err.contains("1 job"), "{said:?}");
    assert_eq!(paused(&place, FROM), [("default".into(), false)], "what is refused leaves nothing paused");

    let moving = place.command().args(["move", "--from", FROM, "--to", TO, "--live"]).spawn().unwrap();
    // Or the worker would claim the next one when this one ends.
    while backroom.queues().await.unwrap()[0].paused_at.is_none() {
        tokio::task::yield_now().await;
    }
    release.notify_one();
    slow.finished().await.unwrap();
    let ended = tokio::task::spawn_blocking(move || moving.wait_with_output()).await.unwrap().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let moved = Backroom::open(&url(&place, "new.db")).await.unwrap();
    assert_eq!(moved.job(slow.id()).await.unwrap().output, Some(Json::parse("7").unwrap()));
    assert_eq!(moved.job(next.id()).await.unwrap(), backroom.job(next.id()).await.unwrap());
    // The one that waits is not claimed at the source any more.
    assert!(tokio::time::timeout(Duration::from_millis(300), begins.recv()).await.is_err());
    worker.stop().await.unwrap();
}

#[test]
fn a_move_cut_off_again_and_again_ends_whole() {
    let place = Place::new();
    fill(&place, 5000);
    // Killed at any point of its life; each life brings it on or finds all done.
    for life in 0..8 {
        let mut child = place
            .command()
            .args(["move", "--from", FROM, "--to", TO])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        wait(Duration::from_millis(40 * life));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let said = move_it(&place, &["--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let answer = said.json();
    assert_eq!(answer["compared"][0]["target"], 5000, "{answer}");
    assert_eq!(paused(&place, TO), [("many".into(), false)]);
}

#[expect(clippy::disallowed_methods, reason = "another process is given the machine's time to get somewhere")]
fn wait(span: Duration) {
    std::thread::sleep(span);
}

#[test]
fn migrate_prints_or_runs_and_says_from_where_to_where() {
    let place = Place::new();
    let printed = place.run(["migrate", "--print"]);
    printed.succeeded();
    assert!(
        printed.out.contains("CREATE TABLE backroom_jobs") && printed.out.contains("COMMIT;"),
        "{printed:?}"
    );
    assert!(!place.path("backroom.db").exists(), "printing creates nothing");
    assert_eq!(place.run(["migrate", "--print", "--since", "0"]).out, printed.out);

    let ran = place.json(["migrate"]);
    assert_eq!((&ran["from"], &ran["ran"]), (&0.into(), &true.into()), "{ran}");
    let newest = ran["to"].clone();
    let again = place.run(["migrate"]);
    assert!(again.succeeded().out.contains(&format!("has version {newest} already")), "{again:?}");
    let nothing = place.run(["migrate", "--print"]);
    assert_eq!(nothing.succeeded().out, "");
    assert!(nothing.err.contains("nothing to run"), "{nothing:?}");
    place.run(["migrate", "--since", "0"]).refused_naming("--print");
}

#[test]
fn printed_migrations_make_a_store_that_opens() {
    let place = Place::new();
    let sql = place.run(["migrate", "--print", "--since", "0"]).out;
    let made = rusqlite::Connection::open(place.path("hand.db")).unwrap();
    made.execute_batch(&sql).unwrap();
    drop(made);
    place.run(["enqueue", "k", "--store", "sqlite:hand.db"]).succeeded();
    let said = place.run(["migrate", "--store", "sqlite:hand.db"]);
    assert!(said.succeeded().out.contains("already"), "{said:?}");
}
