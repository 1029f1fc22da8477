//! `backroom queues`: list queues, pause and resume them, and say how long they keep what is finished.

use backroom::{DisplayState, Retention, RetentionLimit, core::bounds::check_name};
use clap::{Args, Subcommand};

use crate::settings::{Need, Settings};
use crate::target::Target;
use crate::terminal::{
    Problem, out,
    parse::{KeepText, keep},
    table::{self, Column, cell},
    words,
};
use crate::views::{QueueList, QueueView};

/// List queues and how many jobs they hold; pause, resume, set retention
///
/// A queue comes into being with the first job or setting that names it.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  backroom queues
  backroom queues pause mail                           workers stop claiming from it, everywhere
  backroom queues resume mail
  backroom queues resume --all                         every queue that is paused, whatever paused it
  backroom queues retain mail --completed 1d --discarded 90d,10000jobs
  backroom queues limit mail 10000                     refuse enqueues while 10,000 jobs wait
  backroom queues --json | jq '.queues[] | {name, waiting: .counts.available}'

With --json: {\"queues\": [{\"name\", \"paused_at\", \"paused_by\", \"retention\", \"depth_max\", \"counts\"}]}; pause, resume, retain
and limit answer with the one queue, resume --all with those that were resumed."
)]
pub(crate) struct QueuesArgs {
    #[command(subcommand)]
    command: Option<QueuesCommand>,
}

/// What can be done to a queue.
#[derive(Debug, Subcommand)]
enum QueuesCommand {
    /// Stop claiming from a queue, everywhere; running jobs finish, enqueueing goes on
    Pause {
        /// The queue
        #[arg(value_name = "NAME")]
        queue: String,
    },
    /// Claim from a paused queue again
    Resume {
        /// The queue
        #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
        queue: Option<String>,

        /// Every queue that is paused
        #[arg(long)]
        all: bool,
    },
    Retain(RetainArgs),
    /// Say how many jobs may wait in a queue; an enqueue beyond that is refused
    Limit {
        /// The queue
        #[arg(value_name = "NAME")]
        queue: String,
        /// Most jobs that may wait, or `none`
        #[arg(value_name = "JOBS", value_parser = depth)]
        depth: DepthText,
    },
}

/// A depth limit as written.
#[derive(Debug, Clone, Copy)]
struct DepthText(Option<u64>);

fn depth(text: &str) -> Result<DepthText, String> {
    match text {
        "none" => Ok(DepthText(None)),
        number => {
            number.parse().map(|depth| DepthText(Some(depth))).map_err(|_| "write a number, or none".into())
        }
    }
}

/// Say how long a queue keeps its finished jobs
///
/// KEEP is an age (7d), a number of jobs (1000jobs: the newest), both (7d,1000jobs: whichever is reached first), or
/// `forever`. States that are not named keep their setting. A new queue keeps completed and cancelled jobs for 7 days
/// and discarded ones for 30.
#[derive(Debug, Args)]
struct RetainArgs {
    /// The queue
    #[arg(value_name = "NAME")]
    queue: String,

    /// Jobs that succeeded
    #[arg(long, value_name = "KEEP", value_parser = keep, required_unless_present_any = ["cancelled", "discarded"])]
    completed: Option<KeepText>,

    /// Jobs that were stopped or expired
    #[arg(long, value_name = "KEEP", value_parser = keep)]
    cancelled: Option<KeepText>,

    /// Jobs that were given up
    #[arg(long, value_name = "KEEP", value_parser = keep)]
    discarded: Option<KeepText>,
}

pub(crate) async fn run(args: QueuesArgs, settings: &Settings) -> Result<(), Problem> {
    let Some(command) = &args.command else {
        return settings.with_target(Need::Read, async |target| list(target, settings).await).await;
    };
    settings
        .with_target(Need::Change, async |target| match command {
            QueuesCommand::Pause { queue } => pause(target, queue, settings).await,
            QueuesCommand::Resume { queue: Some(queue), .. } => resume(target, queue, settings).await,
            QueuesCommand::Resume { queue: None, .. } => resume_all(target, settings).await,
            QueuesCommand::Retain(args) => retain(target, args, settings).await,
            QueuesCommand::Limit { queue, depth } => limit_depth(target, queue, *depth, settings).await,
        })
        .await
}

async fn list(target: &Target, settings: &Settings) -> Result<(), Problem> {
    let QueueList { queues } = target.queues().await?;
    if settings.json {
        return out::json(&QueueList { queues }, settings.terminal);
    }
    if queues.is_empty() {
        return out::line("no queues");
    }
    let mut columns = vec![Column::Text("QUEUE")];
    columns.extend(DisplayState::ALL.map(|state| Column::Number(title(state))));
    columns.push(Column::Text("PAUSED"));
    let mut rows = table::table(settings.style(), &columns);
    for queue in &queues {
        let mut row = vec![cell(&queue.name)];
        row.extend(DisplayState::ALL.map(|state| cell(words::thousands(queue.counts.get(state)))));
        let paused = queue.paused_at.map(|at| words::from_now(at, target.now()));
        let by = queue.paused_by.map(|by| format!(" ({})", by.as_str()));
        row.push(cell(paused.unwrap_or_default() + &by.unwrap_or_default()));
        rows.add_row(row);
    }
    // Waiting and cancelled are the counts that are least missed; --json has all.
    table::narrow(&mut rows, &[5, 7]);
    table::show(&rows)
}

