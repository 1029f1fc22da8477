//! `backroom work`: runs the kinds of the settings, beside a store or for a server on another machine.

use std::{sync::Arc, time::Duration};

use backroom::{Options, Worker};
use clap::Args;

use crate::{
    config::{self, ServerSettings, SettingFlags},
    serve::{Signal, Signals},
    settings::Settings,
    terminal::{Problem, out},
    work::{self, CallBack, RemoteStore},
};

/// How long a worker may be silent at a server: it asks three times within it which of its jobs were cancelled.
const LEASE: Duration = Duration::from_secs(15);
/// How often an idle worker claims, although it waits for a job at the server.
const POLL: Duration = Duration::from_secs(25);

/// Run the kinds of jobs that the settings define
///
/// The settings file names the kinds, in tables such as `[kinds.thumbnail]`, and the queues, in `worker.queues`. With --server the
/// jobs come from a server on another machine, over its API. Otherwise the worker uses the store itself. It stops on SIGTERM or
/// Ctrl-C: it claims no more, lets its jobs finish within `worker.grace`, and gives the others back. A second signal ends it at once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom work
  backroom work --worker-queues images=4 --worker-queues mail=2
  BACKROOM_TOKEN=brm_… backroom work --server https://jobs.example.org

The token needs the scope `work` and the queues. docs/languages.md shows settings for a command and for an HTTP endpoint.")]
pub(crate) struct WorkArgs {
    /// The name of this worker in lists [default: host, process id and a random part]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    #[command(flatten)]
    flags: SettingFlags,
}

pub(crate) async fn run(args: WorkArgs, settings: &Settings) -> Result<(), Problem> {
    let given = settings.given(args.flags);
    for unknown in config::unknown_variables(&given) {
        tracing::warn!("{unknown}");
    }
    let loaded = config::load(&given).map_err(|wrong| config::problem(&wrong))?;
    let file = loaded
        .file
        .as_ref()
        .map_or_else(|| "no settings file was found".into(), |file| format!("{} has none", file.display()));
    let ours = loaded.settings;
    if ours.kinds.is_empty() {
        return Err(Problem::new("start a worker: the settings define no kind", &file)
            .hint("write a table such as [kinds.thumbnail] with `command = [\"python3\", \"thumbnail.py\"]` into backroom.toml"));
    }
    // From here on a signal no longer ends the process by itself.
    let mut signals = Signals::new()?;
    let (backroom, worker) = match settings.remote()? {
        Some(remote) => {
            let store = Arc::new(RemoteStore::new(remote));
            store.check(&ours).await?;
            let call_back = CallBack {
                url: ours
                    .worker
                    .url
                    .clone()
                    .unwrap_or_else(|| settings.server().unwrap_or_default().to_owned()),
                token: {
                    let store = Arc::clone(&store);
                    Arc::new(move |run| store.token(run))
                },
            };
            let options = config::sensitive::with_keys(Options::new(), &ours).await?;
            let backroom = options.over(store);
            let worker = Worker::new(&backroom).upkeep(false).lease(LEASE).poll(POLL);
            let worker = work::with_kinds(worker, &ours, Some(&call_back))?;
            (backroom, worker)
        }
        None => {
            let options = config::sensitive::with_keys(Options::new(), &ours).await?;
            let backroom = options.open(&ours.store).await?;
            let worker = Worker::new(&backroom).upkeep(ours.upkeep);
            let worker = work::with_kinds(worker, &ours, None)?;
            (backroom, worker)
        }
    };
    let worker = match args.name {
        Some(name) => worker.name(name),
        None => worker,
    };
    let running = worker.start().await?;
    out::note(format_args!("working: {}", described(&ours)));
    while signals.next().await != Signal::Stop {
        tracing::warn!("a worker reads its settings when it starts only; restart it to change its kinds");
    }
    out::note("stopping: the jobs that run may finish; a second signal ends the worker at once");
    let stopping = async {
        running.stop().await?;
        backroom.close().await
    };
    tokio::select! {
        stopped = stopping => Ok(stopped?),
        () = signals.stop() => Err(Problem::Interrupted),
    }
}

/// The kinds and the queues.
fn described(settings: &ServerSettings) -> String {
    let kinds: Vec<_> = settings.kinds.keys().map(String::as_str).collect();
    let queues: Vec<_> = settings
        .worker
        .queues
        .iter()
        .map(|queue| format!("{} ({} slots)", queue.queue, queue.slots))
        .collect();
    format!("{} from {}", kinds.join(", "), queues.join(", "))
}
