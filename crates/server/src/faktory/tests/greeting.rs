//! Who is served, and what a client gets that sends something else.

use super::*;

fn with_password(settings: &mut ServerSettings) {
    settings.faktory.password = Some(config::Secret("foobar".into()));
}

#[tokio::test]
async fn a_client_that_greets_is_served_and_one_that_ends_gets_no_answer() {
    let place = Place::new().await;
    let mut client = place.connect().await;
    assert_eq!(client.greeting, r#"+HI {"v":2}"#);
    assert_eq!(client.says(r#"HELLO {"v":2,"pwdhash":"of a password that is not asked for"}"#).await, "+OK");
    client.send("END").await;
    client.expect_close().await;
}

#[tokio::test]
async fn a_client_that_sends_anything_else_first_is_cut_without_an_answer() {
    let place = Place::new().await;
    let long = format!("HELLO {{\"hostname\":\"{}\"}}", "x".repeat(20_000));
    for line in ["PUSH {}", "INFO", "", "GET / HTTP/1.1", "HELLO", "HELLO {", "hello {}", "FLUSH", &long] {
        let mut client = place.connect().await;
        client.send(line).await;
        client.expect_close().await;
    }
    let mut client = place.connect().await;
    client.write.write_all(b"HELLO {\"hostname\":\"\xff\"}\r\n").await.unwrap();
    client.expect_close().await;
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_cut_after_two_seconds() {
    let place = Place::new().await;
    for begin in ["", "HELLO {"] {
        let mut client = place.connect().await;
        client.write.write_all(begin.as_bytes()).await.unwrap();
        let closed = client.expect_close();
        tokio::pin!(closed);
        loop {
            tokio::select! {
                biased;
                () = &mut closed => break,
                () = tokio::task::yield_now() => place.clock.advance(Duration::from_millis(100)),
            }
        }
    }
}

#[tokio::test]
async fn a_client_shows_that_it_knows_the_password() {
    let place = Place::with(with_password).await;
    let mut client = place.connect().await;
    let hash = client.hashed("foobar");
    assert_eq!(client.says(&format!(r#"HELLO {{"v":2,"pwdhash":"{hash}"}}"#)).await, "+OK");
    for hello in [
        r#"HELLO {"v":2}"#,
        r#"HELLO {"v":2,"pwdhash":""}"#,
        &format!(r#"HELLO {{"v":2,"pwdhash":"{hash}"}}"#),
    ] {
        let mut client = place.connect().await;
        assert_eq!(client.says(hello).await, "-ERR Invalid password", "the salt is another one");
        client.expect_close().await;
    }
}

#[tokio::test]
async fn without_a_password_nothing_is_served_once_the_store_has_tokens() {
    let place = Place::new().await;
    let scopes = vec![backroom::Scope::Read];
    let token = backroom::NewToken { name: "one".into(), scopes, queues: Vec::new(), expires_in: None };
    place.state.backroom.tokens().create(token).await.unwrap();
    let mut client = place.connect().await;
    assert!(client.says("HELLO {}").await.starts_with("-ERR the server has tokens"));
    client.expect_close().await;
}

#[tokio::test]
async fn a_command_that_is_none_is_refused_and_the_next_one_is_answered() {
    let place = Place::new().await;
    let mut client = place.producer().await;
    for (line, beginning) in [
        ("PUSH {", "-ERR invalid JSON: "),
        ("PUSH {\"jid\":\"\u{1}\"}", "-ERR invalid JSON: "),
        ("NONSENSE", "-ERR Unknown command NONSENSE"),
        ("", "-ERR Unknown command"),
        ("QUEUE BURN a", "-ERR no such QUEUE subcommand: BURN"),
        ("FETCH", "-ERR must call fetch with at least one queue"),
        ("FETCH backroom.callbacks", "-ERR "),
        ("ACK []x", "-ERR invalid ACK "),
        ("QUEUE LATENCY *", "-ERR QUEUE LATENCY does not support wildcards"),
        (r#"BEAT {"wid":"never seen"}"#, "-ERR unknown worker never seen"),
        ("FLUSH", "-ERR FLUSH is switched off"),
    ] {
        let answer = client.says(line).await;
        assert!(answer.starts_with(beginning), "{line}: {answer}");
    }
    assert_eq!(client.push("12345678", "").await, "+OK");
    assert_eq!(
        client.fetch(&place).await["jid"],
        "12345678",
        "a queue that was refused spoils no later fetch"
    );
}

#[tokio::test]
async fn a_command_that_is_too_long_or_never_ends_closes_the_connection() {
    let place = Place::with(|settings| settings.faktory.line_bytes = config::Bytes(100_000)).await;
    let mut client = place.producer().await;
    let long = format!("PUSH {{\"jid\":\"{}\"}}", "x".repeat(200_000));
    let answer = client.says(&long).await;
    assert!(answer.starts_with("-ERR the command is longer than 100000 bytes"), "{answer}");
    client.expect_close().await;

    let mut client = place.producer().await;
    client.write.write_all(b"PUSH {").await.unwrap();
    let answer = client.answer();
    tokio::pin!(answer);
    let answer = loop {
        tokio::select! {
            biased;
            answer = &mut answer => break answer,
            () = tokio::task::yield_now() => place.clock.advance(Duration::from_millis(500)),
        }
    };
    assert!(answer.starts_with("-ERR the command did not end within 30s"), "{answer}");
    assert_eq!(place.jobs().await, []);
}

#[tokio::test]
async fn commands_sent_together_are_answered_in_their_order() {
    let place = Place::new().await;
    let mut client = place.consumer("w").await;
    client.send("PUSH {\"jid\":\"12345678\",\"jobtype\":\"work\",\"args\":[]}\nFETCH default\r\nACK {\"jid\":\"12345678\"}\nX").await;
    assert_eq!(client.answer().await, "+OK");
    assert!(client.answer().await.contains("12345678"));
    assert_eq!(client.answer().await, "+OK");
    assert!(client.answer().await.starts_with("-ERR"));
}
