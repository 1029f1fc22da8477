//! `backroom replies`: what reply queues hold; take messages, acknowledge them, give them back.

use std::time::Duration;

use backroom::{LeaseId, MessageId, MessageRow, core::bounds::check_name};
use clap::{Args, Subcommand};

use crate::settings::{Need, Settings};
use crate::target::Target;
use crate::terminal::{
    Problem, out,
    parse::span,
    table::{self, Column, cell},
    visible, words,
};
use crate::views::TakenMessages;

/// List reply queues and their messages; take messages and acknowledge them
///
/// A job that is enqueued with --reply-to sends messages to a reply queue. A message that is taken and not acknowledged is delivered again
/// when its lease ends. One that no taker acknowledges is dropped after 7 days.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  backroom replies                                         every reply queue, and how much waits in it
  backroom replies list orders                             its messages; none is taken
  backroom replies take orders --wait 1m --acknowledge     wait for a message, print it, and be done with it
  backroom replies take orders -n 10 --lease 5m --json     one line of JSON per message, with the lease
  backroom replies acknowledge orders --lease LEASE ID...
  backroom replies release orders --lease LEASE ID...

With --json: {\"reply_queues\": [{\"name\", \"messages\", \"taken\", \"bytes\", \"oldest_at\", \"dropped\"}]}; list and take write one line
of JSON per message: {\"seq\", \"id\", \"reply_to\", \"body\", \"deliveries\", \"lease\"}; acknowledge writes {\"done\", \"lost\", \"acknowledged\"}, release {\"released\"}."
)]
pub(crate) struct RepliesArgs {
    #[command(subcommand)]
    command: Option<RepliesCommand>,
}

/// What can be done with messages.
#[derive(Debug, Subcommand)]
enum RepliesCommand {
    /// List the messages of a reply queue without taking them
    List {
        /// The reply queue
        #[arg(value_name = "QUEUE")]
        queue: String,
        /// Most messages
        #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
        limit: usize,
        /// Those behind this position, as `seq` of an earlier message
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        after: u64,
    },
    /// Take messages, the oldest first
    Take {
        /// The reply queue
        #[arg(value_name = "QUEUE")]
        queue: String,
        /// Most messages
        #[arg(long, short = 'n', value_name = "N", default_value_t = 1)]
        limit: usize,
        /// Wait so long for the first one
        #[arg(long, value_name = "SPAN", value_parser = span)]
        wait: Option<Duration>,
        /// How long they belong to you
        #[arg(long, value_name = "SPAN", value_parser = span, default_value = "30s")]
        lease: Duration,
        /// Acknowledge them once they are printed
        #[arg(long)]
        acknowledge: bool,
    },
    /// Acknowledge messages that were taken: they are never delivered again
    Acknowledge(HandedArgs),
    /// Give messages back that were taken: they are delivered again at once
    Release(HandedArgs),
}

/// Messages that were taken.
#[derive(Debug, Args)]
struct HandedArgs {
    /// The reply queue
    #[arg(value_name = "QUEUE")]
    queue: String,
    /// The lease under which they were taken
    #[arg(long, value_name = "LEASE")]
    lease: LeaseId,
    /// Their ids
    #[arg(value_name = "ID", required = true)]
    ids: Vec<MessageId>,
}

pub(crate) async fn run(args: RepliesArgs, settings: &Settings) -> Result<(), Problem> {
    match args.command {
        None => settings.with_target(Need::Read, async |target| list_queues(target, settings).await).await,
        Some(RepliesCommand::List { queue, limit, after }) => {
            check_name("reply queue", &queue)?;
            let list = async |target: &Target| {
                show(&target.messages(&queue, after, limit).await?.messages, settings)
            };
            settings.with_target(Need::Read, list).await
        }
        Some(RepliesCommand::Take { queue, limit, wait, lease, acknowledge }) => {
            check_name("reply queue", &queue)?;
            let take = async |target: &Target| {
                let TakenMessages { lease: held, messages } =
                    target.take(&queue, limit, wait.unwrap_or_default(), lease).await?;
                show(&messages, settings)?;
                if messages.is_empty() {
                    return Ok(());
                }
                if acknowledge {
                    let ids: Vec<_> = messages.iter().map(|row| row.message.id).collect();
                    target.acknowledge(&queue, held, &ids).await?;
                } else if !settings.json {
                    out::note(format_args!(
                        "they are delivered again in {}; until then: backroom replies acknowledge {queue} --lease {held} ID...",
                        words::span(lease),
                    ));
                }
                Ok(())
            };
            settings.with_target(Need::Change, take).await
        }
        Some(RepliesCommand::Acknowledge(args)) => {
            settings
                .with_target(Need::Change, async |target| acknowledge(target, &args, settings).await)
                .await
        }
        Some(RepliesCommand::Release(args)) => {
            settings.with_target(Need::Change, async |target| release(target, &args, settings).await).await
        }
    }
}

