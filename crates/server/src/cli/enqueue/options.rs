//! Everything that can be chosen for a job.

use std::{collections::BTreeMap, time::Duration};

use backroom::{
    Draft, Extras, Json, MessageKind, MessageKinds, RetryPolicy, Timestamp, UniqueRule,
    core::{
        Callback, Reply,
        draft::{PRIORITY_DEFAULT, QUEUE_DEFAULT, When},
        retry::Backoff,
        unique::{OnConflict, UniqueBy, UniqueHold},
    },
};
use clap::{Args, ValueEnum};

use crate::terminal::now;
use crate::terminal::{
    Problem,
    parse::{MomentText, key_and_value, moment, span},
};

/// The options of a job, as written.
#[derive(Debug, Clone, Args)]
pub(super) struct JobOptions {
    /// The queue it waits in
    #[arg(long, short, default_value = QUEUE_DEFAULT, value_name = "NAME")]
    queue: String,

    /// 0 (served first) to 9 (last)
    #[arg(long, short, default_value_t = PRIORITY_DEFAULT, value_name = "0-9", allow_negative_numbers = true)]
    priority: u8,

    /// A key inside the queue, stored and shown with the job. It changes nothing yet: neither order nor limits go by it
    #[arg(long, value_name = "KEY")]
    lane: Option<String>,

    /// Run it this much later: 10m, 2h30m
    #[arg(long, value_name = "SPAN", value_parser = span, conflicts_with = "at", help_heading = "When")]
    delay: Option<Duration>,

    /// Run it at this moment: 2026-01-31T09:00:00Z, or '2026-01-31 09:00' in local time
    #[arg(long, value_name = "TIME", value_parser = moment, help_heading = "When")]
    at: Option<MomentText>,

