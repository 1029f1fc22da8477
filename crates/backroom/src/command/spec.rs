//! Which program runs for the jobs of a kind, and how.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use backroom_core::{JobRow, RetryPolicy, bounds::SPAN_MAX};

use super::{
    ASKED, HANDLE, can_supervise,
    cgroup::Parent,
    order::{Limits, Order, User},
    own_process::{ANSWER_EXTRA_BYTES, has_handler},
    user,
};
use crate::{Error, ErrorKind};

/// The variables of the worker that a command gets unless the specification names others.
const PASSED: [&str; 6] = ["HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ"];
/// The program of the process that opens this, also after a new version has replaced its file.
const THIS_PROGRAM: &str = "/proc/self/exe";
const GRACE: Duration = Duration::from_secs(5);
const SNOOZE: Duration = Duration::from_secs(60);

/// How the worker starts a command, what it may use, and how its output is read.
///
/// The program and its arguments are fixed here. A job brings only its args, as JSON on the program's stdin, so no job can choose
/// what runs. The command runs in a process group of its own, without a terminal.
///
/// ```no_run
/// # use std::time::Duration;
/// # use backroom::{Backroom, Worker, command::{CommandSpec, Output}};
/// # async fn run(backroom: Backroom) -> Result<(), backroom::Error> {
/// let thumbnail = CommandSpec::new("python3")
///     .argument("/srv/shop/thumbnail.py")
///     .folder("/srv/shop")
///     .env("LOG_LEVEL", "info")
///     .memory_max(512 * 1024 * 1024)
///     .cpu_secs_max(60)
///     .output(Output::LastLine)
///     .grace(Duration::from_secs(3));
/// let worker = Worker::new(&backroom).queue("images", 2).command("thumbnail", thumbnail).start().await?;
/// # worker.stop().await.map(drop) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a specification does nothing until a worker gets it"]
pub struct CommandSpec {
    program: PathBuf,
    arguments: Vec<OsString>,
    folder: Option<PathBuf>,
    passes: Passes,
    env: Vec<(OsString, OsString)>,
    user: Option<RunAs>,
    limits: Limits,
    cgroup: Option<PathBuf>,
    supervisor: Option<PathBuf>,
    pub(super) env_of_run: Option<EnvOfRun>,
    pub(super) grace: Duration,
    pub(super) snooze: Duration,
    pub(crate) timeout: Option<Duration>,
    pub(super) output: Output,
    output_bytes_max: usize,
    /// What the answer of an own process has around its output.
    answer_extra_bytes: usize,
    pub(crate) retry: RetryPolicy,
}

/// Which variables of the worker's environment a command gets.
#[derive(Debug, Clone)]
enum Passes {
    All,
    Named(Vec<OsString>),
}

/// What makes the variables of one run.
type OfRun = dyn Fn(&JobRow) -> Vec<(String, String)> + Send + Sync;

/// Variables of one run.
#[derive(Clone)]
pub(super) struct EnvOfRun(pub(super) Arc<OfRun>);

impl fmt::Debug for EnvOfRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvOfRun(..)")
    }
}

#[derive(Debug, Clone)]
enum RunAs {
    Named(String),
    Ids(User),
}

/// What of a command's stdout is the output of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Output {
    /// All of it is one JSON value. If nothing but white space was written, the output is `null`.
    #[default]
    Whole,
    /// Its last line that is not blank is one JSON value. Lines before it are dropped.
    LastLine,
    /// All of it is text, and the output is that text as a JSON string.
    Text,
    /// None of it. The output is `null`.
    Ignored,
}

