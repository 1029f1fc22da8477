//! Many jobs, one JSON value per line, without holding them all.
//!
//! A thread reads (stdin cannot be waited for otherwise) and hands over bundles of lines; each bundle is enqueued in
//! one go while the next one is read. A slow producer's lines are enqueued as they come.

use std::{
    io::{BufRead, BufReader, Read},
    time::Duration,
};

use backroom::{
    Draft, EnqueuedMany, Json, Timestamp,
    core::{bounds::JSON_BYTES_MAX, draft::When},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{options, served, source::Lines};
use crate::{
    settings::{Need, Settings},
    target::{Target, Ties},
    terminal::{self, Problem, out, words},
};

/// Lines in one bundle: the size of a transaction of `enqueue_many`.
const BUNDLE_LINES_MAX: usize = 1000;
/// Bytes in one bundle, about.
const BUNDLE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Lines read together.
#[derive(Default)]
struct Bundle {
    /// Empty lines are left out.
    lines: Vec<Line>,
    /// Bytes of the input up to the end of this bundle.
    bytes_read: u64,
    /// What is wrong with the line after them.
    bad: Option<Problem>,
}

/// One line of the input.
struct Line {
    place: Place,
    text: String,
}

/// Where a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// From 1.
    number: u64,
    /// Bytes of the input before it.
    offset: u64,
}

/// What came of it.
#[derive(Default)]
struct Sum {
    enqueued: EnqueuedMany,
    /// The line to go on from: all before it are stored.
    next_line: u64,
}

pub(super) async fn run(
    checked: Draft,
    template_at: impl FnOnce(Timestamp) -> Result<Draft, Problem>,
    lines: Lines,
    from_line: u64,
    ties: &Ties,
    settings: &Settings,
) -> Result<(), Problem> {
    options::check(&Draft { args: Json::null(), unique: None, ..checked })?;
    let bar = progress_bar(lines.bytes);
    let (sender, mut bundles) = mpsc::channel(1);
    std::thread::spawn(move || read(lines.reader, from_line, &sender));
    let mut sum = Sum { next_line: from_line, ..Sum::default() };
    settings
        .with_target(Need::Create, async |target| {
            // The store's clock decides when the jobs are due, which may be another than this machine's.
            let template = template_at(target.now())?;
            let ended = enqueue(target, (&template, ties), &mut bundles, &mut sum, &bar).await;
            bar.finish_and_clear();
            let written = answer(&sum.enqueued, &template, target.now(), settings);
            // What became of the lines decides the exit code, even if nothing could be written.
            match ended {
                Ok(()) if sum.enqueued.key_held == 0 => {}
                Ok(()) => {
                    let refused = words::count(sum.enqueued.key_held, "job");
                    let why = format!("{refused} met a unique key that is held");
                    return Err(Problem::new("enqueue every line", &why));
                }
                Err(Problem::Interrupted) => {
                    out::note(format_args!("stopped; to go on, add --from-line {}", sum.next_line));
                    return Err(Problem::Interrupted);
                }
                Err(problem) => return Err(problem),
            }
            if sum.enqueued.created > 0 {
                served::warn(target, &template.queue, &template.kind).await;
            }
            written
        })
        .await
}

/// Enqueues bundle after bundle; `sum` says how far it came, whatever stops it.
async fn enqueue(
    target: &Target,
    (template, ties): (&Draft, &Ties),
    bundles: &mut mpsc::Receiver<Bundle>,
    sum: &mut Sum,
    bar: &ProgressBar,
) -> Result<(), Problem> {
    let mut interrupted = std::pin::pin!(terminal::interrupted());
    loop {
        // Only between bundles: what was begun is finished and counted.
        let bundle = tokio::select! {
            // First, so that Ctrl-C is listened for before anything is stored.
            biased;
            problem = &mut interrupted => return Err(problem),
            bundle = bundles.recv() => bundle,
        };
        let Some(bundle) = bundle else { return Ok(()) };
        let mut drafts = Vec::with_capacity(bundle.lines.len());
        let (mut last, mut bad) = (None, bundle.bad);
        for Line { place, text } in bundle.lines {
            let parsed = Json::parse(text).map_err(Problem::from).and_then(|args| {
                options::check(&Draft { args: args.clone(), ..template.clone() })?;
                Ok(args)
            });
            match parsed {
                Ok(args) => drafts.push(args),
                Err(problem) => {
                    bad = Some(place.bad(problem));
                    break;
                }
            }
            last = Some(place.number);
        }
        // What stands before the line that is wrong is stored, so that the input can be mended and gone on with there.
        store(target, (template, ties), drafts, sum).await?;
        sum.next_line = last.map_or(sum.next_line, |last| last + 1);
        if let Some(problem) = bad {
            return Err(problem);
        }
        let handled = handled(&sum.enqueued);
        bar.set_position(if bar.length().is_some() { bundle.bytes_read } else { handled });
        bar.set_message(words::count(handled, "job"));
    }
}

