//! Rust handlers in processes of their own. This test is a program whose `main` begins as a user's must, and which its worker starts
//! again; so it runs its tests itself.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test a panic is the report, on real time"
)]

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    use backroom::command::{process_handler, supervise_if_asked_with};
    supervise_if_asked_with([process_handler(tests::act)]);
    let filters: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Ok(url) = std::env::var(tests::CHILD) {
        return runtime.block_on(tests::work(&url));
    }
    macro_rules! run {
        ($($test:ident),* $(,)?) => {$(
            let name = stringify!($test);
            if filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())) {
                runtime.block_on(tests::$test());
                println!("test {name} ... ok");
            }
        )*};
    }
    run!(
        a_handler_in_a_process_of_its_own_returns_its_output,
        its_answers_are_those_of_other_handlers,
        a_crash_takes_no_worker_down,
        what_it_prints_is_no_answer,
        it_reports_progress_and_log_lines,
        a_computation_without_end_is_killed,
        a_handler_that_heeds_its_stop_request_is_given_back,
        its_memory_is_limited,
        its_kind_must_be_known_to_the_program,
        a_program_whose_file_was_replaced_still_starts_itself,
    );
}

#[cfg(target_os = "linux")]
mod tests {
    use std::time::{Duration, Instant};

    use backroom::{
        Attempt, AttemptEnd, Backroom, Failure, Job, JobHandle, JobRow, RunningWorker, State, Worker,
        command::{CommandSpec, ProcessContext},
    };
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub(super) enum Act {
        Square(u64),
        Retry,
        RetryAfter,
        Discard,
        Cancel,
        Snooze,
        Panic,
        Abort,
        ExitWithout,
        Print,
        Report,
        Compute,
        ComputeUntilAsked,
        Allocate(usize),
    }

    impl Job for Act {
        const KIND: &'static str = "act";
        type Output = u64;
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Other;

