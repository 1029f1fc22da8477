//! Where keys come from: a file, a variable, a command, or a source of your own.

use std::{
    fmt,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, PoisonError, RwLock, mpsc},
    time::Duration,
};

use async_trait::async_trait;
use backroom_core::{Attempt, Draft, JobRow, LogLine, Timestamp};
use zeroize::Zeroizing;

use super::{
    Codec, OpenError,
    jwk::{KeySet, SET_BYTES_MAX},
};
use crate::{Error, ErrorKind, ids::Ids};

/// How long a command may take to print keys.
const COMMAND_TIME: Duration = Duration::from_secs(30);

/// Gives keys: at the start, and again whenever a worker asks for news.
#[async_trait]
pub trait KeySource: Send + Sync + 'static {
    /// Reads the keys as they are now.
    async fn load(&self) -> Result<KeySet, Error>;

    /// What it is, for people. It holds no secret.
    fn describe(&self) -> String;
}

/// A file with a JWK Set, such as `backroom keys make` writes. On Unix it is refused if it holds secrets and every user of the machine
/// may read it.
#[derive(Debug, Clone)]
pub struct KeyFile(pub PathBuf);

/// A variable of the environment with a JWK Set.
#[derive(Debug, Clone)]
pub struct KeyVariable(pub String);

/// A program that prints a JWK Set, with its arguments; no shell reads them. It can ask a key management service. It has 30 seconds, and what it
/// writes to stderr appears in the process's own.
#[derive(Debug, Clone)]
pub struct KeyCommand(pub Vec<String>);

#[async_trait]
impl KeySource for KeyFile {
    async fn load(&self) -> Result<KeySet, Error> {
        let path = self.0.clone();
        in_the_background(move || read_file(&path)).await
    }

    fn describe(&self) -> String {
        format!("file {}", self.0.display())
    }
}

#[async_trait]
impl KeySource for KeyVariable {
    async fn load(&self) -> Result<KeySet, Error> {
        let text = std::env::var(&self.0).map(Zeroizing::new);
        KeySet::parse(&text.map_err(|_| failed(&self.describe(), "it is not set, or is no text"))?)
    }

    fn describe(&self) -> String {
        format!("variable {}", self.0)
    }
}

#[async_trait]
impl KeySource for KeyCommand {
    async fn load(&self) -> Result<KeySet, Error> {
        let (line, shown) = (self.0.clone(), self.describe());
        in_the_background(move || run_command(&line, &shown)).await
    }

    fn describe(&self) -> String {
        format!("command {}", self.0.first().map_or("", String::as_str))
    }
}

impl KeyFile {
    /// Writes a set in place of the file, if there is one. On Unix only its owner may read it.
    pub fn write(&self, set: &KeySet) -> Result<(), Error> {
        use std::io::Write as _;
        let what = self.describe();
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Invalid, format!("write keys to the {what}")).caused_by(error)
        };
        let folder = self.0.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| std::path::Path::new("."));
        // Random, so that two commands do not write into one file.
        let beside = folder.join(format!(".keys-{}", Ids::from_entropy().lease().0.simple()));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&beside).and_then(|mut file| {
            file.write_all(set.to_text().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&beside, &self.0)?;
            // The rename is durable once the folder is.
            std::fs::File::open(folder)?.sync_all()
        });
        written.map_err(|error| {
            let _ = std::fs::remove_file(&beside);
            failed(error)
        })
    }
}

/// A set that never changes, for tests and for programs that have their keys already.
#[async_trait]
impl KeySource for KeySet {
    async fn load(&self) -> Result<KeySet, Error> {
        Ok(self.clone())
    }

    fn describe(&self) -> String {
        "keys of the program".into()
    }
}

/// Keys in use: read from a [`KeySource`], and read again when asked. Cheap to clone.
#[derive(Clone)]
pub struct Keys(Arc<InUse>);

struct InUse {
    source: Box<dyn KeySource>,
    set: RwLock<Arc<KeySet>>,
}

impl Keys {
    /// Reads the keys of a source.
    pub async fn load(source: impl KeySource) -> Result<Self, Error> {
        let set = source.load().await?;
        Ok(Self(Arc::new(InUse { source: Box::new(source), set: RwLock::new(Arc::new(set)) })))
    }

    /// Reads them again. Returns whether keys came or went. If the source fails, the keys stay.
    pub async fn reload(&self) -> Result<bool, Error> {
        let new = self.0.source.load().await?;
        let ids = |set: &KeySet| set.keys().iter().map(|key| key.id().to_owned()).collect::<Vec<_>>();
        let mut set = self.0.set.write().unwrap_or_else(PoisonError::into_inner);
        let is_news = ids(&set) != ids(&new);
        *set = Arc::new(new);
        Ok(is_news)
    }

