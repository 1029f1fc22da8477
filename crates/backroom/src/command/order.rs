//! What the worker orders from the supervisor, and what the supervisor reports. Both are JSON on the control socket.
//!
//! The order is one frame: two lengths as four bytes each, little end first, then the order and the job's args. When the worker has
//! no more to say it closes its half of the socket, which means *stop the command*. A worker that dies closes it, too. A report is
//! one line.

use std::{
    ffi::OsString,
    io::{self, Read},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::cgroup::Parent;

/// How to start one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) folder: Option<PathBuf>,
    /// The whole environment.
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) user: Option<User>,
    pub(super) limits: Limits,
    /// Where the supervisor makes the control group of the run, if it does.
    pub(super) cgroup: Option<Parent>,
    /// From SIGTERM to SIGKILL.
    pub(super) grace_ms: u64,
}

/// Which user a command runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// What a command may use; unlimited where none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limits {
    /// Address space of each process, in bytes.
    pub(super) memory_bytes: Option<u64>,
    /// CPU time of each process.
    pub(super) cpu_secs: Option<u64>,
    /// Open files of each process.
    pub(super) open_files: Option<u64>,
    /// Processes and threads of its user.
    pub(super) processes: Option<u64>,
}

/// What the supervisor reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// It could not be started.
    NotBegun(NotBegun),
    /// It ended, and no descendant of it is left.
    Ended(Ended),
}

/// Why a command did not begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NotBegun {
    pub(super) error: String,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) exit: Exit,
    /// So many of its descendants still ran when it ended.
    pub(super) left: u32,
    /// The supervisor sent SIGKILL.
    pub(super) killed: bool,
    /// The kernel killed processes of it because they used more memory than their limit.
    pub(super) out_of_memory: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Exit {
    Code(i32),
    Signal(i32),
}

impl Limits {
    pub(super) fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Those that no control group of this parent enforces.
    pub(super) fn beside(self, cgroup: Option<&Parent>) -> Self {
        let by_cgroup = |enforces: fn(&Parent) -> bool| cgroup.is_some_and(enforces);
        Self {
            memory_bytes: self.memory_bytes.filter(|_| !by_cgroup(|parent| parent.memory)),
            processes: self.processes.filter(|_| !by_cgroup(|parent| parent.processes)),
            ..self
        }
    }
}

impl NotBegun {
    pub(super) fn of(what: &str, error: &io::Error) -> Self {
        Self { error: format!("{what}: {error}") }
    }
}

/// The frame that carries an order and the job's args.
pub(super) fn frame(order: &Order, args: &[u8]) -> io::Result<Vec<u8>> {
    let order = serde_json::to_vec(order)?;
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).map(u32::to_le_bytes).map_err(io::Error::other);
    let mut frame = Vec::with_capacity(8 + order.len() + args.len());
    frame.extend_from_slice(&length(&order)?);
    frame.extend_from_slice(&length(args)?);
    frame.extend_from_slice(&order);
    frame.extend_from_slice(args);
    Ok(frame)
}

/// Reads a frame.
pub(super) fn read_frame(from: &mut impl Read) -> io::Result<(Order, Vec<u8>)> {
    let mut lengths = [[0; 4]; 2];
    for length in &mut lengths {
        from.read_exact(length)?;
    }
    let [order, args] = lengths.map(u32::from_le_bytes);
    // Grows with what arrives, so a wrong length allocates nothing.
    let mut read = |length: u32| {
        let mut bytes = Vec::new();
        let count = from.by_ref().take(u64::from(length)).read_to_end(&mut bytes)?;
        if count == length as usize { Ok(bytes) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) }
    };
    let order = serde_json::from_slice(&read(order)?)?;
    Ok((order, read(args)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_arrives_as_it_was_sent_and_a_frame_that_is_cut_is_an_error() {
        let order = Order {
            program: "/bin/true".into(),
            arguments: vec!["a b".into(), "ü".into()],
            folder: Some("/".into()),
            env: vec![("A".into(), "1".into())],
            user: Some(User { uid: 1, gid: 2 }),
            limits: Limits { memory_bytes: Some(1), ..Limits::default() },
            cgroup: None,
            grace_ms: 5,
        };
        let frame = frame(&order, b"{}").unwrap();
        assert_eq!(read_frame(&mut frame.as_slice()).unwrap(), (order, b"{}".to_vec()));
        for end in 0..frame.len() {
            assert!(read_frame(&mut &frame[..end]).is_err(), "cut at {end}");
        }
    }
}
