//! Which process a worker is, so that another process on the same machine sees at once when it is dead.

use std::{fs, path::Path, sync::OnceLock};

use serde::{Deserialize, Serialize};

/// Where the kernel shows the processes.
const PROC: &str = "/proc";

/// What identifies a process beyond its host and id. Process ids are used again: after another boot, in another container, and
/// later on the same machine. Each field is empty or zero where it cannot be found, as on systems other than Linux.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The boot of the machine.
    pub boot_id: String,
    /// The namespace that its id belongs to.
    pub pid_namespace: String,
    /// When it started, in the clock ticks of its kernel since the boot.
    pub started_ticks: u64,
}

/// Memory of this process that is in RAM, in bytes; none where the system does not say it.
pub(crate) fn memory_bytes() -> Option<u64> {
    let status = fs::read_to_string(Path::new(PROC).join("self/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

impl Process {
    /// This process; all fields are empty where it cannot be distinguished from others.
    pub(crate) fn this() -> &'static Self {
        static THIS: OnceLock<Process> = OnceLock::new();
        THIS.get_or_init(|| Self::seen_in(Path::new(PROC), std::process::id()))
    }

    /// This process as a folder of processes shows it; nothing where the folder belongs to another namespace of process ids,
    /// as after `unshare --pid` without `--mount-proc`. There each id means another process than here.
    fn seen_in(proc: &Path, id: u32) -> Self {
        let (Ok(this), Ok(of_id)) = (stat(proc, "self"), stat(proc, &id.to_string())) else {
            return Self::default();
        };
        if this.id != id || of_id.id != id || this.started_ticks != of_id.started_ticks {
            return Self::default();
        }
        Self {
            boot_id: text(&proc.join("sys/kernel/random/boot_id")),
            pid_namespace: fs::read_link(proc.join("self/ns/pid"))
                .map(|link| link.to_string_lossy().into_owned())
                .unwrap_or_default(),
            started_ticks: this.started_ticks,
        }
    }
}

/// A process with its host, for other processes to see whether it is dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessOnHost {
    /// The name of the machine.
    pub host: String,
    /// Its id.
    pub pid: u32,
    /// What distinguishes it from others that have had this id.
    #[serde(flatten)]
    pub process: Process,
}

impl ProcessOnHost {
    /// This process.
    pub fn this() -> Self {
        Self { host: host(), pid: std::process::id(), process: Process::this().clone() }
    }

    /// Whether it certainly is dead: it ran on this machine and runs no more. Of a process elsewhere this is never known.
    pub fn is_dead(&self) -> bool {
        fate(&self.host, self.pid, &self.process) == Fate::Dead
    }
}

/// What this process knows about the process of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It runs on this machine.
    Alive,
    /// It ran on this machine and is dead.
    Dead,
    /// This process cannot see it: it is on another host, of another boot, in another container, or this machine hides the
    /// processes of other users.
    Unknown,
}

/// What this process knows about the process that a worker on `host` says it has.
pub(crate) fn fate(host: &str, pid: u32, its: &Process) -> Fate {
    let this = Process::this();
    let is_known = !its.boot_id.is_empty() && !its.pid_namespace.is_empty() && its.started_ticks > 0;
    let is_here =
        host == self::host() && its.boot_id == this.boot_id && its.pid_namespace == this.pid_namespace;
    if !is_known || !is_here || !shows_all_processes() {
        return Fate::Unknown;
    }
    match stat(Path::new(PROC), &pid.to_string()) {
        // Its parent has not collected it yet; or its id belongs to another process by now.
        Ok(found) if matches!(found.state, 'Z' | 'X' | 'x') || found.started_ticks != its.started_ticks => {
            Fate::Dead
        }
        Ok(_) => Fate::Alive,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Fate::Dead,
        Err(_) => Fate::Unknown,
    }
}

/// The machine's name, as far as it can be found without asking the network.
pub(crate) fn host() -> String {
    let from_kernel =
        Some(text(&Path::new(PROC).join("sys/kernel/hostname"))).filter(|name| !name.is_empty());
    let from_shell = || std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME")).ok();
    let host = from_kernel.or_else(from_shell).map(|host| host.trim().to_owned());
    host.filter(|host| !host.is_empty() && host.len() <= 64).unwrap_or_else(|| "localhost".into())
}