async fn list_queues(target: &Target, settings: &Settings) -> Result<(), Problem> {
    let list = target.reply_queues().await?;
    if settings.json {
        return out::json(&list, settings.terminal);
    }
    let queues = list.reply_queues;
    if queues.is_empty() {
        return out::line("no reply queues");
    }
    let columns = [
        Column::Text("REPLY QUEUE"),
        Column::Number("MESSAGES"),
        Column::Number("TAKEN"),
        Column::Number("SIZE"),
        Column::Text("OLDEST"),
        Column::Number("DROPPED"),
    ];
    let mut rows = table::table(settings.style(), &columns);
    let now = target.now();
    for queue in &queues {
        rows.add_row([
            cell(visible::line(&queue.name)),
            cell(words::thousands(queue.messages)),
            cell(words::thousands(queue.taken)),
            cell(words::bytes(queue.bytes)),
            cell(queue.oldest_at.map(|at| words::from_now(at, now)).unwrap_or_default()),
            cell(words::thousands(queue.dropped)),
        ]);
    }
    table::show(&rows)
}

fn show(messages: &[MessageRow], settings: &Settings) -> Result<(), Problem> {
    if settings.json {
        return messages.iter().try_for_each(|message| out::json(message, false));
    }
    if messages.is_empty() {
        return out::line("no messages");
    }
    let columns = [
        Column::Text("MESSAGE"),
        Column::Text("ABOUT"),
        Column::Text("JOB"),
        Column::Text("CORRELATION ID"),
        Column::Text("WHAT"),
    ];
    let mut rows = table::table(settings.style(), &columns);
    for row in messages {
        let body = &row.message.body;
        let progress =
            body.progress.as_ref().map(|progress| format!("{}% {}", progress.percent, progress.message));
        let output = body.output.as_ref().map(|output| output.as_str().to_owned());
        let what = output.or_else(|| body.reason.clone()).or_else(|| body.error.clone()).or(progress);
        rows.add_row([
            cell(row.message.id.to_string()),
            cell(body.about.as_str()),
            cell(body.job_id.to_string()),
            cell(visible::line(body.correlation_id.as_deref().unwrap_or_default())),
            cell(visible::line(&what.unwrap_or_default())),
        ]);
    }
    table::narrow(&mut rows, &[4, 2]);
    table::show(&rows)
}

async fn acknowledge(target: &Target, args: &HandedArgs, settings: &Settings) -> Result<(), Problem> {
    let answer = target.acknowledge(&args.queue, args.lease, &args.ids).await?;
    let (done, lost) = (answer.done, answer.lost);
    if settings.json {
        out::json(&answer, settings.terminal)?;
    } else {
        out::line(format_args!("acknowledged {}", words::count(done as u64, "message")))?;
    }
    if lost > 0 {
        let why = format!("{} had been given back or taken again", words::count(lost as u64, "message"));
        return Err(
            Problem::new("acknowledge all of them", &why).hint("they are delivered again; take them again")
        );
    }
    Ok(())
}

async fn release(target: &Target, args: &HandedArgs, settings: &Settings) -> Result<(), Problem> {
    target.release(&args.queue, args.lease, &args.ids).await?;
    let done = args.ids.len();
    if settings.json {
        return out::json(&serde_json::json!({ "released": done }), settings.terminal);
    }
    out::line(format_args!("gave back {}", words::count(done as u64, "message")))
}
