//! What an endpoint's answer means for the job.

use std::time::Duration;

use backroom_core::{Json, Timestamp};

use crate::http_out::{
    retry_after::wait_of,
    send::{Answer, described},
};

/// What an answer means.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meaning {
    /// It is done.
    Done(Json),
    /// The endpoint reports later.
    Later,
    /// The endpoint wants the job later.
    Snooze(Duration),
    /// Trying again cannot help.
    Discard(String),
    /// It failed, and is tried again. A redirect is a failure, too: it is not followed.
    Failed(String),
}

pub(super) fn meaning(answer: &Answer, output_bytes_max: usize, snooze: Duration, now: Timestamp) -> Meaning {
    let said = || described("the endpoint", answer.status, answer.reason, &answer.body);
    match answer.status {
        202 => Meaning::Later,
        200..=299 => match output(answer, output_bytes_max) {
            Ok(output) => Meaning::Done(output),
            // The work is done, and doing it again would not mend the answer.
            Err(why) => Meaning::Discard(format!("the endpoint answered {} but {why}", answer.status)),
        },
        429 | 503 => {
            let asked = answer.retry_after.as_deref().and_then(|text| wait_of(text, now));
            Meaning::Snooze(asked.unwrap_or(snooze))
        }
        400..=499 => Meaning::Discard(said()),
        _ => Meaning::Failed(said()),
    }
}

/// The output of a successful answer. Fails with the end of "the endpoint answered 200 but …".
fn output(answer: &Answer, most: usize) -> Result<Json, String> {
    if answer.body.len() > most {
        return Err(format!("its body has more than {most} bytes"));
    }
    if answer.body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Json::null());
    }
    let text = std::str::from_utf8(&answer.body).map_err(|_| "its body is no UTF-8 text".to_owned())?;
    let named = answer.content_type.as_deref().unwrap_or("application/json");
    let kind = named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/json" => Json::parse(text.trim()).map_err(|invalid| format!("its body {}", invalid.why)),
        other if other.ends_with("+json") => {
            Json::parse(text.trim()).map_err(|invalid| format!("its body {}", invalid.why))
        }
        other if other.starts_with("text/") => {
            Json::encode(&text).map_err(|invalid| format!("its body {}", invalid.why))
        }
        other => Err(format!("its body has the type {other:?}, which is neither JSON nor text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, kind: Option<&str>, body: &str) -> Answer {
        Answer {
            status,
            reason: None,
            retry_after: None,
            content_type: kind.map(str::to_owned),
            body: body.as_bytes().to_vec(),
        }
    }

    fn means(answer: &Answer) -> Meaning {
        meaning(answer, 10, Duration::from_secs(60), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn statuses_mean_what_the_page_says() {
        let snooze = |secs| Meaning::Snooze(Duration::from_secs(secs));
        for (status, expected) in [
            (200, Meaning::Done(Json::null())),
            (204, Meaning::Done(Json::null())),
            (202, Meaning::Later),
            (429, snooze(60)),
            (503, snooze(60)),
        ] {
            assert_eq!(means(&answer(status, None, "")), expected, "{status}");
        }
        let later = Answer { retry_after: Some("7".into()), ..answer(503, None, "") };
        assert_eq!(means(&later), snooze(7));
        for status in [400, 401, 404, 410, 422] {
            assert!(
                matches!(means(&answer(status, None, "no")), Meaning::Discard(why) if why.contains("no")),
                "{status}"
            );
        }
        for status in [301, 302, 307, 500, 502, 504, 599] {
            assert!(matches!(means(&answer(status, None, "no")), Meaning::Failed(_)), "{status}");
        }
    }

    #[test]
    fn a_body_is_json_or_text_and_anything_else_discards_the_job() {
        let output = |kind, body| means(&answer(200, kind, body));
        let json = |text| Meaning::Done(Json::parse(text).expect("JSON"));
        assert_eq!(output(Some("application/json; charset=utf-8"), " [1.0]\n"), json("[1.0]"));
        assert_eq!(output(Some("application/problem+json"), "{}"), json("{}"));
        assert_eq!(output(None, "1"), json("1"));
        assert_eq!(output(Some("text/plain"), "a \"b\""), json("\"a \\\"b\\\"\""));
        for (kind, body) in
            [(None, "oops"), (Some("application/json"), "{"), (Some("image/png"), "x"), (None, "12345678901")]
        {
            assert!(matches!(output(kind, body), Meaning::Discard(_)), "{kind:?} {body}");
        }
    }
}
