//! The worker's side of one run: starts a supervisor, feeds it, reads what the command writes, and waits for its end.

use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream as StdUnixStream, process::CommandExt as _},
    },
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use backroom_core::{Json, bounds::LOG_LINES_MAX};
use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf, pipe},
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    ASKED, SUPERVISE,
    answer::{End, Reported, answer},
    cgroup::{self, Parent},
    descendants,
    order::{Report, frame},
    spec::{Ready, set},
    stderr::{Line, Lines, line},
    stdout::Stdout,
};
use crate::{Context, Failure, clock::Clock};

/// What a command needs to end beyond its grace: SIGKILL takes a moment on a busy machine.
pub(crate) const WIND_UP_EXTRA: Duration = Duration::from_secs(10);
/// How long stdout and stderr are read after the last process of the command has ended. They end with it, unless it gave them to a
/// process that is not its descendant.
const DRAIN: Duration = Duration::from_secs(1);
/// How long a supervisor that has reported the end may take to end itself, before another task waits for it.
const SUPERVISOR_ENDS: Duration = Duration::from_secs(1);
/// Longest report of a supervisor, in bytes.
const REPORT_BYTES_MAX: u64 = 16 * 1024;
/// Bytes per read.
const READ_BYTES: usize = 16 * 1024;

/// Runs the command for the job of this context.
pub(crate) async fn run(ready: Arc<Ready>, context: Context) -> Result<Json, Failure> {
    let clock = Arc::clone(&context.resources().engine.clock);
    let most = ready.output_bytes_max(context.resources().engine.json_bytes_max);
    let frame = frame_for(&ready, &context).map_err(Failure::retry)?;
    let Started { control, stdout: stdout_pipe, stderr: mut stderr_pipe, mut supervisor } = start(&ready)
        .map_err(|error| Failure::retry(format!("the supervisor of the command did not begin: {error}")))?;
    let (mut stdout, mut stderr) = (Stdout::new(ready.spec.output, most), Stderr::default());
    let too_large = CancellationToken::new();
    let end = {
        let reading = async {
            tokio::join!(
                read_stdout(stdout_pipe, &mut stdout, &too_large),
                stderr.read(&mut stderr_pipe, &context)
            );
        };
        let stopping = async {
            tokio::select! {
                () = context.cancelled() => {}
                () = too_large.cancelled() => {}
            }
        };
        let ending = async {
            tokio::select! {
                end = supervisor.reported() => end,
                end = order(control, &frame, stopping, ready.grace(), &*clock) => end,
            }
        };
        tokio::pin!(reading, ending);
        let (mut has_read, mut end) = (false, None);
        while end.is_none() {
            tokio::select! {
                biased;
                ended = &mut ending => end = Some(ended),
                () = &mut reading, if !has_read => has_read = true,
            }
        }
        if !has_read {
            tokio::select! {
                biased;
                () = reading => {}
                () = clock.sleep(DRAIN) => {}
            }
        }
        end.unwrap_or(End::Unsupervised)
    };
    let reported = stderr.finish(&context);
    match &end {
        End::Ended(ended) => {
            if ended.left > 0 {
                context.log(format!("{} processes that the command left running were ended", ended.left));
            }
            if ended.killed {
                context.log("processes of the command did not end within its grace, and were killed");
            }
        }
        End::Unsupervised => supervisor.kill_run(ready.order.cgroup.as_ref()),
        End::NotBegun(_) | End::Unkillable => {}
    }
    tokio::select! {
        biased;
        () = supervisor.ended() => {}
        () = clock.sleep(SUPERVISOR_ENDS) => {}
    }
    answer(end, context.stop_reason(), stdout, reported, ready.spec.snooze)
}

/// The order with the variables of this job, and its args.
fn frame_for(ready: &Ready, context: &Context) -> io::Result<Vec<u8>> {
    let (mut order, job) = (ready.order.clone(), context.job());
    for (name, value) in [
        ("BACKROOM_JOB_ID", job.id.to_string()),
        ("BACKROOM_KIND", job.kind.clone()),
        ("BACKROOM_QUEUE", job.queue.clone()),
        ("BACKROOM_ATTEMPT", job.attempt.to_string()),
    ] {
        set(&mut order.env, name.into(), value.into());
    }
    if let Some(of_run) = &ready.spec.env_of_run {
        for (name, value) in (of_run.0)(job) {
            set(&mut order.env, name.into(), value.into());
        }
    }
    frame(&order, job.args.as_str().as_bytes())
}

struct Started {
    control: OwnedWriteHalf,
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
    supervisor: Supervisor,
}

fn start(ready: &Ready) -> io::Result<Started> {
    let (ours, its) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = Command::new(&ready.supervisor);
    command.arg0("backroom-exec").args([ASKED, SUPERVISE]);
    let its = Stdio::from(OwnedFd::from(its));
    let mut child = command.stdin(its).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (reports, control) = UnixStream::from_std(ours)?.into_split();
    let supervisor = Supervisor { process: Some(Process { child, control: BufReader::new(reports) }) };
    let piped = |pipe: Option<OwnedFd>| {
        pipe.ok_or_else(|| io::Error::other("no pipe")).and_then(pipe::Receiver::from_owned_fd)
    };
    Ok(Started {
        control,
        stdout: piped(stdout.map(OwnedFd::from))?,
        stderr: piped(stderr.map(OwnedFd::from))?,
        supervisor,
    })
}

