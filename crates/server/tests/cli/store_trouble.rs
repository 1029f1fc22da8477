//! Stores that are missing, unreadable, or none.

use crate::cli_support::{Place, Said, said};

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[test]
fn a_command_that_only_looks_creates_no_store() {
    let place = Place::new();
    for command in [
        vec!["jobs"],
        vec!["job", ID],
        vec!["cancel", ID],
        vec!["retry", ID],
        vec!["delete", ID],
        vec!["queues"],
        vec!["queues", "pause", "q"],
        vec!["queues", "resume", "q"],
        vec!["queues", "retain", "q", "--completed", "1d"],
        vec!["workers"],
        vec!["doctor"],
    ] {
        let said = place.run(&command);
        said.failed_naming("backroom.db");
        assert!(said.err.contains("hint: `backroom enqueue`"), "{said:?}");
        assert!(!place.path("backroom.db").exists(), "{command:?}");
    }
}

#[test]
fn a_store_in_a_folder_that_does_not_exist_is_refused() {
    let place = Place::new();
    place.run(["enqueue", "k", "--store", "sqlite:no/such/jobs.db"]).failed_naming("no/such");
    place.run(["jobs", "--store", "sqlite:no/such/jobs.db"]).failed_naming("no/such");
    assert!(!place.path("no").exists());
}

