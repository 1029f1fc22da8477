//! `backroom triggers`: what starts jobs from outside, and what could not become one.

use std::io::Read as _;

use backroom_triggers::admin::Sample;
use clap::{Args, Subcommand};
use serde::Serialize;
use uuid::Uuid;

use crate::settings::{Need, Settings};
use crate::target::Target;
use crate::terminal::{
    Problem, out,
    table::{self, Column, cell},
    words,
};
use crate::views::trigger::{DeadLetterView, PreviewView, TriggerView};

/// Dead letters on one page.
const LETTERS: usize = 50;

/// List triggers; pause, resume and test them; read and replay their dead letters
///
/// A trigger makes jobs of what happens outside: files of a folder, requests of other services. The settings of the server define them,
/// in `[triggers.NAME]`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  backroom triggers
  backroom triggers show uploads
  backroom triggers pause uploads --reason maintenance
  backroom triggers test orders --body '{\"id\": 7}' --header x-event=created
  backroom triggers dead-letters orders
  backroom triggers replay 0197c4e2-…
  backroom triggers forget uploads

With --json: {\"triggers\": [{\"name\", \"type\", \"activity\", \"source\", \"mapping\", \"dead_letters\", \"readers\", …}]}; show, pause
and resume answer with the one trigger; test with {\"outcome\", \"reason\", \"job\"}; dead-letters with {\"dead_letters\", \"next\"}."
)]
pub(crate) struct TriggersArgs {
    #[command(subcommand)]
    command: Option<TriggersCommand>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
enum TriggersCommand {
    /// List triggers and what they do
    List,
    /// Show a trigger: its source, its mapping, and who reads it
    Show {
        /// The trigger
        name: String,
    },
    /// Read no more of its source until it is resumed; what is sent to a hook is refused
    Pause {
        /// The trigger
        name: String,
        /// Why, for people
        #[arg(long, value_name = "TEXT", default_value = "paused from the command line")]
        reason: String,
    },
    /// Go on where it was paused
    Resume {
        /// The trigger
        name: String,
    },
    Test(TestArgs),
    DeadLetters(DeadLettersArgs),
    /// Deliver dead letters again, with the mapping as it is now
    Replay {
        /// Their ids
        #[arg(value_name = "ID", required = true)]
        ids: Vec<Uuid>,
    },
    /// Delete dead letters
    DeleteDeadLetters {
        /// Their ids
        #[arg(value_name = "ID", required = true)]
        ids: Vec<Uuid>,
    },
    /// Delete a trigger with its state and its dead letters; its jobs stay
    ///
    /// If the settings still name it, its source is read from the beginning at the next start.
    Forget {
        /// The trigger
        name: String,
    },
}

/// Show what a message would become; nothing is enqueued
#[derive(Debug, Args)]
struct TestArgs {
    /// The trigger
    name: String,

    /// The body; without it, it is read from stdin
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,

    /// A header, several times for more
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,

    /// What it is in order with, at its source
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
}

/// List deliveries that became no job, or show one with its body
#[derive(Debug, Args)]
struct DeadLettersArgs {
    /// Only those of this trigger
    trigger: Option<String>,

    /// Show this one
    #[arg(long, value_name = "ID", conflicts_with_all = ["trigger", "before"])]
    id: Option<Uuid>,

    /// Those older than this one
    #[arg(long, value_name = "ID")]
    before: Option<Uuid>,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.trim().to_ascii_lowercase(), value.to_owned()))
}

