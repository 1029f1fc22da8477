//! A flag for every setting, made from the list of settings.

use std::sync::LazyLock;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};

use super::{KEYS, Raw, table::Key};

/// The name of the flag of each key. Clap holds on to names for the whole run.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| KEYS.iter().map(Key::flag).collect());

/// The values of the flags that were given.
#[derive(Debug, Clone, Default)]
pub(crate) struct SettingFlags {
    pub(crate) given: Vec<(&'static str, Raw)>,
}

impl SettingFlags {
    fn of(matches: &ArgMatches) -> Self {
        let given = KEYS.iter().filter_map(|key| {
            // `--store` is an option of every command, and may come from its variable.
            let source = matches.try_contains_id(key.path).ok().and_then(|_| matches.value_source(key.path));
            if source != Some(ValueSource::CommandLine) {
                return None;
            }
            let mut texts: Vec<_> = matches.get_many::<String>(key.path)?.cloned().map(Raw::Text).collect();
            let raw = if texts.len() == 1 { texts.remove(0) } else { Raw::List(texts) };
            Some((key.path, raw))
        });
        Self { given: given.collect() }
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self::of(matches))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::of(matches);
        Ok(())
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let flags = KEYS.iter().zip(NAMES.iter()).filter(|(key, _)| key.path != "store");
        flags.fold(command, |command, (key, name)| command.arg(arg(key, name)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn arg(key: &'static Key, name: &'static str) -> Arg {
    let default = if key.default.is_empty() { String::new() } else { format!(" [default: {}]", key.default) };
    let action = if (key.is_list)() { ArgAction::Append } else { ArgAction::Set };
    Arg::new(key.path)
        .long(name)
        .value_name("VALUE")
        .action(action)
        .help(format!("{}{default}", key.described().trim_end_matches('.')))
        .help_heading("Settings")
}
