//! Which process holds the write lock, so that an error can name it.

use std::path::Path;

use super::connection::sibling;

/// The owner of the transaction that holds the write lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    /// Another connection of this process.
    Ourselves,
    /// This other process; its name where it is known.
    Process(u32, Option<String>),
    /// The system does not say.
    Unknown,
}

impl Holder {
    /// The present holder, as the system says. It is asked after the wait has timed out, so a holder that has released the lock by
    /// then is unknown.
    pub(super) fn of(path: &Path) -> Self {
        let Some(pid) = pid_of_holder(path) else { return Self::Unknown };
        if pid == std::process::id() {
            return Self::Ourselves;
        }
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok();
        Self::Process(pid, name.map(|name| name.trim().to_owned()))
    }

    /// What it does, and the remedy.
    pub(super) fn explain(&self) -> String {
        match self {
            Self::Ourselves => {
                "another connection of this process holds the write lock; commit its transaction sooner, \
                                then try again"
                    .into()
            }
            Self::Process(pid, name) => {
                let name = name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
                format!("the process {pid}{name} holds the write lock; end its transaction, or try again")
            }
            Self::Unknown => {
                "a transaction of another connection, in this process or in another one, holds the write \
                              lock; try again"
                    .into()
            }
        }
    }
}

/// The process whose lock covers the byte of the log's index that SQLite locks to write. Connections of one process share the
/// lock of the process; SQLite separates them in memory.
#[cfg(target_os = "linux")]
fn pid_of_holder(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let real = std::fs::canonicalize(path).ok()?;
    let index = std::fs::metadata(sibling(&real, "-shm")).ok()?;
    holder_in(&std::fs::read_to_string("/proc/locks").ok()?, index.ino())
}

#[cfg(not(target_os = "linux"))]
fn pid_of_holder(_: &Path) -> Option<u32> {
    None
}

/// Searches lines like `3: POSIX  ADVISORY  WRITE 4242 fe:01:131203 120 120`. An arrow marks a lock that is waited for.
#[cfg(target_os = "linux")]
fn holder_in(locks: &str, inode: u64) -> Option<u32> {
    /// `WAL_WRITE_LOCK` in SQLite's file format.
    const WRITE_LOCK_BYTE: u64 = 120;
    locks.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (kind, _, mode) = (fields.next()?, fields.next()?, fields.next()?);
        let (pid, file) = (fields.next()?.parse::<u32>().ok()?, fields.next()?);
        let (first, last) = (fields.next()?.parse::<u64>().ok()?, fields.next()?);
        let last = if last == "EOF" { u64::MAX } else { last.parse().ok()? };
        let is_it = matches!(kind, "POSIX" | "OFDLCK")
            && mode == "WRITE"
            && file.rsplit(':').next()?.parse() == Ok(inode)
            && (first..=last).contains(&WRITE_LOCK_BYTE);
        // A process outside of this container has the number 0.
        (is_it && pid > 0).then_some(pid)
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_found_by_file_and_byte() {
        let locks = "\
1: POSIX  ADVISORY  READ 11 fe:01:77 120 120
2: POSIX  ADVISORY  WRITE 12 fe:01:78 120 120
3: -> POSIX  ADVISORY  WRITE 13 fe:01:77 120 120
4: FLOCK  ADVISORY  WRITE 14 fe:01:77 0 EOF
5: POSIX  ADVISORY  WRITE 15 fe:01:77 123 127
6: POSIX  ADVISORY  WRITE 16 fe:01:77 120 120
7: POSIX  ADVISORY  WRITE 17 fe:01:79 0 EOF
8: POSIX  ADVISORY  WRITE 0 fe:01:80 120 120";
        assert_eq!(holder_in(locks, 77), Some(16));
        assert_eq!(holder_in(locks, 79), Some(17));
        assert_eq!(holder_in(locks, 80), None);
        assert_eq!(holder_in(locks, 81), None);
    }
}