/// Sends the order, and the wish to stop when that is due. Returns only if the command does not end by that.
async fn order(
    mut control: OwnedWriteHalf,
    frame: &[u8],
    stopping: impl Future<Output = ()>,
    grace: Duration,
    clock: &dyn Clock,
) -> End {
    // A supervisor that does not read is dead or hangs; its silence says so.
    let sending = async {
        let _ = control.write_all(frame).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = sending => {}
        () = stopping => {}
    }
    // Closes the worker's half of the socket.
    drop(control);
    clock.sleep(grace.saturating_add(WIND_UP_EXTRA)).await;
    End::Unkillable
}

/// Closes the pipe at the bound: what the command writes then fails.
async fn read_stdout(mut pipe: pipe::Receiver, stdout: &mut Stdout, too_large: &CancellationToken) {
    let mut bytes = vec![0; READ_BYTES];
    while let Ok(count @ 1..) = pipe.read(&mut bytes).await {
        if !stdout.take(&bytes[..count]) {
            too_large.cancel();
            return;
        }
    }
}

/// What is known of a command's stderr so far.
#[derive(Default)]
struct Stderr {
    lines: Lines,
    heard: Heard,
}

#[derive(Default)]
struct Heard {
    reported: Reported,
    logged: u32,
    left_out: u32,
}

impl Stderr {
    async fn read(&mut self, pipe: &mut pipe::Receiver, context: &Context) {
        let mut bytes = vec![0; READ_BYTES];
        while let Ok(count @ 1..) = pipe.read(&mut bytes).await {
            let Self { lines, heard } = self;
            lines.take(&bytes[..count], |text| heard.hear(text, context));
        }
    }

    fn finish(self, context: &Context) -> Reported {
        let Self { lines, mut heard } = self;
        lines.finish(|text| heard.hear(text, context));
        context.leave_out_lines(heard.left_out);
        heard.reported
    }
}

impl Heard {
    fn hear(&mut self, text: &str, context: &Context) {
        match line(text) {
            Line::Progress(percent, message) => context.progress(percent, message),
            Line::Snooze(span) => self.reported.snooze = Some(span),
            Line::Retry(span) => self.reported.retry = Some(span),
            Line::Log(text) => {
                // A command may write many millions of lines. Those that are not stored must cost next to nothing.
                if self.logged < LOG_LINES_MAX {
                    self.logged += 1;
                    context.log(text);
                } else {
                    self.left_out = self.left_out.saturating_add(1);
                }
                // The second line of a panic in Rust would hide the first.
                if !text.trim().is_empty() && !text.starts_with("note: run with `RUST_BACKTRACE") {
                    text.clone_into(&mut self.reported.last_line);
                }
            }
        }
    }
}

/// The supervisor's process, which is collected when it has ended, also if the run is dropped before.
struct Supervisor {
    process: Option<Process>,
}

struct Process {
    child: Child,
    /// Only the supervisor has the other end, so this ends with it.
    control: BufReader<OwnedReadHalf>,
}

impl Supervisor {
    /// Waits for its report.
    async fn reported(&mut self) -> End {
        let Some(Process { control, .. }) = &mut self.process else { return End::Unsupervised };
        let mut line = Vec::new();
        // Without a report, the supervisor died.
        let read = control.take(REPORT_BYTES_MAX).read_until(b'\n', &mut line).await;
        match read.map_err(serde_json::Error::io).and_then(|_| serde_json::from_slice(&line)) {
            Ok(Report::NotBegun(why)) => End::NotBegun(why),
            Ok(Report::Ended(ended)) => End::Ended(ended),
            Err(_) => End::Unsupervised,
        }
    }

    /// Returns when it has ended.
    async fn ended(&mut self) {
        if let Some(process) = &mut self.process {
            process.collect().await;
            self.process = None;
        }
    }

    /// Kills what is left of a run whose supervisor was killed: its control group, or all of the session that the supervisor began.
    fn kill_run(&self, cgroup: Option<&Parent>) {
        let Some(process) = &self.process else { return };
        if let Some(parent) = cgroup {
            cgroup::kill(&parent.of_run(process.child.id()));
        }
        let Ok(session) = i32::try_from(process.child.id()) else { return };
        // Not collected yet, so its number belongs to no other session.
        for process in descendants::all() {
            if process.session == session {
                descendants::signal(process.pid, Signal::KILL);
            }
        }
    }
}

impl Process {
    /// Waits for the end of the socket, which the kernel closes when the process ends, and then for the process itself: that takes
    /// no longer than the kernel needs from the one to the other.
    async fn collect(&mut self) {
        let mut bytes = [0; 256];
        while self.control.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
        let _ = self.child.wait();
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { process.collect().await });
        }
    }
}
