//! `backroom audit`: what was done by hand, and by whom.

use clap::Args;

use crate::settings::{Need, Settings};
use crate::target::Target;
use crate::terminal::{
    Problem, out,
    table::{self, Column, cell},
    words,
};

/// Show the audit log: administrative acts, and who did them
///
/// An entry stays for 400 days. The log has the acts of the server's callers (their token is named) and of this command line
/// (the user of the machine is named).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom audit
  backroom audit --limit 500 --json | jq '.entries[] | select(.act == \"queue.pause\")'

With --json: {\"entries\": [{\"id\", \"at\", \"who\", \"act\", \"target\", \"detail\"}], \"next\": what --before takes}.")]
pub(crate) struct AuditArgs {
    /// How many entries, the newest first (at most 1000)
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,

    /// Continue below the entry of this id
    #[arg(long, value_name = "ID")]
    before: Option<uuid::Uuid>,
}

pub(crate) async fn run(args: AuditArgs, settings: &Settings) -> Result<(), Problem> {
    let AuditArgs { limit, before } = args;
    let read = async |target: &Target| Ok((target.audit(before, limit).await?, target.now()));
    let (page, now) = settings.with_target(Need::Read, read).await?;
    if settings.json {
        return out::json(&page, settings.terminal);
    }
    if page.entries.is_empty() {
        return out::line("the audit log is empty");
    }
    let columns = ["AT", "WHO", "ACT", "TARGET", "DETAIL"].map(Column::Text);
    let mut rows = table::table(settings.style(), &columns);
    for entry in page.entries {
        rows.add_row(vec![
            cell(words::moment(entry.at, now)),
            cell(entry.who),
            cell(entry.act),
            cell(entry.target),
            cell(entry.detail.map(|detail| detail.as_str().to_owned()).unwrap_or_default()),
        ]);
    }
    table::show(&rows)
}
