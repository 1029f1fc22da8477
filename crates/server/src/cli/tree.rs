//! `backroom tree`: the jobs that a job runs after, and those that run after it. `backroom graph`: put such jobs in together.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
};

use backroom::{Action, BatchId, JobId, State, core::dependency::EdgeState};
use clap::Args;

use super::batch::write_matched;
use crate::settings::{Need, Settings};
use crate::terminal::{Problem, out, visible};
use crate::views::{TreeEdgeView, TreeJob, TreeView};

/// Show the jobs that a job runs after and those that run after it
///
/// With an action: do it to the job and to all jobs that run after it, directly or not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom tree 01890a5d-ac96-774b-bcce-b302099a8057
  backroom tree ID --cancel --reason 'the order was withdrawn'
  backroom tree ID --retry

With --json: {\"root\", \"jobs\": [{\"id\", \"kind\", \"state\"}], \"edges\": [{\"predecessor\", \"dependant\", \"on_failure\", \"state\"}],
\"more\"}; with an action what `backroom cancel` writes.")]
pub(crate) struct TreeArgs {
    /// The job
    id: JobId,

    /// Most jobs to show, 1 to 1000
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    limit: usize,

    /// Cancel all of it
    #[arg(long, group = "action")]
    cancel: bool,

    /// Retry all of it
    #[arg(long, group = "action")]
    retry: bool,

    /// Delete all of it
    #[arg(long, group = "action")]
    delete: bool,

    /// Why; shown with jobs that are cancelled
    #[arg(long, value_name = "TEXT", default_value = "cancelled by hand", requires = "cancel")]
    reason: String,
}

pub(crate) async fn run(args: TreeArgs, settings: &Settings) -> Result<(), Problem> {
    let action = match (args.cancel, args.retry, args.delete) {
        (true, ..) => Some(Action::Cancel { reason: args.reason }),
        (_, true, _) => Some(Action::Retry),
        (.., true) => Some(Action::Delete),
        _ => None,
    };
    if let Some(action) = action {
        let act = async |target: &crate::target::Target| target.act_on_tree(args.id, &action).await;
        return write_matched(&settings.with_target(Need::Change, act).await?, settings);
    }
    let limit = args.limit.clamp(1, 1000);
    let tree = settings.with_target(Need::Read, async |target| target.tree(args.id, limit).await).await?;
    if settings.json {
        return out::json(&tree, settings.terminal);
    }
    out::text(&drawn(&tree))
}

/// Put a graph of jobs in: all of it, or nothing if anything is wrong with it
///
/// The document is JSON: {"jobs": [{"name": "charge", "job": {"kind": "charge"}}, {"name": "pack", "job": {"kind": "pack"},
/// "after": ["charge"]}]}. An error says where in it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom graph nightly.json
  backroom graph - < nightly.json
  backroom graph nightly.json --batch ID

With --json: {\"jobs\": [{\"name\", \"id\"}]}.")]
pub(crate) struct GraphArgs {
    /// The file, or - for stdin
    #[arg(value_name = "FILE")]
    file: String,

    /// All of its jobs are members of this batch
    #[arg(long, value_name = "ID")]
    batch: Option<BatchId>,
}

/// Reads the document and stores it.
pub(crate) async fn graph(args: GraphArgs, settings: &Settings) -> Result<(), Problem> {
    let text = match args.file.as_str() {
        "-" => std::io::read_to_string(std::io::stdin()),
        file => std::fs::read_to_string(file),
    };
    let text = text.map_err(|error| Problem::new(format_args!("read {}", args.file), &error))?;
    let store = async |target: &crate::target::Target| target.enqueue_graph(&text, args.batch).await;
    let graph = settings.with_target(Need::Create, store).await?;
    if settings.json {
        return out::json(&graph, settings.terminal);
    }
    let mut page = String::new();
    for job in &graph.jobs {
        let _ = writeln!(page, "{}  {}", job.id, visible::line(&job.name));
    }
    out::text(&page)
}

/// The tree as text: first what the job runs after, then the job with all that runs after it.
pub(super) fn drawn(tree: &TreeView) -> String {
    let jobs: HashMap<JobId, &TreeJob> = tree.jobs.iter().map(|job| (job.id, job)).collect();
    let mut down: BTreeMap<JobId, Vec<&TreeEdgeView>> = BTreeMap::new();
    for edge in &tree.edges {
        down.entry(edge.predecessor).or_default().push(edge);
    }
    let after: BTreeSet<JobId> = tree.edges.iter().map(|edge| edge.dependant).collect();
    let mut page = String::new();
    let mut shown = BTreeSet::new();
    // Those that run after no other come first.
    for job in tree.jobs.iter().filter(|job| !after.contains(&job.id)) {
        draw(&mut page, &jobs, &down, &mut shown, (job.id, None), 0, tree.root);
    }
    if tree.more {
        let _ = writeln!(page, "… and more; --limit shows them");
    }
    page
}

/// Deepest level that is drawn.
const LEVELS_MAX: usize = 40;

fn draw(
    page: &mut String,
    jobs: &HashMap<JobId, &TreeJob>,
    down: &BTreeMap<JobId, Vec<&TreeEdgeView>>,
    shown: &mut BTreeSet<JobId>,
    (id, edge): (JobId, Option<&TreeEdgeView>),
    level: usize,
    root: JobId,
) {
    let job = jobs.get(&id);
    let kind = job.and_then(|job| job.kind.as_deref()).unwrap_or("(deleted)");
    let state = job.and_then(|job| job.state).map_or("", State::as_str);
    let mark = if id == root { " ←" } else { "" };
    let lead = if level == 0 { String::new() } else { format!("{}└ ", "  ".repeat(level - 1)) };
    let of_edge = match edge {
        Some(edge) if edge.state == EdgeState::Open => format!(" (waits; {} on failure)", edge.on_failure),
        Some(edge) if edge.state != EdgeState::Met => format!(" (edge {})", edge.state.as_str()),
        Some(_) | None => String::new(),
    };
    let is_first = shown.insert(id);
    let again = if is_first { "" } else { " …" };
    let _ = writeln!(page, "{lead}{} {id} {state}{of_edge}{mark}{again}", visible::line(kind));
    // A job with several predecessors is drawn whole below the first of them.
    if !is_first || level >= LEVELS_MAX {
        return;
    }
    for edge in down.get(&id).into_iter().flatten() {
        draw(page, jobs, down, shown, (edge.dependant, Some(edge)), level + 1, root);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_begins_with_what_runs_first_and_draws_each_job_once() {
        let id = |n: u8| format!("00000000-0000-0000-0000-0000000000{n:02}");
        let job =
            |n: u8, kind: &str, state: &str| serde_json::json!({"id": id(n), "kind": kind, "state": state});
        let edge = |from: u8, to: u8, state: &str| serde_json::json!({"predecessor": id(from), "dependant": id(to), "on_failure": "cancel", "state": state});
        let tree: TreeView = serde_json::from_value(serde_json::json!({
            "root": id(3), "more": false,
            "jobs": [job(1, "left", "completed"), job(2, "right", "running"), job(3, "join", "waiting")],
            "edges": [edge(1, 3, "met"), edge(2, 3, "open")],
        }))
        .expect("a tree");
        assert_eq!(
            drawn(&tree),
            format!(
                "left {} completed\n└ join {} waiting ←\nright {} running\n└ join {} waiting (waits; cancel on failure) ← …\n",
                id(1),
                id(3),
                id(2),
                id(3)
            )
        );
    }
}
