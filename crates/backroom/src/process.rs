//! Which process a worker is, so that another process on the same machine sees at once when it is dead.

use std::{fs, path::Path, sync::OnceLock};

use serde::{Deserialize, Serialize};

use crate::store::WorkerRow;

/// What names a process beyond its host and id: process ids come again, on another boot, in another container, and in time on
/// the same machine. Each field is empty or zero where it cannot be found, as on systems other than Linux.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The boot of the machine.
    pub boot_id: String,
    /// The namespace that its id belongs to.
    pub pid_namespace: String,
    /// When it started, in the clock ticks of its kernel since the boot.
    pub started_ticks: u64,
}

impl Process {
    /// This process.
    pub(crate) fn this() -> &'static Self {
        static THIS: OnceLock<Process> = OnceLock::new();
        THIS.get_or_init(|| Self {
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            pid_namespace: fs::read_link("/proc/self/ns/pid")
                .map(|link| link.to_string_lossy().into_owned())
                .unwrap_or_default(),
            started_ticks: stat("self").map(|(_, ticks)| ticks).unwrap_or_default(),
        })
    }
}

/// What is known from here of the process of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It runs on this machine.
    Alive,
    /// It ran on this machine and is dead.
    Dead,
    /// It cannot be seen from here: it is on another host, of another boot, in another container, or this machine hides the
    /// processes of other users.
    Unknown,
}

/// What is known from here of the process of a worker.
pub(crate) fn fate(worker: &WorkerRow) -> Fate {
    let (this, its) = (Process::this(), &worker.details.process);
    let is_known = !its.boot_id.is_empty() && !its.pid_namespace.is_empty() && its.started_ticks > 0;
    let is_here =
        worker.host == host() && its.boot_id == this.boot_id && its.pid_namespace == this.pid_namespace;
    if !is_known || !is_here || !shows_all_processes() {
        return Fate::Unknown;
    }
    match stat(&worker.pid.to_string()) {
        // Its parent has not collected it yet; or its id belongs to another process by now.
        Ok((state, ticks)) if matches!(state, 'Z' | 'X' | 'x') || ticks != its.started_ticks => Fate::Dead,
        Ok(_) => Fate::Alive,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Fate::Dead,
        Err(_) => Fate::Unknown,
    }
}

/// The machine's name, as far as it can be found without asking the network.
pub(crate) fn host() -> String {
    let from_kernel = Some(text("/proc/sys/kernel/hostname")).filter(|name| !name.is_empty());
    let from_shell = || std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME")).ok();
    let host = from_kernel.or_else(from_shell).map(|host| host.trim().to_owned());
    host.filter(|host| !host.is_empty() && host.len() <= 64).unwrap_or_else(|| "localhost".into())
}

/// With `hidepid` a process of another user looks as if it did not exist.
fn shows_all_processes() -> bool {
    let mounts = text("/proc/self/mounts");
    let mut of_proc = mounts.lines().filter(|line| line.split(' ').nth(1) == Some("/proc"));
    of_proc.next_back().is_some_and(|line| !line.contains("hidepid"))
}

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(path)).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// The state of a process and when it started.
fn stat(pid: &str) -> std::io::Result<(char, u64)> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat"))?;
    // The second field is the command's name in brackets, which may hold anything: what counts stands behind it. There the
    // state is the first field and the start, the 22nd of all, the twentieth.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields.split_whitespace().collect::<Vec<_>>());
    let found =
        fields.and_then(|fields| Some((fields.first()?.chars().next()?, fields.get(19)?.parse().ok()?)));
    found.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidData))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::store::WorkerDetails;

    fn row(pid: u32, process: Process) -> WorkerRow {
        let details = WorkerDetails { process, ..WorkerDetails::default() };
        WorkerRow { host: host(), pid, details, ..WorkerRow::default() }
    }

    fn of(pid: u32) -> Process {
        let started_ticks = stat(&pid.to_string()).expect("a process that lives has a record").1;
        Process { started_ticks, ..Process::this().clone() }
    }

    #[test]
    fn a_process_is_dead_when_it_was_killed_even_before_its_parent_collects_it() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let worker = row(child.id(), of(child.id()));
        assert_eq!(fate(&worker), Fate::Alive);
        child.kill().unwrap();
        while stat(&child.id().to_string()).is_ok_and(|(state, _)| state != 'Z') {
            std::thread::yield_now();
        }
        assert_eq!(fate(&worker), Fate::Dead, "it is killed and not collected");
        child.wait().unwrap();
        assert_eq!(fate(&worker), Fate::Dead, "it is gone");
    }

    #[test]
    fn a_process_id_that_another_process_has_by_now_is_a_dead_process() {
        let parent = std::os::unix::process::parent_id();
        let its = of(parent);
        assert_eq!(fate(&row(parent, its.clone())), Fate::Alive);
        let other = Process { started_ticks: its.started_ticks + 1, ..its };
        assert_eq!(fate(&row(parent, other)), Fate::Dead);
    }

    #[test]
    fn what_cannot_be_seen_from_here_is_unknown() {
        let nobody = 0x3fff_ffff;
        let this = Process::this().clone();
        assert_eq!(fate(&row(nobody, this.clone())), Fate::Dead);
        for unknown in [
            row(nobody, Process::default()),
            row(nobody, Process { boot_id: "another".into(), ..this.clone() }),
            row(nobody, Process { pid_namespace: "pid:[1]".into(), ..this.clone() }),
            WorkerRow { host: "another".into(), ..row(nobody, this) },
        ] {
            assert_eq!(fate(&unknown), Fate::Unknown, "{unknown:?}");
        }
    }
}