    /// The keys as they are now.
    pub fn set(&self) -> Arc<KeySet> {
        Arc::clone(&self.0.set.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What they are read from, for people.
    pub fn describe(&self) -> String {
        self.0.source.describe()
    }

    /// A draft with its args sealed by the key of this name, for a job whose id is chosen here; [`Draft::id`] has it. It can be
    /// enqueued by a program that has no keys.
    pub fn seal_draft(
        &self,
        mut draft: Draft,
        name: &str,
        ids: &Ids,
        now: Timestamp,
    ) -> Result<Draft, Error> {
        let id = draft.id.unwrap_or_else(|| ids.job(now));
        draft.id = Some(id);
        super::seals::sealed_draft(self, draft, name, id, now, ids)
    }

    /// The job with those of its values opened that these keys open. What is not sealed stays as it is. Fails if a value does not open.
    pub fn open_job(&self, job: &JobRow) -> Result<JobRow, OpenError> {
        let mut open = job.clone();
        let codec = |text: &str| Codec::of(self, job, text);
        if let Some(codec) = codec(job.args.as_str()) {
            open.args = codec.open_json(super::Field::Args, &job.args)?;
        }
        let Some(lease) = job.lease_id else { return Ok(open) };
        if let Some((codec, output)) =
            job.output.as_ref().and_then(|json| Some((codec(json.as_str())?, json)))
        {
            open.output = Some(codec.open_json(super::Field::Output(lease), output)?);
        }
        if let Some(progress) = &mut open.progress
            && let Some(codec) = codec(&progress.message)
        {
            progress.message = codec.open_text(super::Field::Progress(lease), &progress.message)?;
        }
        if let Some(reason) = &mut open.reason
            && let Some(codec) = codec(reason)
        {
            *reason = codec.open_text(super::Field::Error(lease), reason)?;
        }
        Ok(open)
    }

    /// The same for an attempt of the job.
    pub fn open_attempt(&self, job: &JobRow, attempt: &Attempt) -> Result<Attempt, OpenError> {
        let mut open = attempt.clone();
        if let Some(codec) = Codec::of(self, job, &attempt.error) {
            open.error = codec.open_text(super::Field::Error(attempt.lease_id), &attempt.error)?;
        }
        Ok(open)
    }

    /// The same for a line of the job's log.
    pub fn open_line(&self, job: &JobRow, line: &LogLine) -> Result<LogLine, OpenError> {
        let mut open = line.clone();
        if let Some(codec) = Codec::of(self, job, &line.line) {
            open.line = codec.open_text(super::Field::Log(line.lease_id, line.seq), &line.line)?;
        }
        Ok(open)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("source", &self.describe()).field("set", &self.set()).finish()
    }
}

/// Reading a file or waiting for a program blocks.
async fn in_the_background(
    read: impl FnOnce() -> Result<KeySet, Error> + Send + 'static,
) -> Result<KeySet, Error> {
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, "read keys: the reading task ended").caused_by(error))
    })
}

fn read_file(path: &std::path::Path) -> Result<KeySet, Error> {
    use std::io::Read as _;
    let what = format!("file {}", path.display());
    let io = |error: std::io::Error| failed(&what, "it cannot be read").caused_by(error);
    let file = std::fs::File::open(path).map_err(io)?;
    let about = file.metadata().map_err(io)?;
    let mut text = Zeroizing::new(String::with_capacity(SET_BYTES_MAX / 64));
    file.take(SET_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(io)?;
    let set = KeySet::parse(&text)?;
    #[cfg(unix)]
    if set.has_secrets() && std::os::unix::fs::MetadataExt::mode(&about) & 0o007 != 0 {
        return Err(failed(&what, "every user of the machine may read it; run `chmod 600` on it"));
    }
    let _ = about;
    Ok(set)
}

fn run_command(line: &[String], what: &str) -> Result<KeySet, Error> {
    use std::io::Read as _;
    let (program, args) = line.split_first().ok_or_else(|| failed(what, "it names no program"))?;
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(what, "it does not start").caused_by(error))?;
    let stdout = child.stdout.take().expect("invariant: its stdout is a pipe");
    let (sender, printed) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut text = Zeroizing::new(String::with_capacity(SET_BYTES_MAX / 64));
        let read = stdout.take(SET_BYTES_MAX as u64 + 1).read_to_string(&mut text);
        // Nothing waits for it any more after the time is over.
        let _ = sender.send(read.map(|_| text));
    });
    let printed = printed.recv_timeout(COMMAND_TIME);
    if printed.is_err() {
        // It may have ended by itself.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| failed(what, "it cannot be waited for").caused_by(error))?;
    let text = printed
        .map_err(|_| failed(what, "it took longer than 30 seconds"))?
        .map_err(|error| failed(what, "it printed no text").caused_by(error))?;
    if !status.success() {
        return Err(failed(what, &format!("it ended with {status}")));
    }
    KeySet::parse(&text)
}

fn failed(what: &str, why: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("read keys from the {what}: {why}"))
}
