//! A job as a client sends it, and the job of ours that it becomes.

use std::time::Duration;

use backroom::{
    BatchId, Draft, Json, Timestamp, UniqueRule,
    core::{
        bounds::{ATTEMPTS_MAX, META_VALUE_BYTES_MAX, span_until},
        draft::{QUEUE_DEFAULT, When},
    },
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{compact::compact, jid, reply::Refusal};

/// Attempts after the first one of a job that names none.
const RETRY_DEFAULT: i64 = 25;
/// The longest time for which a job may be reserved.
const RESERVE_MAX_SECS: i64 = 86_400;
/// The shortest time for which a job is reserved.
const RESERVE_MIN_SECS: i64 = 60;
/// The entry of a job's meta with what else its client chose. Longer text goes on in further entries.
const META_REST: &str = "faktory.job";
/// Most entries of it.
const REST_PIECES_MAX: usize = 16;
/// Starts farther ahead than this in the past mean now.
const AT_ONCE: Duration = Duration::ZERO;

/// A job as a client sends it. Fields that are not known are left out, as every server does.
#[derive(Debug, Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(crate) struct Pushed {
    pub(crate) jid: String,
    jobtype: String,
    args: Option<Json>,
    queue: Option<String>,
    reserve_for: Option<i64>,
    at: Option<String>,
    retry: Option<i64>,
    backtrace: Option<i64>,
    custom: Option<Json>,
}

/// What a client chose beyond what a job of ours has a field for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Rest {
    /// Attempts after the first one; 0 forgets a job that fails, -1 gives it up at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry: Option<i64>,
    /// How many lines of a backtrace are recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) backtrace: Option<i64>,
    /// Free data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) custom: Option<Json>,
}

/// What the server itself reads of the free data.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Custom {
    unique_for: Option<serde_json::Value>,
    unique_until: Option<String>,
    expires_at: Option<String>,
    expires_in: Option<serde_json::Value>,
    track: Option<serde_json::Value>,
    bid: Option<String>,
}

/// What becomes of a job that was pushed.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It is enqueued, as a member of a batch if it names one.
    Job(Box<Draft>, Option<BatchId>),
    /// It has expired already, so it is dropped, as it would be when a worker fetches it.
    Expired,
}

impl Pushed {
    /// The job of ours. Fails with the text that clients expect.
    pub(crate) fn draft(self, now: Timestamp) -> Result<Taken, Refusal> {
        if self.jid.len() < jid::BYTES_MIN {
            return Err(Refusal::new("jobs must have a reasonable jid parameter"));
        }
        if self.jobtype.is_empty() {
            return Err(Refusal::new("jobs must have a jobtype parameter"));
        }
        let Some(args) = self.args else { return Err(Refusal::new("jobs must have an args parameter")) };
        if self.reserve_for.is_some_and(|secs| secs > RESERVE_MAX_SECS) {
            return Err(Refusal::new("jobs cannot be reserved for more than one day"));
        }
        jid::check("jid", &self.jid).map_err(Refusal::new)?;
        if !args.as_str().starts_with('[') {
            return Err(Refusal::new("invalid JSON: the args of a job are an array"));
        }
        let start = match self.at.as_deref().filter(|at| !at.is_empty()) {
            None => When::Now,
            Some(at) => match moment(at) {
                Ok(at) if at > backroom::core::bounds::later(now, AT_ONCE) => When::At(at),
                Ok(_) => When::Now,
                Err(why) => {
                    return Err(Refusal::new(format!("invalid timestamp for 'at': {at:?}: {why}")));
                }
            },
        };
        let custom = self.custom.filter(|custom| !matches!(custom.as_str(), "null" | "{}"));
        let of_custom: Custom = match &custom {
            Some(custom) => custom
                .decode()
                .map_err(|why| Refusal::new(format!("invalid JSON: the custom data of a job: {why}")))?,
            None => Custom::default(),
        };
        let expiry = of_custom.expiry(now)?;
        let begins = if let When::At(at) = start { at } else { now };
        if expiry.is_some_and(|expiry| expiry <= begins) {
            return Ok(Taken::Expired);
        }
        let queue = self.queue.filter(|queue| !queue.is_empty()).unwrap_or_else(|| QUEUE_DEFAULT.into());
        let args = compacted(args)?;
        let mut draft = Draft::new(self.jobtype, args);
        draft.unique = of_custom.unique(&queue, &draft.args)?;
        draft.queue = queue;
        draft.start = start;
        draft.expiry = expiry.map(When::At);
        draft.max_attempts = Some(attempts(self.retry));
        draft.extras.timeout = self.reserve_for.filter(|secs| *secs > 0).map(reserved);
        if of_custom.is_tracked() {
            draft.tags.push(jid::tag(&self.jid));
        }
        let batch = of_custom.bid.as_deref().filter(|bid| !bid.is_empty()).map(bid_of).transpose()?;
        let rest = Rest {
            retry: self.retry,
            backtrace: self.backtrace.filter(|lines| *lines > 0),
            custom: custom.map(compacted).transpose()?,
        };
        let mut meta = rest.pieces()?;
        meta.push((jid::META.into(), self.jid));
        draft.extras.meta.extend(meta);
        Ok(Taken::Job(Box::new(draft), batch))
    }

