//! `backroom job`: everything about one job.

use std::{fmt::Write as _, path::PathBuf};

use backroom::{
    Attempt, JobId, JobRow, Json, LogLine, MessageKind, MessageKinds, State, Timestamp,
    core::{Reply, sealed::shown},
    sealed::{KeyFile, Keys, OpenError},
};
use clap::Args;

use crate::settings::{Need, Settings};
use crate::target::Target;
use crate::terminal::{
    Problem, out, visible,
    words::{self, moment},
};
use crate::views::{EntryView, JobView, JournalView, ReasonView, WholeJob};

/// Show everything about one job, and why it is where it is
///
/// Its fields, args and output, the journal of a workflow as a timeline, every attempt that did not succeed, what its handler logged, and the reasons that
/// bear on it: not due yet, behind others, no worker for its kind, queue paused.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom job 01890a5d-ac96-774b-bcce-b302099a8057
  backroom job ID --output | jq .
  backroom job ID --keys keys.json
  backroom job ID --reveal
  backroom job ID --json | jq -r '.reasons[].words'

With --json: the job's fields, then shown, reasons, attempts, log, and of a workflow journal.")]
pub(crate) struct JobArgs {
    /// The job
    id: JobId,

    /// Open what is sealed, with the keys of this file
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,

    /// Show fields that are hidden from readers. The audit log says so; a server asks for the scope `admin`
    #[arg(long)]
    reveal: bool,

    /// Write the output only, as JSON
    #[arg(long, conflicts_with = "log")]
    output: bool,

    /// Last lines of the log to show, 0 to 1000
    #[arg(long, value_name = "N", default_value_t = 20)]
    log: usize,
}

/// Writing to a String cannot fail.
macro_rules! put {
    ($page:expr, $($said:tt)*) => { let _ = writeln!($page, $($said)*); };
}

pub(crate) async fn run(args: JobArgs, settings: &Settings) -> Result<(), Problem> {
    // Jobs bear the moments of the store's clock.
    let read = async |target: &Target| Ok((target.whole(args.id, args.reveal).await?, target.now()));
    // What is revealed is recorded.
    let need = if args.reveal { Need::Change } else { Need::Read };
    let (mut whole, now) = settings.with_target(need, read).await?;
    if let Some(file) = args.keys {
        open(&mut whole, &Keys::load(KeyFile(file)).await?)?;
    }
    if args.output {
        let job = &whole.job.job;
        let output = job.output.as_ref().ok_or_else(|| {
            let why = format!("the job is {}", whole.job.shown);
            Problem::new(format_args!("read the output of job {}", job.id), &why)
        })?;
        return out::json(output, settings.terminal);
    }
    if settings.json {
        return out::json(&whole, settings.terminal);
    }
    let WholeJob { job: view, reasons, attempts, log, journal, tree, member_of } = &whole;
    let job = &view.job;
    let mut page = String::new();
    write_head(&mut page, view, &reasons.reasons);
    write_fields(&mut page, job, now);
    write_json(&mut page, "args", &job.args);
    if let Some(output) = &job.output {
        write_json(&mut page, "output", output);
    }
    if let Some(journal) = journal {
        write_journal(&mut page, journal, now);
    }
    if let Some(batch) = member_of {
        put!(page, "\nbatch {} is {}", batch.id, batch.state.as_str());
        put!(page, "  {}", super::batch::bar(batch));
    }
    if let Some(tree) = tree {
        put!(page, "\nruns with");
        put_indented(&mut page, &super::tree::drawn(tree));
    }
    write_attempts(&mut page, &attempts.attempts, now);
    write_log(&mut page, log, args.log);
    out::text(&page)
}

/// Opens all that is sealed.
fn open(whole: &mut WholeJob, keys: &Keys) -> Result<(), Problem> {
    let sealed = whole.job.job.clone();
    let failed =
        |why: OpenError| Problem::new(format_args!("open what is sealed of job {}", sealed.id), &why);
    whole.job.job = keys.open_job(&sealed).map_err(failed)?;
    for attempt in &mut whole.attempts.attempts {
        *attempt = keys.open_attempt(&sealed, attempt).map_err(failed)?;
    }
    for line in &mut whole.log {
        *line = keys.open_line(&sealed, line).map_err(failed)?;
    }
    Ok(())
}