#[test]
fn a_folder_is_no_store() {
    let place = Place::new();
    std::fs::create_dir(place.path("folder")).unwrap();
    for store in ["sqlite:folder", "sqlite:.", "sqlite:/"] {
        place.run(["enqueue", "k", "--store", store]).failed_naming("folder");
        place.run(["jobs", "--store", store]).failed_naming("folder");
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let place = Place::new();
    let text = "this is a letter to my aunt, not a database\n".repeat(200);
    std::fs::write(place.path("letter.txt"), &text).unwrap();
    for command in [vec!["enqueue", "k"], vec!["jobs"], vec!["doctor"]] {
        let said = place.run(command.iter().chain(&["--store", "sqlite:letter.txt"]));
        said.failed_naming("letter.txt");
        assert!(said.err.contains("not a SQLite database"), "{said:?}");
    }
    assert_eq!(std::fs::read_to_string(place.path("letter.txt")).unwrap(), text);
}

#[test]
fn a_damaged_file_is_refused_or_reported_but_never_a_panic() {
    let place = Place::new();
    let lines: String = (0..2000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    place.run_with(lines.as_bytes(), &["enqueue", "k", "--lines"]).succeeded();
    let mut bytes = std::fs::read(place.path("backroom.db")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle - 40_000..middle + 40_000].fill(0xa5);
    std::fs::write(place.path("backroom.db"), bytes).unwrap();
    let said = place.run(["doctor"]);
    assert_eq!(said.code, 1, "{said:?}");
    for command in [vec!["jobs", "-n", "1000"], vec!["queues"], vec!["enqueue", "k"]] {
        let said = place.run(&command);
        assert!(said.code == 0 || said.err.contains("damaged") || said.err.contains("restore"), "{said:?}");
    }
}

#[test]
fn urls_of_no_store_are_refused() {
    let place = Place::new();
    for url in ["", "backroom.db", "sqlite", "mysql://x", "sqlite:", ":", "sqlite::memory:"] {
        let said = place.run(["enqueue", "k", "--store", url]);
        assert!(said.code == 1 || said.code == 2, "{url:?}: {said:?}");
        assert!(said.err.starts_with("error: "), "{url:?}: {said:?}");
    }
    let left: Vec<_> =
        std::fs::read_dir(place.path(".")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_store_is_named_by_option_or_environment() {
    let place = Place::new();
    let said =
        place.command().args(["enqueue", "k"]).env("BACKROOM_STORE", "sqlite:env.db").output().unwrap();
    assert!(said.status.success());
    assert!(place.path("env.db").exists() && !place.path("backroom.db").exists());
    place.run(["--store", "sqlite:option.db", "enqueue", "k"]).succeeded();
    assert_eq!(place.json(["jobs", "--store", "sqlite:option.db"])["jobs"].as_array().unwrap().len(), 1);
}

#[test]
fn a_flag_is_stronger_than_a_variable_and_a_variable_than_the_file() {
    // No store and no server is there: the error names the one that was asked.
    let (flag, variable, file) = ("sqlite:flag.db", "sqlite:variable.db", "store = \"sqlite:file.db\"\n");
    let (to_flag, to_variable) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
    let undecided = "BACKROOM_STORE and BACKROOM_SERVER both";
    type Case<'a> = ([Option<&'a str>; 2], [Option<&'a str>; 2], bool, &'a str);
    // Flags --store and --server; variables of the two; whether the file names a store; what is asked.
    let cases: &[Case<'_>] = &[
        ([None, None], [None, None], false, "backroom.db"),
        ([None, None], [None, None], true, "file.db"),
        ([None, None], [Some(variable), None], true, "variable.db"),
        ([Some(flag), None], [Some(variable), None], true, "flag.db"),
        ([None, None], [None, Some(to_variable)], true, "127.0.0.1:2"),
        ([None, Some(to_flag)], [None, Some(to_variable)], true, "127.0.0.1:1"),
        ([None, Some(to_flag)], [Some(variable), None], true, "127.0.0.1:1"),
        ([None, Some(to_flag)], [Some(variable), Some(to_variable)], false, "127.0.0.1:1"),
        ([Some(flag), None], [None, Some(to_variable)], true, "flag.db"),
        ([Some(flag), None], [Some(variable), Some(to_variable)], false, "flag.db"),
        ([None, None], [Some(variable), Some(to_variable)], true, undecided),
        ([None, None], [Some(variable), Some("")], false, "variable.db"),
        ([None, None], [Some(""), Some(to_variable)], false, "127.0.0.1:2"),
        ([None, None], [Some(""), Some("")], true, "file.db"),
    ];
    for (flags, variables, has_file, asked) in cases {
        let place = Place::new();
        if *has_file {
            std::fs::write(place.path("backroom.toml"), file).unwrap();
        }
        let mut command = place.command();
        command.arg("jobs");
        for (name, value) in ["--store", "--server"].iter().zip(flags) {
            command.args(value.iter().flat_map(|value| [name, value]));
        }
        command.envs(
            ["BACKROOM_STORE", "BACKROOM_SERVER"]
                .iter()
                .zip(variables)
                .filter_map(|(name, value)| Some((name, (*value)?))),
        );
        let said = said(command.output().unwrap());
        said.failed_naming(asked);
    }
}

#[test]
fn a_store_and_a_server_by_flags_contradict_each_other() {
    let place = Place::new();
    for command in ["jobs", "serve", "doctor"] {
        let said = place.run([command, "--store", "sqlite:a.db", "--server", "http://127.0.0.1:1"]);
        said.refused_naming("--store and --server");
    }
    place.run(["config", "--check", "--server", "http://127.0.0.1:1"]).failed_naming("running server");
}

#[test]
fn a_command_that_names_its_stores_does_without_the_variables() {
    let place = Place::new();
    place.enqueue(&["k"]);
    let mut command = place.command();
    command.env("BACKROOM_STORE", "sqlite:a.db").env("BACKROOM_SERVER", "http://127.0.0.1:1");
    let moved = said(
        command.args(["move", "--from", "sqlite:backroom.db", "--to", "sqlite:there.db"]).output().unwrap(),
    );
    moved.succeeded();
    let mut command = place.command();
    command.env("BACKROOM_STORE", "sqlite:a.db").env("BACKROOM_SERVER", "http://127.0.0.1:1");
    said(command.args(["completions", "bash"]).output().unwrap()).succeeded();
    let mut command = place.command();
    command.env("BACKROOM_SERVER", "http://127.0.0.1:1");
    said(command.args(["config", "--check"]).output().unwrap()).succeeded();
}

#[cfg(unix)]
#[test]
fn a_store_that_may_not_be_read_or_written_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let place = Place::new();
    let user = Unprivileged::of(&place);
    let folder = place.path("shut");
    std::fs::create_dir(&folder).unwrap();
    user.owns(&folder);
    let allow = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(&folder, 0o555);
    let store = ["--store", "sqlite:shut/jobs.db"];
    user.run(["enqueue", "k"].iter().chain(&store)).failed_naming("shut");
    allow(&folder, 0o755);
    user.run(["enqueue", "k"].iter().chain(&store)).succeeded();
    allow(&folder.join("jobs.db"), 0o000);
    user.run(["jobs"].iter().chain(&store)).failed_naming("jobs.db");
    allow(&folder.join("jobs.db"), 0o444);
    user.run(["enqueue", "k"].iter().chain(&store)).failed_naming("jobs.db");
    allow(&folder.join("jobs.db"), 0o644);
    allow(&folder, 0o000);
    user.run(["jobs"].iter().chain(&store)).failed_naming("jobs.db");
    allow(&folder, 0o755);
}

#[cfg(unix)]
#[test]
fn a_store_that_may_only_be_read_is_shown_and_nothing_is_created_beside_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let place = Place::new();
    let user = Unprivileged::of(&place);
    let (folder, file) = (place.path("shut"), place.path("shut/jobs.db"));
    std::fs::create_dir(&folder).unwrap();
    let store = ["--store", "sqlite:shut/jobs.db"];
    let id = place.enqueue(&[&["mail"][..], &store].concat());
    let allow = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(&file, 0o444);
    // First a folder in which the user could create files, then one in which it could not.
    for mode in [0o777, 0o555] {
        allow(&folder, mode);
        for command in [vec!["jobs"], vec!["job", &id], vec!["queues"], vec!["workers"], vec!["doctor"]] {
            let said = user.run(command.iter().chain(&store));
            let finds = if command[0] == "workers" { "" } else { "mail" };
            // Doctor finds that no worker serves the queue; that it looks is what counts.
            assert!(said.code == 0 || command[0] == "doctor", "{command:?}: {said:?}");
            assert!(said.out.contains(finds) || command[0] != "job", "{command:?}: {said:?}");
            assert!(!said.err.contains("cannot be written"), "{command:?}: {said:?}");
        }
        for command in [vec!["enqueue", "mail"], vec!["cancel", &id], vec!["queues", "pause", "default"]] {
            user.run(command.iter().chain(&store)).failed_naming("jobs.db");
        }
        let names: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["jobs.db"], "nothing is created");
    }
    allow(&folder, 0o755);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_may_only_be_read_shows_what_is_in_its_log_or_says_why_not() {
    use std::os::unix::fs::PermissionsExt as _;

    let place = Place::new();
    let user = Unprivileged::of(&place);
    let (folder, file) = (place.path("shut"), place.path("shut/jobs.db"));
    std::fs::create_dir(&folder).unwrap();
    let store = ["--store", "sqlite:shut/jobs.db"];
    let url = format!("sqlite:{}", file.display());
    let backroom = backroom::Backroom::open(&url).await.unwrap();
    let job = backroom.enqueue_untyped("mail", backroom::Json::null()).await.unwrap();
    let allow = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let names = ["jobs.db", "jobs.db-wal", "jobs.db-shm"].map(|name| folder.join(name));
    for name in &names {
        allow(name, 0o444);
    }
    allow(&folder, 0o555);
    let id = job.id().to_string();
    assert!(user.run(["job", &id].iter().chain(&store)).succeeded().out.contains("mail"));
    // As if its process had crashed and a copy lacked the index.
    let copy = place.path("copy");
    std::fs::create_dir(&copy).unwrap();
    for name in &names[..2] {
        // Not opened by this process, which still holds locks on it.
        let copied = std::process::Command::new("cp").arg(name).arg(&copy).status().unwrap();
        assert!(copied.success());
        allow(&copy.join(name.file_name().unwrap()), 0o444);
    }
    allow(&copy, 0o555);
    let said = user.run(["jobs", "--store", "sqlite:copy/jobs.db"]);
    if user.binary.is_some() || said.code != 0 {
        said.failed_naming("jobs.db-wal");
        assert!(said.err.contains("copy both files"), "{said:?}");
    }
    allow(&folder, 0o755);
    allow(&copy, 0o755);
    backroom.close().await.unwrap();
}

/// A user whom permissions bind. The superuser may do everything, so a test that runs as root becomes `nobody` for
/// its commands, with a copy of the binary where `nobody` can reach it.
#[cfg(unix)]
struct Unprivileged<'a> {
    place: &'a Place,
    binary: Option<std::path::PathBuf>,
}