    /// The job at the end of a batch. Clients may leave out its jid; `jid` is used then.
    pub(crate) fn end_job(mut self, jid: String, now: Timestamp) -> Result<Draft, Refusal> {
        if self.jid.is_empty() {
            self.jid = jid;
        }
        match self.draft(now)? {
            Taken::Job(mut draft, None) => {
                // It counts from the end of the batch.
                if let Some(When::At(at)) = draft.expiry {
                    draft.expiry = Some(When::In(span_until(now, at)));
                }
                Ok(*draft)
            }
            Taken::Job(_, Some(_)) => Err(Refusal::new("the job at the end of a batch cannot be in a batch")),
            Taken::Expired => Err(Refusal::new("the job at the end of a batch has expired already")),
        }
    }
}

impl Rest {
    /// What the meta of a job holds.
    pub(crate) fn read(meta: &std::collections::BTreeMap<String, String>) -> Self {
        let mut text = meta.get(META_REST).cloned().unwrap_or_default();
        for number in 1..REST_PIECES_MAX {
            let Some(piece) = meta.get(&format!("{META_REST}.{number}")) else { break };
            text.push_str(piece);
        }
        // What another program wrote there is no reason to withhold the job.
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// As entries of the meta of a job; none if there is nothing to say.
    fn pieces(&self) -> Result<Vec<(String, String)>, Refusal> {
        if *self == Self::default() {
            return Ok(Vec::new());
        }
        let text =
            serde_json::to_string(self).map_err(|error| Refusal::new(format!("invalid JSON: {error}")))?;
        let (mut pieces, mut left) = (Vec::new(), text.as_str());
        while !left.is_empty() {
            let most = META_VALUE_BYTES_MAX.min(left.len());
            // A character has at most four bytes, so one of the last places is a boundary.
            let end = (0..=most).rev().find(|&end| left.is_char_boundary(end)).unwrap_or(most);
            let (piece, behind) = left.split_at(end);
            let name = match pieces.len() {
                0 => META_REST.into(),
                number => format!("{META_REST}.{number}"),
            };
            pieces.push((name, piece.to_owned()));
            left = behind;
        }
        if pieces.len() > REST_PIECES_MAX {
            let most = META_VALUE_BYTES_MAX * REST_PIECES_MAX;
            let why =
                format!("the custom data of a job has {} bytes; at most {most} are allowed", text.len());
            return Err(Refusal::new(why));
        }
        Ok(pieces)
    }
}

impl Custom {
    fn expiry(&self, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
        if let Some(at) = self.expires_at.as_deref().filter(|at| !at.is_empty()) {
            let at = moment(at)
                .map_err(|why| Refusal::new(format!("invalid timestamp for 'expires_at': {at:?}: {why}")))?;
            return Ok(Some(at));
        }
        let span = seconds(self.expires_in.as_ref(), "expires_in")?;
        Ok(span.map(|span| backroom::core::bounds::later(now, span)))
    }

    /// A job is the same as another one of its kind with the same args in the same queue.
    fn unique(&self, queue: &str, args: &Json) -> Result<Option<UniqueRule>, Refusal> {
        let Some(window) = seconds(self.unique_for.as_ref(), "unique_for")? else { return Ok(None) };
        let canonical =
            args.canonical().map_err(|invalid| Refusal::new(format!("invalid JSON: {invalid}")))?;
        let hash = Sha256::digest(format!("{queue}\n{canonical}"));
        let key: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let rule = UniqueRule::by_key(format!("faktory/{key}")).reject();
        let rule = match self.unique_until.as_deref() {
            None | Some("" | "success") => rule,
            Some("start") => rule.while_queued(),
            Some(other) => {
                let why = format!("unique_until is {other:?}; use \"success\" or \"start\"");
                return Err(Refusal::new(why));
            }
        };
        Ok(Some(rule.at_most(window)))
    }