    /// Cancel it unless it has begun within this span
    #[arg(
        long, value_name = "SPAN", value_parser = span, conflicts_with = "expires_at", help_heading = "When"
    )]
    expires_in: Option<Duration>,

    /// Cancel it unless it has begun by this moment
    #[arg(long, value_name = "TIME", value_parser = moment, help_heading = "When")]
    expires_at: Option<MomentText>,

    /// Longest run of one attempt; more is a failure. Unlimited if left out
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = "When")]
    timeout: Option<Duration>,

    /// Attempts allowed, the first included: 1 means no retry. Default 20, or one more than a list of waits has
    #[arg(long, value_name = "N", help_heading = "When it fails")]
    max_attempts: Option<u32>,

    /// Wait always this long before the next attempt
    #[arg(long, value_name = "SPAN", value_parser = span, group = "backoff", help_heading = "When it fails")]
    retry_constant: Option<Duration>,

    /// Wait this long, then twice, then three times this long
    #[arg(long, value_name = "SPAN", value_parser = span, group = "backoff", help_heading = "When it fails")]
    retry_linear: Option<Duration>,

    /// Wait this long, doubled with each attempt
    #[arg(long, value_name = "SPAN", value_parser = span, group = "backoff", help_heading = "When it fails")]
    retry_exponential: Option<Duration>,

    /// Wait these spans, one after the other: 1s,10s,5m
    #[arg(
        long, value_name = "SPAN,…", value_parser = span, value_delimiter = ',', group = "backoff",
        help_heading = "When it fails"
    )]
    retry_list: Option<Vec<Duration>>,

    /// Never wait longer than this [default: 24h]
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = "When it fails")]
    retry_cap: Option<Duration>,

    /// Spread each wait by ± this many percent [default: 10]
    #[arg(long, value_name = "PERCENT", help_heading = "When it fails")]
    retry_jitter: Option<u8>,

    /// No second job of this kind with this key
    #[arg(long, value_name = "KEY", group = "unique", help_heading = "Keeping duplicates out")]
    unique_key: Option<String>,

    /// No second job of this kind with equal args
    #[arg(long, group = "unique", help_heading = "Keeping duplicates out")]
    unique_args: bool,

    /// No second job of this kind with equal values of these fields of the args
    #[arg(
        long,
        value_name = "FIELD,…",
        value_delimiter = ',',
        group = "unique",
        help_heading = "Keeping duplicates out"
    )]
    unique_fields: Option<Vec<String>>,

    /// How long that holds: live (until finished), queued (until claimed), or a span from now on [default: live]
    #[arg(
        long, value_name = "live|queued|SPAN", value_parser = hold, requires = "unique",
        help_heading = "Keeping duplicates out"
    )]
    unique_while: Option<UniqueHold>,

    /// What happens to the second job [default: keep]
    #[arg(long, value_name = "WHAT", requires = "unique", help_heading = "Keeping duplicates out")]
    on_conflict: Option<Conflict>,

    /// A word to filter by; may be given several times
    #[arg(long = "tag", short, value_name = "WORD", help_heading = "Free data")]
    tags: Vec<String>,

    /// An entry of free data; may be given several times
    #[arg(
        long = "meta", short, value_name = "KEY=VALUE", value_parser = key_and_value,
        help_heading = "Free data"
    )]
    meta: Vec<(String, String)>,

    /// Hide a field of args and output from readers, by a JSON pointer such as /card/number; may be given several times
    #[arg(long = "hide", value_name = "POINTER", help_heading = "Secrets")]
    hidden: Vec<String>,

    /// Messages about the job go to this reply queue; `backroom replies` takes them
    #[arg(long, value_name = "QUEUE", help_heading = "Messages about it")]
    reply_to: Option<String>,

    /// Stands in every message; messages with the same one come in order
    #[arg(long, value_name = "ID", requires = "reply_to", help_heading = "Messages about it")]
    correlation_id: Option<String>,

    /// Of what they inform: started, progress, failed_attempt, completed, discarded, cancelled [default: the last three]
    #[arg(
        long,
        value_name = "KIND,…",
        value_delimiter = ',',
        requires = "reply_to",
        help_heading = "Messages about it"
    )]
    reply_on: Option<Vec<MessageKind>>,

    /// Messages about the job are sent to this URL
    #[arg(long, value_name = "URL", help_heading = "Messages about it")]
    callback: Option<String>,

    /// Of what these inform, as --reply-on
    #[arg(
        long,
        value_name = "KIND,…",
        value_delimiter = ',',
        requires = "callback",
        help_heading = "Messages about it"
    )]
    callback_on: Option<Vec<MessageKind>>,

    /// The caller's span as W3C Trace Context has it, VERSION-TRACEID-PARENTID-FLAGS; the handler continues the trace
    #[arg(long, value_name = "TRACEPARENT", help_heading = "Free data")]
    traceparent: Option<String>,
}

/// What happens when the unique key is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Conflict {
    /// The first job stays, the second is not stored
    Keep,
    /// The first job takes over the content of the second while it is queued; with a delay this is a debounce
    Replace,
    /// The second is refused with an error
    Reject,
}

fn hold(text: &str) -> Result<UniqueHold, String> {
    match text {
        "live" => Ok(UniqueHold::Live),
        "queued" => Ok(UniqueHold::Queued),
        window => {
            let window =
                span(window).map_err(|why| format!("neither live nor queued, and as a span it {why}"))?;
            // A window is counted in seconds; a part of one is held as a whole one rather than not at all.
            Ok(UniqueHold::ForSecs(window.as_secs() + u64::from(window.subsec_nanos() > 0)))
        }
    }
}

impl JobOptions {
    /// The draft of a job without its args; moments that are written relative to the time hold at `now`.
    pub(super) fn draft(self, kind: &str, now: Timestamp) -> Result<Draft, Problem> {
        let at = |moment: MomentText| {
            moment.ahead(now).map(When::At).map_err(|why| Problem::new("read the time", &why))
        };
        let start = match (self.delay, self.at) {
            (Some(delay), _) => When::In(delay),
            (None, Some(moment)) => at(moment)?,
            (None, None) => When::Now,
        };
        let expiry = match (self.expires_in, self.expires_at) {
            (Some(span), _) => Some(When::In(span)),
            (None, Some(moment)) => Some(at(moment)?),
            (None, None) => None,
        };
        Ok(Draft {
            unique: self.unique(),
            extras: Extras {
                timeout: self.timeout,
                retry: self.retry(),
                meta: distinct(self.meta)?,
                traceparent: self.traceparent,
                reply: self.reply_to.map(|to| Reply {
                    to,
                    correlation_id: self.correlation_id,
                    on: kinds(self.reply_on),
                }),
                callback: self.callback.map(|url| Callback { url, on: kinds(self.callback_on) }),
                occurrence: None,
                hidden: self.hidden,
            },
            queue: self.queue,
            lane: self.lane,
            priority: self.priority,
            start,
            expiry,
            max_attempts: self.max_attempts,
            tags: self.tags,
            ..Draft::new(kind, Json::null())
        })
    }

