//! `retry`, `cancel` and `delete` by filter: any number of jobs, safe beside jobs that move, and counted.

use std::process::Stdio;

use crate::cli_support::{Place, Said, said};
use backroom::{Backroom, Context, DisplayState, Failure, Json, Worker};
use serde_json::Value;

/// More than two pages.
const MANY: u64 = 1300;

fn fill(place: &Place, jobs: u64, more: &[&str]) {
    let lines: String = (0..jobs).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let args = ["enqueue", "work", "--lines", "--queue", "many"];
    place.run_with(lines.as_bytes(), &[&args, more].concat()).succeeded();
}

fn counted(place: &Place) -> Value {
    let queues = place.json(["queues"]);
    let queue = queues["queues"].as_array().unwrap().iter().find(|queue| queue["name"] == "many");
    queue.unwrap()["counts"].clone()
}

async fn open(place: &Place) -> Backroom {
    Backroom::open(&format!("sqlite:{}", place.path("backroom.db").display())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_discarded_job_of_a_kind_is_retried_and_no_other() {
    let place = Place::new();
    fill(&place, MANY, &[]);
    place.enqueue(&["other", "{}", "--queue", "many"]);
    let backroom = open(&place).await;
    let discard = |_: Json, _: Context| async { Err::<Json, _>(Failure::discard("bad")) };
    let worker = Worker::new(&backroom).queue("many", 50);
    let worker = worker.handle_untyped("work", discard).handle_untyped("other", discard);
    worker.run_until_empty().await.unwrap();
    backroom.close().await.unwrap();
    assert_eq!(counted(&place)["discarded"], MANY + 1);

    let by = ["retry", "--state", "discarded", "--kind", "work", "--since", "2d"];
    let dry = place.run([&by[..], &["--dry-run"]].concat());
    assert_eq!(dry.succeeded().out, "would retry 1,300 jobs; nothing was changed\n");
    assert_eq!(counted(&place)["discarded"], MANY + 1);

    assert_eq!(place.run(by).succeeded().out, "retried 1,300 jobs\n");
    let counts = counted(&place);
    assert_eq!((&counts["available"], &counts["discarded"]), (&MANY.into(), &1.into()), "{counts}");
    assert_eq!(place.run(by).succeeded().out, "retried 0 jobs\n");
}

#[test]
fn what_cannot_be_retried_is_counted_and_named() {
    let place = Place::new();
    let first = place.enqueue(&["work", "--unique-key", "k"]);
    place.run(["cancel", &first]).succeeded();
    let second = place.enqueue(&["work", "--unique-key", "k"]);
    let other = place.enqueue(&["work"]);
    place.run(["cancel", &other]).succeeded();
    let said = place.run(["retry", "--state", "cancelled"]);
    assert_eq!(said.out, "retried 1 job; 1 refused\n");
    said.failed_naming(&format!("job {first}: job {second} holds its unique key"));
    let said = place.run(["retry", "--state", "cancelled", "--json"]);
    let answer = said.json();
    assert_eq!((&answer["matched"], &answer["done"], &answer["refused"]), (&1.into(), &0.into(), &1.into()));
}

#[test]
fn a_cancel_by_filter_leaves_what_is_finished() {
    let place = Place::new();
    fill(&place, 3, &["--tag", "t"]);
    fill(&place, 2, &["--delay", "1h"]);
    let said = place.run(["cancel", "--queue", "many", "--tag", "t", "--reason", "withdrawn"]);
    assert_eq!(said.succeeded().out, "cancelled or asked to stop 3 jobs\n");
    let said = place.run(["cancel", "--state", "scheduled", "--json"]);
    assert_eq!(said.succeeded().json()["done"], 2);
    assert_eq!(
        place.run(["cancel", "--queue", "many"]).succeeded().out,
        "cancelled or asked to stop 0 jobs\n"
    );
    assert_eq!(place.json(["jobs", "--tag", "t"])["jobs"][0]["reason"], "withdrawn");
}

#[test]
fn a_delete_by_filter_asks_first() {
    let place = Place::new();
    fill(&place, MANY, &[]);
    place.enqueue(&["stays"]);
    let by = ["delete", "--state", "available", "--queue", "many"];
    let said = place.run(by);
    said.failed_naming("delete 1,300 jobs: there is no way back");
    assert!(said.err.contains("--yes"), "{said:?}");
    assert_eq!(counted(&place)["available"], MANY);
    let said = place.run([&by[..], &["--yes"]].concat());
    assert_eq!(said.succeeded().out, "deleted 1,300 jobs\n");
    assert_eq!(place.json(["jobs"])["jobs"].as_array().unwrap().len(), 1);
}

#[test]
fn a_filter_that_would_mean_everything_is_refused() {
    let place = Place::new();
    fill(&place, 1, &[]);
    for verb in ["retry", "delete"] {
        place.run([verb, "--queue", "many"]).failed_naming("no state is named");
    }
    for verb in ["retry", "cancel", "delete"] {
        assert_eq!(place.run([verb]).code, 2, "neither ids nor filters");
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(place.run([verb, id, "--state", "discarded"]).code, 2, "both");
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_says_how_far_it_came_and_the_same_command_goes_on() {
    const JOBS: u64 = 20_000;
    let place = Place::new();
    fill(&place, JOBS, &[]);
    let backroom = open(&place).await;
    let cancelled = async || {
        let counts = backroom.counts().await.unwrap();
        counts.iter().find(|count| count.state == DisplayState::Cancelled).map_or(0, |count| count.jobs)
    };
    let by = ["cancel", "--queue", "many", "--json"];
    let child = place.command().args(by).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while cancelled().await == 0 {
        tokio::task::yield_now().await;
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let stopped: Said = said(child.wait_with_output().unwrap());
    assert_eq!(stopped.code, 130, "{stopped:?}");
    let done = stopped.json()["done"].as_u64().unwrap();
    assert!(done > 0 && done < JOBS, "{stopped:?}");
    assert!(stopped.json()["next"].is_string(), "{}", stopped.json());
    assert_eq!(cancelled().await, done);
    let rest = place.run(by).succeeded().json();
    assert_eq!(rest["done"], JOBS - done);
    assert_eq!(cancelled().await, JOBS);
}
