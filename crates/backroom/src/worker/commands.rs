//! Registers kinds whose jobs run in child processes.

use std::sync::Arc;

use backroom_core::Json;
use futures_util::FutureExt as _;

use super::{build::Worker, context::Context};
use crate::{
    Failure, Job,
    command::{self, CommandSpec},
    failure::Outcome,
    handler::Handler,
};

impl Worker {
    /// Runs jobs of a kind with a program: args on its stdin, output from its stdout, log lines from its stderr. Its exit code says
    /// what becomes of the job: 0 done, 65 discard, 69 snooze, 75 try again, any other a failure. It occupies a slot and no thread.
    ///
    /// The command and all that descends from it are ended when the job is cancelled, its time is over, its lease is lost, or the
    /// worker stops or dies: SIGTERM first, SIGKILL after the [`grace`](CommandSpec::grace). A timeout is recorded when they have
    /// ended. Feature `exec`, on Linux only.
    ///
    /// [`start`](Worker::start) fails if the program is missing or not executable, or if no program can supervise it: see
    /// [`command`](crate::command).
    pub fn command(self, kind: impl Into<String>, spec: CommandSpec) -> Self {
        self.run_in_process(&[&kind.into()], None, Ok(spec), |answer, _| answer)
    }

    /// Runs jobs of type `J` in processes of their own, with the handler that `main` gave to
    /// [`supervise_if_asked_with`](command::supervise_if_asked_with). For work that computes and must be killable, or that may crash
    /// without taking the worker down. Begin the specification with [`CommandSpec::this_program`]. Feature `exec`, on Linux only.
    pub fn handle_in_process<J: Job>(self, spec: CommandSpec) -> Self {
        let kinds: Vec<_> = [J::KIND].into_iter().chain(J::ALIASES.iter().copied()).collect();
        self.run_in_process(&kinds, J::SEALED, spec.for_handler(J::KIND, J::retry()), |answer, context| {
            let failed = |failure: Failure| match failure.outcome {
                // It was asked to stop.
                Outcome::Retry => context.checkpoint().err().unwrap_or(failure),
                _ => failure,
            };
            answer.and_then(|line| command::of_answer(&line).map_err(failed))
        })
    }

    fn run_in_process(
        mut self,
        kinds: &[&str],
        seal: Option<&'static str>,
        spec: Result<CommandSpec, crate::Error>,
        read: fn(Result<Json, Failure>, &Context) -> Result<Json, Failure>,
    ) -> Self {
        let ready = match spec.and_then(|spec| spec.ready(kinds.first().copied().unwrap_or_default())) {
            Ok(ready) => Arc::new(ready),
            Err(error) => {
                self.check(Err(error));
                return self;
            }
        };
        let (retry, timeout) = (ready.spec.retry.clone(), ready.spec.timeout);
        let wind_up = ready.grace().saturating_add(command::WIND_UP_EXTRA);
        let run = move |context: Context| {
            let ready = Arc::clone(&ready);
            async move { read(command::run(ready, context.clone()).await, &context) }.boxed()
        };
        let check_state = |_: &_| Ok(());
        let run = Box::new(run);
        self.register(kinds, Handler { retry, is_blocking: false, timeout, seal, wind_up, check_state, run })
    }
}