    /// The policy, if anything of it was chosen.
    fn retry(&self) -> Option<RetryPolicy> {
        let backoff = self
            .retry_constant
            .map(Backoff::Constant)
            .or(self.retry_linear.map(Backoff::Linear))
            .or(self.retry_exponential.map(Backoff::Exponential))
            .or(self.retry_list.clone().map(Backoff::List));
        if backoff.is_none() && self.retry_cap.is_none() && self.retry_jitter.is_none() {
            return None;
        }
        let usual = RetryPolicy::DEFAULT;
        Some(RetryPolicy {
            backoff: backoff.unwrap_or(usual.backoff),
            jitter_percent: self.retry_jitter.unwrap_or(usual.jitter_percent),
            cap: self.retry_cap.unwrap_or(usual.cap),
        })
    }

    fn unique(&self) -> Option<UniqueRule> {
        let by = if self.unique_args {
            UniqueBy::Args
        } else if let Some(fields) = &self.unique_fields {
            UniqueBy::Fields(fields.clone())
        } else {
            UniqueBy::Key(self.unique_key.clone()?)
        };
        let on_conflict = match self.on_conflict {
            None | Some(Conflict::Keep) => OnConflict::Keep,
            Some(Conflict::Replace) => OnConflict::Replace,
            Some(Conflict::Reject) => OnConflict::Reject,
        };
        Some(UniqueRule { by, hold: self.unique_while.unwrap_or_default(), on_conflict })
    }
}

/// The kinds that were chosen; the job's end if none were.
fn kinds(chosen: Option<Vec<MessageKind>>) -> MessageKinds {
    chosen.map_or(MessageKinds::END, |kinds| kinds.into_iter().collect())
}

