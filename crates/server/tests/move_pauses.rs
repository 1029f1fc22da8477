//! What a move pauses, and for how long.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod cli_support;

use std::process::Stdio;

use backroom::{Backroom, Json, Worker};
use cli_support::{Place, Said};

const FROM: &str = "sqlite:backroom.db";
const TO: &str = "sqlite:new.db";

fn move_it(place: &Place, from: &str, to: &str) -> Said {
    place.run(["move", "--from", from, "--to", to])
}

fn fill(place: &Place, jobs: u32) {
    let lines: String = (0..jobs).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    place.run_with(lines.as_bytes(), &["enqueue", "k", "--lines", "--queue", "many"]).succeeded();
}

/// Each queue that is paused, and what paused it.
fn paused(place: &Place, store: &str) -> Vec<(String, String)> {
    let queues = place.json(["queues", "--store", store]);
    let queues = queues["queues"].as_array().unwrap().iter().filter(|queue| !queue["paused_at"].is_null());
    queues.map(|queue| (text(&queue["name"]), text(&queue["paused_by"]))).collect()
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or("by hand").into()
}

fn by(queue: &str, what: &str) -> (String, String) {
    (queue.into(), what.into())
}

#[test]
fn a_rehearsal_and_then_the_move_leave_the_new_store_as_it_should_be() {
    let place = Place::new();
    fill(&place, 3);
    place.enqueue(&["k", "{}", "--queue", "held"]);
    place.run(["queues", "pause", "held"]).succeeded();
    // The rehearsal, into a store that is thrown away.
    move_it(&place, FROM, "sqlite:rehearsal.db").succeeded();
    assert_eq!(paused(&place, FROM), [by("held", "by hand"), by("many", "moved")]);

    let said = move_it(&place, FROM, TO);
    assert_eq!(paused(&place, TO), [by("held", "by hand")], "its own pause only");
    let lines: Vec<_> = said.succeeded().out.lines().collect();
    assert!(
        lines[lines.len() - 2]
            .contains("held; resume with `backroom queues resume NAME --store sqlite:new.db`")
    );
    assert!(
        lines[lines.len() - 1].contains("`backroom queues resume --all --store sqlite:backroom.db`"),
        "{said:?}"
    );
}

#[test]
fn what_was_moved_away_and_comes_back_is_served_again() {
    let place = Place::new();
    fill(&place, 3);
    move_it(&place, FROM, TO).succeeded();
    move_it(&place, TO, FROM).succeeded();
    assert_eq!(paused(&place, FROM), []);
    assert_eq!(paused(&place, TO), [by("many", "moved")]);
}

#[test]
fn a_move_that_fails_ends_its_pauses_and_not_those_of_an_earlier_one() {
    let place = Place::new();
    place.enqueue(&["k", "{}", "--unique-key", "k", "--store", TO]);
    place.enqueue(&["k", "{}", "--unique-key", "k"]);
    move_it(&place, FROM, TO).failed_naming("1 are missing");
    assert_eq!(paused(&place, FROM), []);
    move_it(&place, FROM, "sqlite:other.db").succeeded();
    move_it(&place, FROM, TO).failed_naming("1 are missing");
    assert_eq!(paused(&place, FROM), [by("default", "moved")]);
}

#[test]
fn a_move_that_fails_and_cannot_end_its_pauses_says_both() {
    let place = Place::new();
    place.enqueue(&["k", "{}", "--unique-key", "k", "--store", TO]);
    place.enqueue(&["k", "{}", "--unique-key", "k"]);
    let source = rusqlite::Connection::open(place.path("backroom.db")).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON backroom_queues WHEN NEW.paused_at IS NULL \
                  BEGIN SELECT RAISE(ABORT, 'no'); END";
    source.execute_batch(refuse).unwrap();
    let said = move_it(&place, FROM, TO);
    said.failed_naming("1 are missing");
    said.failed_naming("end the pauses of the move");
    said.failed_naming("backroom queues resume --all");
    assert_eq!(paused(&place, FROM), [by("default", "moving")]);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_move_ends_its_pauses_and_a_killed_ones_are_known_to_the_next() {
    let place = Place::new();
    fill(&place, 8000);
    let backroom = Backroom::open(&format!("sqlite:{}", place.path("backroom.db").display())).await.unwrap();
    let begin = async || {
        let mut command = place.command();
        command.args(["move", "--from", FROM, "--to", TO]).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        while backroom.queues().await.unwrap()[0].paused_at.is_none() {
            tokio::task::yield_now().await;
        }
        child
    };
    let mut child = begin().await;
    let interrupt = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(paused(&place, FROM), []);

    let mut child = begin().await;
    backroom.resume("many").await.unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "its jobs may have run on both sides");
    assert_eq!(paused(&place, FROM), []);

    let mut child = begin().await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(paused(&place, FROM), [by("many", "moving")]);
    let worker =
        Worker::new(&backroom).queue("other", 1).handle_untyped("k", async |_, _| Ok(Json::null())).start();
    let worker = worker.await.unwrap();
    move_it(&place, FROM, TO).failed_naming("its workers are alive");
    assert_eq!(paused(&place, FROM), [by("many", "moving")], "the other move may still run");
    worker.stop().await.unwrap();
    move_it(&place, FROM, TO).succeeded();
    assert_eq!((paused(&place, FROM), paused(&place, TO)), (vec![by("many", "moved")], vec![]));
}

#[test]
fn all_queues_are_resumed_at_once() {
    let place = Place::new();
    for queue in ["a", "b", "c"] {
        place.enqueue(&["k", "{}", "--queue", queue]);
    }
    place.run(["queues", "pause", "a"]).succeeded();
    place.run(["queues", "pause", "c"]).succeeded();
    assert_eq!(
        place.run(["queues", "resume", "--all"]).succeeded().out,
        "resumed queue a\nresumed queue c\n"
    );
    assert_eq!(paused(&place, FROM), []);
    assert_eq!(place.run(["queues", "resume", "--all"]).succeeded().out, "no queue is paused\n");
    assert_eq!(place.run(["queues", "resume"]).code, 2);
    assert_eq!(place.run(["queues", "resume", "a", "--all"]).code, 2);
}