impl CommandSpec {
    /// Runs this program: an absolute path, or a name that is looked up in the `PATH` of the command.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            folder: None,
            passes: Passes::Named(PASSED.map(OsString::from).to_vec()),
            env: Vec::new(),
            user: None,
            limits: Limits::default(),
            cgroup: None,
            supervisor: None,
            env_of_run: None,
            grace: GRACE,
            snooze: SNOOZE,
            timeout: None,
            output: Output::default(),
            output_bytes_max: usize::MAX,
            answer_extra_bytes: 0,
            retry: RetryPolicy::DEFAULT,
        }
    }

    /// Runs this very program again, for [`Worker::handle_in_process`](crate::Worker::handle_in_process): with the worker's whole
    /// environment and in its folder. Program, arguments and output are set by that call.
    pub fn this_program() -> Self {
        Self { passes: Passes::All, ..Self::new(THIS_PROGRAM) }
    }

    /// Adds an argument.
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// The folder that it starts in. Default: that of the worker.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Which variables of the worker's environment the command gets, instead of `HOME`, `LANG`, `LC_ALL`, `PATH`, `TMPDIR` and
    /// `TZ`. No other variable reaches it, so a password in the worker's environment stays there.
    pub fn pass_env<N: Into<OsString>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.passes = Passes::Named(names.into_iter().map(Into::into).collect());
        self
    }

    /// Sets a variable of its environment. `BACKROOM_JOB_ID`, `BACKROOM_KIND`, `BACKROOM_QUEUE` and `BACKROOM_ATTEMPT` are set by
    /// the worker.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Sets further variables for each run, such as a token by which it calls back. `of_run` gets the job as it was claimed, with its
    /// lease, and must return at once.
    pub fn env_of_run(
        mut self,
        of_run: impl Fn(&JobRow) -> Vec<(String, String)> + Send + Sync + 'static,
    ) -> Self {
        self.env_of_run = Some(EnvOfRun(Arc::new(of_run)));
        self
    }

    /// Runs it as this user of `/etc/passwd`, with the user's group, without further groups, and with the user's `HOME`, `USER` and
    /// `LOGNAME`. Only a worker that runs as root may; the start of another one fails.
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.user = Some(RunAs::Named(name.into()));
        self
    }

    /// As [`user`](CommandSpec::user), by the numbers of user and group: for users that `/etc/passwd` does not have.
    pub fn user_ids(mut self, uid: u32, gid: u32) -> Self {
        self.user = Some(RunAs::Ids(User { uid, gid }));
        self
    }

    /// From SIGTERM to SIGKILL when the command must end: its time is over, its job was cancelled, its lease was lost, or the worker
    /// stops. Default 5 s. The [`cancel_grace`](crate::Worker::cancel_grace) of the worker should not be shorter.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace.min(SPAN_MAX);
        self
    }

    /// The longest attempt of a job, from its start on. Then the command is ended, and the attempt counts as timed out. A job may have
    /// a shorter timeout of its own. Default: only that of the job counts.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout.min(SPAN_MAX));
        self
    }

    /// How long a job is postponed by exit code 69, unless the command wrote how long. Default 60 s.
    pub fn snooze(mut self, span: Duration) -> Self {
        self.snooze = span;
        self
    }

    /// The retry policy of its jobs that have none of their own.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// What of its stdout is the output. Default [`Output::Whole`].
    pub fn output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// Most bytes of output: of all of its stdout, or of one line with [`Output::LastLine`]. A command that writes more is ended,
    /// and its job discarded. Default, and at most, the store's bound on outputs, 1 MiB.
    pub fn output_bytes_max(mut self, bytes: usize) -> Self {
        self.output_bytes_max = bytes;
        self
    }

    /// Makes a control group for each run in this folder of the cgroup file system (version 2), which must be delegated to the worker
    /// and hold no process itself. There the limits of memory and processes hold for the whole command, if the folder has the
    /// controllers `memory` and `pids`. Default: the folder above the worker's own control group if it is marked as delegated, as by
    /// `Delegate=yes` with `DelegateSubgroup=` of systemd, and if one of these two limits is set; otherwise none.
    pub fn cgroup(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cgroup = Some(folder.into());
        self
    }

    /// Most bytes of memory: of all its processes together where it has a control group, and else of each of them. Without a control
    /// group it is `RLIMIT_AS`, which counts reserved addresses, not used pages. The log says which when the worker begins.
    pub fn memory_max(mut self, bytes: u64) -> Self {
        self.limits.memory_bytes = Some(bytes);
        self
    }

    /// Most seconds of CPU time of each of its processes: `RLIMIT_CPU`. The kernel sends SIGXCPU, and SIGKILL one second later.
    pub fn cpu_secs_max(mut self, secs: u64) -> Self {
        self.limits.cpu_secs = Some(secs);
        self
    }

    /// Most files that each of its processes has open: `RLIMIT_NOFILE`.
    pub fn open_files_max(mut self, files: u64) -> Self {
        self.limits.open_files = Some(files);
        self
    }

    /// Most processes and threads of the command where it has a control group. Without one it is `RLIMIT_NPROC`: it counts those of
    /// all programs of the command's user, and does not hold for root.
    pub fn processes_max(mut self, processes: u64) -> Self {
        self.limits.processes = Some(processes);
        self
    }

    /// The program that supervises the command, in place of the worker's own: its `main` must begin with
    /// [`supervise_if_asked`](super::supervise_if_asked). `backroom` and `backroom-exec` are such programs.
    pub fn supervised_by(mut self, program: impl Into<PathBuf>) -> Self {
        self.supervisor = Some(program.into());
        self
    }

    /// For a handler of the own program: how it finds the handler, and how its answer is read.
    pub(crate) fn for_handler(self, kind: &str, retry: RetryPolicy) -> Result<Self, Error> {
        let wrong =
            |why: &str| Error::new(ErrorKind::Invalid, format!("set up the process of kind {kind:?}: {why}"));
        if self.program != Path::new(THIS_PROGRAM) || self.supervisor.is_some() {
            return Err(wrong("its handler is in this program; begin with CommandSpec::this_program()"));
        }
        if !has_handler(kind) {
            let why = "this program has no handler of it for a process of its own; give it to \
                       backroom::command::supervise_if_asked_with at the beginning of main";
            return Err(wrong(why));
        }
        let arguments = [ASKED, HANDLE, kind].map(OsString::from).to_vec();
        Ok(Self {
            arguments,
            retry,
            output: Output::LastLine,
            answer_extra_bytes: ANSWER_EXTRA_BYTES,
            ..self
        })
    }

    /// Checks everything that can be checked before the first job, and reads the environment.
    pub(crate) fn ready(self, kind: &str) -> Result<Ready, Error> {
        let wrong = |why: String| {
            Error::new(ErrorKind::Invalid, format!("set up the command of kind {kind:?}: {why}"))
        };
        let supervisor = match &self.supervisor {
            Some(program) => program.clone(),
            None if can_supervise() => PathBuf::from(THIS_PROGRAM),
            None => {
                return Err(wrong(
                    "this program cannot supervise commands; begin its main with backroom::command::supervise_if_asked(), or \
                     name a program with CommandSpec::supervised_by"
                        .into(),
                ));
            }
        };
        check_executable(&supervisor).map_err(|why| wrong(format!("the supervisor {why}")))?;
        let account = match &self.user {
            Some(RunAs::Named(name)) => {
                let found = user::named(name).map_err(|error| wrong(format!("read /etc/passwd: {error}")))?;
                let missing =
                    || wrong(format!("there is no user {name:?} in /etc/passwd; use CommandSpec::user_ids"));
                Some(found.ok_or_else(missing)?)
            }
            Some(RunAs::Ids(_)) | None => None,
        };
        let user = match (&self.user, &account) {
            (Some(RunAs::Ids(ids)), _) => Some(*ids),
            (_, Some(account)) => Some(User { uid: account.uid, gid: account.gid }),
            (_, None) => None,
        };
        if user.is_some() && !rustix::process::geteuid().is_root() {
            return Err(wrong("only a worker that runs as root can run commands as another user".into()));
        }
        let mut env = self.passes.read();
        if let Some(account) = account {
            for (name, value) in
                [("HOME", account.home), ("USER", account.name.clone()), ("LOGNAME", account.name)]
            {
                set(&mut env, name.into(), value.into());
            }
        }
        for (name, value) in &self.env {
            let bytes = name.as_encoded_bytes();
            if bytes.is_empty() || bytes.iter().any(|byte| matches!(byte, b'=' | 0)) {
                return Err(wrong(format!("{name:?} is no name of a variable")));
            }
            set(&mut env, name.clone(), value.clone());
        }
        let has_nul = |text: &OsStr| text.as_encoded_bytes().contains(&0);
        if let Some(text) =
            self.arguments.iter().chain(env.iter().map(|(_, value)| value)).find(|text| has_nul(text))
        {
            return Err(wrong(format!("{text:?} holds a NUL byte, which no argument or variable can hold")));
        }
        if let Some(folder) = &self.folder
            && !folder.is_dir()
        {
            return Err(wrong(format!("there is no folder {}", folder.display())));
        }
        let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
        let program = resolve(&self.program, path).map_err(|why| wrong(format!("the program {why}")))?;
        let cgroup = match &self.cgroup {
            Some(folder) => Some(Parent::prepare(folder).map_err(|error| {
                wrong(format!("control groups cannot be made in {}: {error}", folder.display()))
            })?),
            None if self.limits.memory_bytes.or(self.limits.processes).is_some() => Parent::delegated(),
            None => None,
        };
        if self.limits.any() {
            let by_rlimits = self.limits.beside(cgroup.as_ref());
            let by = |limit: Option<u64>, rest: Option<u64>| match (limit, rest) {
                (None, _) => "unlimited",
                (Some(_), None) => "by its control group, for all its processes together",
                (Some(_), Some(_)) => "by rlimit",
            };
            tracing::info!(
                kind,
                memory = by(self.limits.memory_bytes, by_rlimits.memory_bytes),
                processes = by(self.limits.processes, by_rlimits.processes),
                cpu_time = by(self.limits.cpu_secs, by_rlimits.cpu_secs),
                open_files = by(self.limits.open_files, by_rlimits.open_files),
                "limits of a command"
            );
        }
        let grace_ms = u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX);
        let order = Order {
            program,
            arguments: self.arguments.clone(),
            folder: self.folder.clone(),
            env,
            user,
            limits: self.limits,
            cgroup,
            grace_ms,
        };
        Ok(Ready { spec: self, order, supervisor })
    }
}

