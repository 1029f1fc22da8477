//! The supervisor: the process between worker and command.
//!
//! It is the *subreaper* of everything that descends from the command: a process whose parent dies becomes its child, also if it
//! has left the command's process group and session. So it finds them all, and when it has no child left, none is left. Its stdin
//! is the control socket. The worker closes it to stop the command, and the kernel closes it when the worker dies.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::{net::UnixStream, process::CommandExt as _},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, getpid, kill_process_group, set_child_subreaper, setrlimit,
    setsid, wait,
};
use tokio::{
    io::AsyncReadExt as _,
    net::UnixStream as AsyncUnixStream,
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

use super::{
    ASKED, REPLACE,
    cgroup::{self, Group},
    descendants,
    order::{Ended, Exit, NotBegun, Order, Report, frame, read_frame},
    replace::{args_file, command, stdin_socket},
};
use crate::clock::{Clock as _, SystemClock};

/// The exit code of a supervisor that could not do its work.
const CODE_FAILED: i32 = 1;
/// Waits between two rounds of SIGKILL.
const ROUNDS: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(1)];

/// Supervises one command. Returns an exit code.
pub(super) fn supervise() -> i32 {
    let Ok(control) = stdin_socket().map(UnixStream::from) else { return CODE_FAILED };
    let prepared = prepare(&control);
    let not_begun =
        match prepared.and_then(|(runtime, order, args)| runtime.block_on(watch(&control, &order, &args))) {
            Ok(()) => return 0,
            Err(error) => NotBegun::of("prepare to supervise it", &error),
        };
    // The worker may be dead by now.
    let _ = report(&control, &Report::NotBegun(not_begun));
    CODE_FAILED
}

fn prepare(mut control: &UnixStream) -> io::Result<(Runtime, Order, Vec<u8>)> {
    rustix::stdio::dup2_stdin(null()?)?;
    // A signal from the terminal reaches the worker, which decides what it means.
    setsid()?;
    set_child_subreaper(Some(getpid()))?;
    // What a command that crashes had in memory must not lie in a file.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    let (order, args) = read_frame(&mut control)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok((runtime, order, args))
}

fn null() -> io::Result<std::fs::File> {
    std::fs::File::options().read(true).write(true).open("/dev/null")
}

/// Starts the command, waits for its end or for the worker's wish, ends what is left of it, and reports.
async fn watch(control: &UnixStream, order: &Order, args: &[u8]) -> io::Result<()> {
    // Handled, which means ignored here: a service manager that stops the worker may send these to all its processes.
    let _ignored = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let mut child_ended = signal(SignalKind::child())?;
    control.set_nonblocking(true)?;
    let mut hears = AsyncUnixStream::from_std(control.try_clone()?)?;
    let null = null()?;
    let group = order.cgroup.as_ref().map(|parent| Group::make(parent, &order.limits)).transpose()?;
    let child = match begin(order, args) {
        Ok(child) => child,
        Err(not_begun) => {
            group.iter().for_each(Group::remove);
            return report(control, &Report::NotBegun(not_begun));
        }
    };
    // Nothing below may fail and leave the command without a supervisor. From now on only the command and its descendants hold stdout
    // and stderr open; if not, the worker reads their end when this process ends.
    let _ = (rustix::stdio::dup2_stdout(&null), rustix::stdio::dup2_stderr(&null));
    let mut tree = Tree::new(&child, group.as_ref());
    let (clock, grace) = (SystemClock::default(), Duration::from_millis(order.grace_ms));
    let mut kill_at = None;
    while !tree.reap() {
        if kill_at.is_none() && tree.main.is_some() {
            tree.left = u32::try_from(descendants::of(tree.own).len()).unwrap_or(u32::MAX);
        }
        match kill_at {
            None if tree.main.is_some() => {
                tree.terminate();
                kill_at = Some(clock.monotonic().saturating_add(grace));
            }
            None => tokio::select! {
                _ = child_ended.recv() => {}
                () = closed(&mut hears) => {
                    tree.terminate();
                    kill_at = Some(clock.monotonic().saturating_add(grace));
                }
            },
            Some(at) if clock.monotonic() < at => tokio::select! {
                _ = child_ended.recv() => {}
                () = clock.sleep_to(at) => {}
            },
            Some(_) => {
                let wait = tree.kill();
                tokio::select! {
                    _ = child_ended.recv() => {}
                    () = clock.sleep(wait) => {}
                }
            }
        }
    }
    // Only with the command collected is no child left.
    let Some(exit) = tree.main else { return Err(io::Error::other("the command's end was not seen")) };
    let out_of_memory = group.as_ref().is_some_and(Group::ran_out_of_memory);
    group.iter().for_each(Group::remove);
    // The worker may be dead by now.
    let _ = report(
        control,
        &Report::Ended(Ended { exit, left: tree.left, killed: tree.rounds > 0, out_of_memory }),
    );
    Ok(())
}