/// With `hidepid` the processes of other users seem not to exist.
fn shows_all_processes() -> bool {
    let mounts = text(&Path::new(PROC).join("self/mounts"));
    let mut of_proc = mounts.lines().filter(|line| line.split(' ').nth(1) == Some(PROC));
    of_proc.next_back().is_some_and(|line| !line.contains("hidepid"))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// What the kernel says about a process.
struct Stat {
    id: u32,
    state: char,
    /// When it started.
    started_ticks: u64,
}

fn stat(proc: &Path, process: &str) -> std::io::Result<Stat> {
    let stat = fs::read_to_string(proc.join(process).join("stat"))?;
    // The second field is the command's name in brackets, which may contain any character. The fields before and behind it are
    // read. Behind it the state is the first field, and the start (the 22nd of all) is the twentieth.
    let found = || {
        let id = stat.split_once(' ')?.0.parse().ok()?;
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let state = fields.first()?.chars().next()?;
        Some(Stat { id, state, started_ticks: fields.get(19)?.parse().ok()? })
    };
    found().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidData))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use super::*;

    fn fate_here(pid: u32, its: &Process) -> Fate {
        fate(&host(), pid, its)
    }

    fn of(pid: u32) -> Process {
        let started_ticks = stat(Path::new(PROC), &pid.to_string()).expect("it lives").started_ticks;
        Process { started_ticks, ..Process::this().clone() }
    }

    #[test]
    fn a_process_is_dead_when_it_was_killed_even_before_its_parent_collects_it() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let its = of(child.id());
        assert_eq!(fate_here(child.id(), &its), Fate::Alive);
        child.kill().unwrap();
        while stat(Path::new(PROC), &child.id().to_string()).is_ok_and(|found| found.state != 'Z') {
            std::thread::yield_now();
        }
        assert_eq!(fate_here(child.id(), &its), Fate::Dead, "it is killed and not collected");
        child.wait().unwrap();
        assert_eq!(fate_here(child.id(), &its), Fate::Dead, "it is gone");
    }

    #[test]
    fn a_process_id_that_another_process_has_by_now_is_a_dead_process() {
        let parent = std::os::unix::process::parent_id();
        let its = of(parent);
        assert_eq!(fate_here(parent, &its), Fate::Alive);
        let other = Process { started_ticks: its.started_ticks + 1, ..its };
        assert_eq!(fate_here(parent, &other), Fate::Dead);
    }

    #[test]
    fn what_cannot_be_seen_from_here_is_unknown() {
        let unused_pid = 0x3fff_ffff;
        let this = Process::this().clone();
        assert_eq!(fate_here(unused_pid, &this), Fate::Dead);
        assert_eq!(fate("another", unused_pid, &this), Fate::Unknown);
        for unknown in [
            Process::default(),
            Process { boot_id: "another".into(), ..this.clone() },
            Process { pid_namespace: "pid:[1]".into(), ..this },
        ] {
            assert_eq!(fate_here(unused_pid, &unknown), Fate::Unknown, "{unknown:?}");
        }
    }

    #[test]
    fn a_process_that_proc_shows_under_another_id_does_not_say_who_it_is() {
        let this = std::process::id();
        assert_eq!(Process::seen_in(Path::new(PROC), this), *Process::this());
        assert!(Process::this().started_ticks > 0);
        // As after `unshare --pid` without `--mount-proc`: the process has the id 1, and another process has it in /proc.
        assert_eq!(Process::seen_in(Path::new(PROC), 1), Process::default());
        let parent = std::os::unix::process::parent_id();
        assert_eq!(Process::seen_in(Path::new(PROC), parent), Process::default());
        // A process that is shown so knows nothing about others either.
        let dir = tempfile::tempdir().unwrap();
        for (folder, id) in [("self", this + 1), (this.to_string().as_str(), this)] {
            fs::create_dir(dir.path().join(folder)).unwrap();
            let stat = format!("{id} (a) b) S{} 77 0", " 0".repeat(18));
            fs::write(dir.path().join(folder).join("stat"), stat).unwrap();
        }
        assert_eq!(Process::seen_in(dir.path(), this), Process::default());
    }
}
