//! Limits and ends a command by a control group (cgroup v2), where the worker may make some.
//!
//! A *parent* is a folder of the cgroup file system that was delegated to the worker. Each run gets a folder below it, which the
//! supervisor makes and removes. The limits of a control group hold for all processes of a command together, and it can be killed as
//! a whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::order::Limits;

/// Where the control groups of runs are made, and which of their limits work there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parent {
    pub(super) folder: PathBuf,
    pub(super) memory: bool,
    pub(super) processes: bool,
}

impl Parent {
    /// Prepares a folder of the cgroup file system. Fails if it is none, or if the worker cannot make control groups in it.
    pub(super) fn prepare(folder: &Path) -> io::Result<Self> {
        let offered = fs::read_to_string(folder.join("cgroup.controllers"))?;
        for controller in ["memory", "pids"] {
            if offered.split_whitespace().any(|name| name == controller) {
                // Refused while processes are in the folder itself. What works is read below.
                let _ = fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
        let enabled = fs::read_to_string(folder.join("cgroup.subtree_control"))?;
        let has = |controller| enabled.split_whitespace().any(|name| name == controller);
        let parent = Self { folder: folder.to_owned(), memory: has("memory"), processes: has("pids") };
        parent.sweep()?;
        // Shows that control groups can be made here.
        Group::make(&parent, &Limits::default())?.remove();
        Ok(parent)
    }

    /// The parent that a service manager delegated to the worker's service, if it did: the folder above the worker's own, marked as
    /// delegated (systemd: `Delegate=yes` and `DelegateSubgroup=`).
    pub(super) fn delegated() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let mount = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let place = fields.next()?;
            (fields.next()? == "cgroup2").then_some(place)
        })?;
        let own = Path::new(mount).join(own);
        let above = own.parent().filter(|above| above.starts_with(mount) && *above != Path::new(mount))?;
        let is_delegated = ["user.delegate", "trusted.delegate"].iter().any(|name| {
            let mut value = [0_u8; 8];
            rustix::fs::getxattr(above, *name, &mut value).is_ok_and(|count| value[..count] == *b"1")
        });
        is_delegated.then(|| Self::prepare(above).ok()).flatten()
    }

    /// Removes control groups of runs whose supervisor was killed. Those that still hold processes stay.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) {
                let _ = fs::remove_dir(path);
            }
        }
        Ok(())
    }

    /// The folder of the run that this supervisor has.
    pub(super) fn of_run(&self, supervisor: u32) -> PathBuf {
        self.folder.join(format!("{PREFIX}{supervisor}"))
    }
}

/// How the name of a run's folder begins.
const PREFIX: &str = "backroom-run-";

/// The control group of one run.
#[derive(Debug)]
pub(super) struct Group {
    folder: PathBuf,
}

impl Group {
    /// Makes the control group of the run that this process supervises.
    pub(super) fn make(parent: &Parent, limits: &Limits) -> io::Result<Self> {
        let group = Self { folder: parent.of_run(std::process::id()) };
        fs::create_dir(&group.folder)?;
        let limited = group.limit(parent, limits);
        if limited.is_err() {
            group.remove();
        }
        limited.map(|()| group)
    }

    fn limit(&self, parent: &Parent, limits: &Limits) -> io::Result<()> {
        if let Some(bytes) = limits.memory_bytes.filter(|_| parent.memory) {
            fs::write(self.folder.join("memory.max"), bytes.to_string())?;
            // Absent where the kernel counts no swap.
            let _ = fs::write(self.folder.join("memory.swap.max"), "0");
            fs::write(self.folder.join("memory.oom.group"), "1")?;
        }
        if let Some(processes) = limits.processes.filter(|_| parent.processes) {
            fs::write(self.folder.join("pids.max"), processes.to_string())?;
        }
        Ok(())
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the kernel killed processes of it for lack of memory.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.is_some_and(|count| count.trim() != "0")
    }

    /// Removes it, once it has no process left.
    pub(super) fn remove(&self) {
        // What stays is removed when the next worker begins.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Puts this process, and all that it starts from now on, into a control group.
pub(super) fn enter(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("cgroup.procs"), "0")
}

/// Sends SIGKILL to all processes of a control group. Without effect on kernels before 5.14.
pub(super) fn kill(folder: &Path) {
    let _ = fs::write(folder.join("cgroup.kill"), "1");
}