#[cfg(unix)]
impl<'a> Unprivileged<'a> {
    /// `nobody` and `nogroup` on every system in use.
    const ID: u32 = 65_534;

    fn of(place: &'a Place) -> Self {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

        let home = place.path("");
        if std::fs::metadata(&home).unwrap().uid() != 0 {
            return Self { place, binary: None };
        }
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o755)).unwrap();
        let binary = place.path("backroom-binary");
        // By another process: a child of a test beside this one would inherit the file while it is open for writing, and
        // then it cannot be run.
        let copy = std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_backroom")).arg(&binary).status();
        assert!(copy.unwrap().success());
        Self { place, binary: Some(binary) }
    }

    fn owns(&self, path: &std::path::Path) {
        if self.binary.is_some() {
            std::os::unix::fs::chown(path, Some(Self::ID), Some(Self::ID)).unwrap();
        }
    }

    fn run<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Said {
        use std::os::unix::process::CommandExt as _;

        let Some(binary) = &self.binary else { return self.place.run(args) };
        let mut command = std::process::Command::new(binary);
        command.current_dir(self.place.path("")).env_remove("BACKROOM_STORE").uid(Self::ID).gid(Self::ID);
        said(command.args(args).output().unwrap())
    }
}

#[test]
fn a_store_that_another_program_has_locked_is_not_said_to_be_read_only() {
    let place = Place::new();
    let id = place.enqueue(&["k", "{}"]);
    let other = rusqlite::Connection::open(place.path("backroom.db")).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    for command in [&["cancel", &id][..], &["jobs"]] {
        let said = place.run(command);
        said.failed_naming("holds a lock; try again");
        assert!(!said.err.contains("read-only"), "{said:?}");
    }
    other.execute_batch("COMMIT").unwrap();
}
