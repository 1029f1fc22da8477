//! `backroom config`: prints the settings of the server that are in effect, and where each came from.

use clap::Args;

use crate::{
    config::{self, SettingFlags},
    settings::Settings,
    terminal::{
        Problem, out,
        table::{self, Column, cell},
    },
    views::ConfigView,
};

/// Show the settings of the server and where each came from
///
/// It reads what `backroom serve` would read: the file backroom.toml, variables, and the same flags. Secrets are hidden. With --server, a
/// running server answers with the settings that are in effect there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom config
  backroom config --check                         only check them: exit code 1 if anything is wrong
  backroom config --config /etc/backroom/backroom.toml
  backroom config --server https://jobs.example.org
  backroom config --json | jq '.settings[] | select(.from.place != \"default\")'

With --json: {\"file\", \"settings\": [{\"key\", \"value\", \"from\": {\"place\", \"file\", \"line\", \"variable\", \"flag\"}}]}")]
pub(crate) struct ConfigArgs {
    /// Only check the settings, those here
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    flags: SettingFlags,
}

pub(crate) async fn run(args: ConfigArgs, settings: &Settings) -> Result<(), Problem> {
    if args.check && settings.server_by_flag() {
        let why = "it checked them when it read them";
        return Err(Problem::new("check the settings of a running server", &why)
            .hint("leave out --check to see them, or leave out --server to check the settings here"));
    }
    if !args.check
        && let Some(remote) = settings.remote()?
    {
        return show(&remote.get("/v1/config").await?, settings);
    }
    let given = settings.given(args.flags);
    for unknown in config::unknown_variables(&given) {
        tracing::warn!("{unknown}");
    }
    let loaded = config::load(&given).map_err(|wrong| config::problem(&wrong))?;
    let file = loaded.file.as_ref().map(|file| file.display().to_string());
    if args.check && !settings.json {
        let read =
            file.map_or_else(|| "no settings file was found".into(), |file| format!("{file} was read"));
        return out::line(format_args!("the settings are valid; {read}"));
    }
    show(&ConfigView::new(&loaded), settings)
}

fn show(view: &ConfigView, settings: &Settings) -> Result<(), Problem> {
    if settings.json {
        return out::json(view, settings.terminal);
    }
    let columns = [Column::Text("KEY"), Column::Text("VALUE"), Column::Text("FROM")];
    let mut rows = table::table(settings.style(), &columns);
    for setting in &view.settings {
        rows.add_row(vec![cell(&setting.key), cell(&setting.value), cell(setting.from.said())]);
    }
    table::show(&rows)
}
