//! What every broker must pass.

use std::time::Duration;

use backroom_testbed::{BrokerKind, Proxy};
use serde_json::json;

use crate::{
    bench::{Bench, Sent, World, counted, each_once, each_once_in_order, jobs, newest, until, until_newest},
    serve_support::Server,
};

/// Messages that are in the broker when it, or the server, dies.
const MANY: usize = 3000;
const NUMBERS: &str = "kind = \"number\"\n";

/// Lets other processes work for a while.
#[expect(clippy::disallowed_methods, reason = "other processes work meanwhile")]
pub(crate) fn a_while(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// A message becomes a job with its body as args and its headers at hand; one that is published before the first start counts, too.
pub(crate) fn a_message_becomes_a_job<B: Bench>() {
    let world = World::<B>::start();
    world.settings(
        &world.broker.url(),
        "kind = \"order\"\nqueue = \"orders\"\nargs = { order = \"{{body}}\", tenant = \"{{header.tenant}}\", id = \"{{identity}}\" }\n",
    );
    let mut message = Sent::new("first", r#"{"id":7,"exact":1.50}"#);
    message.headers.push(("tenant".into(), "acme".into()));
    world.publish(vec![message]);
    let server = Server::start(&world.place, &[]);
    until(&server, "there is a job", || !jobs(&world.place).is_empty());
    let job = jobs(&world.place).remove(0);
    assert_eq!((&job["kind"], &job["queue"]), (&"order".into(), &"orders".into()));
    assert_eq!(job["args"]["order"], json!({ "id": 7, "exact": 1.50 }));
    assert_eq!(job["args"]["tenant"], "acme");
    let trigger = || server.get("/v1/triggers/in").json();
    until(&server, "it runs", || trigger()["activity"] == "running");
    let shown = trigger().to_string();
    assert!(!shown.contains("geheim") && !server.log().contains("geheim"), "the password is shown: {shown}");
    server.stop();
}

/// The broker dies in the middle and comes back.
pub(crate) fn the_broker_restarts<B: Bench>() {
    let mut world = World::<B>::alone();
    world.settings(&world.broker.url(), NUMBERS);
    let server = Server::start(&world.place, &[]);
    for round in 0..B::ENDS {
        let from = round * MANY;
        world.publish(Sent::numbers(from..from + MANY));
        until(&server, "it has begun", || newest(&server).is_some_and(|n| n >= from));
        world.end_broker();
        world.broker.start_again().unwrap();
    }
    let count = B::ENDS * MANY + 10;
    world.publish(Sent::numbers(count - 10..count));
    until_newest(&server, count - 1);
    server.stop();
    each_once_in_order(&world.place, count);
}

/// Backroom is killed again and again while messages come in.
pub(crate) fn backroom_is_killed<B: Bench>(kills: usize) {
    let world = World::<B>::start();
    world.settings(&world.broker.url(), NUMBERS);
    let mut published = 0;
    for n in 0..kills {
        world.publish(Sent::numbers(published..published + MANY));
        published += MANY;
        let mut server = Server::start(&world.place, &[]);
        // Differently long in each life, so that it dies at different points.
        a_while(20 + 37 * (n as u64 % 7));
        server.signal("KILL");
        server.ended();
    }
    let server = Server::start(&world.place, &[]);
    until_newest(&server, published - 1);
    server.stop();
    each_once_in_order(&world.place, published);
}

/// The connection is cut after messages were delivered and before they are acknowledged.
pub(crate) fn the_connection_is_cut<B: Bench>() {
    let world = World::<B>::start();
    let proxy = Proxy::start(world.broker.port()).unwrap();
    world.settings(&world.broker.url_at(proxy.port()), NUMBERS);
    let server = Server::start(&world.place, &[]);
    world.publish(Sent::numbers(0..10));
    until_newest(&server, 9);
    let mut published = 10;
    for round in 0..3 {
        proxy.cut_before_next_request();
        world.publish(Sent::numbers(published..published + 500));
        published += 500;
        until(&server, "the connection was cut", || proxy.cuts() > round);
        until_newest(&server, published - 1);
    }
    server.stop();
    each_once_in_order(&world.place, published);
}

/// Two servers have the trigger; the one that reads is killed, and the other goes on.
pub(crate) fn a_second_server_takes_over<B: Bench>() {
    let world = World::<B>::start();
    world.settings(&world.broker.url(), NUMBERS);
    let mut first = Server::start(&world.place, &[]);
    world.publish(Sent::numbers(0..10));
    until_newest(&first, 9);
    let second = Server::start(&world.place, &[]);
    world.publish(Sent::numbers(10..MANY));
    first.signal("KILL");
    first.ended();
    until_newest(&second, MANY - 1);
    second.stop();
    each_once_in_order(&world.place, MANY);
}

/// Both servers read at the same time. One is killed; what it had in hand is read by the other one, and no message becomes two jobs.
pub(crate) fn every_server_reads<B: Bench>(more: &str) {
    const PART: usize = 200;
    let world = World::<B>::start();
    world.settings(&world.broker.url(), &format!("{NUMBERS}readers = \"every\"\n{more}\n"));
    let (mut first, second) = (Server::start(&world.place, &[]), Server::start(&world.place, &[]));
    let mut published = 0;
    let read = |server: &Server| {
        counted(server, "trigger_deliveries_total", "in", ",outcome=\"enqueued\"").unwrap_or_default()
            as usize
    };
    until(&second, "both read", || {
        // The next ones are published when these are jobs, so that no server can take all of them.
        if read(&first) + read(&second) == published {
            world.publish(Sent::numbers(published..published + PART));
            published += PART;
        }
        read(&first) > 0 && read(&second) > 0
    });
    world.publish(Sent::numbers(published..published + MANY));
    published += MANY;
    first.signal("KILL");
    first.ended();
    until(&second, "all are jobs", || jobs(&world.place).len() >= published);
    second.stop();
    each_once(&world.place, published);
}

/// Messages that cannot become jobs: each is a dead letter with its reason, and nothing waits behind it.
pub(crate) fn bad_messages_are_dead_letters<B: Bench>() {
    let world = World::<B>::start();
    world.settings(&world.broker.url(), "kind = \"{{body/kind}}\"\nkinds = [\"known\"]\n");
    let good = r#"{"kind":"known"}"#;
    let mut malformed = Sent::new("event", good);
    malformed.event = vec![("specversion".into(), "1.0".into()), ("id".into(), "1".into())];
    let large = format!(r#"{{"kind":"known","large":"{}"}}"#, "x".repeat(1_100_000));
    let is_large_allowed = B::KIND != BrokerKind::Nats;
    let mut bad = vec![
        (Sent::new("json", "{\"kind\":"), "no JSON"),
        (Sent::new("empty", ""), "empty"),
        (Sent::new("text", b"{\"kind\":\"\xe4\"}".as_slice()), "UTF-8"),
        (Sent::new("kind", r#"{"kind":"unknown"}"#), "not one of the kinds"),
        (Sent::new("missing", "{}"), "does not have"),
        (malformed, "no `source`"),
    ];
    if is_large_allowed {
        bad.push((Sent::new("large", large), "bytes"));
    }
    let mut messages = Vec::new();
    for (n, (sent, _)) in bad.iter().enumerate() {
        messages.extend([sent.clone(), Sent::new(&format!("good{n}"), good)]);
    }
    let server = Server::start(&world.place, &[]);
    world.publish(messages);
    until(&server, "the good ones are jobs", || jobs(&world.place).len() == bad.len());
    let letters = server.get("/v1/dead-letters?limit=100").json();
    let mut reasons: Vec<_> = letters["dead_letters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|letter| letter["reason"].to_string())
        .collect();
    reasons.reverse();
    assert_eq!(reasons.len(), bad.len(), "{reasons:?}");
    for (reason, (_, part)) in reasons.iter().zip(&bad) {
        assert!(reason.contains(part), "{part}: {reasons:?}");
    }
    if world.dead_letters().is_some() {
        until(&server, "the broker has the dead letters", || world.dead_letters() == Some(bad.len()));
    }
    // A broker of MQTT does not say how many messages wait.
    if B::KIND != BrokerKind::Mosquitto {
        until(&server, "nothing waits any more", || counted(&server, "trigger_lag", "in", "") == Some(0));
    }
    server.stop();
}

/// CloudEvents in the binary and in the structured form of the broker's binding are the same to a mapping.
pub(crate) fn cloud_events_are_understood<B: Bench>() {
    let world = World::<B>::start();
    world.settings(
        &world.broker.url(),
        "kind = \"{{header.ce-type}}\"\nkinds = [\"order.created\"]\nlane = \"{{key}}\"\n",
    );
    let server = Server::start(&world.place, &[]);
    let attributes = [
        ("specversion", "1.0"),
        ("id", "1"),
        ("source", "/shop"),
        ("type", "order.created"),
        ("subject", "o1"),
    ];
    let mut binary = Sent::new("x1", r#"{"n":1}"#);
    binary.event = attributes.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    binary.content_type = Some("application/json".into());
    let mut structured = Sent::new(
        "x2",
        r#"{"specversion":"1.0","id":"2","source":"/shop","type":"order.created","subject":"o2","data":{"n":2}}"#,
    );
    structured.content_type = Some("application/cloudevents+json".into());
    // The same event again, under another id of the broker.
    let again = Sent { id: "x3".into(), ..binary.clone() };
    let last = Sent {
        event: binary
            .event
            .iter()
            .map(|(name, value)| (name.clone(), if name == "id" { "3".into() } else { value.clone() }))
            .collect(),
        body: r#"{"n":3}"#.into(),
        id: "x4".into(),
        ..binary.clone()
    };
    world.publish(vec![binary, structured, again, last]);
    until_newest(&server, 3);
    server.stop();
    let jobs = jobs(&world.place);
    let found: Vec<_> = jobs
        .iter()
        .map(|job| {
            (job["kind"].as_str().unwrap(), job["lane"].as_str().unwrap(), job["args"]["n"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(found, [("order.created", "o1", 1), ("order.created", "o2", 2), ("order.created", "o1", 3)]);
}

/// A wrong password is said once, with what to check; so are a broker that does not run, and one that does not speak TLS.
pub(crate) fn what_is_wrong_is_said_once<B: Bench>(tls_scheme: Option<&str>) {
    let world = World::<B>::start();
    let right = world.broker.url();
    let rest = right.split_once("://").unwrap().1;
    let wrong_password = right.replace("geheim", "falsch");
    let nowhere = right.replace(&world.broker.port().to_string(), "1");
    let mut wrong =
        vec![("password", wrong_password, "password"), ("nowhere", nowhere, "that the server runs")];
    wrong.extend(tls_scheme.map(|scheme| ("tls", format!("{scheme}://{rest}"), "TLS")));
    let mut text = String::new();
    for (name, url, _) in &wrong {
        text.push_str(&format!("[triggers.{name}]\nkind = \"x\"\n{}\n", B::source(url, &world.name)));
    }
    world.write_settings(&text);
    let server = Server::start(&world.place, &[]);
    let lines = |name: &str| -> Vec<String> {
        let log = server.log();
        let of = |line: &&str| line.contains("failed to") && line.contains(&format!("trigger={name}"));
        log.lines().filter(of).map(str::to_owned).collect()
    };
    for (name, _, part) in &wrong {
        until(&server, &format!("{name} is reported"), || !lines(name).is_empty());
        let said = lines(name);
        assert!(said[0].contains(part), "{said:?}");
        until(&server, "it has tried again", || {
            counted(&server, "trigger_errors_total", name, "").is_some_and(|errors| errors >= 2)
        });
        assert_eq!(lines(name).len(), 1, "it is said once: {}", server.log());
    }
    let log = server.log();
    assert!(!log.contains("falsch") && !log.contains("geheim"), "{log}");
    server.stop();
}