    fn is_tracked(&self) -> bool {
        match &self.track {
            Some(serde_json::Value::Bool(tracked)) => *tracked,
            Some(serde_json::Value::Number(number)) => number.as_i64() == Some(1),
            _ => false,
        }
    }
}

/// The batch of a bid. The server makes them, so any other text names none.
pub(super) fn bid_of(bid: &str) -> Result<BatchId, Refusal> {
    bid.parse().map_err(|_| no_such_batch(bid))
}

/// As clients expect it.
pub(super) fn no_such_batch(bid: &str) -> Refusal {
    Refusal::new(format!("No such batch {}", backroom::core::bounds::clip(bid, 100)))
}

/// Whole seconds of a number or of text that is one; none for zero.
fn seconds(value: Option<&serde_json::Value>, what: &str) -> Result<Option<Duration>, Refusal> {
    let secs = match value {
        None | Some(serde_json::Value::Null) => return Ok(None),
        Some(serde_json::Value::Number(number)) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Some(serde_json::Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    match secs {
        Some(0) => Ok(None),
        Some(secs) => Ok(Some(Duration::from_secs(secs))),
        None => Err(Refusal::new(format!("{what} is no number of seconds"))),
    }
}

fn whole(secs: f64) -> Option<u64> {
    Duration::try_from_secs_f64(secs).ok().map(|span| span.as_secs())
}

/// Attempts in all.
fn attempts(retry: Option<i64>) -> u32 {
    let retries = retry.unwrap_or(RETRY_DEFAULT).max(0);
    u32::try_from(retries.saturating_add(1)).unwrap_or(ATTEMPTS_MAX).min(ATTEMPTS_MAX)
}

/// For how long a job is reserved.
fn reserved(secs: i64) -> Duration {
    let secs = secs.clamp(RESERVE_MIN_SECS, RESERVE_MAX_SECS);
    Duration::from_secs(u64::try_from(secs).unwrap_or_default())
}

/// A moment as RFC 3339 writes it.
fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse::<Timestamp>().map_err(|error| error.to_string())
}

/// The same JSON without white space: answers hold no line break, and patterns expect none.
fn compacted(json: Json) -> Result<Json, Refusal> {
    match compact(json.as_str()) {
        std::borrow::Cow::Borrowed(_) => Ok(json),
        std::borrow::Cow::Owned(text) => {
            Json::parse(text).map_err(|invalid| Refusal::new(format!("invalid JSON: {invalid}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(text: &str) -> Pushed {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn now() -> Timestamp {
        "2026-11-27T08:00:00Z".parse().unwrap()
    }

    fn draft(text: &str) -> Draft {
        match pushed(text).draft(now()) {
            Ok(Taken::Job(draft, _)) => *draft,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_job_without_what_it_needs_is_refused_in_the_words_that_clients_expect() {
        let cases = [
            (r#"{"jobtype":"a","args":[]}"#, "jobs must have a reasonable jid parameter"),
            (r#"{"jid":"1234567","jobtype":"a","args":[]}"#, "jobs must have a reasonable jid parameter"),
            (r#"{"jid":"12345678","args":[]}"#, "jobs must have a jobtype parameter"),
            (r#"{"jid":"12345678","jobtype":"a"}"#, "jobs must have an args parameter"),
            (r#"{"jid":"12345678","jobtype":"a","args":null}"#, "jobs must have an args parameter"),
            (
                r#"{"jid":"12345678","jobtype":"a","args":[],"reserve_for":86401}"#,
                "jobs cannot be reserved for more than one day",
            ),
            (r#"{"jid":"12345678","jobtype":"a","args":{}}"#, "invalid JSON: the args of a job are an array"),
        ];
        for (text, expected) in cases {
            assert_eq!(pushed(text).draft(now()).unwrap_err().message, expected, "{text}");
        }
        let late = pushed(r#"{"jid":"12345678","jobtype":"a","args":[],"at":"tomorrow"}"#).draft(now());
        assert!(late.unwrap_err().message.starts_with("invalid timestamp for 'at': \"tomorrow\": "));
    }

    #[test]
    fn what_a_client_leaves_out_is_filled_in() {
        let draft = draft(r#"{"jid":"12345678","jobtype":"work","args":[1, "a b"],"priority":3,"other":{}}"#);
        assert_eq!(
            (draft.kind.as_str(), draft.queue.as_str(), draft.args.as_str()),
            ("work", "default", r#"[1,"a b"]"#)
        );
        assert_eq!((draft.max_attempts, draft.start, draft.priority), (Some(26), When::Now, 5));
        assert_eq!(draft.extras.meta.len(), 1);
        assert_eq!((draft.extras.meta[jid::META].as_str(), draft.extras.timeout), ("12345678", None));
        assert_eq!(Rest::read(&draft.extras.meta), Rest::default());
    }

    #[test]
    fn attempts_start_and_reservation_are_those_of_the_client() {
        for (retry, attempts) in [(-1, 1), (0, 1), (1, 2), (25, 26), (i64::MAX, ATTEMPTS_MAX)] {
            let text = format!(r#"{{"jid":"12345678","jobtype":"a","args":[],"retry":{retry}}}"#);
            let draft = draft(&text);
            assert_eq!(draft.max_attempts, Some(attempts), "{retry}");
            assert_eq!(Rest::read(&draft.extras.meta).retry, Some(retry));
        }
        for (at, start) in [
            ("2026-11-27T09:00:00.5+00:00", When::At("2026-11-27T09:00:00.5Z".parse().unwrap())),
            ("2026-11-27T07:00:00Z", When::Now),
            ("", When::Now),
        ] {
            assert_eq!(
                draft(&format!(r#"{{"jid":"12345678","jobtype":"a","args":[],"at":"{at}"}}"#)).start,
                start
            );
        }
        for (reserve, secs) in [(1, Some(60)), (600, Some(600)), (0, None), (-5, None)] {
            let text = format!(r#"{{"jid":"12345678","jobtype":"a","args":[],"reserve_for":{reserve}}}"#);
            assert_eq!(draft(&text).extras.timeout.map(|timeout| timeout.as_secs()), secs);
        }
    }

    #[test]
    fn free_data_comes_back_however_long_it_is_within_the_bound() {
        for length in [0, 10, 4000, 4096, 50_000] {
            let custom = format!(r#"{{"note":"{}"}}"#, "é".repeat(length / 2));
            let draft = draft(&format!(
                r#"{{"jid":"12345678","jobtype":"a","args":[],"backtrace":7,"custom":{custom}}}"#
            ));
            let rest = Rest::read(&draft.extras.meta);
            assert_eq!(rest.custom.unwrap().as_str(), custom);
            assert_eq!(rest.backtrace, Some(7));
            assert!(draft.extras.meta.values().all(|value| value.len() <= META_VALUE_BYTES_MAX));
        }
        let text = format!(
            r#"{{"jid":"12345678","jobtype":"a","args":[],"custom":{{"a":"{}"}}}}"#,
            "x".repeat(70_000)
        );
        assert!(pushed(&text).draft(now()).unwrap_err().message.contains("at most 65536 are allowed"));
    }

    #[test]
    fn unique_expiring_and_tracked_jobs_are_so_by_their_free_data() {
        let with = |custom: &str| {
            pushed(&format!(r#"{{"jid":"12345678","jobtype":"a","args":[1],"custom":{{{custom}}}}}"#))
                .draft(now())
        };
        let job = |custom: &str| match with(custom) {
            Ok(Taken::Job(draft, _)) => *draft,
            other => panic!("{custom}: {other:?}"),
        };
        assert!(job(r#""unique_for":60"#).unique.is_some() && job(r#""unique_for":0"#).unique.is_none());
        assert!(job(r#""unique_until":"start""#).unique.is_none());
        assert_ne!(job(r#""unique_for":60"#).unique, job(r#""unique_for":60,"unique_until":"start""#).unique);
        assert!(
            with(r#""unique_for":60,"unique_until":"never""#).is_err()
                && with(r#""unique_for":"x""#).is_err()
        );
        assert_eq!(job(r#""track":1"#).tags, ["faktory.jid=12345678"]);
        assert!(job(r#""track":0"#).tags.is_empty() && job(r#""other":1"#).tags.is_empty());
        let expires = |custom| job(custom).expiry;
        assert_eq!(expires(r#""expires_in":90"#), Some(When::At("2026-11-27T08:01:30Z".parse().unwrap())));
        assert_eq!(
            expires(r#""expires_at":"2026-11-27T09:00:00Z""#),
            Some(When::At("2026-11-27T09:00:00Z".parse().unwrap()))
        );
        assert!(matches!(with(r#""expires_at":"2026-11-27T07:00:00Z""#), Ok(Taken::Expired)));
        assert!(with(r#""expires_at":"soon""#).is_err());
    }
}