pub(crate) async fn run(args: TriggersArgs, settings: &Settings) -> Result<(), Problem> {
    let command = args.command.unwrap_or(TriggersCommand::List);
    let need = match &command {
        TriggersCommand::Pause { .. }
        | TriggersCommand::Resume { .. }
        | TriggersCommand::Replay { .. }
        | TriggersCommand::DeleteDeadLetters { .. }
        | TriggersCommand::Forget { .. } => Need::Change,
        TriggersCommand::List
        | TriggersCommand::Show { .. }
        | TriggersCommand::Test(_)
        | TriggersCommand::DeadLetters(_) => Need::Read,
    };
    settings
        .with_target(need, async |target| match &command {
            TriggersCommand::List => list(target, settings).await,
            TriggersCommand::Show { name } => show(&target.trigger(name).await?, target, settings),
            TriggersCommand::Pause { name, reason } => {
                let trigger = target.pause_trigger(name, reason).await?;
                acted(&trigger, "paused", settings)
            }
            TriggersCommand::Resume { name } => {
                let trigger = target.resume_trigger(name).await?;
                acted(&trigger, "resumed", settings)
            }
            TriggersCommand::Test(args) => test(target, args, settings).await,
            TriggersCommand::DeadLetters(args) => dead_letters(target, args, settings).await,
            TriggersCommand::Replay { ids } => replay(target, ids, settings).await,
            TriggersCommand::DeleteDeadLetters { ids } => {
                for id in ids {
                    target.delete_dead_letter(*id).await?;
                }
                deleted(ids, &format!("deleted {}", words::count(ids.len() as u64, "dead letter")), settings)
            }
            TriggersCommand::Forget { name } => {
                target.forget_trigger(name).await?;
                deleted(name, &format!("forgot {name}; its jobs stay"), settings)
            }
        })
        .await
}

#[derive(Serialize)]
struct TriggersView {
    triggers: Vec<TriggerView>,
}

async fn list(target: &Target, settings: &Settings) -> Result<(), Problem> {
    let triggers = target.triggers().await?;
    if settings.json {
        return out::json(&TriggersView { triggers }, settings.terminal);
    }
    if triggers.is_empty() {
        return out::line("no triggers; [triggers.NAME] in the settings of the server defines one");
    }
    let columns = [
        Column::Text("TRIGGER"),
        Column::Text("TYPE"),
        Column::Text("ACTIVITY"),
        Column::Number("JOBS"),
        Column::Number("DEAD LETTERS"),
        Column::Text("WHY"),
    ];
    let mut rows = table::table(settings.style(), &columns);
    for trigger in &triggers {
        let jobs: u64 = trigger.readers.iter().map(|reader| reader.status.counters.enqueued).sum();
        rows.add_row(vec![
            cell(&trigger.name),
            cell(&trigger.kind),
            cell(&trigger.activity),
            cell(words::thousands(jobs)),
            cell(words::thousands(trigger.dead_letters)),
            cell(trigger.error().unwrap_or_default()),
        ]);
    }
    table::show(&rows)
}

fn show(trigger: &TriggerView, target: &Target, settings: &Settings) -> Result<(), Problem> {
    if settings.json {
        return out::json(trigger, settings.terminal);
    }
    out::line(format_args!("{} ({}): {}", trigger.name, trigger.kind, trigger.activity))?;
    if let Some(why) = trigger.error() {
        out::line(format_args!("  {why}"))?;
    }
    out::line(format_args!("source   {}", trigger.source))?;
    out::line(format_args!("mapping  {}", trigger.mapping))?;
    out::line(format_args!(
        "dead letters  {} stored, {} dropped because there were too many",
        words::thousands(trigger.dead_letters),
        words::thousands(trigger.dropped)
    ))?;
    for reader in &trigger.readers {
        let counters = &reader.status.counters;
        let beat = words::from_now(reader.beat_at, target.now());
        let fate = if reader.alive { "" } else { " (silent, probably dead)" };
        out::line(format_args!(
            "reader   {}{fate}: {}, last beat {beat}",
            reader.holder,
            reader.status.activity.as_str()
        ))?;
        out::line(format_args!(
            "         since it began: {} received, {} jobs, {} that had one already, {} left out, {} refused, {} errors",
            words::thousands(counters.received),
            words::thousands(counters.enqueued),
            words::thousands(counters.duplicates),
            words::thousands(counters.left_out),
            words::thousands(counters.refused),
            words::thousands(counters.errors)
        ))?;
        if let Some(lag) = reader.status.lag {
            out::line(format_args!("         {} wait in the source", words::thousands(lag)))?;
        }
        if !reader.status.details.is_null() {
            out::line(format_args!("         {}", reader.status.details))?;
        }
    }
    Ok(())
}

fn acted(trigger: &TriggerView, what: &str, settings: &Settings) -> Result<(), Problem> {
    if settings.json {
        return out::json(trigger, settings.terminal);
    }
    out::line(format_args!("{what} {}", trigger.name))
}

fn deleted(what: &impl Serialize, words: &str, settings: &Settings) -> Result<(), Problem> {
    if settings.json {
        return out::json(&serde_json::json!({ "deleted": what }), settings.terminal);
    }
    out::line(words)
}

