//! Jobs that run in child processes: commands of any language, and Rust handlers that must be killable.
//!
//! [`Worker::command`](crate::Worker::command) runs a program for each job of a kind. The job's args are its stdin, its stdout is
//! the output, its stderr is the job's log, and its exit code says what becomes of the job.
//! [`Worker::handle_in_process`](crate::Worker::handle_in_process) runs a Rust function in a process of its own in the same way.
//! The page `docs/commands.md` describes what a program may rely on.
//!
//! Between worker and command stands a *supervisor*: a small process that sets the limits, starts the command, and kills it with
//! all its descendants when the worker asks for that or dies. It is the worker's own program, started once more. So `main` must
//! begin with [`supervise_if_asked`], or the command names another program that does:
//! [`CommandSpec::supervised_by`].
//!
//! Start reading at `runner`, which is the worker's side of one run. `order` is what it sends to the `supervisor`, `stdout`
//! and `stderr` read what the command writes, and `answer` decides what its end means. `replace`, `descendants` and
//! `cgroup` are parts of the supervisor. `own_process` runs handlers of the own program.

mod answer;
mod cgroup;
mod descendants;
#[cfg(feature = "testing")]
pub(crate) mod fuzz;
mod order;
mod own_process;
mod replace;
mod runner;
mod signals;
mod spec;
mod stderr;
mod stdout;
mod supervisor;
mod user;

use std::{
    env,
    sync::atomic::{AtomicBool, Ordering},
};

pub(crate) use own_process::of_answer;
pub use own_process::{ProcessContext, ProcessHandler, process_handler, supervise_if_asked_with};
pub(crate) use runner::{WIND_UP_EXTRA, run};
pub use spec::{CommandSpec, Output};

/// The first argument of a process that is no worker but a part of a run.
const ASKED: &str = "__exec";
/// The second argument: watch over a command.
const SUPERVISE: &str = "supervise";
/// The second argument: set limits and become the command.
const REPLACE: &str = "replace";
/// The second argument: run a handler of this program. The third is its kind.
const HANDLE: &str = "handle";

/// Whether `main` of this process began with [`supervise_if_asked`].
static CAN_SUPERVISE: AtomicBool = AtomicBool::new(false);

/// Must be the first call of `main` in a program whose worker runs commands: see [`Worker::command`](crate::Worker::command).
///
/// A worker starts its own program again to supervise each command, with `__exec` as the first argument. In such a process this
/// call does that work and never returns. In every other process it returns at once. Call it before the program reads its
/// arguments and before it starts threads or a runtime.
///
/// ```no_run
/// // The first line of main; then the arguments, the runtime, the worker.
/// backroom::command::supervise_if_asked();
/// ```
pub fn supervise_if_asked() {
    supervise_if_asked_with([]);
}

/// Does the work of a process that is part of a run, if this is one.
fn play_part(handlers: &[ProcessHandler]) {
    let mut arguments = env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != ASKED) {
        CAN_SUPERVISE.store(true, Ordering::Release);
        return;
    }
    let part = arguments.next().unwrap_or_default();
    let code = match part.to_str() {
        Some(SUPERVISE) => supervisor::supervise(),
        Some(REPLACE) => replace::replace(),
        Some(HANDLE) => own_process::handle(handlers, arguments.next().as_deref()),
        _ => signals::CODE_USAGE,
    };
    std::process::exit(code)
}

/// Whether this process can start its own program as a supervisor.
pub(crate) fn can_supervise() -> bool {
    CAN_SUPERVISE.load(Ordering::Acquire)
}