/// The entries as a map; a key given twice would silently lose a value.
fn distinct(meta: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Problem> {
    let mut entries = BTreeMap::new();
    for (key, value) in meta {
        if entries.contains_key(&key) {
            return Err(Problem::new("accept the input", &format_args!("meta key {key:?} is given twice")));
        }
        entries.insert(key, value);
    }
    Ok(entries)
}

/// The library checks it again; here it keeps a mistake from creating a store.
pub(super) fn check(draft: &Draft) -> Result<(), Problem> {
    let id = backroom::JobId(Default::default());
    draft.clone().check(id, now(), backroom::core::bounds::JSON_BYTES_MAX)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: JobOptions,
    }

    fn draft(line: &[&str]) -> Draft {
        let line = Line::try_parse_from(["enqueue"].iter().chain(line)).expect("a command line");
        line.options.draft("kind", now()).expect("a draft")
    }

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn refused(line: &[&str]) -> bool {
        Line::try_parse_from(["enqueue"].iter().chain(line)).is_err()
    }

    #[test]
    fn no_options_make_the_default_draft() {
        assert_eq!(draft(&[]), Draft::new("kind", Json::null()));
    }

    #[test]
    fn every_option_arrives_in_the_draft() {
        let draft = draft(&[
            "-q",
            "mail",
            "-p",
            "2",
            "--lane",
            "tenant-7",
            "--delay",
            "10m",
            "--expires-in",
            "1h",
            "--timeout",
            "30s",
            "--max-attempts",
            "3",
            "-t",
            "a",
            "-t",
            "b",
            "-m",
            "k=v=w",
            "--retry-constant",
            "5s",
            "--traceparent",
            TRACEPARENT,
            "--reply-to",
            "replies",
            "--correlation-id",
            "order 7",
            "--reply-on",
            "completed,started",
            "--callback",
            "https://example.org/done",
            "--callback-on",
            "discarded",
            "--hide",
            "/card/number",
        ]);
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(draft.queue, "mail");
        assert_eq!(draft.priority, 2);
        assert_eq!(draft.lane.as_deref(), Some("tenant-7"));
        assert_eq!(draft.start, When::In(minutes(10)));
        assert_eq!(draft.expiry, Some(When::In(minutes(60))));
        assert_eq!(draft.max_attempts, Some(3));
        assert_eq!(draft.tags, ["a", "b"]);
        // Every field is named, so that a new one has to be added here.
        let extras = Extras {
            timeout: Some(Duration::from_secs(30)),
            retry: Some(RetryPolicy::constant(Duration::from_secs(5))),
            meta: [("k".into(), "v=w".into())].into(),
            traceparent: Some(TRACEPARENT.into()),
            reply: Some(Reply {
                to: "replies".into(),
                correlation_id: Some("order 7".into()),
                on: [MessageKind::Started, MessageKind::Completed].into_iter().collect(),
            }),
            callback: Some(Callback {
                url: "https://example.org/done".into(),
                on: [MessageKind::Discarded].into_iter().collect(),
            }),
            occurrence: None,
            hidden: vec!["/card/number".into()],
        };
        assert_eq!(draft.extras, extras);
    }

    #[test]
    fn what_a_message_needs_is_asked_for() {
        assert!(refused(&["--correlation-id", "7"]) && refused(&["--reply-on", "started"]));
        assert!(refused(&["--callback-on", "started"]));
        assert!(refused(&["--reply-to", "replies", "--reply-on", "finished"]));
        let reply = draft(&["--reply-to", "replies"]).extras.reply.expect("a reply");
        assert_eq!((reply.correlation_id, reply.on), (None, MessageKinds::END));
    }

    #[test]
    fn retry_options_make_one_policy() {
        let secs = Duration::from_secs;
        assert_eq!(draft(&["--retry-constant", "5s"]).extras.retry, Some(RetryPolicy::constant(secs(5))));
        assert_eq!(draft(&["--retry-linear", "5s"]).extras.retry, Some(RetryPolicy::linear(secs(5))));
        let exponential = draft(&["--retry-exponential", "5s", "--retry-cap", "1m", "--retry-jitter", "0"]);
        assert_eq!(exponential.extras.retry, Some(RetryPolicy::exponential(secs(5), secs(60)).jitter(0)));
        assert_eq!(
            draft(&["--retry-list", "1s,2s,1m"]).extras.retry,
            Some(RetryPolicy::list([secs(1), secs(2), secs(60)]))
        );
        assert_eq!(draft(&["--retry-jitter", "50"]).extras.retry, Some(RetryPolicy::DEFAULT.jitter(50)));
        assert!(refused(&["--retry-constant", "5s", "--retry-linear", "5s"]));
    }

    #[test]
    fn unique_options_make_one_rule() {
        let rule = draft(&["--unique-args"]).unique;
        assert_eq!(rule, Some(UniqueRule::by_args()));
        let rule =
            draft(&["--unique-fields", "a,b", "--unique-while", "90s", "--on-conflict", "replace"]).unique;
        let by = UniqueBy::Fields(vec!["a".into(), "b".into()]);
        let hold = UniqueHold::ForSecs(90);
        assert_eq!(rule, Some(UniqueRule { by, hold, on_conflict: OnConflict::Replace }));
        assert!(refused(&["--unique-while", "live"]), "without a key there is nothing to hold");
        assert!(refused(&["--unique-args", "--unique-key", "k"]));
        assert!(refused(&["--unique-key", "k", "--unique-while", "forever"]));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        assert!(refused(&["--delay", "1m", "--at", "now"]));
        assert!(refused(&["--expires-in", "1m", "--expires-at", "now"]));
        assert!(refused(&["--meta", "no equals sign"]));
        assert!(refused(&["--priority", "256"]));
        assert!(distinct(vec![("k".into(), "a".into()), ("k".into(), "b".into())]).is_err());
    }
}