/// A command that can be run.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) spec: CommandSpec,
    /// Without the variables of one job.
    pub(super) order: Order,
    pub(super) supervisor: PathBuf,
}

impl Ready {
    /// Most bytes of stdout, or of a line of it, in a store with this bound on outputs.
    pub(super) fn output_bytes_max(&self, of_store: usize) -> usize {
        self.spec.output_bytes_max.min(of_store).saturating_add(self.spec.answer_extra_bytes)
    }

    /// How long the command may go on after it was asked to stop.
    pub(crate) fn grace(&self) -> Duration {
        self.spec.grace
    }
}

impl Passes {
    fn read(&self) -> Vec<(OsString, OsString)> {
        match self {
            Self::All => env::vars_os().collect(),
            Self::Named(names) => {
                names.iter().filter_map(|name| Some((name.clone(), env::var_os(name)?))).collect()
            }
        }
    }
}

pub(super) fn set(env: &mut Vec<(OsString, OsString)>, name: OsString, value: OsString) {
    env.retain(|(other, _)| *other != name);
    env.push((name, value));
}

/// The absolute path of a program. Fails with what is wrong with it.
fn resolve(program: &Path, path: Option<&OsStr>) -> Result<PathBuf, String> {
    let name = program.display();
    if program.is_absolute() {
        return check_executable(program).map(|()| program.to_owned());
    }
    if program.components().count() != 1 || program.as_os_str().is_empty() {
        return Err(format!("{name} is a relative path; use an absolute one, or a name to find in PATH"));
    }
    let folders = path.map(env::split_paths).into_iter().flatten();
    let mut found = folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join(program));
    found
        .find(|candidate| check_executable(candidate).is_ok())
        .ok_or_else(|| format!("{name} is in no folder of the command's PATH"))
}

/// Fails with what is wrong with a program.
fn check_executable(program: &Path) -> Result<(), String> {
    let name = program.display();
    let found = fs::metadata(program).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{name} does not exist"),
        _ => format!("{name} cannot be found: {error}"),
    })?;
    if !found.is_file() {
        return Err(format!("{name} is no file"));
    }
    if found.permissions().mode() & 0o111 == 0 {
        return Err(format!("{name} is not executable; set its x permission"));
    }
    Ok(())
}
