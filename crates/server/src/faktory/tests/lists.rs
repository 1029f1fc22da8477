//! What is shown and changed of many jobs and queues.

use backroom::{DisplayState, State};
use serde_json::json;

use super::*;

async fn info(client: &mut Client) -> Value {
    client.json("INFO").await
}

#[tokio::test]
async fn the_document_has_what_clients_read() {
    let place = Place::new().await;
    let mut client = place.consumer("w-1").await;
    client.push("waits-001", "").await;
    client.push("runs-0001", r#","queue":"other""#).await;
    client
        .push("later-001", &format!(r#","at":"{}""#, place.now() + jiff::SignedDuration::from_secs(60)))
        .await;
    client.fetch_from(&place, "other").await;
    let info = info(&mut client).await;
    assert_eq!(info["faktory"]["queues"], json!({ "default": 1, "other": 0 }));
    assert_eq!(info["faktory"]["sets"], json!({ "scheduled": 1, "retries": 0, "dead": 0, "working": 1 }));
    assert_eq!(info["faktory"]["tasks"]["Scheduled"]["size"], 1);
    assert_eq!(
        (&info["faktory"]["total_enqueued"], &info["faktory"]["total_queues"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(info["server"]["faktory_version"], "1.9.4");
    assert!(
        info["server"]["uptime"].as_u64() >= Some(1) && info["server"]["command_count"].as_u64() >= Some(4)
    );
    assert!(info["server"]["description"].as_str().unwrap().starts_with("Backroom "));
    let time = info["server_utc_time"].as_str().unwrap();
    assert!(time.len() == "15:04:05 UTC".len() && time.ends_with(" UTC"), "{time}");
    assert!(info["now"].as_str().unwrap().parse::<Timestamp>().is_ok());
}

#[tokio::test]
async fn queues_are_paused_resumed_and_removed() {
    let place = Place::new().await;
    let mut client = place.consumer("w-1").await;
    for (jid, queue) in [("a-0000001", "a"), ("a-0000002", "a"), ("b-0000001", "b")] {
        client.push(jid, &format!(r#","queue":"{queue}""#)).await;
    }
    assert_eq!(client.says("QUEUE PAUSE a unknown").await, "+OK");
    assert_eq!(client.fetch_from(&place, "a").await, Value::Null);
    assert_eq!(client.says("QUEUE RESUME a").await, "+OK");
    assert_eq!(client.fetch_from(&place, "a").await["jid"], "a-0000001");
    assert_eq!(client.says("QUEUE pause *").await, "+OK");
    assert_eq!(client.fetch_from(&place, "a b").await, Value::Null);
    assert_eq!(client.says("QUEUE REMOVE a").await, "+OK");
    assert_eq!(info(&mut client).await["faktory"]["queues"], json!({ "b": 1 }));
    assert_eq!(client.fetch_from(&place, "a").await, Value::Null);
    client.push("a-0000003", r#","queue":"a""#).await;
    assert_eq!(client.fetch_from(&place, "a").await["jid"], "a-0000003", "it is not paused any more");
    place.clock.advance(Duration::from_secs(90));
    let latency = client.json("QUEUE LATENCY b none").await;
    assert!(latency["b"].as_f64().unwrap() >= 90.0 && latency["none"].as_f64() == Some(0.0), "{latency}");
}

/// Pushes jobs that start later, of two kinds.
async fn later(place: &Place, client: &mut Client) {
    let at = place.now() + jiff::SignedDuration::from_secs(600);
    for (jid, jobtype, args) in
        [("first-001", "a", "fizz"), ("second-01", "a", "buzz"), ("third-001", "b", "fizz")]
    {
        let job = json!({ "jid": jid, "jobtype": jobtype, "args": [args], "at": at.to_string() });
        assert_eq!(client.says(&format!("PUSH {job}")).await, "+OK");
    }
}

async fn shown(place: &Place) -> Vec<(String, DisplayState)> {
    let now = place.now();
    place.jobs().await.iter().map(|job| (super::super::jid::of(job), job.shown(now))).collect()
}

#[tokio::test]
async fn jobs_are_found_by_jid_by_pattern_and_by_kind() {
    let cases = [
        (json!({ "jids": ["third-001", "none"], "jobtype": "a" }), vec!["third-001"]),
        (json!({ "jobtype": "a" }), vec!["first-001", "second-01"]),
        (json!({ "regexp": r#"*\"args\":\[\"fizz\"\]*"# }), vec!["first-001", "third-001"]),
        (json!({ "regexp": r#"*\"args\":\[\"fizz\"\]*"#, "jobtype": "a" }), vec!["first-001"]),
        (json!(null), vec!["first-001", "second-01", "third-001"]),
        (json!({}), vec!["first-001", "second-01", "third-001"]),
    ];
    for (filter, expected) in cases {
        let place = Place::new().await;
        let mut client = place.producer().await;
        later(&place, &mut client).await;
        let mutation = json!({ "cmd": "requeue", "target": "scheduled", "filter": filter });
        assert_eq!(client.says(&format!("MUTATE {mutation}")).await, "+OK");
        let due: Vec<_> = shown(&place)
            .await
            .into_iter()
            .filter(|(_, state)| *state == DisplayState::Available)
            .map(|(jid, _)| jid)
            .collect();
        assert_eq!(due, expected, "{filter}");
    }
}

#[tokio::test]
async fn jobs_are_killed_requeued_discarded_and_cleared() {
    let place = Place::new().await;
    let mut client = place.consumer("w-1").await;
    later(&place, &mut client).await;
    assert_eq!(
        client.says(r#"MUTATE {"cmd":"kill","target":"scheduled","filter":{"jobtype":"a"}}"#).await,
        "+OK"
    );
    assert_eq!(info(&mut client).await["faktory"]["sets"]["dead"], 2);
    assert_eq!(
        client.says(r#"MUTATE {"cmd":"requeue","target":"dead","filter":{"jids":["first-001"]}}"#).await,
        "+OK"
    );
    assert_eq!(client.fetch(&place).await["jid"], "first-001");
    assert_eq!(client.says(r#"FAIL {"jid":"first-001"}"#).await, "+OK");
    assert_eq!(
        info(&mut client).await["faktory"]["sets"],
        json!({ "scheduled": 1, "retries": 1, "dead": 1, "working": 0 })
    );
    assert_eq!(
        client.says(r#"MUTATE {"cmd":"discard","target":"retries","filter":{"jobtype":"b"}}"#).await,
        "+OK"
    );
    assert_eq!(place.jobs().await.len(), 3);
    assert_eq!(client.says(r#"MUTATE {"cmd":"discard","target":"retries"}"#).await, "+OK");
    assert_eq!(
        client.says(r#"MUTATE {"cmd":"clear","target":"dead","filter":{"jobtype":"none"}}"#).await,
        "+OK"
    );
    assert_eq!(shown(&place).await, [("third-001".into(), DisplayState::Scheduled)]);
}

#[tokio::test]
async fn a_flush_deletes_every_job_where_that_is_allowed() {
    let place = Place::with(|settings| settings.faktory.flush = true).await;
    let mut client = place.consumer("w-1").await;
    later(&place, &mut client).await;
    client.push("runs-0001", "").await;
    client.fetch(&place).await;
    assert_eq!(place.job().await.state, State::Running);
    assert_eq!(client.says("FLUSH").await, "+OK");
    assert_eq!(place.jobs().await, []);
    assert_eq!(info(&mut client).await["faktory"]["queues"], json!({}));
    assert_eq!(client.says(r#"ACK {"jid":"runs-0001"}"#).await, "+OK");
}

#[tokio::test]
async fn a_client_pushes_into_a_queue_for_tokens_and_reaches_nothing_else_of_it() {
    let place = Place::with(|settings| {
        settings.faktory.password = Some(config::Secret("foobar".into()));
        settings.secure_queues.insert("payroll".into(), config::SecureQueue::default());
    })
    .await;
    let mut client = place.connect().await;
    let hash = client.hashed("foobar");
    assert_eq!(client.says(&format!(r#"HELLO {{"v":2,"wid":"w-1","pwdhash":"{hash}"}}"#)).await, "+OK");
    assert_eq!(client.push("12345678", r#","queue":"payroll","custom":{"track":1}"#).await, "+OK");
    let at = place.now() + jiff::SignedDuration::from_secs(60);
    assert_eq!(client.push("12345679", &format!(r#","queue":"payroll","at":"{at}""#)).await, "+OK");
    for line in ["FETCH payroll", "FETCH default payroll", "QUEUE LATENCY payroll"] {
        let said = client.says(line).await;
        assert!(said.starts_with("-ERR queue \"payroll\" is for some tokens only"), "{line}: {said}");
    }
    for line in [
        "QUEUE REMOVE payroll",
        "QUEUE REMOVE *",
        "QUEUE PAUSE *",
        r#"MUTATE {"cmd":"clear","target":"scheduled"}"#,
        r#"ACK {"jid":"12345678"}"#,
    ] {
        client.says(line).await;
    }
    assert_eq!(client.json("TRACK GET 12345678").await["state"], "unknown");
    let info = client.json("INFO").await;
    assert_eq!(
        (&info["faktory"]["queues"]["payroll"], &info["faktory"]["total_enqueued"]),
        (&Value::Null, &0.into())
    );
    let states: Vec<_> = place.jobs().await.into_iter().map(|job| job.state).collect();
    assert_eq!(states, [backroom::State::Queued; 2], "nothing was fetched, ended or deleted");
    let queues = place.state.backroom.queues().await.unwrap();
    assert!(queues.iter().any(|queue| queue.name == "payroll" && queue.paused_at.is_none()), "{queues:?}");
}
