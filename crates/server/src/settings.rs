//! What holds for every command: which store, and how answers are written.

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use backroom::Backroom;
use clap::Args;

use crate::{
    config::{self, Given, SettingFlags},
    terminal::{Problem, table},
};

/// Where jobs are stored by default: a file in the working directory.
pub(crate) const STORE_DEFAULT: &str = "sqlite:backroom.db";

/// The options that every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct GlobalArgs {
    /// Where the jobs are stored: sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE?schema=NAME [default:
    /// sqlite:backroom.db]
    #[arg(
        long,
        global = true,
        env = "BACKROOM_STORE",
        // It may hold a password.
        hide_env_values = true,
        value_name = "URL",
        help_heading = "For every command"
    )]
    store: Option<String>,

    /// The settings file of the server [default: ./backroom.toml, then /etc/backroom/backroom.toml]
    #[arg(
        long,
        global = true,
        env = "BACKROOM_CONFIG",
        value_name = "FILE",
        help_heading = "For every command"
    )]
    config: Option<PathBuf>,

    /// Answer with one JSON document on stdout, for programs
    #[arg(long, global = true, help_heading = "For every command")]
    json: bool,

    /// No colours (also when NO_COLOR is set or output is no terminal)
    #[arg(long, global = true, help_heading = "For every command")]
    no_color: bool,
}

/// The same, settled.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// URL of the store.
    pub(crate) store: String,
    /// Whether the user named it.
    pub(crate) store_given: bool,
    /// The settings file of the server, where the user named it.
    config: Option<PathBuf>,
    /// Whether answers are JSON.
    pub(crate) json: bool,
    /// Whether answers may be coloured.
    pub(crate) color: bool,
    /// Whether stdout is a terminal: tables then fit its width and use its signs.
    pub(crate) terminal: bool,
}

impl Settings {
    pub(crate) fn from_args(args: GlobalArgs) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            store_given: args.store.is_some(),
            config: args.config,
            store: args.store.unwrap_or_else(|| STORE_DEFAULT.into()),
            json: args.json,
            color: terminal && !args.no_color && !unwanted,
            terminal,
        }
    }

    /// The same with the store of the settings file, where neither an option nor a variable names one: a command that is run beside
    /// the server then means the server's store.
    pub(crate) fn or_of_file(mut self) -> Result<Self, Problem> {
        if !self.store_given {
            let given = Given { variables: BTreeMap::new(), ..self.given(SettingFlags::default()) };
            let loaded = config::load(&given).map_err(|wrong| config::problem(&wrong))?;
            self.store = loaded.settings.store;
        }
        Ok(self)
    }

    /// What the server's settings are read from.
    pub(crate) fn given(&self, flags: SettingFlags) -> Given {
        Given { config: self.config.clone(), variables: config::variables(), flags: flags.given }
    }

    /// Opens the store and creates it if need be: for commands that put jobs into it.
    pub(crate) async fn open_or_create(&self) -> Result<Backroom, Problem> {
        Ok(Backroom::open(&self.store).await?)
    }

    /// Opens a store that is there, for a command that changes jobs or queues. It must not leave an empty store behind: with a
    /// mistyped path the jobs would seem to be gone.
    pub(crate) async fn open(&self) -> Result<Backroom, Problem> {
        self.find().await?;
        Ok(Backroom::open(&self.store).await?)
    }

    /// Opens a store that is there, for a command that only reads: it needs no right to write.
    async fn open_to_read(&self) -> Result<Backroom, Problem> {
        self.find().await?;
        Ok(Backroom::open_to_read(&self.store).await?)
    }

    async fn find(&self) -> Result<(), Problem> {
        if let Some(lacks) = self.lacks().await? {
            let message = format!("open store {:?}: {lacks}", self.shown());
            return Err(Problem::new(message, &"nothing was enqueued there yet").hint(
                "`backroom enqueue` and `backroom demo` create it; --store or BACKROOM_STORE name another",
            ));
        }
        Ok(())
    }

    /// What is not there where the store should be; none if all is.
    async fn lacks(&self) -> Result<Option<String>, Problem> {
        if let Some(path) = self.file() {
            return Ok(is_missing(&path).then(|| format!("there is no file {}", path.display())));
        }
        let is_server = self.store.starts_with("postgres://") || self.store.starts_with("postgresql://");
        if is_server && backroom::store::version(&self.store).await? == 0 {
            return Ok(Some("there are no tables of Backroom in that schema".into()));
        }
        Ok(None)
    }

    /// How tables are written.
    pub(crate) fn style(&self) -> table::Style {
        table::Style { color: self.color, is_terminal: self.terminal }
    }

    /// The same settings for another store.
    pub(crate) fn with_url(&self, store: &str) -> Self {
        Self { store: store.into(), store_given: true, ..self.clone() }
    }

    /// The store's URL for people: without its password.
    pub(crate) fn shown(&self) -> String {
        backroom::without_password(&self.store)
    }

    /// Does something with a store that is there, and closes it.
    pub(crate) async fn with_store<T>(
        &self,
        work: impl AsyncFnOnce(&Backroom) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        used(self.open().await?, work).await
    }

    /// Reads from a store that is there, and closes it.
    pub(crate) async fn with_store_to_read<T>(
        &self,
        work: impl AsyncFnOnce(&Backroom) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        used(self.open_to_read().await?, work).await
    }

    /// Does something with a store that is created if need be, and closes it.
    pub(crate) async fn with_new_store<T>(
        &self,
        work: impl AsyncFnOnce(&Backroom) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        used(self.open_or_create().await?, work).await
    }

    /// The file of a SQLite store.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        backroom::store::sqlite_file(&self.store)
    }
}

async fn used<T>(
    backroom: Backroom,
    work: impl AsyncFnOnce(&Backroom) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let done = work(&backroom).await;
    let closed = backroom.close().await;
    let done = done?;
    closed?;
    Ok(done)
}

fn is_missing(path: &Path) -> bool {
    // An unreadable folder is another trouble, which opening the file explains better.
    std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
