//! One line of a client, read. Nothing is decided here but what the line says.

use serde::{Deserialize, de::DeserializeOwned};

use super::{pushed::Pushed, reply::Refusal};

/// Longest text of a filter, so that a pattern costs little.
const PATTERN_BYTES_MAX: usize = 1024;

/// What a client asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Enqueue a job.
    Push(Box<Pushed>),
    /// Enqueue many, each by itself.
    PushMany(Vec<Pushed>),
    /// Take a job from the first of these queues that has one.
    Fetch(Vec<String>),
    /// A job is done.
    Ack(Finished),
    /// A job has failed.
    Fail(Finished),
    /// A worker lives.
    Beat(Beat),
    /// What the server knows of itself.
    Info,
    /// Do something to queues.
    Queues(QueueAction, Vec<String>),
    /// Ask for how long the oldest job of each queue waits.
    Latency(Vec<String>),
    /// Do something to jobs.
    Mutate(Mutation),
    /// Delete everything.
    Flush,
    /// Ask for the progress of a job.
    TrackGet(String),
    /// Report the progress of a job.
    TrackSet(Progress),
    /// Open a batch.
    BatchNew(Box<NewBatch>),
    /// Open a batch that exists, to add to it.
    BatchOpen(String),
    /// No program adds to a batch any more.
    BatchCommit(String),
    /// Ask how a batch stands.
    BatchStatus(String),
    /// The client goes.
    End,
}

/// The end of a job.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Finished {
    pub(crate) jid: String,
    pub(crate) errtype: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) backtrace: Option<Vec<String>>,
}

/// A heartbeat.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Beat {
    pub(crate) wid: String,
    pub(crate) current_state: Option<String>,
}

/// A batch to open. Of its jobs only what runs at its end is part of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NewBatch {
    pub(crate) parent_bid: Option<String>,
    pub(crate) description: Option<String>,
    /// Enqueued when all jobs have completed.
    pub(crate) success: Option<Pushed>,
    /// Enqueued when all jobs have finished.
    pub(crate) complete: Option<Pushed>,
}

/// What is done to queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueAction {
    /// No job is fetched from them.
    Pause,
    /// Jobs are fetched again.
    Resume,
    /// Their jobs are deleted.
    Remove,
}

/// What is done to jobs that wait for something.
#[derive(Debug, Deserialize)]
pub(crate) struct Mutation {
    pub(crate) cmd: Act,
    pub(crate) target: Target,
    #[serde(default)]
    pub(crate) filter: Option<Filter>,
}

/// What is done to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Act {
    /// All of them are deleted, whatever the filter says.
    Clear,
    /// They are given up.
    Kill,
    /// They are deleted.
    Discard,
    /// They run now.
    Requeue,
}

/// Which jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    /// Those that start later.
    Scheduled,
    /// Those that wait after a failure.
    Retries,
    /// Those that were given up.
    Dead,
}

/// Which of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    /// These. Then the other conditions do not count.
    pub(crate) jids: Option<Vec<String>>,
    /// Those whose JSON fits this pattern.
    pub(crate) regexp: Option<String>,
    /// Those of this kind.
    pub(crate) jobtype: Option<String>,
}

/// The progress of a job.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Progress {
    pub(crate) jid: String,
    pub(crate) percent: Option<i64>,
    pub(crate) desc: Option<String>,
    pub(crate) reserve_until: Option<String>,
}

impl Command {
    /// Reads a line, without its end.
    pub(crate) fn read(line: &[u8]) -> Result<Self, Refusal> {
        let line = std::str::from_utf8(line).map_err(|_| Refusal::new("invalid command: it is not UTF-8"))?;
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words = || rest.split_ascii_whitespace().map(str::to_owned).collect();
        Ok(match verb {
            "PUSH" => Self::Push(Box::new(json(rest, "")?)),
            "PUSHB" => Self::PushMany(json(rest, "")?),
            "FETCH" => Self::Fetch(words()),
            "ACK" => Self::Ack(json(rest, "ACK")?),
            "FAIL" => Self::Fail(json(rest, "FAIL")?),
            "BEAT" => Self::Beat(json(rest, "BEAT")?),
            "INFO" => Self::Info,
            "QUEUE" => queue(rest)?,
            "MUTATE" => mutate(rest)?,
            "FLUSH" => Self::Flush,
            "TRACK" => track(rest)?,
            "BATCH" => batch(rest)?,
            "END" => Self::End,
            // It may hold anything.
            other => {
                let shown: String = other.chars().take(20).collect();
                return Err(Refusal::new(format!("Unknown command {shown}")));
            }
        })
    }

    /// Its name in metrics.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Push(_) => "PUSH",
            Self::PushMany(_) => "PUSHB",
            Self::Fetch(_) => "FETCH",
            Self::Ack(_) => "ACK",
            Self::Fail(_) => "FAIL",
            Self::Beat(_) => "BEAT",
            Self::Info => "INFO",
            Self::Queues(..) | Self::Latency(_) => "QUEUE",
            Self::Mutate(_) => "MUTATE",
            Self::Flush => "FLUSH",
            Self::TrackGet(_) | Self::TrackSet(_) => "TRACK",
            Self::BatchNew(_) | Self::BatchOpen(_) | Self::BatchCommit(_) | Self::BatchStatus(_) => "BATCH",
            Self::End => "END",
        }
    }
}

/// Reads JSON. `of` is the command that it belongs to, where clients expect its name in the error.
fn json<T: DeserializeOwned>(text: &str, of: &str) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|error| {
        Refusal::new(match of {
            "" => format!("invalid JSON: {error}"),
            of => format!("invalid {of} {error}"),
        })
    })
}

