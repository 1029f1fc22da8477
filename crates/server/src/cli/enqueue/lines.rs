//! Many jobs, one JSON value per line, without holding them all.
//!
//! A thread reads (stdin cannot be waited for otherwise) and hands over bundles of lines; each bundle is enqueued in
//! one go while the next one is read. A slow producer's lines are enqueued as they come.

use std::{
    io::{BufRead, BufReader, Read},
    time::Duration,
};

use backroom::{
    Backroom, Draft, EnqueueMany, EnqueuedMany, Json,
    core::{bounds::JSON_BYTES_MAX, draft::When},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::mpsc;

use super::source::Lines;
use crate::{
    cli::{self, Problem, out, words},
    settings::Settings,
};

/// Lines in one bundle: the size of a transaction of `enqueue_many`.
const BUNDLE_LINES_MAX: usize = 1000;
/// Bytes in one bundle, about.
const BUNDLE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Lines read together.
#[derive(Default)]
struct Bundle {
    /// Each with its number in the input, from 1. Empty lines are left out.
    lines: Vec<(u64, String)>,
    /// Bytes of the input up to the end of this bundle.
    bytes_read: u64,
}

pub(super) async fn run(template: Draft, lines: Lines, settings: &Settings) -> Result<(), Problem> {
    super::check(&Draft { args: Json::null(), unique: None, ..template.clone() })?;
    let bar = progress_bar(lines.bytes);
    let (sender, mut bundles) = mpsc::channel(1);
    std::thread::spawn(move || read(lines.reader, &sender));
    let mut sum = EnqueuedMany::default();
    let store = settings.clone();
    let ended = store
        .with_new_store(async |backroom| enqueue(backroom, &template, &mut bundles, &mut sum, &bar).await)
        .await;
    bar.finish_and_clear();
    match ended {
        Ok(()) if sum.key_held == 0 => answer(&sum, settings),
        Ok(()) => {
            answer(&sum, settings)?;
            let refused = words::count(sum.key_held, "job");
            Err(Problem::new("enqueue every line", &format_args!("{refused} met a unique key that is held")))
        }
        Err(problem) => {
            answer(&sum, settings)?;
            Err(problem)
        }
    }
}

/// Enqueues bundle after bundle; `sum` says how far it came, whatever stops it.
async fn enqueue(
    backroom: &Backroom,
    template: &Draft,
    bundles: &mut mpsc::Receiver<Result<Bundle, Problem>>,
    sum: &mut EnqueuedMany,
    bar: &ProgressBar,
) -> Result<(), Problem> {
    let mut interrupted = std::pin::pin!(cli::interrupted());
    loop {
        // Only between bundles: what was begun is finished and counted.
        let bundle = tokio::select! {
            problem = &mut interrupted => return Err(problem),
            bundle = bundles.recv() => bundle,
        };
        let Some(bundle) = bundle.transpose()? else { return Ok(()) };
        let mut drafts = Vec::with_capacity(bundle.lines.len());
        for (number, line) in bundle.lines {
            let parsed = Json::parse(line).map_err(Problem::from).and_then(|args| {
                super::check(&Draft { args: args.clone(), ..template.clone() })?;
                Ok(args)
            });
            match parsed {
                Ok(args) => drafts.push(args),
                Err(problem) => {
                    // What stands before the line that is wrong is stored, so that the input can be mended and
                    // cut there.
                    store(backroom, template, drafts, sum).await?;
                    return Err(problem.at(format_args!("enqueue line {number}")).hint(format!(
                        "the lines before it are done; mend it, then go on from there: tail -n +{number}"
                    )));
                }
            }
        }
        store(backroom, template, drafts, sum).await?;
        bar.set_position(if bar.length().is_some() { bundle.bytes_read } else { handled(sum) });
        bar.set_message(words::count(handled(sum), "job"));
    }
}

async fn store(
    backroom: &Backroom,
    template: &Draft,
    args: Vec<Json>,
    sum: &mut EnqueuedMany,
) -> Result<(), Problem> {
    let enqueued = like(backroom.enqueue_many_untyped(template.kind.clone(), args), template.clone()).await?;
    sum.created += enqueued.created;
    sum.kept += enqueued.kept;
    sum.replaced += enqueued.replaced;
    sum.key_held += enqueued.key_held;
    Ok(())
}

/// The options of the template on many jobs.
fn like(mut many: EnqueueMany<'_>, template: Draft) -> EnqueueMany<'_> {
    many = many.queue(template.queue).priority(template.priority);
    many = match template.start {
        When::Now => many,
        When::In(delay) => many.delay(delay),
        When::At(at) => many.at(at),
    };
    many = match template.expiry {
        None => many,
        Some(When::Now) => many.expires_in(Duration::ZERO),
        Some(When::In(span)) => many.expires_in(span),
        Some(When::At(at)) => many.expires_at(at),
    };
    many = template.lane.into_iter().fold(many, EnqueueMany::lane);
    many = template.timeout.into_iter().fold(many, EnqueueMany::timeout);
    many = template.retry.into_iter().fold(many, EnqueueMany::retry);
    many = template.max_attempts.into_iter().fold(many, EnqueueMany::max_attempts);
    many = template.unique.into_iter().fold(many, EnqueueMany::unique);
    many = template.tags.into_iter().fold(many, EnqueueMany::tag);
    template.meta.into_iter().fold(many, |many, (key, value)| many.meta(key, value))
}

fn handled(sum: &EnqueuedMany) -> u64 {
    sum.created + sum.kept + sum.replaced + sum.key_held
}

/// Reads until the end, an error, or until nobody wants more.
fn read(reader: Box<dyn Read + Send>, sender: &mpsc::Sender<Result<Bundle, Problem>>) {
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    let (mut number, mut bytes_read) = (0, 0);
    loop {
        let bundle = bundle(&mut reader, &mut number, &mut bytes_read);
        let ended = match &bundle {
            Ok((bundle, ended)) => *ended && bundle.lines.is_empty(),
            Err(_) => false,
        };
        if ended {
            return;
        }
        let failed = bundle.is_err();
        if sender.blocking_send(bundle.map(|(bundle, _)| bundle)).is_err() || failed {
            return;
        }
    }
}

/// The next bundle, and whether the input ended with it.
fn bundle(
    reader: &mut BufReader<Box<dyn Read + Send>>,
    number: &mut u64,
    bytes_read: &mut u64,
) -> Result<(Bundle, bool), Problem> {
    let mut bundle = Bundle::default();
    let mut bytes = 0;
    loop {
        let Some(line) = line(reader, *number + 1)? else {
            bundle.bytes_read = *bytes_read;
            return Ok((bundle, true));
        };
        *number += 1;
        *bytes_read += line.len() as u64;
        bytes += line.len();
        let text = line.trim();
        if !text.is_empty() {
            bundle.lines.push((*number, text.to_owned()));
        }
        let full = bundle.lines.len() >= BUNDLE_LINES_MAX || bytes >= BUNDLE_BYTES_MAX;
        // Nothing more has arrived: whoever writes slowly wants to see their lines enqueued.
        let waits = reader.buffer().is_empty() && !bundle.lines.is_empty();
        if full || waits {
            bundle.bytes_read = *bytes_read;
            return Ok((bundle, false));
        }
    }
}

/// One line with its line break; none at the end of the input. Longer than any args may be is an error before it is
/// held in memory.
fn line(reader: &mut impl BufRead, number: u64) -> Result<Option<String>, Problem> {
    // Room for white space around the args.
    let limit = JSON_BYTES_MAX as u64 + 1024;
    let mut bytes = Vec::new();
    reader
        .take(limit)
        .read_until(b'\n', &mut bytes)
        .map_err(|error| Problem::new(format_args!("read line {number}"), &error))?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() as u64 == limit {
        let why = format!("it is longer than the {JSON_BYTES_MAX} bytes of JSON that are allowed");
        return Err(Problem::new(format_args!("enqueue line {number}"), &why));
    }
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|error| Problem::new(format_args!("enqueue line {number}"), &error.utf8_error()))
}

/// Only drawn where stderr is a terminal.
fn progress_bar(bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match bytes {
        Some(bytes) => {
            (ProgressBar::new(bytes), "{bar:30} {bytes} of {total_bytes}, {msg} enqueued, {eta} left")
        }
        None => (ProgressBar::no_length(), "{spinner} {msg} enqueued, {per_sec}"),
    };
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

#[derive(Serialize)]
struct Answer {
    created: u64,
    kept: u64,
    replaced: u64,
    key_held: u64,
}

fn answer(sum: &EnqueuedMany, settings: &Settings) -> Result<(), Problem> {
    let EnqueuedMany { created, kept, replaced, key_held } = *sum;
    if settings.json {
        return out::json(&Answer { created, kept, replaced, key_held }, settings.terminal);
    }
    let mut said = format!("enqueued {}", words::count(created, "job"));
    for (number, what) in [
        (kept, "kept an earlier job of the same key"),
        (replaced, "replaced an earlier job of the same key"),
        (key_held, "refused, an earlier job holds the key"),
    ] {
        if number > 0 {
            said += &format!("; {} {what}", words::thousands(number));
        }
    }
    out::line(said)
}
