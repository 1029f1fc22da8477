//! Each scheme against requests that are right, and against those that are not.

use super::*;

fn checked(
    scheme: Scheme,
    secret: &str,
    headers: &[(&str, &str)],
    body: &str,
    now: i64,
) -> Result<(), Refusal> {
    let secrets = [HookSecret::new(scheme, secret).unwrap()];
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let now = Timestamp::from_second(now).unwrap();
    check(scheme, &secrets, TOLERANCE_DEFAULT, &Headers(&headers), body.as_bytes(), now)
}

/// What a scheme's own documents or libraries publish: secret, headers, body, and the time of signing.
type Vector = (Scheme, &'static str, &'static [(&'static str, &'static str)], &'static str, i64);

const SLACK_BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";

const PUBLISHED: &[Vector] = &[
    // The example of the standard's own libraries.
    (
        Scheme::StandardWebhooks,
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        &[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v1a,AAAA v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ],
        r#"{"test": 2432232314}"#,
        1_614_265_330,
    ),
    // docs.github.com, "Validating webhook deliveries", testing the webhook payload validation.
    (
        Scheme::GitHub,
        "It's a Secret to Everybody",
        &[("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")],
        "Hello, World!",
        0,
    ),
    // docs.slack.dev, "Verifying requests from Slack".
    (
        Scheme::Slack,
        "8f742231b10e8888abcd99yyyzzz85a5",
        &[
            ("x-slack-request-timestamp", "1531420618"),
            ("x-slack-signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
        ],
        SLACK_BODY,
        1_531_420_618,
    ),
    // Neither Stripe nor Shopify publishes an example; these were made with the module `hmac` of Python.
    (
        Scheme::Stripe,
        "whsec_test_secret",
        &[(
            "stripe-signature",
            "t=1492774577,v1=0000,v1=c137b1b62277d523cf8fed4dfbd0170a9a5b8a380e00cc3711d4bf0652f2ce7a,v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39",
        )],
        r#"{"id": "evt_test_webhook", "object": "event"}"#,
        1_492_774_577,
    ),
    (
        Scheme::Shopify,
        "test-webhook-secret",
        &[("x-shopify-hmac-sha256", "QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gw=")],
        r#"{"id":1234567890,"email":"customer@example.com","total_price":"123.45"}"#,
        0,
    ),
];

#[test]
fn published_signatures_are_right_and_any_change_makes_them_wrong() {
    for (scheme, secret, headers, body, at) in PUBLISHED {
        let name = scheme.name();
        assert_eq!(checked(*scheme, secret, headers, body, *at), Ok(()), "{name}");
        let changed = format!("{body} ");
        assert_eq!(checked(*scheme, secret, headers, &changed, *at), Err(Refusal::WrongSignature), "{name}");
        let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert_eq!(checked(*scheme, other, headers, body, *at), Err(Refusal::WrongSignature), "{name}");
        assert_eq!(checked(*scheme, secret, &[], body, *at), Err(Refusal::Unsigned), "{name}");
    }
}

#[test]
fn an_old_time_and_a_time_that_is_none_are_told_apart() {
    let (scheme, secret, headers, body, at) = PUBLISHED[0];
    for apart in [-300, 300] {
        assert_eq!(checked(scheme, secret, headers, body, at + apart), Ok(()));
    }
    for apart in [-301, 301] {
        assert_eq!(checked(scheme, secret, headers, body, at + apart), Err(Refusal::StaleTimestamp));
    }
    let untimed: Vec<_> = headers.iter().filter(|(name, _)| *name != "webhook-timestamp").copied().collect();
    assert_eq!(checked(scheme, secret, &untimed, body, at), Err(Refusal::NoTimestamp));
    let unnamed: Vec<_> = headers.iter().filter(|(name, _)| *name != "webhook-id").copied().collect();
    assert_eq!(checked(scheme, secret, &unnamed, body, at), Err(Refusal::NoId));
}

#[test]
fn plain_secrets_come_as_bearer_header_or_basic() {
    let secret = |headers| checked(Scheme::Secret, "s3cret", headers, "", 0);
    assert_eq!(secret(&[("authorization", "Bearer s3cret")]), Ok(()));
    assert_eq!(secret(&[("x-webhook-secret", "s3cret")]), Ok(()));
    assert_eq!(secret(&[("authorization", "Bearer s3cret2")]), Err(Refusal::WrongSignature));
    assert_eq!(secret(&[("authorization", "Basic s3cret")]), Err(Refusal::Unsigned));
    // RFC 7617, section 2.
    let basic = |text| checked(Scheme::Basic, "Aladdin:open sesame", &[("authorization", text)], "", 0);
    assert_eq!(basic("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), Ok(()));
    assert_eq!(basic("basic QWxhZGRpbjpvcGVu"), Err(Refusal::WrongSignature));
    assert_eq!(checked(Scheme::None, "-", &[], "", 0), Ok(()));
}

#[test]
fn every_scheme_is_found_by_its_name_and_no_error_repeats_a_secret() {
    for row in TABLE {
        assert_eq!(Scheme::named(row.name), Ok(row.scheme));
        assert_eq!(row.scheme.name(), row.name);
    }
    assert!(Scheme::named("git").unwrap_err().to_string().contains("github"));
    let error = HookSecret::new(Scheme::StandardWebhooks, "whsec_geheim!").unwrap_err().to_string();
    assert!(!error.contains("geheim"), "{error}");
    assert_eq!(format!("{:?}", HookSecret::new(Scheme::GitHub, "geheim").unwrap()), "HookSecret(…)");
}
