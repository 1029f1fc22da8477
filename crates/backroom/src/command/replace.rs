//! The process that sets limits and then becomes the command.
//!
//! Limits must be set between fork and exec, in the new process. Rust allows no safe code there. So the supervisor starts this
//! program once more, and that process sets the limits of itself and then replaces itself by the command. Its stdin is a socket on
//! which the order comes and on which it reports why the command did not begin. The socket closes when it does begin.

use std::{
    fs::File,
    io::{self, Seek as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::Command,
};

use rustix::{
    fs::{MemfdFlags, memfd_create},
    process::{Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit},
};

use super::{
    cgroup,
    order::{Limits, NotBegun, Order, read_frame},
};

/// The exit code of a process that did not become the command. The supervisor knows the reason from the socket.
const CODE_NOT_BEGUN: i32 = 127;

/// Becomes the command, or returns an exit code.
pub(super) fn replace() -> i32 {
    let Ok(socket) = stdin_socket() else { return CODE_NOT_BEGUN };
    let mut socket = UnixStream::from(socket);
    let error = match become_command(&mut socket) {
        Ok(never) => match never {},
        Err(not_begun) => not_begun,
    };
    // Without a reader the supervisor is dead, and with it the run.
    let _ = serde_json::to_vec(&error).map(|report| socket.write_all(&report));
    CODE_NOT_BEGUN
}

/// What stdin is, under another number, which closes at exec.
pub(super) fn stdin_socket() -> io::Result<OwnedFd> {
    io::stdin().as_fd().try_clone_to_owned()
}

enum Never {}

fn become_command(socket: &mut UnixStream) -> Result<Never, NotBegun> {
    let (order, args) = read_frame(socket).map_err(|error| NotBegun::of("read the order", &error))?;
    // If the supervisor is killed, the command must not stay without one.
    let death = set_parent_process_death_signal(Some(Signal::KILL));
    death.map_err(|error| NotBegun::of("watch the supervisor", &error.into()))?;
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().get() == 1) {
        return Err(NotBegun { error: "the supervisor died".into() });
    }
    let stdin = args_file(&args).map_err(|error| NotBegun::of("write the args", &error))?;
    rustix::stdio::dup2_stdin(&stdin).map_err(|error| NotBegun::of("write the args", &error.into()))?;
    if let Some(parent) = &order.cgroup {
        let supervisor = std::os::unix::process::parent_id();
        cgroup::enter(&parent.of_run(supervisor))
            .map_err(|error| NotBegun::of("enter the control group", &error))?;
    }
    set_limits(&order.limits.beside(order.cgroup.as_ref()))?;
    let error = command(&order).exec();
    Err(NotBegun::of(&format!("start {}", order.program.display()), &error))
}

/// The command with its environment; its stdin, stdout and stderr are set apart.
pub(super) fn command(order: &Order) -> Command {
    let mut command = Command::new(&order.program);
    command.args(&order.arguments).env_clear().envs(order.env.iter().map(|(name, value)| (name, value)));
    if let Some(folder) = &order.folder {
        command.current_dir(folder);
    }
    if let Some(user) = order.user {
        // Without the groups of the worker: the standard library leaves them when it changes the user.
        command.uid(user.uid).gid(user.gid);
    }
    command
}

/// The job's args as a file in memory. With a pipe, a command that does not read them would block the writer.
pub(super) fn args_file(args: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("args", MemfdFlags::CLOEXEC)?);
    file.write_all(args)?;
    file.rewind()?;
    Ok(file)
}

fn set_limits(limits: &Limits) -> Result<(), NotBegun> {
    let Limits { memory_bytes, cpu_secs, open_files, processes } = *limits;
    for (what, resource, limit, margin) in [
        ("open files", Resource::Nofile, open_files, 0),
        ("processes", Resource::Nproc, processes, 0),
        // After the first second over the limit comes SIGXCPU, after the next one SIGKILL.
        ("CPU time", Resource::Cpu, cpu_secs, 1),
        ("memory", Resource::As, memory_bytes, 0),
    ] {
        let Some(limit) = limit else { continue };
        // Only root may raise a limit that the worker has; a lower one of the worker stays.
        let hard = getrlimit(resource).maximum.unwrap_or(u64::MAX).min(limit.saturating_add(margin));
        let new = Rlimit { current: Some(limit.min(hard)), maximum: Some(hard) };
        setrlimit(resource, new)
            .map_err(|error| NotBegun::of(&format!("limit the {what} to {limit}"), &error.into()))?;
    }
    Ok(())
}