/// Writes the only report of this process, which fits into the socket.
fn report(mut control: &UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    control.write_all(&line)
}

/// Returns once the worker has closed its half of the socket. It sends nothing after the order.
async fn closed(control: &mut AsyncUnixStream) {
    let mut bytes = [0; 16];
    while control.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

/// Starts the command: by itself, or in a process that sets its limits first.
fn begin(order: &Order, args: &[u8]) -> Result<Child, NotBegun> {
    let what = || format!("start {}", order.program.display());
    if let Some(user) = order.user {
        // So that the command may open `/dev/stdout` and `/dev/stderr`.
        let (uid, gid) = (rustix::fs::Uid::from_raw(user.uid), rustix::fs::Gid::from_raw(user.gid));
        for pipe in [rustix::stdio::stdout(), rustix::stdio::stderr()] {
            rustix::fs::fchown(pipe, Some(uid), Some(gid))
                .map_err(|error| NotBegun::of(&what(), &error.into()))?;
        }
    }
    if order.cgroup.is_none() && !order.limits.any() {
        let stdin = args_file(args).map_err(|error| NotBegun::of("write the args", &error))?;
        let mut command = command(order);
        return command.stdin(stdin).process_group(0).spawn().map_err(|error| NotBegun::of(&what(), &error));
    }
    let limited = || -> io::Result<(Child, Vec<u8>)> {
        let (mut ours, its) = UnixStream::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("backroom-exec").args([ASKED, REPLACE]).process_group(0);
        let child = command.stdin(Stdio::from(std::os::fd::OwnedFd::from(its))).spawn()?;
        // The command holds the other end, which would never close.
        drop(command);
        // A process that died has closed the socket; what it reported is read below.
        let _ = ours.write_all(&frame(order, args)?);
        let mut reported = Vec::new();
        ours.read_to_end(&mut reported)?;
        Ok((child, reported))
    };
    let (mut child, reported) = limited().map_err(|error| NotBegun::of(&what(), &error))?;
    if reported.is_empty() {
        return Ok(child);
    }
    let _ = child.wait();
    Err(serde_json::from_slice(&reported)
        .unwrap_or_else(|_| NotBegun { error: String::from_utf8_lossy(&reported).into_owned() }))
}

/// The command and what descends from it.
struct Tree<'a> {
    cgroup: Option<&'a Group>,
    own: i32,
    group: i32,
    /// How the command itself ended.
    main: Option<Exit>,
    /// So many of its descendants ran when it ended.
    left: u32,
    /// Rounds of SIGKILL so far.
    rounds: u32,
}

impl<'a> Tree<'a> {
    fn new(child: &Child, cgroup: Option<&'a Group>) -> Self {
        let own = getpid().as_raw_nonzero().get();
        Self {
            cgroup,
            own,
            group: Pid::from_child(child).as_raw_nonzero().get(),
            main: None,
            left: 0,
            rounds: 0,
        }
    }

    /// Collects all that have ended. True if nothing is left.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == self.group => {
                    let signal = status.terminating_signal().map(Exit::Signal);
                    self.main = signal.or_else(|| status.exit_status().map(Exit::Code)).or(self.main);
                }
                Ok(Some(_)) => {}
                Ok(None) => return false,
                Err(rustix::io::Errno::INTR) => {}
                // No child is left.
                Err(_) => return true,
            }
        }
    }

    /// Sends SIGTERM to the command's process group, and to each descendant that has left it. A process that is stopped goes on, so
    /// that it can end.
    fn terminate(&self) {
        let group = self.group();
        let mut others = descendants::of(self.own);
        others.retain(|process| group.is_none() || process.group != self.group);
        for sent in [Signal::TERM, Signal::CONT] {
            if let Some(group) = group {
                let _ = kill_process_group(group, sent);
            }
            others.iter().for_each(|process| descendants::signal(process.pid, sent));
        }
    }

    /// The command's process group, as long as its number can belong to no other.
    fn group(&self) -> Option<Pid> {
        Pid::from_raw(self.group).filter(|_| self.main.is_none())
    }

    /// Sends SIGKILL to all. Returns how long to wait before the next round: a process may have forked meanwhile.
    fn kill(&mut self) -> Duration {
        if let Some(group) = self.cgroup {
            cgroup::kill(group.folder());
        }
        if let Some(group) = self.group() {
            let _ = kill_process_group(group, Signal::KILL);
        }
        descendants::of(self.own).iter().for_each(|process| descendants::signal(process.pid, Signal::KILL));
        self.rounds = self.rounds.saturating_add(1);
        let [first, longest] = ROUNDS;
        first.saturating_mul(self.rounds).min(longest)
    }
}
