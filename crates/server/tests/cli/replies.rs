//! Reply queues on the command line, in processes of their own.

use crate::cli_support::Place;
use serde_json::json;

/// A place with one message in the reply queue `orders`.
fn with_a_message() -> Place {
    let place = Place::new();
    let id = place.enqueue(&["k", "--reply-to", "orders", "--correlation-id", "7"]);
    place.run(["cancel", &id]).succeeded();
    place
}

#[test]
fn a_message_is_taken_once_and_acknowledged_by_its_lease() {
    let place = with_a_message();
    let queue = &place.json(["replies"])["reply_queues"][0];
    assert_eq!(
        (&queue["name"], &queue["messages"], &queue["taken"]),
        (&json!("orders"), &json!(1), &json!(0))
    );
    let listed = place.json(["replies", "list", "orders"]);
    assert_eq!(listed["deliveries"], 0);
    let taken = place.json(["replies", "take", "orders", "--lease", "1h"]);
    assert_eq!(taken["id"], listed["id"]);
    assert_eq!(taken["body"]["type"], "cancelled");
    assert_eq!(taken["body"]["correlation_id"], "7");
    assert_eq!(place.run(["replies", "take", "orders"]).succeeded().out, "no messages\n");
    let (id, lease) = (taken["id"].as_str().unwrap(), taken["lease"]["id"].as_str().unwrap());
    let foreign = place.run(["replies", "acknowledge", "orders", "--lease", id, id]);
    foreign.failed_naming("given back or taken again");
    let said = place.run(["replies", "acknowledge", "orders", "--lease", lease, id]);
    assert_eq!(said.succeeded().out, "acknowledged 1 message\n");
    assert_eq!(place.run(["replies"]).succeeded().out, "no reply queues\n");
}

#[test]
fn what_is_given_back_is_taken_again_at_once() {
    let place = with_a_message();
    let taken = place.json(["replies", "take", "orders", "--lease", "1h"]);
    let (id, lease) = (taken["id"].as_str().unwrap(), taken["lease"]["id"].as_str().unwrap());
    let said = place.run(["replies", "release", "orders", "--lease", lease, id]);
    assert_eq!(said.succeeded().out, "gave back 1 message\n");
    let again = place.run(["replies", "take", "orders", "--acknowledge"]);
    assert!(again.succeeded().out.contains("cancelled"), "{again:?}");
    assert_eq!(place.run(["replies"]).succeeded().out, "no reply queues\n");
}

#[test]
fn the_table_shows_reply_queues_and_messages() {
    let place = with_a_message();
    let said = place.run(["replies"]);
    let header: Vec<_> = said.succeeded().out.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["REPLY", "QUEUE", "MESSAGES", "TAKEN", "SIZE", "OLDEST", "DROPPED"]);
    let said = place.run(["replies", "list", "orders"]);
    assert!(said.succeeded().out.contains("cancelled"), "{said:?}");
    place.run(["replies", "take", " orders"]).failed_naming("reply queue");
    let job = place.json(["jobs"])["jobs"][0]["id"].as_str().unwrap().to_owned();
    assert!(place.run(["job", &job]).out.contains("orders, 7, on completed, discarded, cancelled"));
}
