//! What holds for every command: which store, and how answers are written.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use backroom::Backroom;
use clap::Args;

use crate::cli::Problem;

/// Where jobs are kept unless somebody says otherwise: a file in the working directory.
pub(crate) const STORE_DEFAULT: &str = "sqlite:backroom.db";

/// The options that every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct GlobalArgs {
    /// Where the jobs are kept: sqlite:PATH [default: sqlite:backroom.db]
    #[arg(
        long,
        global = true,
        env = "BACKROOM_STORE",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "For every command"
    )]
    store: Option<String>,

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
    /// Whether somebody named it.
    pub(crate) store_given: bool,
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
            store: args.store.unwrap_or_else(|| STORE_DEFAULT.into()),
            json: args.json,
            color: terminal && !args.no_color && !unwanted,
            terminal,
        }
    }

    /// Opens the store and creates it if need be: for commands that put jobs into it.
    pub(crate) async fn open_or_create(&self) -> Result<Backroom, Problem> {
        Ok(Backroom::open(&self.store).await?)
    }

    /// Opens a store that is there. A command that only looks must not leave an empty store behind: with a mistyped
    /// path everybody would then wonder where the jobs went.
    pub(crate) async fn open(&self) -> Result<Backroom, Problem> {
        if let Some(path) = self.file().filter(|path| is_missing(path)) {
            let message = format!("open store {:?}: there is no file {}", self.store, path.display());
            return Err(Problem::new(message, &"nothing was enqueued there yet").hint(
                "`backroom enqueue` and `backroom demo` create it; --store or BACKROOM_STORE name another",
            ));
        }
        self.open_or_create().await
    }

    /// Does something with a store that is there, and closes it.
    pub(crate) async fn with_store<T>(
        &self,
        work: impl AsyncFnOnce(&Backroom) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        used(self.open().await?, work).await
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
        let place = self.store.strip_prefix("sqlite:")?;
        Some(PathBuf::from(place.strip_prefix("//").unwrap_or(place)))
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
