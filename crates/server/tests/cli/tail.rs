//! `backroom tail` and `backroom enqueue --wait`: jobs as they run.

use std::time::Duration;

use backroom::{Backroom, Context, Failure, Json, RunningWorker, Worker};

use crate::cli_support::Place;

fn talks(ctx: &Context) {
    ctx.log("one\u{1b}[2J");
    ctx.progress(50, "half");
    ctx.log("two");
}

/// A worker whose jobs write lines and progress; the kind says how they end.
async fn talker(place: &Place) -> (Backroom, RunningWorker) {
    let backroom = Backroom::open(&format!("sqlite:{}", place.path("backroom.db").display())).await.unwrap();
    let worker = Worker::new(&backroom).poll(Duration::from_millis(50));
    let worker = worker.handle_untyped("ends", async |args, ctx: Context| {
        talks(&ctx);
        Ok(args)
    });
    let worker = worker.handle_untyped("fails", async |_, ctx: Context| -> Result<Json, Failure> {
        talks(&ctx);
        Err(Failure::discard("no\nmore"))
    });
    let running = worker.start().await.unwrap();
    (backroom, running)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_writes_the_output_and_shows_the_rest_beside_it() {
    let place = Place::new();
    let (backroom, worker) = talker(&place).await;
    let said = place.run(["enqueue", "ends", r#"{"total":3}"#, "--wait"]);
    said.succeeded();
    assert_eq!(said.out, "{\"total\":3}\n");
    for part in ["enqueued ends ", "| one\\u{1b}[2J", "| two"] {
        assert!(said.err.contains(part), "{part}: {said:?}");
    }
    let said = place.run(["enqueue", "fails", "--wait"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(said.out, "");
    assert!(said.err.contains("is discarded: no"), "{said:?}");
    worker.stop().await.unwrap();
    backroom.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_to_its_end_and_from_any_cursor() {
    let place = Place::new();
    let (backroom, worker) = talker(&place).await;
    let id = place.enqueue(&["fails"]);
    let said = place.run(["tail", &id]);
    said.succeeded();
    for part in ["| one\\u{1b}[2J", "| two", "attempt 1 discarded: no", "fails is discarded"] {
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    let said = place.run(["tail", &id, "--json"]);
    let events: Vec<serde_json::Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| events.iter().filter(|event| event[name].is_object()).count();
    assert_eq!((of("line"), of("attempt")), (2, 1), "{said:?}");
    assert_eq!(events.last().unwrap()["state"]["state"], "discarded");
    let first = events.iter().find(|event| event["line"].is_object()).unwrap();
    let rest = place.run(["tail", &id, "--after", first["cursor"].as_str().unwrap()]);
    assert!(!rest.out.contains("| one") && rest.out.contains("| two"), "{rest:?}");
    let last = events.last().unwrap()["cursor"].as_str().unwrap();
    assert_eq!(place.run(["tail", &id, "--after", last]).out, "", "behind the end");
    place.run(["tail", &id, "--after", "1.2.3"]).refused_naming("--after");
    place.run(["tail", "01890a5d-ac96-774b-bcce-b302099a8057"]).failed_naming("does not exist");
    worker.stop().await.unwrap();
    backroom.close().await.unwrap();
}
