//! What a job, a worker or a queue carries cannot play with the terminal of the person who looks at it.

use std::sync::Arc;

use crate::cli_support::{Place, Said};
use backroom::{Backroom, WorkerRow, store::QueueSetting};

/// A sequence for the terminal, its one-character twin, a turn of the direction, an invisible character.
const EVIL: &str = "a\u{1b}[2J\u{9b}2J\u{202e}\u{2066}\u{200b}\u{2028}z";

fn is_harmless(said: &Said) {
    let unseen = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || ('\u{200b}'..='\u{200f}').contains(&c)
            || ('\u{2028}'..='\u{202e}').contains(&c)
            || ('\u{2060}'..='\u{206f}').contains(&c)
    };
    for text in [&said.out, &said.err] {
        assert!(!text.contains(unseen), "{text:?}");
    }
}

#[test]
fn the_args_of_a_job_are_spelt_out_in_text_and_in_json() {
    let place = Place::new();
    let args = serde_json::to_string(EVIL).unwrap();
    let id = place.enqueue(&["k", &args, "--meta", "m=\u{202e}x", "--tag", "t\u{200b}"]);
    for command in [vec!["job", &id], vec!["jobs"], vec!["jobs", "--json"], vec!["job", &id, "--json"]] {
        is_harmless(place.run(command).succeeded());
    }
    assert_eq!(place.job(&id)["args"], EVIL, "the value is the same");
    assert_eq!(place.job(&id)["meta"]["m"], "\u{202e}x");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_from_the_store_stay_on_their_line() {
    let place = Place::new();
    let backroom = Backroom::open(&format!("sqlite:{}", place.path("backroom.db").display())).await.unwrap();
    let now = backroom.clock().now();
    let worker = WorkerRow {
        name: format!("w{EVIL}\nforged"),
        host: "h".into(),
        pid: 1,
        started_at: now,
        beat_at: now,
        lease_ms: 600_000,
        queues: vec![(format!("q{EVIL}\nforged"), 1)],
        kinds: vec![format!("k{EVIL}\nforged")],
        slots: 1,
        running: 1,
        stuck: 1,
        trouble: Some(format!("cannot claim{EVIL}\nforged")),
        ..WorkerRow::default()
    };
    backroom.store().heartbeat(Arc::new(worker)).await.unwrap();
    backroom.store().set_queue(&format!("q{EVIL}\nforged"), QueueSetting::Pause(now)).await.unwrap();
    backroom.close().await.unwrap();
    for command in [
        vec!["workers"],
        vec!["queues"],
        vec!["doctor"],
        vec!["workers", "--json"],
        vec!["move", "--from", "sqlite:backroom.db", "--to", "sqlite:to.db"],
    ] {
        let said = place.run(&command);
        is_harmless(&said);
        let lines = said.out.lines().chain(said.err.lines());
        assert!(lines.into_iter().all(|line| !line.starts_with("forged")), "{command:?}: {said:?}");
    }
}