async fn store(
    target: &Target,
    (template, ties): (&Draft, &Ties),
    args: Vec<Json>,
    sum: &mut Sum,
) -> Result<(), Problem> {
    if args.is_empty() {
        return Ok(());
    }
    let enqueued = target.enqueue_like(template, args, ties).await;
    let enqueued = enqueued.map_err(|problem| {
        problem
            .at(format_args!("enqueue from line {} on", sum.next_line))
            .hint(format!("the lines before it are stored; to go on, add --from-line {}", sum.next_line))
    })?;
    sum.enqueued.created += enqueued.created;
    sum.enqueued.duplicates += enqueued.duplicates;
    sum.enqueued.replaced += enqueued.replaced;
    sum.enqueued.key_held += enqueued.key_held;
    Ok(())
}

impl Place {
    /// Why this line is not enqueued, and how to go on.
    fn refused(self, why: &dyn std::fmt::Display) -> Problem {
        self.with_hint(Problem::new(self.doing(), why))
    }

    /// The same, from a problem that says what failed.
    fn bad(self, problem: Problem) -> Problem {
        self.with_hint(problem.at(self.doing()))
    }

    fn doing(self) -> String {
        format!("enqueue line {} (at byte {})", self.number, self.offset)
    }

    fn with_hint(self, problem: Problem) -> Problem {
        let number = self.number;
        problem.hint(format!(
            "the lines before it are stored; mend it, then go on with --from-line {number}, or leave it out with --from-line {}",
            number + 1
        ))
    }
}

fn handled(sum: &EnqueuedMany) -> u64 {
    sum.created + sum.duplicates + sum.replaced + sum.key_held
}

/// Reads until the end, a line that is wrong, or until the receiver is gone.
fn read(reader: Box<dyn Read + Send>, from_line: u64, sender: &mpsc::Sender<Bundle>) {
    let mut input = Input { reader: BufReader::with_capacity(1 << 16, reader), number: 0, offset: 0 };
    if let Err(problem) = input.skip_mark().and_then(|()| input.skip_to(from_line)) {
        let _ = sender.blocking_send(Bundle { bad: Some(problem), ..Bundle::default() });
        return;
    }
    loop {
        let (bundle, ended) = input.bundle();
        let ended = ended || bundle.bad.is_some();
        let is_empty = bundle.lines.is_empty() && bundle.bad.is_none();
        if (!is_empty && sender.blocking_send(bundle).is_err()) || ended {
            return;
        }
    }
}

/// The input, and how far it is read.
struct Input {
    reader: BufReader<Box<dyn Read + Send>>,
    /// Lines read so far.
    number: u64,
    /// Bytes read so far.
    offset: u64,
}

/// Room for white space around the args.
const LINE_BYTES_MAX: u64 = JSON_BYTES_MAX as u64 + 1024;
/// What some editors put before UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

impl Input {
    /// Passes the mark over that some programs write at the beginning of UTF-8.
    fn skip_mark(&mut self) -> Result<(), Problem> {
        // The buffer is far larger than the mark, but a pipe may hand over less at first.
        let begins = self.reader.fill_buf().map_err(|error| Problem::new("read line 1", &error))?;
        if begins.starts_with(MARK) {
            self.reader.consume(MARK.len());
            self.offset += MARK.len() as u64;
        }
        Ok(())
    }