fn write_head(page: &mut String, view: &JobView, reasons: &[ReasonView]) {
    put!(page, "{} {} is {}", visible::line(&view.job.kind), view.job.id, view.shown);
    for reason in reasons {
        put!(page, "  {}", visible::line(&reason.words));
    }
    put!(page, "");
}

fn write_fields(page: &mut String, job: &JobRow, now: Timestamp) {
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            put!(page, "  {name:<13} {}", visible::line(&value));
        }
    };
    field("queue", Some(job.queue.clone()));
    field("lane", job.lane.clone());
    field("priority", Some(job.priority.to_string()));
    field("attempt", Some(format!("{} of {}", job.attempt, job.max_attempts)));
    field("crashes", (job.crashes > 0).then(|| job.crashes.to_string()));
    field(
        "retry",
        job.extras
            .retry
            .as_ref()
            .map(|retry| serde_json::to_string(retry).unwrap_or_else(|_| format!("{retry:?}"))),
    );
    field("timeout", job.extras.timeout.map(words::span));
    field(
        "unique key",
        job.unique_key.as_ref().map(|key| {
            let held = if job.unique_held { "held" } else { "no longer held" };
            format!("{key} ({held})")
        }),
    );
    field("tags", (!job.tags.is_empty()).then(|| job.tags.join(", ")));
    field("traceparent", job.extras.traceparent.clone());
    field("reply to", job.extras.reply.as_ref().map(reply));
    field(
        "callback",
        job.extras.callback.as_ref().map(|callback| format!("{} on {}", callback.url, names(callback.on))),
    );
    for (key, value) in &job.extras.meta {
        field("meta", Some(format!("{key}={value}")));
    }
    field("created", Some(moment(job.created_at, now)));
    field("scheduled", Some(moment(job.scheduled_at, now)));
    field("expires", job.expires_at.map(|at| moment(at, now)));
    field("started", job.started_at.map(|at| moment(at, now)));
    field("finished", job.finished_at.map(|at| moment(at, now)));
    field("worker", job.worker.clone());
    field(
        "progress",
        job.progress.as_ref().map(|progress| format!("{}% {}", progress.percent, shown(&progress.message))),
    );
    field(
        "asked to stop",
        job.cancel_requested_at.filter(|_| job.state == State::Running).map(|at| moment(at, now)),
    );
    field("reason", job.reason.as_deref().map(|reason| shown(reason).into_owned()));
}

fn write_json(page: &mut String, name: &str, json: &Json) {
    put!(page, "\n{name}");
    match shown(json.as_str()) {
        std::borrow::Cow::Owned(sealed) => put_indented(page, &sealed),
        std::borrow::Cow::Borrowed(_) => put_indented(page, &json.pretty()),
    }
}

/// The journal as a timeline: when each entry began, how long it took, and what came of it.
fn write_journal(page: &mut String, journal: &JournalView, now: Timestamp) {
    put!(page, "\njournal, begun {}", moment(journal.began_at, now));
    if let Some(why) = &journal.blocked {
        put!(page, "  blocked: {}", visible::line(why));
    }
    if let Some(why) = &journal.undoes {
        put!(page, "  undoes what it has done: {}", visible::line(&shown(why)));
    }
    if let Some(at) = journal.wake_at {
        put!(page, "  woken {}", moment(at, now));
    }
    if let Some(value) = &journal.published {
        put!(page, "  published {}", visible::line(&shown(value.as_str())));
    }
    let earlier = journal.entries.len().saturating_sub(ENTRIES_SHOWN);
    if earlier > 0 {
        put!(page, "  (after {earlier} earlier entries; --json shows all)");
    }
    let width = journal
        .entries
        .iter()
        .skip(earlier)
        .map(|entry| entry.key.chars().count())
        .max()
        .unwrap_or(0)
        .min(40);
    for entry in journal.entries.iter().skip(earlier) {
        put!(page, "  {}", entry_line(entry, width, now));
    }
    for arrival in &journal.waiting {
        put!(
            page,
            "  {} {} waits to be taken, since {}",
            arrival.kind,
            visible::line(&arrival.name),
            moment(arrival.at, now)
        );
    }
}

