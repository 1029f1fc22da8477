//! `backroom stats`, in a process of its own, on what a worker of this one did.

use crate::cli_support::Place;
use backroom::{Backroom, Context, Failure, Json, Worker};

#[tokio::test]
async fn what_was_done_lately_is_shown_by_kind() {
    let place = Place::new();
    let backroom = Backroom::open(&format!("sqlite:{}", place.path("backroom.db").display())).await.unwrap();
    assert_eq!(place.run(["stats"]).succeeded().out, "no attempt ended in the last 10m\n");
    for _ in 0..3 {
        backroom.enqueue_untyped("works", Json::null()).await.unwrap();
        backroom.enqueue_untyped("breaks", Json::null()).await.unwrap();
    }
    let worker = Worker::new(&backroom)
        .handle_untyped("works", async |args, _: Context| Ok(args))
        .handle_untyped("breaks", async |_, _: Context| Err(Failure::discard("for good")));
    worker.run_until_empty().await.unwrap();

    let stats = place.json(["stats", "--last", "1h"]);
    let (breaks, works) = (&stats["kinds"][0], &stats["kinds"][1]);
    assert_eq!((&breaks["kind"], &works["kind"]), (&"breaks".into(), &"works".into()));
    assert_eq!((&works["done"], &works["failed"], &works["discarded"]), (&3.into(), &0.into(), &0.into()));
    assert_eq!((&breaks["done"], &breaks["failed"], &breaks["discarded"]), (&0.into(), &3.into(), &3.into()));
    for kind in [breaks, works] {
        for figure in [&kind["pickup"]["p50_ms"], &kind["run"]["p99_ms"]] {
            assert!(figure.as_f64().is_some_and(|millis| (0.0..60_000.0).contains(&millis)), "{stats}");
        }
    }
    let said = place.run(["stats", "--kind", "works"]);
    let lines: Vec<_> = said.succeeded().out.lines().collect();
    assert_eq!(lines.len(), 2, "{said:?}");
    let header: Vec<_> = lines[0].split_whitespace().collect();
    assert_eq!(header, ["KIND", "DONE", "FAILED", "DISCARDED", "PICKUP", "p50", "p99", "RUN", "p50", "p99"]);
    assert!(lines[1].starts_with("works") && lines[1].contains(" 3 "), "{said:?}");
    place.run(["stats", "--last", "2h"]).failed_naming("an hour");

    let top = place.run(["top"]);
    assert!(top.succeeded().out.starts_with("0 available, 0 running"), "{top:?}");
    assert!(top.out.contains("KIND, LAST 10 MINUTES") && top.out.contains("breaks"), "{top:?}");
    assert!(place.json(["top"])["kinds"][1]["done"] == 3);
}