    /// Passes lines over, whatever they hold and however long they are.
    fn skip_to(&mut self, from_line: u64) -> Result<(), Problem> {
        while self.number + 1 < from_line {
            let failed = |error| Problem::new(format_args!("read line {}", self.number + 1), &error);
            let held = self.reader.fill_buf().map_err(failed)?;
            if held.is_empty() {
                return Ok(());
            }
            let end = held.iter().position(|byte| *byte == b'\n');
            let bytes = end.map_or(held.len(), |end| end + 1);
            self.number += u64::from(end.is_some());
            self.reader.consume(bytes);
            self.offset += bytes as u64;
        }
        Ok(())
    }

    /// The next bundle, and whether the input ended with it.
    fn bundle(&mut self) -> (Bundle, bool) {
        let mut bundle = Bundle::default();
        let mut bytes = 0;
        loop {
            let line = match self.line() {
                Ok(Some(line)) => line,
                Ok(None) => return (Bundle { bytes_read: self.offset, ..bundle }, true),
                Err(problem) => {
                    return (Bundle { bytes_read: self.offset, bad: Some(problem), ..bundle }, false);
                }
            };
            bytes += line.text.len();
            let text = line.text.trim();
            if !text.is_empty() {
                bundle.lines.push(Line { text: text.to_owned(), place: line.place });
            }
            let full = bundle.lines.len() >= BUNDLE_LINES_MAX || bytes >= BUNDLE_BYTES_MAX;
            // Nothing more has arrived: a slow writer wants to see these lines enqueued.
            let waits = self.reader.buffer().is_empty() && !bundle.lines.is_empty();
            if full || waits {
                return (Bundle { bytes_read: self.offset, ..bundle }, false);
            }
        }
    }

    /// One line with its line break; none at the end of the input. Longer than any args may be is an error before it is
    /// held in memory.
    fn line(&mut self) -> Result<Option<Line>, Problem> {
        let place = Place { number: self.number + 1, offset: self.offset };
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
        read.map_err(|error| place.refused(&error))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() as u64 == LINE_BYTES_MAX && !bytes.ends_with(b"\n") {
            let why = format!("it is longer than the {JSON_BYTES_MAX} bytes of JSON that are allowed");
            return Err(place.refused(&why));
        }
        self.number = place.number;
        self.offset += bytes.len() as u64;
        let is_utf16 =
            place.offset == 0 && (bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]));
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(Line { place, text })),
            Err(_) if is_utf16 => {
                let why = "the input is UTF-16; make it UTF-8 first: iconv -f UTF-16 -t UTF-8";
                Err(place.refused(&why))
            }
            Err(error) => {
                let error = error.utf8_error();
                let at = place.offset + error.valid_up_to() as u64;
                Err(place.refused(&format_args!("byte {at} of the input is not UTF-8")))
            }
        }
    }
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
    deduplicated: u64,
    replaced: u64,
    key_held: u64,
}

fn answer(sum: &EnqueuedMany, template: &Draft, now: Timestamp, settings: &Settings) -> Result<(), Problem> {
    let EnqueuedMany { created, duplicates, replaced, key_held, .. } = *sum;
    if settings.json {
        return out::json(
            &Answer { created, deduplicated: duplicates, replaced, key_held },
            settings.terminal,
        );
    }
    let mut said = format!("enqueued {}", words::count(created, "job"));
    for (number, what) in [
        (duplicates, "not stored, as an earlier job has the same key"),
        (replaced, "replaced an earlier job of the same key"),
        (key_held, "refused, an earlier job holds the key"),
    ] {
        if number > 0 {
            said += &format!("; {} {what}", words::thousands(number));
        }
    }
    match (template.start, handled(sum)) {
        (When::Now, _) | (_, 0) => {}
        (When::In(delay), _) => said += &format!(", each due {} after it was enqueued", words::span(delay)),
        (When::At(at), _) => said += &format!(", due {}", words::moment_in_full(at, now)),
    }
    out::line(said)
}
