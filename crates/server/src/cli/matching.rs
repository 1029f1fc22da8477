//! Doing the same to every job that matches: `retry`, `cancel` and `delete` with filters instead of ids.
//!
//! The library acts on a page at a time (`Backroom::act_on_matching`), and so does the server; this module goes from page to page, shows how far
//! it is, stops between two pages on Ctrl-C, and says what became of the jobs.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    time::Duration,
};

use backroom::{Acted, Action, JobId, Timestamp, core::bounds::span_until};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::select::Select;
use crate::settings::{Need, Settings};
use crate::target::{Selection, Target};
use crate::terminal::{Problem, interrupted, now, out, visible, words};
use crate::views::Matched;

/// Jobs by filter instead of by id.
#[derive(Debug, Args)]
pub(crate) struct Matching {
    #[command(flatten)]
    pub(super) select: Select,

    /// Count the jobs that match and change nothing
    #[arg(long, help_heading = "Which jobs")]
    dry_run: bool,
}

/// Jobs on one page of a count.
const COUNT_PAGE: usize = 1000;
/// How often a line says how far it is where no terminal shows a bar.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Whether the command asks before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// It can be undone, or `--yes` was given.
    Never,
    /// There is no way back.
    First,
}

/// The words for what is done.
struct Words {
    name: &'static str,
    present: &'static str,
    done: &'static str,
}

fn words_of(action: &Action) -> Words {
    match action {
        Action::Retry => Words { name: "retry", present: "retrying", done: "retried" },
        Action::Cancel { .. } => {
            Words { name: "cancel", present: "cancelling", done: "cancelled or asked to stop" }
        }
        Action::Delete => Words { name: "delete", present: "deleting", done: "deleted" },
        Action::Move { .. } => Words { name: "move", present: "moving", done: "moved" },
        Action::Prioritize { .. } => Words { name: "amend", present: "changing", done: "changed" },
    }
}

/// Does it to all jobs that match.
pub(super) async fn run(
    args: &Matching,
    default_states: &[backroom::DisplayState],
    action: Action,
    ask: Ask,
    settings: &Settings,
) -> Result<(), Problem> {
    // What is wrong with the filter is said before a store is opened.
    selection_at(args, default_states, &action, now())?;
    let need = if args.dry_run { Need::Read } else { Need::Change };
    settings
        .with_target(need, async |target| {
            // Jobs bear the moments of the store's clock, which may be another than this machine's.
            let selection = selection_at(args, default_states, &action, target.now())?;
            on_target(target, args, &selection, &action, ask, settings).await
        })
        .await
}

/// Which jobs, as it holds at a moment.
fn selection_at(
    args: &Matching,
    default_states: &[backroom::DisplayState],
    action: &Action,
    at: Timestamp,
) -> Result<Selection, Problem> {
    let selection = args.select.selection(at, default_states)?;
    if selection.filter.states.is_empty() {
        let name = words_of(action).name;
        let doing = format_args!("{name} jobs");
        return Err(Problem::new(doing, &"no state is named, and all jobs would match")
            .hint("name the states that are meant: --state discarded"));
    }
    Ok(selection)
}

async fn on_target(
    target: &Target,
    args: &Matching,
    selection: &Selection,
    action: &Action,
    ask: Ask,
    settings: &Settings,
) -> Result<(), Problem> {
    let words = words_of(action);
    if args.dry_run {
        let Some(matched) = count(target, selection).await? else { return Err(Problem::Interrupted) };
        if settings.json {
            let mut acted = Acted::default();
            acted.matched = matched;
            return out::json(&Matched::new(action.into(), true, acted), settings.terminal);
        }
        return out::line(format_args!("would {} {}; nothing was changed", words.name, jobs(matched)));
    }
    if ask == Ask::First {
        let Some(matched) = count(target, selection).await? else { return Err(Problem::Interrupted) };
        if matched > 0 {
            confirm(&words, matched)?;
        }
    }
    let (acted, ended) = go(target, selection, action, &words).await;
    let written = answer(action, &words, &acted, &ended, settings);
    // What became of the jobs decides the exit code, even if nothing could be written.
    ended?;
    match acted.refused {
        0 => written,
        refused => {
            let why = format!("{} refused, the first: {}", jobs(refused), acted.refusal.unwrap_or_default());
            Err(Problem::new(format_args!("{} every job", words.name), &why))
        }
    }
}

/// How many match; none when Ctrl-C came first.
async fn count(target: &Target, selection: &Selection) -> Result<Option<u64>, Problem> {
    let mut interrupted = std::pin::pin!(interrupted());
    let (mut matched, mut before): (u64, Option<JobId>) = (0, None);
    loop {
        let page = tokio::select! {
            _ = &mut interrupted => return Ok(None),
            page = target.list(selection, before, COUNT_PAGE) => page?,
        };
        matched += page.jobs.len() as u64;
        before = page.next;
        if before.is_none() {
            return Ok(Some(matched));
        }
    }
}

/// Page after page, and how it ended. What was begun is finished and counted.
async fn go(
    target: &Target,
    selection: &Selection,
    action: &Action,
    words: &Words,
) -> (Acted, Result<(), Problem>) {
    let mut interrupted = std::pin::pin!(interrupted());
    let bar = bar();
    let mut acted = Acted::default();
    let mut said_at = now();
    let ended = loop {
        let page = target.act_on_matching(selection, action, acted.next);
        match page.await {
            Ok(page) => acted.add(page),
            Err(problem) => break Err(problem),
        }
        let so_far = format!("{} {}", words.present, jobs(acted.matched));
        bar.set_message(so_far.clone());
        bar.tick();
        if bar.is_hidden() && span_until(said_at, now()) >= LINE_EVERY {
            said_at = now();
            out::note(format_args!("… {so_far}"));
        }
        if acted.next.is_none() {
            break Ok(());
        }
        // Only between two pages.
        tokio::select! {
            biased;
            problem = &mut interrupted => break Err(problem),
            () = std::future::ready(()) => {}
        }
    };
    bar.finish_and_clear();
    (acted, ended)
}

/// Only drawn where stderr is a terminal.
fn bar() -> ProgressBar {
    let style =
        ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::no_length().with_style(style)
}

fn confirm(words: &Words, matched: u64) -> Result<(), Problem> {
    let doing = format!("{} {}", words.name, jobs(matched));
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Problem::new(&doing, &"there is no way back, and no terminal to ask at")
            .hint("add --yes to go ahead, or --dry-run to count only"));
    }
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{}? There is no way back. [y/N] ", visible::line(&doing));
    let _ = stderr.flush();
    drop(stderr);
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Problem::new("read the answer from the terminal", &error))?;
    match line.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Problem::new(&doing, &"the answer was not yes; nothing was changed")),
    }
}

fn jobs(number: u64) -> String {
    words::count(number, "job")
}

fn answer(
    action: &Action,
    words: &Words,
    acted: &Acted,
    ended: &Result<(), Problem>,
    settings: &Settings,
) -> Result<(), Problem> {
    if settings.json {
        return out::json(&Matched::new(action.into(), false, acted.clone()), settings.terminal);
    }
    let mut said = format!("{} {}", words.done, jobs(acted.done));
    for (number, what) in [
        (acted.unneeded, "needed nothing"),
        (acted.moved, "changed meanwhile and no longer matched"),
        (acted.refused, "refused"),
    ] {
        if number > 0 {
            said += &format!("; {} {what}", words::thousands(number));
        }
    }
    if ended.is_err() {
        said += "; then it was stopped, and the same command goes on from there";
    }
    out::line(said)
}
