//! What holds for every command: which store, and how answers are written.

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use backroom::{Backroom, Options};
use clap::Args;

use crate::{
    config::{self, Given, SettingFlags},
    remote::{Remote, Token},
    target::Target,
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

    /// A running server to ask instead of a store, such as https://jobs.example.org. Its token is read from the variable
    /// BACKROOM_TOKEN or from --token-file
    #[arg(
        long,
        global = true,
        env = "BACKROOM_SERVER",
        value_name = "URL",
        help_heading = "For every command"
    )]
    server: Option<String>,

    /// The file that holds the token for --server, in its first line
    #[arg(
        long,
        global = true,
        env = "BACKROOM_TOKEN_FILE",
        value_name = "FILE",
        help_heading = "For every command"
    )]
    token_file: Option<PathBuf>,

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

/// What a command does with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Reads a store that is there.
    Read,
    /// Changes a store that is there.
    Change,
    /// Puts jobs in; creates the store if need be.
    Create,
}

/// The same, settled.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// URL of the store.
    pub(crate) store: String,
    /// Whether the user named it.
    pub(crate) store_given: bool,
    /// URL of a running server to ask instead of the store.
    server: Option<String>,
    /// Whether its flag named it.
    server_by_flag: bool,
    /// Whether two variables name a store and a server, and no flag chooses.
    is_undecided: bool,
    /// The file that holds the token for it.
    token_file: Option<PathBuf>,
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
    /// From the options of the command line and their variables. `by_flag` says of an option whether its flag was given. Fails
    /// with the reason if two flags contradict each other.
    pub(crate) fn from_args(args: GlobalArgs, by_flag: impl Fn(&str) -> bool) -> Result<Self, &'static str> {
        let terminal = std::io::stdout().is_terminal();
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        // An empty variable is none.
        let mut store = args.store.filter(|url| !url.is_empty() || by_flag("store"));
        let mut server = args.server.filter(|url| !url.is_empty() || by_flag("server"));
        let mut is_undecided = false;
        if store.is_some() && server.is_some() {
            match (by_flag("store"), by_flag("server")) {
                (true, true) => {
                    return Err("--store and --server both say where the jobs are; give one of them");
                }
                (true, false) => server = None,
                (false, true) => store = None,
                (false, false) => is_undecided = true,
            }
        }
        Ok(Self {
            store_given: store.is_some(),
            server_by_flag: server.is_some() && by_flag("server"),
            server,
            is_undecided,
            token_file: args.token_file,
            config: args.config,
            store: store.unwrap_or_else(|| STORE_DEFAULT.into()),
            json: args.json,
            color: terminal && !args.no_color && !unwanted,
            terminal,
        })
    }

    /// The same with the store of the settings file, where neither an option nor a variable names one: a command that is run beside
    /// the server then means the server's store.
    pub(crate) fn or_of_file(mut self) -> Result<Self, Problem> {
        if !self.store_given && self.server.is_none() {
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

    /// Fails if the environment names both a store and a server and no flag says which of them the user means.
    fn decided(&self) -> Result<(), Problem> {
        if self.is_undecided {
            let why = "the variables BACKROOM_STORE and BACKROOM_SERVER both name one";
            return Err(Problem::new("find out where the jobs are", &why)
                .hint("unset one of the variables, or choose by --store or --server: a flag is stronger than a variable"));
        }
        Ok(())
    }

    /// Refuses `--server` for a command that needs the store itself: it would act on another store than the user means.
    pub(crate) fn only_store(&self) -> Result<(), Problem> {
        self.decided()?;
        match &self.server {
            None => Ok(()),
            Some(url) => Err(Problem::new(
                format_args!("use the server {url}"),
                &"this command needs the store itself",
            )
            .hint("run it where the store is, with --store and without --server or BACKROOM_SERVER")),
        }
    }

    /// The same for the server itself. Its environment may name it for the commands that it runs.
    pub(crate) fn only_store_unless_inherited(&self) -> Result<(), Problem> {
        if self.server_by_flag { self.only_store() } else { Ok(()) }
    }

    /// Whether the flag `--server` was given.
    pub(crate) fn server_by_flag(&self) -> bool {
        self.server_by_flag
    }

    /// Opens the store and creates it if need be: for commands that put jobs into it.
    pub(crate) async fn open_or_create(&self) -> Result<Backroom, Problem> {
        self.only_store()?;
        Ok(self.options()?.open(&self.store).await?)
    }

    /// The options of a client by the settings file: which kinds are sealed, which fields are hidden, and which queues are secure.
    fn options(&self) -> Result<Options, Problem> {
        let given = Given { variables: BTreeMap::new(), ..self.given(SettingFlags::default()) };
        let loaded = config::load(&given).map_err(|wrong| config::problem(&wrong))?;
        Ok(config::sensitive::of_kinds(Options::new(), &loaded.settings))
    }

    /// Opens a store that is there, for a command that changes jobs or queues. It must not leave an empty store behind: with a
    /// mistyped path the jobs would seem to be gone.
    pub(crate) async fn open(&self) -> Result<Backroom, Problem> {
        self.find().await?;
        Ok(self.options()?.open(&self.store).await?)
    }

    /// Opens a store that is there, for a command that only reads: it needs no right to write.
    async fn open_to_read(&self) -> Result<Backroom, Problem> {
        self.find().await?;
        Ok(self.options()?.open_to_read(&self.store).await?)
    }

    async fn find(&self) -> Result<(), Problem> {
        self.only_store()?;
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
        // A server that only a variable names is not meant.
        let server = self.server.clone().filter(|_| self.server_by_flag);
        Self { store: store.into(), store_given: true, server, is_undecided: false, ..self.clone() }
    }

    /// The store's URL for people: without its password.
    pub(crate) fn shown(&self) -> String {
        backroom::without_password(&self.store)
    }

    /// Does something with a store or, with `--server`, through a running server.
    pub(crate) async fn with_target<T>(
        &self,
        need: Need,
        work: impl AsyncFnOnce(&Target) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let target = match (self.remote()?, need) {
            (Some(remote), _) => Target::Server(remote),
            (None, Need::Read) => Target::Store(self.open_to_read().await?),
            (None, Need::Change) => Target::Store(self.open().await?),
            (None, Need::Create) => Target::Store(self.open_or_create().await?),
        };
        let done = work(&target).await;
        let closed = target.close().await;
        let done = done?;
        closed?;
        Ok(done)
    }

    /// The URL of `--server`, if it is given.
    pub(crate) fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// The server of `--server`, if it is given.
    pub(crate) fn remote(&self) -> Result<Option<Remote>, Problem> {
        self.decided()?;
        self.server.as_ref().map(|url| Remote::new(url, self.token()?)).transpose()
    }

    /// The token for `--server`, if there is one.
    fn token(&self) -> Result<Option<Token>, Problem> {
        if let Some(path) = &self.token_file {
            return Token::from_file(path).map(Some);
        }
        match std::env::var("BACKROOM_TOKEN") {
            Ok(text) if !text.is_empty() => Token::new(&text).map(Some),
            Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
            Err(error @ std::env::VarError::NotUnicode(_)) => {
                Err(Problem::new("read BACKROOM_TOKEN", &error))
            }
        }
    }

    /// Reads from a store that is there, and closes it.
    pub(crate) async fn with_store_to_read<T>(
        &self,
        work: impl AsyncFnOnce(&Backroom) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        used(self.open_to_read().await?, work).await
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