fn queue(rest: &str) -> Result<Command, Refusal> {
    let mut words = rest.split_ascii_whitespace();
    let verb = words.next().unwrap_or_default().to_ascii_uppercase();
    let queues: Vec<_> = words.map(str::to_owned).collect();
    Ok(match verb.as_str() {
        "PAUSE" => Command::Queues(QueueAction::Pause, queues),
        "RESUME" => Command::Queues(QueueAction::Resume, queues),
        "REMOVE" => Command::Queues(QueueAction::Remove, queues),
        "LATENCY" => Command::Latency(queues),
        _ => {
            let shown: String = verb.chars().take(20).collect();
            return Err(Refusal::new(format!("no such QUEUE subcommand: {shown}")));
        }
    })
}

fn mutate(rest: &str) -> Result<Command, Refusal> {
    let mutation: Mutation = json(rest, "MUTATE")?;
    let pattern = mutation.filter.as_ref().and_then(|filter| filter.regexp.as_ref());
    if pattern.is_some_and(|pattern| pattern.len() > PATTERN_BYTES_MAX) {
        return Err(Refusal::new(format!("invalid MUTATE: a pattern has at most {PATTERN_BYTES_MAX} bytes")));
    }
    Ok(Command::Mutate(mutation))
}

fn track(rest: &str) -> Result<Command, Refusal> {
    match rest.split_once(' ') {
        Some(("GET", jid)) => Ok(Command::TrackGet(jid.trim().to_owned())),
        Some(("SET", text)) => Ok(Command::TrackSet(json(text, "TRACK")?)),
        _ => Err(Refusal::new("invalid TRACK: use TRACK GET with a jid, or TRACK SET with JSON")),
    }
}

fn batch(rest: &str) -> Result<Command, Refusal> {
    let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let bid = || match rest.trim() {
        "" => Err(Refusal::new(format!("invalid BATCH: {verb} names no batch"))),
        bid => Ok(bid.to_owned()),
    };
    Ok(match verb {
        "NEW" => Command::BatchNew(Box::new(json(rest, "BATCH")?)),
        "OPEN" => Command::BatchOpen(bid()?),
        "COMMIT" => Command::BatchCommit(bid()?),
        "STATUS" => Command::BatchStatus(bid()?),
        _ => {
            return Err(Refusal::new(
                "invalid BATCH: use BATCH NEW with JSON, or OPEN, COMMIT or STATUS with a batch",
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(line: &str) -> &'static str {
        Command::read(line.as_bytes()).unwrap_or_else(|refusal| panic!("{line}: {refusal:?}")).name()
    }

    fn refused(line: &str) -> String {
        match Command::read(line.as_bytes()) {
            Err(refusal) => refusal.message,
            Ok(command) => panic!("{line}: {command:?}"),
        }
    }

    #[test]
    fn every_command_is_read() {
        for (line, expected) in [
            (r#"PUSH {"jid":"12345678"}"#, "PUSH"),
            ("PUSHB []", "PUSHB"),
            ("FETCH", "FETCH"),
            ("FETCH a b", "FETCH"),
            (r#"ACK {"jid":"a"}"#, "ACK"),
            (r#"FAIL {"jid":"a","errtype":"E","message":"m","backtrace":null}"#, "FAIL"),
            (r#"BEAT {"wid":"w","rss_kb":12}"#, "BEAT"),
            ("INFO", "INFO"),
            ("QUEUE pause a", "QUEUE"),
            ("QUEUE LATENCY a", "QUEUE"),
            (r#"MUTATE {"cmd":"kill","target":"dead","filter":null}"#, "MUTATE"),
            (r#"MUTATE {"cmd": "clear", "target": "retries"}"#, "MUTATE"),
            ("FLUSH", "FLUSH"),
            ("TRACK GET a", "TRACK"),
            (r#"TRACK SET {"jid":"a","percent":3}"#, "TRACK"),
            ("BATCH NEW {}", "BATCH"),
            (r#"BATCH NEW {"description":"d","success":{"jobtype":"a","args":[]}}"#, "BATCH"),
            ("BATCH OPEN b", "BATCH"),
            ("BATCH COMMIT b", "BATCH"),
            ("BATCH STATUS b", "BATCH"),
            ("END", "END"),
        ] {
            assert_eq!(name(line), expected, "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (line, beginning) in [
            ("", "Unknown command"),
            ("push {}", "Unknown command push"),
            ("HELLO {}", "Unknown command HELLO"),
            ("PUSH", "invalid JSON: "),
            ("PUSH {", "invalid JSON: "),
            ("PUSHB {}", "invalid JSON: "),
            ("ACK", "invalid ACK "),
            ("ACK {}x", "invalid ACK "),
            ("FAIL []x", "invalid FAIL "),
            ("QUEUE", "no such QUEUE subcommand: "),
            ("QUEUE drop a", "no such QUEUE subcommand: DROP"),
            (r#"MUTATE {"cmd":"burn","target":"dead"}"#, "invalid MUTATE "),
            ("TRACK", "invalid TRACK"),
            ("BATCH", "invalid BATCH: use "),
            ("BATCH NEW", "invalid BATCH "),
            ("BATCH NEW []x", "invalid BATCH "),
            ("BATCH STATUS ", "invalid BATCH: STATUS names no batch"),
        ] {
            assert!(refused(line).starts_with(beginning), "{line}: {}", refused(line));
        }
        assert!(Command::read(b"PUSH \xff").is_err());
        let pattern = format!(
            r#"MUTATE {{"cmd":"kill","target":"dead","filter":{{"regexp":"{}"}}}}"#,
            "*".repeat(1025)
        );
        assert!(refused(&pattern).contains("at most 1024 bytes"));
        assert!(refused(&"x".repeat(100_000)).len() < 50);
    }
}