    impl Job for Other {
        const KIND: &'static str = "other";
        type Output = ();
    }

    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "a handler may print")]
    pub(super) fn act(job: Act, ctx: ProcessContext) -> Result<u64, Failure> {
        match job {
            Act::Square(number) => Ok(number * number),
            Act::Retry => Err(Failure::retry("not yet")),
            Act::RetryAfter => Err(Failure::retry_after(Duration::from_secs(3600), "in an hour")),
            Act::Discard => Err(Failure::discard("worthless")),
            Act::Cancel => Err(Failure::cancel("no longer wanted")),
            Act::Snooze => Err(Failure::snooze(Duration::from_secs(3600))),
            Act::Panic => panic!("out of cheese"),
            Act::Abort => std::process::abort(),
            Act::ExitWithout => std::process::exit(0),
            Act::Print => {
                print!("17\n{{\"output\":1}}");
                Ok(2)
            }
            Act::Report => {
                ctx.log(format!("attempt {} of {}", ctx.attempt(), ctx.id()));
                ctx.progress(40, "half\nway");
                eprintln!("plain");
                Ok(0)
            }
            Act::Compute => loop {
                std::hint::spin_loop();
            },
            Act::ComputeUntilAsked => loop {
                ctx.checkpoint()?;
                std::hint::spin_loop();
            },
            Act::Allocate(bytes) => Ok(vec![1_u8; bytes].iter().map(|byte| u64::from(*byte)).sum()),
        }
    }

    pub(super) const CHILD: &str = "BACKROOM_TEST_EXEC_HANDLERS_CHILD";

    /// The worker process of a test.
    pub(super) async fn work(url: &str) {
        let backroom = Backroom::open(url).await.unwrap();
        let _worker = Worker::new(&backroom).handle_in_process::<Act>(spec()).start().await.unwrap();
        std::future::pending::<()>().await;
    }

    /// As in a deploy that replaces the file while the worker still runs.
    pub(super) async fn a_program_whose_file_was_replaced_still_starts_itself() {
        let dir = tempfile::tempdir().unwrap();
        let (program, url) =
            (dir.path().join("program"), format!("sqlite:{}", dir.path().join("jobs.db").display()));
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let backroom = Backroom::open(&url).await.unwrap();
        let mut worker = std::process::Command::new(&program).env(CHILD, &url).spawn().unwrap();
        let works = async {
            while backroom.workers().await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), works).await.expect("a worker");
        std::fs::remove_file(&program).unwrap();
        std::fs::write(&program, "a newer version").unwrap();
        let job = backroom.enqueue(Act::Square(3)).await.unwrap();
        let output = tokio::time::timeout(Duration::from_secs(60), job.wait()).await;
        worker.kill().unwrap();
        worker.wait().unwrap();
        assert_eq!(output.expect("an output").unwrap(), 9);
    }

    struct Office {
        backroom: Backroom,
        worker: RunningWorker,
    }

    async fn office(spec: CommandSpec) -> Office {
        let backroom = Backroom::open("memory:").await.unwrap();
        let worker = Worker::new(&backroom).queue("default", 4).handle_in_process::<Act>(spec);
        let worker = worker.grace(Duration::from_millis(100)).start().await.unwrap();
        Office { backroom, worker }
    }

    fn spec() -> CommandSpec {
        CommandSpec::this_program().grace(Duration::from_millis(300))
    }

    impl Office {
        async fn enqueue(&self, act: Act) -> JobHandle<Act> {
            self.backroom.enqueue(act).max_attempts(1).await.unwrap()
        }

        async fn run(&self, act: Act) -> (JobRow, Vec<Attempt>) {
            let job = self.enqueue(act).await;
            let row = tokio::time::timeout(Duration::from_secs(60), job.finished())
                .await
                .expect("the end")
                .unwrap();
            let attempts = self.backroom.attempts(row.id).await.unwrap();
            (row, attempts)
        }

        async fn until(&self, job: &JobHandle<Act>, is_so: impl Fn(&JobRow) -> bool) -> JobRow {
            let began = Instant::now();
            loop {
                let row = job.status().await.unwrap();
                if is_so(&row) {
                    return row;
                }
                assert!(began.elapsed() < Duration::from_secs(60), "{row:?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    pub(super) async fn a_handler_in_a_process_of_its_own_returns_its_output() {
        let office = office(spec()).await;
        let job = office.backroom.enqueue(Act::Square(12)).await.unwrap();
        assert_eq!(job.wait().await.unwrap(), 144);
        office.worker.stop().await.unwrap();
    }

    pub(super) async fn its_answers_are_those_of_other_handlers() {
        let office = office(spec()).await;
        for (act, end, error) in [
            (Act::Retry, AttemptEnd::Failed, "not yet"),
            (Act::Discard, AttemptEnd::Discarded, "worthless"),
            (Act::Cancel, AttemptEnd::Cancelled, "no longer wanted"),
            (Act::Panic, AttemptEnd::Panicked, "out of cheese"),
        ] {
            let (_, attempts) = office.run(act).await;
            assert_eq!((attempts[0].end, attempts[0].error.as_str()), (end, error));
        }
        let job = office.enqueue(Act::Snooze).await;
        let row = office.until(&job, |row| row.scheduled_at > row.created_at).await;
        assert_eq!((row.state, row.attempt), (State::Queued, 0));
        let job = office.backroom.enqueue(Act::RetryAfter).await.unwrap();
        let row = office.until(&job, |row| row.scheduled_at > row.created_at).await;
        assert_eq!((row.state, row.attempt), (State::Queued, 1));
        office.worker.stop().await.unwrap();
    }

    pub(super) async fn a_crash_takes_no_worker_down() {
        let office = office(spec()).await;
        let (_, attempts) = office.run(Act::Abort).await;
        assert_eq!(attempts[0].error, "the command was killed by signal 6 (SIGABRT)");
        let (_, attempts) = office.run(Act::ExitWithout).await;
        assert_eq!(attempts[0].error, "the process of the handler ended with 0, but without an answer");
        office.worker.stop().await.unwrap();
    }

    pub(super) async fn what_it_prints_is_no_answer() {
        let office = office(spec()).await;
        let (row, _) = office.run(Act::Print).await;
        assert_eq!(row.output.unwrap().as_str(), "2");
        office.worker.stop().await.unwrap();
    }

    pub(super) async fn it_reports_progress_and_log_lines() {
        let office = office(spec()).await;
        let (row, _) = office.run(Act::Report).await;
        let progress = row.progress.unwrap();
        assert_eq!((progress.percent, progress.message.as_str()), (40, "half way"));
        let lines = office.backroom.log(row.id, 0).await.unwrap();
        let lines: Vec<_> = lines.iter().map(|line| line.line.clone()).collect();
        assert_eq!(lines, [format!("attempt 1 of {}", row.id), "plain".into()]);
        office.worker.stop().await.unwrap();
    }

    pub(super) async fn a_computation_without_end_is_killed() {
        let office = office(spec()).await;
        let job = office.backroom.enqueue(Act::Compute).timeout(Duration::from_millis(200)).max_attempts(1);
        let job = job.await.unwrap();
        let row =
            tokio::time::timeout(Duration::from_secs(60), job.finished()).await.expect("the end").unwrap();
        let attempts = office.backroom.attempts(row.id).await.unwrap();
        assert_eq!(attempts[0].end, AttemptEnd::TimedOut);
        office.worker.stop().await.unwrap();
    }

    pub(super) async fn a_handler_that_heeds_its_stop_request_is_given_back() {
        let office = office(spec().grace(Duration::from_secs(30))).await;
        let job = office.enqueue(Act::ComputeUntilAsked).await;
        office.until(&job, |row| row.state == State::Running).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        office.worker.stop().await.unwrap();
        let row = job.status().await.unwrap();
        assert_eq!((row.state, row.attempt, row.crashes), (State::Queued, 0, 0));
    }

    pub(super) async fn its_memory_is_limited() {
        let office = office(spec().memory_max(400_000_000)).await;
        let (row, _) = office.run(Act::Allocate(1_000_000)).await;
        assert_eq!(row.output.unwrap().as_str(), "1000000");
        let (row, attempts) = office.run(Act::Allocate(500_000_000)).await;
        assert!(attempts[0].error.contains("SIGABRT"), "{attempts:?}");
        // The error has the last line of stderr, which may be one of a backtrace.
        let log = office.backroom.log(row.id, 0).await.unwrap();
        let said = log.iter().any(|line| line.line.contains("memory allocation of 500000000 bytes failed"));
        assert!(said, "{log:?}");
        office.worker.stop().await.unwrap();
    }

    pub(super) async fn its_kind_must_be_known_to_the_program() {
        let backroom = Backroom::open("memory:").await.unwrap();
        let error = Worker::new(&backroom).handle_in_process::<Other>(spec()).start().await.unwrap_err();
        assert!(error.to_string().contains("this program has no handler of it"), "{error}");
        let error = Worker::new(&backroom)
            .handle_in_process::<Act>(CommandSpec::new("sh"))
            .start()
            .await
            .unwrap_err();
        assert!(error.to_string().contains("this program"), "{error}");
    }
}