/// Short enough for eight of them to fit a terminal.
fn title(state: DisplayState) -> &'static str {
    match state {
        DisplayState::Scheduled => "SCHED",
        DisplayState::Retrying => "RETRY",
        DisplayState::Available => "AVAIL",
        DisplayState::Running => "RUN",
        DisplayState::Waiting => "WAIT",
        DisplayState::Completed => "DONE",
        DisplayState::Cancelled => "CANC",
        DisplayState::Discarded => "DISC",
    }
}

async fn pause(target: &Target, name: &str, settings: &Settings) -> Result<(), Problem> {
    let was = find(target, name).await?;
    target.pause(name).await?;
    let said = match was {
        None => format!("paused queue {name}, which nothing named before"),
        Some(QueueView { paused_at: Some(at), .. }) => {
            format!("queue {name} is paused already, since {}", words::moment(at, target.now()))
        }
        Some(QueueView { paused_at: None, .. }) => format!("paused queue {name}"),
    };
    answer(target, name, &said, settings).await
}

async fn resume(target: &Target, name: &str, settings: &Settings) -> Result<(), Problem> {
    let said = match known(target, name).await?.paused_at {
        Some(_) => format!("resumed queue {name}"),
        None => format!("queue {name} is not paused"),
    };
    target.resume(name).await?;
    answer(target, name, &said, settings).await
}

async fn resume_all(target: &Target, settings: &Settings) -> Result<(), Problem> {
    let paused: Vec<_> =
        target.queues().await?.queues.into_iter().filter(|queue| queue.paused_at.is_some()).collect();
    for queue in &paused {
        target.resume(&queue.name).await?;
        if !settings.json {
            out::line(format_args!("resumed queue {}", queue.name))?;
        }
    }
    if settings.json {
        let mut list = target.queues().await?;
        list.queues.retain(|queue| paused.iter().any(|was| was.name == queue.name));
        return out::json(&list, settings.terminal);
    }
    if paused.is_empty() { out::line("no queue is paused") } else { Ok(()) }
}

async fn retain(target: &Target, args: &RetainArgs, settings: &Settings) -> Result<(), Problem> {
    let name = &args.queue;
    let mut retention = find(target, name).await?.map_or_else(Retention::default, |queue| queue.retention);
    let set = |setting: &mut RetentionLimit, wanted: Option<KeepText>| {
        if let Some(KeepText(wanted)) = wanted {
            *setting = wanted;
        }
    };
    set(&mut retention.completed, args.completed);
    set(&mut retention.cancelled, args.cancelled);
    set(&mut retention.discarded, args.discarded);
    target.retain(name, retention).await?;
    let limits = retention.by_state().map(|(state, keep)| format!("{state} {}", limit(keep)));
    answer(target, name, &format!("queue {name} retains {}", limits.join(", ")), settings).await
}

async fn limit_depth(
    target: &Target,
    name: &str,
    DepthText(depth): DepthText,
    settings: &Settings,
) -> Result<(), Problem> {
    target.limit_depth(name, depth).await?;
    let said = match depth {
        Some(depth) => format!("at most {} jobs may wait in queue {name}", words::thousands(depth)),
        None => format!("any number of jobs may wait in queue {name}"),
    };
    answer(target, name, &said, settings).await
}

fn limit(keep: RetentionLimit) -> String {
    let age = keep.age_secs.map(|secs| format!("for {}", words::span(std::time::Duration::from_secs(secs))));
    let count = keep.count.map(|count| format!("the newest {}", words::thousands(count)));
    match (age, count) {
        (None, None) => "forever".into(),
        (Some(only), None) | (None, Some(only)) => only,
        (Some(age), Some(count)) => format!("{age} and {count}"),
    }
}

async fn answer(target: &Target, name: &str, said: &str, settings: &Settings) -> Result<(), Problem> {
    if !settings.json {
        return out::line(said);
    }
    let queue = find(target, name).await?;
    let queue = queue.ok_or_else(|| Problem::new(format_args!("find queue {name:?}"), &"it is gone"))?;
    out::json(&queue, settings.terminal)
}

async fn find(target: &Target, name: &str) -> Result<Option<QueueView>, Problem> {
    check_name("queue", name)?;
    Ok(target.queues().await?.queues.into_iter().find(|queue| queue.name == name))
}

async fn known(target: &Target, name: &str) -> Result<QueueView, Problem> {
    find(target, name).await?.ok_or_else(|| {
        Problem::new(format_args!("find queue {name:?}"), &"no job or setting ever named it")
            .hint("`backroom queues` lists the queues there are")
    })
}
