//! What pages weigh where there is much of one thing, and what they say then.

use serde_json::json;

use crate::{
    cli_support::Place,
    serve_support::{Server, eventually},
    visitor::Visitor,
};

const PAGE_BYTES_MAX: usize = 50 * 1024;
const QUEUES: usize = 300;

const SETTINGS: &str = r#"
[kinds.chatty]
command = ["sh", "-c", "seq 1 600 | sed s/^/$BACKROOM_ATTEMPT-/ >&2; exit 1"]

[worker]
queues = ["talk=1"]

[schedules.hourly]
when = "@hourly"
kind = "report"
queue = "talk"

[schedules.minutely]
when = "* * * * *"
kind = "report"
queue = "talk"
"#;

#[test]
fn pages_are_small_and_leave_nothing_out_without_saying_so() {
    let place = Place::new();
    std::fs::write(place.path("backroom.toml"), SETTINGS).unwrap();
    let server = Server::start(&place, &[]);
    let nested = format!("{}1{}", "[".repeat(50), "]".repeat(50));
    let args = format!("[{}{nested}]", format!("{nested},").repeat(60));
    let job = format!(r#"{{"kind": "nested", "queue": "deep", "args": {args}}}"#);
    let answer = server.call("POST", "/v1/jobs", &[("content-type", "application/json")], job.as_bytes());
    let deep = answer.json()["id"].as_str().unwrap().to_owned();
    let many: Vec<_> =
        (0..QUEUES).map(|number| json!({"kind": "k", "queue": format!("queue-{number:03}")})).collect();
    assert!(server.post("/v1/jobs/batch", &json!(many)).status < 300);
    let chatty =
        json!({"kind": "chatty", "queue": "talk", "max_attempts": 3, "retry": {"backoff": {"constant": 0}}});
    let chatty = server.post("/v1/jobs", &chatty).json()["id"].as_str().unwrap().to_owned();
    eventually("the job that logs much is given up", || {
        server.get(&format!("/v1/jobs/{chatty}")).json()["state"] == "discarded"
    });
    let pages = ["/", "/?attention=all", "/queues", "/jobs", "/calendar"].map(str::to_owned);
    for path in pages.into_iter().chain([format!("/jobs/{deep}"), format!("/jobs/{chatty}")]) {
        let bytes = server.get(&path).text().len();
        assert!(bytes < PAGE_BYTES_MAX, "{path} has {bytes} bytes");
    }
    // Every queue is on a page.
    let (mut path, mut seen) = ("/queues".to_owned(), 0);
    loop {
        let page = server.get(&path).text();
        assert!(page.len() < PAGE_BYTES_MAX, "{path} has {} bytes", page.len());
        seen += page.matches("<th scope=\"row\"><a href=\"/queues/queue%2D").count();
        let Some((_, next)) = page.split_once("rel=\"next\" href=\"") else { break };
        path = next.split('"').next().unwrap().replace("&amp;", "&");
    }
    assert_eq!(seen, QUEUES);
    // The newest lines of the log.
    let page = server.get(&format!("/jobs/{chatty}")).text();
    assert!(
        page.contains("3-600\n") && page.contains("3-520\n") && page.contains("of 1,800 lines"),
        "{page}"
    );
    // All queues that no worker serves are one line.
    eventually("the jobs are counted", || server.get("/").text().contains("No worker serves 301 queues"));
    let page = server.get("/").text();
    assert!(!page.contains("All is well") && page.contains("and 296 more"), "{page}");
    let top = place.run(["top"]).succeeded().out.clone();
    assert!(top.contains("needs attention") && top.contains("no worker serves"), "{top}");
    // No run is left out of the calendar.
    let calendar = server.get("/calendar").text();
    assert!(
        calendar.contains("Too often for a calendar") && calendar.contains("/schedules/minutely"),
        "{calendar}"
    );
    assert_eq!(calendar.matches("and 23 more until 23:00").count(), 13, "each whole day: {calendar}");
    // A large backfill that was counted can be confirmed.
    let visitor = Visitor::unknown(&server);
    let range = [("from", "2026-01-01T00:00:00Z"), ("until", "2026-03-01T00:00:00Z")];
    let counted =
        visitor.post("/schedules/hourly/backfill", &[&range[..], &[("count", "1")]].concat()).text();
    assert!(
        counted.contains("1,417 occurrences") && counted.contains("name=\"allow\" value=\"1417\""),
        "{counted}"
    );
    let begun = visitor.post("/schedules/hourly/backfill", &[&range[..], &[("allow", "1417")]].concat());
    assert_eq!(begun.status, 303, "{}", begun.text());
    let far = [("from", "2025-01-01T00:00:00Z"), ("until", "2026-06-01T00:00:00Z"), ("count", "1")];
    let counted = visitor.post("/schedules/minutely/backfill", &far).text();
    assert!(counted.contains("choose a shorter range") && !counted.contains("Run all of them"), "{counted}");
    server.stop();
}

#[test]
fn the_overview_says_that_it_counts_before_it_has_counted() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    // The first request waits for the count for a moment only; what it says must hold either way.
    let page = server.get("/").text();
    let counts = page.contains("Jobs are being counted");
    assert!(counts != page.contains("All is well"), "{page}");
    server.stop();
}

#[test]
fn jobs_that_took_workers_down_are_not_retried_with_the_others() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let mut ids = Vec::new();
    for reason in ["poison: 3 worker processes died while they ran it", "it broke"] {
        let id = server.post("/v1/jobs", &json!({"kind": "k", "queue": "q"})).json()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(server.post(&format!("/v1/jobs/{id}/cancel"), &json!({"reason": reason})).status, 200);
        ids.push(id);
    }
    let listed = server.get("/v1/jobs?not_poison=true").text();
    assert!(!listed.contains(&ids[0]) && listed.contains(&ids[1]), "{listed}");
    let visitor = Visitor::unknown(&server);
    let asked = visitor.get("/bulk?action=retry&not_poison=true&state=cancelled").text();
    assert!(asked.contains("1 jobs match"), "{asked}");
    assert!(
        asked.contains("backroom retry --not-poison --state cancelled")
            || asked.contains("--state cancelled --not-poison"),
        "{asked}"
    );
    let done =
        visitor.post("/bulk", &[("action", "retry"), ("not_poison", "true"), ("state", "cancelled")]).text();
    assert!(done.contains("1 of 1 jobs"), "{done}");
    let states: Vec<_> =
        ids.iter().map(|id| server.get(&format!("/v1/jobs/{id}")).json()["state"].clone()).collect();
    assert_eq!(states, ["cancelled", "queued"]);
    server.stop();
}
