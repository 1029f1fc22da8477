//! Batches, graphs, trees and signals on the command line, on whichever store.

use serde_json::json;

use crate::cli_support::Place;

/// An id that no job and no batch has.
const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";

/// Opens, fills, closes, cancels and retries a batch.
pub(crate) fn batches(place: &Place) {
    let said = place.run(["batch", "open", "--description", "photos", "--on-finish", "report"]);
    assert_eq!(said.code, 0, "{said:?}");
    let id = said.out.trim().to_owned();
    let member = place.enqueue(&["thumbnail", "1", "--batch", &id]);
    let line = "2\n3\n";
    let said = place.run_with(line.as_bytes(), &["enqueue", "thumbnail", "--lines", "--batch", &id]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(place.json(["batch", "close", &id])["state"], "closed");
    place.run(["enqueue", "thumbnail", "--batch", &id]).failed_naming("batch");
    place.run(["cancel", &member]);
    let said = place.run(["batch", "show", &id]);
    assert!(said.out.contains(&format!("batch {id} is closed\nphotos\n[#########---")), "{said:?}");
    assert!(said.out.contains(" 33 % · 1 of 3 finished (1 failed)\n"), "{said:?}");
    assert!(said.out.contains(" members a second since it was opened, "), "{said:?}");
    let said = place.run(["batch", "retry", &id]);
    assert!(said.out.starts_with("1 of 1 job; 0 needed nothing, "), "{said:?}");
    let said = place.run(["batch", "cancel", &id, "--reason", "not needed"]);
    assert!(said.out.starts_with("3 of 3 jobs; "), "{said:?}");
    assert_eq!(place.job(&member)["reason"], "not needed");
    let ended = place.json(["batch", "show", &id]);
    assert_eq!((&ended["state"], &ended["cancelled"]), (&json!("ended"), &json!(3)), "{ended}");
    let ends = place.json(["jobs", "--kind", "report"])["jobs"].as_array().unwrap().len();
    assert_eq!(ends, 1, "its end job is enqueued once");
    let said = place.run(["batch"]);
    assert!(said.out.contains(&id) && said.out.contains("100 %"), "{said:?}");
    for step in ["show", "close", "reopen", "cancel", "retry"] {
        place.run(["batch", step, UNKNOWN]).failed_naming("there is no such batch");
    }
}

/// Puts a graph in, shows its tree, and cancels and retries it.
pub(crate) fn graphs(place: &Place) {
    let graph = json!({"jobs": [
        {"name": "charge", "job": {"kind": "charge"}},
        {"name": "pack", "job": {"kind": "pack"}, "after": ["charge"]},
        {"name": "mail", "job": {"kind": "mail"}, "after": [{"name": "pack", "on_failure": "run"}]},
    ]});
    let mut wrong = graph.clone();
    wrong["jobs"][0]["after"] = json!(["mail"]);
    let said = place.run_with(wrong.to_string().as_bytes(), &["graph", "-"]);
    said.failed_naming("closes a cycle of 3 jobs");
    assert!(said.err.starts_with("error: failed to read the graph: graph is wrong at "), "{said:?}");
    assert!(place.json(["jobs"])["jobs"].as_array().unwrap().iter().all(|job| job["kind"] != "charge"));
    std::fs::write(place.path("graph.json"), graph.to_string()).unwrap();
    let stored = place.json(["graph", "graph.json"]);
    let id = |at: usize| stored["jobs"][at]["id"].as_str().unwrap().to_owned();
    let (charge, pack, mail) = (id(0), id(1), id(2));
    let said = place.run(["tree", &pack]);
    let drawn = format!(
        "charge {charge} queued\n└ pack {pack} waiting (waits; cancel on failure) ←\n  └ mail {mail} waiting (waits; run on failure)\n"
    );
    assert_eq!(said.out, drawn, "{said:?}");
    let said = place.run(["job", &pack]);
    assert!(said.out.contains("waits for one job"), "{said:?}");
    let said = place.run(["tree", &charge, "--cancel", "--reason", "withdrawn"]);
    assert!(said.out.starts_with("3 of 3 jobs; "), "{said:?}");
    assert_eq!(place.job(&mail)["reason"], "withdrawn");
    assert_eq!(place.json(["tree", &charge, "--retry"])["done"], 3);
    assert_eq!(place.job(&pack)["state"], "waiting");
    place.run(["tree", UNKNOWN]).failed_naming(UNKNOWN);
}

/// Sends signals to a job.
pub(crate) fn signals(place: &Place) {
    let id = place.enqueue(&["order", "1"]);
    let said = place.run(["signal", &id, "shipped", "{\"by\": \"ship\"}"]);
    assert_eq!((said.code, said.out), (0, format!("sent the signal \"shipped\" to job {id}\n")));
    let sent = place.json(["signal", &id, "shipped"]);
    assert_eq!(sent, json!({"workflow": id, "name": "shipped"}));
    place.run(["signal", &id, "shipped", "{"]).failed_naming("JSON");
    place.run(["signal", UNKNOWN, "shipped"]).failed_naming(UNKNOWN);
    place.run(["cancel", &id]);
    place.run(["signal", &id, "shipped"]).failed_naming("it has ended");
}
