//! A folder to run the real binary in, and its store to look into afterwards.
#![allow(
    dead_code,
    reason = "every test file uses its own part; one that used all could not expect any to be dead"
)]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Lines},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    thread,
    time::Duration,
};

use backroom::{Backroom, Filter, JobRow, State};
use image::{ImageFormat, Rgb, RgbImage};
use serde_json::Value;
use tempfile::TempDir;

/// The widths that the demo makes.
pub(crate) const WIDTHS: [u32; 3] = [160, 480, 1280];

/// A working directory of its own.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    /// `backroom demo` with these arguments.
    pub(crate) fn demo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backroom"));
        command.arg("demo").args(args).current_dir(self.0.path());
        command.env_remove("BACKROOM_STORE").env_remove("BACKROOM_LOG").stdin(Stdio::null());
        command
    }

    /// Runs `backroom demo --once --json` to its end, which must be a good one, and answers the summary.
    pub(crate) fn once(&self, args: &[&str]) -> Value {
        let output = self.demo(&[&["--once", "--json"], args].concat()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs it to its end, which must be an error, and answers what it says.
    pub(crate) fn fails(&self, args: &[&str]) -> String {
        let output = self.demo(args).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        stderr(&output)
    }

    /// Starts it, with its standard output to read line by line.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let mut child = self.demo(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { child, lines }
    }

    /// Puts a picture into `photos/`, in the format that its name says.
    pub(crate) fn picture(&self, name: &str, width: u32, height: u32) {
        let path = self.path("photos").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let picture = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, (x ^ y) as u8]));
        picture.save_with_format(&path, ImageFormat::from_path(&path).unwrap()).unwrap();
    }

    /// Puts any file into `photos/`.
    pub(crate) fn file(&self, name: &str, content: &[u8]) {
        fs::create_dir_all(self.path("photos")).unwrap();
        fs::write(self.path("photos").join(name), content).unwrap();
    }

    /// The width of each thumbnail in a folder, by name; each must decode.
    pub(crate) fn thumbnails(&self, folder: &str) -> BTreeMap<String, u32> {
        let files = fs::read_dir(self.path(folder)).unwrap().map(|file| file.unwrap().path());
        let pictures = files.filter(|path| path.extension().is_some_and(|extension| extension == "jpg"));
        pictures
            .map(|path| (name(&path), image::open(&path).unwrap_or_else(|e| panic!("{path:?}: {e}")).width()))
            .collect()
    }

    /// What the bank of the demo has written down: one text for each account. Hidden files are left out: a writer that was killed
    /// leaves one.
    pub(crate) fn accounts(&self, folder: &str) -> Vec<String> {
        let Ok(files) = fs::read_dir(self.path(folder).join("bank")) else { return Vec::new() };
        let paths = files.map(|file| file.unwrap().path()).filter(|path| !name(path).starts_with('.'));
        paths.map(|path| fs::read_to_string(path).unwrap()).collect()
    }

    /// Every job of the store that the demo makes when none is named.
    pub(crate) fn jobs(&self) -> Vec<JobRow> {
        self.jobs_of(&format!("sqlite:{}", self.path("backroom.db").display()))
    }

    /// Every job of a store.
    pub(crate) fn jobs_of(&self, store: &str) -> Vec<JobRow> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let backroom = Backroom::open(store).await.unwrap();
            let page = backroom.list(Filter::default(), None, 1000).await.unwrap();
            assert_eq!(page.next, None);
            backroom.close().await.unwrap();
            page.jobs
        })
    }
}

pub(crate) fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Every order was fulfilled: paid from one account, packed once, shipped once, and mailed. Answers how many there are.
#[track_caller]
pub(crate) fn assert_orders_are_fulfilled(place: &Place, folder: &str, jobs: &[JobRow]) -> usize {
    let orders = count(jobs, "order", State::Completed);
    assert!(orders > 0, "there is no order");
    assert_eq!(jobs.iter().filter(|job| job.kind == "order").count(), orders, "{jobs:?}");
    assert_eq!(place.accounts(folder), vec!["990 cents charged\n"; orders]);
    assert_eq!(count(jobs, "ship_parcel", State::Completed), orders);
    for order in 1..=orders {
        let mail = fs::read_to_string(place.path(folder).join(format!("mail-{order}.txt"))).unwrap();
        assert_eq!(mail, format!("Order {order} is paid. It comes by bicycle.\n"));
    }
    orders
}

/// How many jobs of a kind are in a state.
pub(crate) fn count(jobs: &[JobRow], kind: &str, state: State) -> usize {
    jobs.iter().filter(|job| job.kind == kind && job.state == state).count()
}

/// Every job is finished, and none was enqueued twice.
pub(crate) fn assert_each_finished_once(jobs: &[JobRow]) {
    let args: BTreeSet<_> = jobs.iter().map(|job| (&job.kind, job.args.as_str())).collect();
    assert_eq!(args.len(), jobs.len(), "a job was enqueued twice");
    for job in jobs {
        assert!(job.state.is_finished() && job.finished_at.is_some(), "{job:?}");
    }
}

/// The demo, while it runs.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Reads until a line that contains `words`; none if the process ended before.
    pub(crate) fn line_with(&mut self, words: &str) -> Option<String> {
        self.lines.by_ref().map(Result::unwrap).find(|line| line.contains(words))
    }

    /// Whether there is such a line.
    pub(crate) fn read_until(&mut self, words: &str) -> bool {
        self.line_with(words).is_some()
    }

    /// Runs until a line with `words` is said, then `kill -9`.
    pub(crate) fn kill_at(mut self, words: &str) {
        assert!(self.read_until(words), "it ended before it said {words:?}");
        self.kill();
    }

    /// Runs until something has happened, then `kill -9`.
    pub(crate) fn kill_when(self, has_happened: impl Fn() -> bool) {
        while !has_happened() {
            // Nothing tells when another process has written a file, so it is looked for.
            thread::park_timeout(Duration::from_millis(2));
        }
        self.kill();
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ctrl-C, and all that it says until it ends.
    #[cfg(unix)]
    pub(crate) fn interrupt(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let said: Vec<_> = self.lines.by_ref().map(Result::unwrap).collect();
        (self.child.wait().unwrap().code(), said.join("\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that fails must not leave a process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
