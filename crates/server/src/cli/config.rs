//! `backroom config`: prints the settings of the server that are in effect, and where each came from.

use clap::Args;
use serde::Serialize;

use crate::{
    config::{self, KEYS, Loaded, Origin, SettingFlags, TABLES},
    settings::Settings,
    terminal::{
        Problem, out,
        table::{self, Column, cell},
    },
};

/// Show the settings of the server and where each came from
///
/// It reads what `backroom serve` would read: the file backroom.toml, variables, and the same flags. Secrets are hidden.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom config
  backroom config --check                         only check them: exit code 1 if anything is wrong
  backroom config --config /etc/backroom/backroom.toml
  backroom config --json | jq '.settings[] | select(.from.place != \"default\")'

With --json: {\"file\", \"settings\": [{\"key\", \"value\", \"from\": {\"place\", \"file\", \"line\", \"variable\", \"flag\"}}]}")]
pub(crate) struct ConfigArgs {
    /// Only check the settings
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    flags: SettingFlags,
}

/// All settings.
#[derive(Serialize)]
struct ConfigView {
    file: Option<String>,
    settings: Vec<SettingView>,
}

/// One setting.
#[derive(Serialize)]
struct SettingView {
    key: String,
    value: String,
    #[serde(skip)]
    origin: String,
    from: FromView,
}

/// Where a value came from.
#[derive(Serialize)]
struct FromView {
    place: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flag: Option<String>,
}

impl FromView {
    fn new(origin: &Origin) -> Self {
        let none = Self { place: "default", file: None, line: None, variable: None, flag: None };
        match origin {
            Origin::Default => none,
            Origin::File { path, line, column: _ } => {
                Self { place: "file", file: Some(path.display().to_string()), line: Some(*line), ..none }
            }
            Origin::Variable(name) => Self { place: "variable", variable: Some(name.clone()), ..none },
            Origin::Flag(name) => Self { place: "flag", flag: Some(format!("--{name}")), ..none },
        }
    }
}

pub(crate) fn run(args: ConfigArgs, settings: &Settings) -> Result<(), Problem> {
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
    let views = views(&loaded);
    if settings.json {
        return out::json(&ConfigView { file, settings: views }, settings.terminal);
    }
    let columns = [Column::Text("KEY"), Column::Text("VALUE"), Column::Text("FROM")];
    let mut rows = table::table(settings.style(), &columns);
    for view in &views {
        rows.add_row(vec![cell(&view.key), cell(&view.value), cell(&view.origin)]);
    }
    table::show(&rows)
}

/// Every setting, and of the tables by name what the file sets.
fn views(loaded: &Loaded) -> Vec<SettingView> {
    let view = |key: String, value: String, origin: &Origin| SettingView {
        key,
        value,
        origin: origin.to_string(),
        from: FromView::new(origin),
    };
    let plain =
        KEYS.iter().map(|key| view(key.path.to_owned(), key.show(&loaded.settings), loaded.origin(key)));
    let mut views: Vec<_> = plain.collect();
    for table in TABLES {
        for name in (table.names)(&loaded.settings) {
            let set = table.keys.iter().filter_map(|key| {
                let origin = loaded.table_origin(table, &name, key);
                let path = format!("{}.{name}.{}", table.name, key.name);
                (*origin != Origin::Default).then(|| view(path, key.show(&loaded.settings, &name), origin))
            });
            views.extend(set);
        }
    }
    views
}