async fn test(target: &Target, args: &TestArgs, settings: &Settings) -> Result<(), Problem> {
    let body = match &args.body {
        Some(body) => body.clone(),
        None => {
            let mut body = String::new();
            let read = std::io::stdin().take(16 << 20).read_to_string(&mut body);
            read.map_err(|error| Problem::new("read the body from stdin", &error))?;
            body
        }
    };
    let headers = args.headers.iter().cloned().collect();
    let sample = Sample { identity: None, headers, key: args.key.clone(), body };
    let preview = target.test_trigger(&args.name, sample).await?;
    if settings.json {
        return out::json(&preview, settings.terminal);
    }
    let PreviewView { outcome, reason, job } = &preview;
    match (job, reason) {
        (Some(job), _) => {
            out::line(format_args!("becomes a job of kind {:?} in queue {:?}", job.kind, job.queue))?;
            if let Some(lane) = &job.lane {
                out::line(format_args!("lane      {lane}"))?;
            }
            out::line(format_args!("priority  {}", job.priority))?;
            out::line(format_args!("args      {}", job.args))?;
            if let Some(key) = &job.unique_key {
                out::line(format_args!("unique    {key}"))?;
            }
            Ok(())
        }
        (None, Some(reason)) => out::line(format_args!("becomes a dead letter: {reason}")),
        (None, None) => out::line(format_args!("becomes nothing: {outcome} by the filter")),
    }
}

#[derive(Serialize)]
struct LettersView {
    dead_letters: Vec<DeadLetterView>,
    next: Option<Uuid>,
}

async fn dead_letters(target: &Target, args: &DeadLettersArgs, settings: &Settings) -> Result<(), Problem> {
    if let Some(id) = args.id {
        let letter = target.dead_letter(id).await?;
        if settings.json {
            return out::json(&letter, settings.terminal);
        }
        out::line(format_args!("{} of trigger {}", letter.id, letter.trigger))?;
        out::line(format_args!("reason    {}", letter.reason))?;
        out::line(format_args!("identity  {}", letter.identity))?;
        out::line(format_args!("delivery  {}", letter.delivery))?;
        let text = letter.body.or(letter.body_base64);
        let size = words::thousands(letter.body_bytes);
        return match text {
            Some(text) => out::line(format_args!("body      {text}")),
            None => out::line(format_args!("body      {size} bytes, too large to be stored")),
        };
    }
    let letters = target.dead_letters(args.trigger.as_deref(), args.before, LETTERS).await?;
    let next = letters.last().filter(|_| letters.len() >= LETTERS).map(|letter| letter.id);
    if settings.json {
        return out::json(&LettersView { dead_letters: letters, next }, settings.terminal);
    }
    if letters.is_empty() {
        return out::line("no dead letters");
    }
    let columns =
        [Column::Whole("ID"), Column::Text("TRIGGER"), Column::Whole("WHEN"), Column::Text("REASON")];
    let mut rows = table::table(settings.style(), &columns);
    for letter in &letters {
        let when = words::from_now(letter.at, target.now());
        rows.add_row(vec![
            cell(letter.id.to_string()),
            cell(&letter.trigger),
            cell(when),
            cell(&letter.reason),
        ]);
    }
    table::show(&rows)?;
    if let Some(next) = next {
        out::note(format_args!("there may be more: add --before {next}"));
    }
    Ok(())
}

async fn replay(target: &Target, ids: &[Uuid], settings: &Settings) -> Result<(), Problem> {
    let mut outcomes = Vec::new();
    for id in ids {
        let outcome = target.replay(*id).await?;
        if settings.json {
            outcomes.push(serde_json::json!({ "id": id, "outcome": outcome }));
            continue;
        }
        match (&outcome.job, &outcome.reason) {
            (Some(job), _) => out::line(format_args!("{id}: {} {job}", outcome.outcome))?,
            (None, Some(reason)) => out::line(format_args!("{id}: still refused: {reason}"))?,
            (None, None) => out::line(format_args!("{id}: {}", outcome.outcome))?,
        }
    }
    if settings.json {
        out::json(&serde_json::json!({ "replayed": outcomes }), settings.terminal)
    } else {
        Ok(())
    }
}