/// Entries that are shown; the others are in the JSON.
const ENTRIES_SHOWN: usize = 200;
/// Characters of a value in a line.
const VALUE_SHOWN: usize = 80;

fn entry_line(entry: &EntryView, width: usize, now: Timestamp) -> String {
    let at = entry.began_at.or(entry.ended_at);
    let time = |at: Timestamp| {
        at.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%H:%M:%S%.3f").to_string()
    };
    let mut line = format!(
        "{:<12}  {:<6}  {:<width$}  {:<9}",
        at.map(time).unwrap_or_default(),
        entry.kind,
        visible::line(&entry.key),
        entry.state
    );
    if let (Some(began), Some(ended)) = (entry.began_at, entry.ended_at) {
        let _ = write!(line, "  {}", words::span(backroom::core::bounds::span_until(began, ended)));
    }
    if let Some(tries) = entry.tries.filter(|tries| *tries > 1) {
        let _ = write!(line, "  {tries} tries");
    }
    if let Some(name) = &entry.signal {
        let _ = write!(line, "  for signal {}", visible::line(name));
    }
    if let Some(child) = entry.child {
        let _ = write!(line, "  job {child}");
    }
    if let Some(until) = entry.until {
        let _ = write!(line, "  until {}", moment(until, now));
    }
    if let Some(error) = &entry.error {
        let error = shown(error);
        let _ = write!(line, "  {}", visible::line(error.lines().next().unwrap_or_default()));
    }
    if let Some(value) = &entry.value {
        let whole = shown(value.as_str());
        let text: String = whole.chars().take(VALUE_SHOWN).collect();
        let more = if text.len() < whole.len() { "…" } else { "" };
        let _ = write!(line, "  {}{more}", visible::line(&text));
    }
    if let Some(undo) = &entry.undo {
        let undone = match undo.state.as_str() {
            "done" => "undone",
            "trying" => "being undone",
            _ => "can be undone",
        };
        let _ = write!(line, "  [{undone}]");
        if let Some(error) = &undo.error {
            let error = shown(error);
            let _ = write!(line, " {}", visible::line(error.lines().next().unwrap_or_default()));
        }
    }
    line
}

fn write_attempts(page: &mut String, attempts: &[Attempt], now: Timestamp) {
    if attempts.is_empty() {
        return;
    }
    put!(page, "\nattempts that did not succeed");
    for attempt in attempts {
        let worker = attempt.worker.as_deref().unwrap_or("an unknown worker");
        put!(
            page,
            "  {} {} {} on {}",
            attempt.attempt,
            attempt.end,
            moment(attempt.ended_at, now),
            visible::line(worker)
        );
        for line in shown(&attempt.error).lines() {
            put!(page, "    {}", visible::line(line));
        }
    }
}

fn write_log(page: &mut String, log: &[LogLine], last: usize) {
    if log.is_empty() || last == 0 {
        return;
    }
    let skipped = log.len().saturating_sub(last);
    if skipped > 0 {
        put!(page, "\nlog (after {skipped} earlier lines; --log shows more)");
    } else {
        put!(page, "\nlog");
    }
    for line in log.iter().skip(skipped) {
        let at = line.at.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%H:%M:%S%.3f").to_string();
        put!(page, "  {at}  {}", visible::line(&shown(&line.line)));
    }
}

fn put_indented(page: &mut String, text: &str) {
    for line in text.lines() {
        put!(page, "  {}", visible::line(line));
    }
}
/// `replies, order 7, on completed, discarded`
fn reply(reply: &Reply) -> String {
    let id = reply.correlation_id.as_ref().map(|id| format!(", {id},")).unwrap_or_default();
    format!("{}{id} on {}", reply.to, names(reply.on))
}

fn names(kinds: MessageKinds) -> String {
    kinds.iter().map(MessageKind::as_str).collect::<Vec<_>>().join(", ")
}
