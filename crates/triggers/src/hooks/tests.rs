//! What requests have: the forms of events, as their specifications show them.

use super::*;
use crate::Delivery;

fn receive(headers: &[(&str, &str)], body: &str) -> Content {
    let hook = Hook::new(Scheme::None, Vec::new()).unwrap();
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    hook.receive(&headers, body.as_bytes(), Timestamp::UNIX_EPOCH).unwrap()
}

fn deliveries(headers: &[(&str, &str)], body: &str) -> Vec<Delivery> {
    match receive(headers, body) {
        Content::Deliveries(deliveries) => deliveries,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_binary_cloud_event_is_named_by_source_and_id() {
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1234-1234-1234"),
        ("ce-source", "/mycontext/4"),
        ("ce-type", "com.example.someevent"),
        ("ce-time", "2018-04-05T03:56:24Z"),
        ("ce-comexampleextension", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ("content-type", "application/json; charset=utf-8"),
        ("authorization", "Bearer hidden"),
    ];
    let found = deliveries(&headers, r#"{"a":1}"#).remove(0);
    assert_eq!(found.identity, "/mycontext/4 1234-1234-1234");
    assert_eq!(found.header_value("ce-comexampleextension"), Some("Euro € 😀"));
    assert_eq!(found.at, Some("2018-04-05T03:56:24Z".parse().unwrap()));
    assert_eq!(found.body, br#"{"a":1}"#);
    assert_eq!(found.header_value("authorization"), None, "no job learns the secret");
    for missing in ["ce-id", "ce-source", "ce-type"] {
        let without: Vec<_> = headers.iter().filter(|(name, _)| *name != missing).copied().collect();
        assert!(matches!(receive(&without, "{}"), Content::Malformed(_)), "{missing}");
    }
}

#[test]
fn structured_and_batched_cloud_events_have_their_data_as_body() {
    let event = r#"{"specversion":"1.0","type":"t","source":"/s","id":"A1","subject":"42","n":1.50,"data":{"x":1.50}}"#;
    let found =
        deliveries(&[("content-type", "application/cloudevents+json; charset=UTF-8")], event).remove(0);
    assert_eq!((found.identity.as_str(), found.body.as_slice()), ("/s A1", br#"{"x":1.50}"#.as_slice()));
    assert_eq!(found.header_value("ce-type"), Some("t"));
    assert_eq!(found.order_key.as_deref(), Some("42"));
    let binary = r#"{"specversion":"1.0","type":"t","source":"/s","id":"A2","data_base64":"/wA="}"#;
    let batch = format!(r#"[{event},{binary},{{"specversion":"1.0"}}]"#);
    let found = deliveries(&[("content-type", "application/cloudevents-batch+json")], &batch);
    assert_eq!(found[1].body, [255, 0]);
    assert!(found[2].refused.as_ref().unwrap().contains("no `id`"), "one is refused, the others are not");
    assert_eq!(found[2].body, br#"{"specversion":"1.0"}"#, "it is there as it came");
    for wrong in ["{", "[]", r#"{"specversion":"2.0","type":"t","source":"/s","id":"1"}"#] {
        let content = receive(&[("content-type", "application/cloudevents+json")], wrong);
        assert!(matches!(content, Content::Malformed(_)), "{wrong}");
    }
    assert!(matches!(
        receive(&[("content-type", "application/cloudevents+avro")], ""),
        Content::Malformed(_)
    ));
}

#[test]
fn event_grid_is_answered_with_its_code_and_each_event_is_a_delivery() {
    let body = r#"[{"id":"2d1781af","topic":"/subscriptions/x","subject":"","data":{"validationCode":"512d38b6"},"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","eventTime":"2018-01-25T22:12:19.4556811Z"}]"#;
    let answer = receive(&[("aeg-event-type", "SubscriptionValidation")], body);
    let Content::Handshake { body: answer, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(answer, r#"{"validationResponse":"512d38b6"}"#);
    let found = deliveries(&[("aeg-event-type", "Notification")], body).remove(0);
    assert_eq!(found.identity, "/subscriptions/x 2d1781af");
    assert!(found.header_value("event-type").unwrap().ends_with("ValidationEvent"));
    assert_eq!(receive(&[("aeg-event-type", "Unsubscribe")], "[]"), Content::Nothing);
}

#[test]
fn each_record_of_s3_is_a_delivery_and_its_test_is_none() {
    let record = |key: &str, sequencer: &str| {
        format!(
            r#"{{"eventVersion":"2.1","eventSource":"aws:s3","eventTime":"1970-01-01T00:00:00.000Z","eventName":"ObjectCreated:Put","s3":{{"bucket":{{"name":"amzn-s3-demo-bucket"}},"object":{{"key":"{key}","size":1024,"eTag":"d41d8cd98f00b204e9800998ecf8427e","sequencer":"{sequencer}"}}}}}}"#
        )
    };
    let body = format!(
        r#"{{"Records":[{},{},{}]}}"#,
        record("a", "0055AED6DCD90281E5"),
        record("b", "1"),
        record("", "2")
    );
    let found = deliveries(&[], &body);
    assert_eq!(found[0].identity, "ObjectCreated:Put amzn-s3-demo-bucket/a 0055AED6DCD90281E5");
    assert_eq!(found[1].order_key.as_deref(), Some("amzn-s3-demo-bucket/b"));
    assert!(found[2].refused.is_some());
    let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"bucketname"}"#;
    assert_eq!(receive(&[], test), Content::Nothing);
}

#[test]
fn each_malformed_event_has_its_text_its_headers_and_a_name_of_its_own() {
    let events = [
        ("content-type", "application/cloudevents-batch+json", r#"[{"a":1},{"a":2}]"#),
        ("aeg-event-type", "Notification", r#"[{"a":1},{"a":2}]"#),
        ("x", "y", r#"{"Records":[{"eventSource":"aws:s3","a":1},{"eventSource":"aws:s3","a":2}]}"#),
    ];
    for (name, value, body) in events {
        let found = deliveries(&[(name, value), ("x-trace", "7")], body);
        assert_eq!(found.len(), 2, "{body}");
        for (n, delivery) in found.iter().enumerate() {
            assert!(delivery.refused.is_some());
            let text = std::str::from_utf8(&delivery.body).unwrap();
            assert!(text.contains(&format!("\"a\":{}", n + 1)), "{text}");
            assert_eq!(delivery.header_value("x-trace"), Some("7"));
        }
        assert_ne!(found[0].identity, found[1].identity);
        assert_eq!(deliveries(&[(name, value)], body)[0].identity, found[0].identity, "it comes again");
    }
}

#[test]
fn a_malformed_request_is_refused_as_it_came() {
    let named = |id: &str| {
        let content = receive(&[("ce-specversion", "1.0"), ("ce-id", id), ("x-trace", "7")], "{}");
        let Content::Malformed(delivery) = content else { panic!("{content:?}") };
        assert_eq!(delivery.body, b"{}");
        assert!(delivery.refused.as_ref().unwrap().contains("no `source`"), "{delivery:?}");
        assert_eq!((delivery.header_value("ce-id"), delivery.header_value("x-trace")), (Some(id), Some("7")));
        delivery.identity
    };
    assert_ne!(named("1"), named("2"), "they are two events");
    assert_eq!(named("1"), named("1"));
}

#[test]
fn what_is_not_signed_neither_names_a_delivery_nor_says_what_it_is() {
    let read = |headers: &[(&str, &str)], body: &str| {
        let id = ("webhook-id".to_owned(), "msg_1".to_owned());
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers: Vec<_> = headers.iter().map(own).chain([id]).collect();
        events::read(Scheme::StandardWebhooks, &Headers(&headers), body.as_bytes())
    };
    let accepted = |content: Content| match content {
        Content::Deliveries(deliveries) => deliveries,
        other => panic!("{other:?}"),
    };
    let event = r#"{"specversion":"1.0","type":"t","source":"/s","id":"A1","data":{}}"#;
    let batch = format!("[{event},{{}}]");
    for (body, identity, kind) in
        [("{}", "msg_1", None), (event, "/s A1", Some("t")), (&batch, "/s A1", Some("t"))]
    {
        for forged in [
            ("ce-id", "2"),
            ("ce-type", "other"),
            ("aeg-event-type", "Notification"),
            ("content-type", "application/json"),
            ("content-type", "text/plain"),
        ] {
            let found = accepted(read(&[forged], body)).remove(0);
            assert_eq!(found.identity, identity, "{forged:?}");
            assert_eq!(found.header_value("ce-type"), kind, "{forged:?}");
        }
    }
    let all = [("ce-specversion", "1.0"), ("ce-id", "2"), ("ce-source", "/s"), ("ce-type", "t")];
    let Content::Malformed(refused) = read(&all, "{}") else { panic!("nothing signs its attributes") };
    assert!(refused.refused.unwrap().contains("structured form"));
    // A sender that has the secret of this scheme may say everything.
    let content =
        events::read(Scheme::Secret, &Headers(&all.map(|(name, value)| (name.into(), value.into()))), b"{}");
    assert_eq!(accepted(content)[0].identity, "/s 2");
}

#[test]
fn a_header_names_the_kind_only_where_it_is_proved_or_the_sender_has_no_other_place() {
    let check = |scheme: Scheme, kind: &str| {
        let hook = Hook::new(
            scheme,
            vec![HookSecret::new(scheme, "QUJD:").or(HookSecret::new(scheme, "QUJD")).unwrap()],
        );
        let mapping = crate::Mapping::kind(kind).allow_kind("a").build().unwrap();
        hook.unwrap().check_mapping(&mapping).map_err(|invalid| invalid.to_string())
    };
    for kind in ["plain", "{{body/type}}", "{{header.ce-type}}"] {
        assert_eq!(check(Scheme::StandardWebhooks, kind), Ok(()));
    }
    let refused = check(Scheme::StandardWebhooks, "{{header.x-event}}").unwrap_err();
    assert!(refused.contains("x-event") && refused.contains("take it from the body"), "{refused}");
    assert!(check(Scheme::Stripe, "a{{body/x}}{{header.x-event}}").is_err());
    assert!(check(Scheme::GitHub, "{{header.x-event}}").is_err());
    assert_eq!(check(Scheme::GitHub, "{{header.x-github-event}}"), Ok(()));
    assert_eq!(check(Scheme::Shopify, "{{header.x-shopify-topic}}"), Ok(()));
    assert_eq!(check(Scheme::Basic, "{{header.x-event}}"), Ok(()));
}

#[test]
fn a_plain_request_is_named_by_a_header_a_member_or_its_content() {
    assert_eq!(deliveries(&[("idempotency-key", "k1")], "{}")[0].identity, "k1");
    let of_content = deliveries(&[], "{}").remove(0).identity;
    assert_eq!(of_content, "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    let headers = Headers(&[]);
    let named = events::read(Scheme::Stripe, &headers, br#"{"id":"evt_1"}"#);
    assert!(matches!(named, Content::Deliveries(found) if found[0].identity == "evt_1"));
    let asked = events::read(Scheme::Slack, &headers, br#"{"type":"url_verification","challenge":"3eZb"}"#);
    assert_eq!(asked, Content::Handshake { content_type: "text/plain", body: "3eZb".into() });
}

#[test]
fn a_scheme_needs_a_secret_and_none_has_none() {
    assert!(Hook::new(Scheme::GitHub, Vec::new()).is_err());
    let secret = HookSecret::new(Scheme::None, "x").unwrap();
    assert!(Hook::new(Scheme::None, vec![secret]).is_err());
}
