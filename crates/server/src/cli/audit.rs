//! `backroom audit`: what was done by hand, and by whom.

use backroom::Backroom;
use clap::Args;

use crate::settings::Settings;
use crate::terminal::{
    Problem, out,
    table::{self, Column, cell},
    words,
};
use crate::views::AuditPage;

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
    let read =
        async |backroom: &Backroom| Ok((backroom.audit().list(before, limit).await?, backroom.clock().now()));
    let (entries, now) = settings.with_store_to_read(read).await?;
    let page = AuditPage::new(entries, limit);
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

/// Writes that the user of this machine did something.
pub(super) async fn append(backroom: &Backroom, act: &str, target: &str) -> Result<(), Problem> {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let user = user.filter(|user| !user.is_empty() && user.len() <= 100 && !user.contains(char::is_control));
    let who = format!("command line, user {}", user.as_deref().unwrap_or("unknown"));
    backroom.audit().append(who, act, target, None).await?;
    Ok(())
}
