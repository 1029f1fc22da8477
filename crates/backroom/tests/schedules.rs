//! Schedules, run by two workers of two clients on one store in memory, with a clock that the test moves.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use backroom::{
    BackfillOptions, Backroom, ErrorKind, Filter, JobRow, Json, Options, Put, RunningWorker, Schedule, State,
    Timestamp, TriggerOptions, Worker,
    schedule::{
        Became, Origin, Spec, What,
        plan::Why,
        policy::{CatchUp, OnFailure, Overlap},
        state::FailingOf,
        turn::News,
    },
    store::{MemoryStore, ScheduleMove, Store},
    testing::TestClock,
};
use common::{Act, act, pass};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(200);

/// Two processes with a worker each.
struct Office {
    backroom: Backroom,
    other: Backroom,
    store: Arc<dyn Store>,
    clock: Arc<TestClock>,
    workers: Vec<RunningWorker>,
    news: Arc<Mutex<Vec<(String, News)>>>,
}

impl Office {
    async fn open() -> Self {
        let mut office = Self::closed(Arc::new(MemoryStore::new()), Arc::default());
        office.start().await;
        office
    }

    fn closed(store: Arc<dyn Store>, clock: Arc<TestClock>) -> Self {
        let client = |seed| Options::new().clock(Arc::clone(&clock) as _).seed(seed).over(Arc::clone(&store));
        let (backroom, other) = (client(7), client(8));
        Self { backroom, other, store, clock, workers: Vec::new(), news: Arc::default() }
    }

    async fn start(&mut self) {
        for client in [&self.backroom, &self.other] {
            let news = Arc::clone(&self.news);
            let worker = Worker::new(client).queue("default", 4).handle(act).on_schedule(move |event| {
                news.lock().unwrap().push((event.schedule.to_owned(), event.news.clone()));
            });
            self.workers.push(worker.start().await.unwrap());
        }
        self.pass(MOMENT).await;
    }

    /// Lets time pass, in coarse steps at first.
    async fn pass(&self, span: Duration) {
        const STEP: Duration = Duration::from_secs(1);
        let mut left = span;
        while left > 2 * STEP {
            self.clock.advance(STEP);
            for _ in 0..30 {
                tokio::task::yield_now().await;
            }
            left -= STEP;
        }
        pass(&self.clock, left).await;
    }

    /// Every process is away for this long.
    async fn outage(&mut self, span: Duration) {
        for worker in self.workers.drain(..) {
            // As if its process were killed.
            drop(worker);
        }
        self.clock.advance(span);
        self.start().await;
    }

    async fn close(self) {
        for worker in self.workers {
            let stopping = tokio::spawn(worker.stop());
            while !stopping.is_finished() {
                self.clock.advance(MINUTE);
                tokio::task::yield_now().await;
            }
            stopping.await.unwrap().unwrap();
        }
    }

    async fn put(&self, schedule: Schedule) -> Put {
        self.backroom.schedules().put(schedule).await.unwrap()
    }

    /// Jobs of schedules, in the order of their nominal times.
    async fn runs(&self) -> Vec<JobRow> {
        let mut jobs = self.store.list(Arc::new(Filter::default()), None, 10_000).await.unwrap();
        jobs.retain(|job| job.extras.occurrence.is_some());
        jobs.sort_by_key(nominal);
        jobs
    }

    async fn nominals(&self) -> Vec<String> {
        self.runs().await.iter().map(|job| clock_time(nominal(job))).collect()
    }

    /// What did not run, as `why first-last`.
    async fn passed(&self, name: &str) -> Vec<String> {
        let history = self.backroom.schedules().history(name, None, 1000).await.unwrap();
        let passed = history.iter().rev().filter_map(|entry| match entry.what {
            What::Passed(why) => Some(format!(
                "{} {}-{} {}",
                why.as_str(),
                clock_time(entry.first),
                clock_time(entry.last),
                entry.count
            )),
            _ => None,
        });
        passed.collect()
    }

    fn news(&self) -> Vec<News> {
        self.news.lock().unwrap().iter().map(|(_, news)| news.clone()).collect()
    }
}

fn nominal(job: &JobRow) -> Timestamp {
    job.extras.occurrence.as_ref().map(|of| of.nominal).unwrap()
}

fn clock_time(at: Timestamp) -> String {
    at.strftime("%d %H:%M").to_string()
}

fn hourly(act: &Act) -> Schedule {
    Schedule::cron("0 * * * *").name("hourly").job(act)
}

#[tokio::test]
async fn an_occurrence_fires_at_its_time_and_once_however_many_processes_run() {
    let office = Office::open().await;
    assert_eq!(office.put(hourly(&Act::Succeed)).await, Put::Created);
    assert_eq!(
        office.put(hourly(&Act::Succeed)).await,
        Put::Unchanged,
        "a program puts it whenever it starts"
    );
    office.pass(HOUR - MOMENT - Duration::from_millis(50)).await;
    assert_eq!(office.nominals().await, [""; 0]);
    office.pass(MOMENT).await;
    let runs = office.runs().await;
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].state, clock_time(nominal(&runs[0])).as_str()), (State::Completed, "01 01:00"));
    assert!(
        runs[0].created_at.duration_since(nominal(&runs[0])).as_millis() <= 50,
        "{:?}",
        runs[0].created_at
    );
    office.pass(2 * HOUR).await;
    assert_eq!(office.nominals().await, ["01 01:00", "01 02:00", "01 03:00"]);
    let info = office.backroom.schedules().get("hourly").await.unwrap().unwrap();
    let state = info.summary.state.unwrap();
    assert_eq!((state.counters.fired, state.counters.skipped, state.counters.missed), (3, 0, 0));
    assert_eq!(info.last.len(), 3);
    assert!(info.last.iter().all(|entry| entry.end.as_ref().unwrap().became == Became::Completed));
    assert_eq!(clock_time(state.last_success.unwrap().nominal), "01 03:00");
    assert_eq!(info.upcoming.len(), 10);
    assert_eq!(clock_time(info.upcoming[0]), "01 04:00");
    assert!(info.description.unwrap().contains("UTC"));
    assert_eq!(office.news(), []);
    office.close().await;
}

#[tokio::test]
async fn a_run_that_waits_for_its_retry_is_going_and_what_is_skipped_says_why() {
    let office = Office::open().await;
    let frequent = Schedule::every(MINUTE).name("minutely").job(&Act::FailUntilAttempt(3));
    // Attempts at 0, 1 and 17 seconds: not enough. The third waits for 81 s.
    office
        .put(
            frequent
                .max_attempts(5)
                .retry(backroom::RetryPolicy::constant(Duration::from_secs(90)).jitter(0)),
        )
        .await;
    office.pass(7 * MINUTE + MOMENT).await;
    // The first run begins at minute 1 and ends at minute 4, after two waits.
    assert_eq!(office.nominals().await[..2], ["01 00:01", "01 00:05"]);
    assert_eq!(office.passed("minutely").await[0], "still_going 01 00:02-01 00:04 3");
    office.close().await;
}

#[tokio::test]
async fn what_waited_runs_at_the_end_of_the_run() {
    let office = Office::open().await;
    let buffering =
        Schedule::every(MINUTE).name("buffering").overlap(Overlap::BufferOne).job(&Act::FailUntilAttempt(2));
    office.put(buffering.retry(backroom::RetryPolicy::constant(Duration::from_secs(150)).jitter(0))).await;
    office.pass(4 * MINUTE + MOMENT).await;
    // The first goes on from 1:00 to 3:30. The second waits since 2:00, and runs then.
    let runs = office.runs().await;
    assert_eq!(office.nominals().await, ["01 00:01", "01 00:02"]);
    let waited = runs[1].created_at.duration_since(nominal(&runs[1])).as_secs();
    assert!((90..=91).contains(&waited), "waited {waited} s");
    assert_eq!(office.passed("buffering").await, ["buffer_full 01 00:03-01 00:03 1"]);
    office.close().await;
}

#[tokio::test]
async fn a_newer_occurrence_cancels_the_run_and_takes_its_place() {
    let office = Office::open().await;
    office.put(Schedule::every(MINUTE).name("newest").overlap(Overlap::CancelOther).job(&Act::Hang)).await;
    office.pass(3 * MINUTE + 10 * MOMENT).await;
    let runs = office.runs().await;
    let states: Vec<State> = runs.iter().map(|job| job.state).collect();
    assert_eq!(states, [State::Cancelled, State::Cancelled, State::Running]);
    assert_eq!(runs[0].reason.as_deref(), Some("the next occurrence of its schedule takes its place"));
    office.backroom.schedules().delete("newest").await.unwrap();
    office.backroom.cancel(runs[2].id).await.unwrap();
    office.pass(MOMENT).await;
    office.close().await;
}

#[tokio::test]
async fn after_an_outage_each_policy_does_what_its_row_in_the_table_says() {
    let once = CatchUp::DEFAULT;
    let all = |hours: u32, max| CatchUp::All { window: hours * HOUR, max };
    let cases: [(CatchUp, Duration, &[&str], &[&str]); 7] = [
        (once, 3 * HOUR, &["01 03:30"], &["too_old 01 01:30-01 02:30 2"]),
        (once, 72 * HOUR, &["04 00:30"], &["too_old 01 01:30-03 23:30 71"]),
        (CatchUp::Once { window: 4 * HOUR }, 3 * HOUR, &["01 03:30"], &["newer_is_due 01 01:30-01 02:30 2"]),
        (all(24, 10), 3 * HOUR, &["01 01:30", "01 02:30", "01 03:30"], &[]),
        (all(2, 10), 72 * HOUR, &["03 23:30", "04 00:30"], &["too_old 01 01:30-03 22:30 70"]),
        (all(24, 2), 3 * HOUR, &["01 02:30", "01 03:30"], &["too_many 01 01:30-01 01:30 1"]),
        (CatchUp::None, 3 * HOUR, &[], &["no_catch_up 01 01:30-01 03:30 3"]),
    ];
    for (catch_up, outage, ran, passed) in cases {
        let mut office = Office::open().await;
        let schedule = Schedule::cron("30 * * * *").name("half past").overlap(Overlap::AllowAll);
        office.put(schedule.catch_up(catch_up).job(&Act::Succeed)).await;
        // One run before the outage, which begins at 00:40.
        office.pass(40 * MINUTE).await;
        assert_eq!(office.nominals().await, ["01 00:30"]);
        office.outage(outage + 10 * MINUTE).await;
        office.pass(MOMENT).await;
        assert_eq!(office.nominals().await[1..], *ran, "{catch_up:?} after {outage:?}");
        assert_eq!(office.passed("half past").await, passed, "{catch_up:?} after {outage:?}");
        let missed: u64 = office
            .news()
            .iter()
            .map(|news| if let News::Missed(passed) = news { passed.count } else { 0 })
            .sum();
        let state =
            office.backroom.schedules().get("half past").await.unwrap().unwrap().summary.state.unwrap();
        assert_eq!(state.counters.missed, missed, "each was reported once");
        assert_eq!(state.counters.fired, 1 + ran.len() as u64);
        office.close().await;
    }
}

#[tokio::test]
async fn an_outage_over_a_change_of_the_offset_loses_and_repeats_nothing() {
    // Clocks go forward at 01:00 UTC on 2026-03-29, and back at 01:00 UTC on 2026-10-25.
    for (begin, expected) in [
        ("2026-03-28T12:00:00Z", ["29 01:00", "30 00:30"]),
        ("2026-10-24T12:00:00Z", ["25 00:30", "26 01:30"]),
    ] {
        let clock = Arc::new(TestClock::at(begin.parse().unwrap()));
        let mut office = Office::closed(Arc::new(MemoryStore::new()), clock);
        office.start().await;
        let schedule = Schedule::cron("30 2 * * *")
            .name("at half past two")
            .zone("Europe/Oslo")
            .overlap(Overlap::AllowAll);
        office.put(schedule.catch_up(CatchUp::All { window: 72 * HOUR, max: 10 }).job(&Act::Succeed)).await;
        office.outage(48 * HOUR).await;
        office.pass(MOMENT).await;
        assert_eq!(office.nominals().await, expected, "from {begin}");
        office.close().await;
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_or_forward_by_an_hour_makes_nothing_fire_twice() {
    let office = Office::open().await;
    office.put(Schedule::every(10 * MINUTE).name("ten minutes").job(&Act::Succeed)).await;
    office.pass(25 * MINUTE).await;
    assert_eq!(office.nominals().await, ["01 00:10", "01 00:20"]);
    office.clock.step_back(HOUR);
    office.pass(45 * MINUTE).await;
    assert_eq!(office.nominals().await.len(), 2, "these have fired already");
    // It is 00:10 now.
    office.pass(25 * MINUTE).await;
    assert_eq!(office.nominals().await, ["01 00:10", "01 00:20", "01 00:30"]);
    office.clock.step_forward(HOUR);
    office.pass(Duration::from_secs(6)).await;
    // It is 01:35: the occurrence of 01:30 is caught up, and those before it were missed.
    assert_eq!(office.nominals().await[3..], ["01 01:30"]);
    assert_eq!(office.passed("ten minutes").await, ["newer_is_due 01 00:40-01 01:20 5"]);
    office.close().await;
}

#[tokio::test]
async fn a_pause_skips_what_lies_in_it_and_a_restart_does_not_end_it() {
    let mut office = Office::open().await;
    office.put(hourly(&Act::Succeed)).await;
    office.pass(30 * MINUTE).await;
    let schedules = office.backroom.schedules();
    schedules.pause("hourly").await.unwrap();
    office.outage(2 * HOUR).await;
    assert_eq!(office.put(hourly(&Act::Succeed)).await, Put::Unchanged);
    assert_eq!(schedules.get("hourly").await.unwrap().unwrap().upcoming, []);
    schedules.resume("hourly").await.unwrap();
    office.pass(HOUR).await;
    assert_eq!(office.nominals().await, ["01 03:00"]);
    assert_eq!(office.passed("hourly").await, ["paused 01 01:00-01 02:00 2"]);
    office.close().await;
}

#[tokio::test]
async fn a_failure_pauses_a_schedule_that_says_so_and_is_reported_once() {
    let office = Office::open().await;
    office.put(hourly(&Act::Discard).on_failure(OnFailure::Pause)).await;
    office.pass(3 * HOUR).await;
    assert_eq!(office.nominals().await, ["01 01:00"]);
    let news = office.news();
    assert!(
        matches!(&news[..], [News::PausedByFailure { .. }, News::Failing(failing)] if failing.of == FailingOf::Run),
        "{news:?}"
    );
    let info = office.backroom.schedules().get("hourly").await.unwrap().unwrap();
    assert!(info.summary.failing.unwrap().why.contains("worthless"));
    assert_eq!(info.summary.next, None);
    office.put(hourly(&Act::Succeed).on_failure(OnFailure::Pause)).await;
    office.backroom.schedules().resume("hourly").await.unwrap();
    office.pass(HOUR).await;
    assert_eq!(office.nominals().await.len(), 2);
    assert!(matches!(office.news()[2], News::FailsNoMore(_)));
    office.close().await;
}

#[tokio::test]
async fn a_schedule_without_success_is_reported_once_and_once_again_when_it_recovers() {
    let office = Office::open().await;
    office.put(hourly(&Act::Discard).deadman(3 * HOUR)).await;
    office.pass(6 * HOUR).await;
    let overdue =
        |office: &Office| office.news().iter().filter(|news| matches!(news, News::Overdue { .. })).count();
    assert_eq!(overdue(&office), 1);
    office.put(hourly(&Act::Succeed).deadman(3 * HOUR)).await;
    office.pass(2 * HOUR).await;
    assert_eq!(office.news().iter().filter(|news| matches!(news, News::Recovered { .. })).count(), 1);
    assert_eq!(overdue(&office), 1);
    office.close().await;
}

#[tokio::test]
async fn a_trigger_with_a_key_starts_one_run_however_often_it_is_called() {
    let office = Office::open().await;
    let args = Json::parse(r#"{"at":"{{nominal}}","run":"{{run_number}}"}"#).unwrap();
    office.put(Schedule::cron("0 0 1 1 *").name("yearly").job_untyped("report", args)).await;
    let (schedules, others) = (office.backroom.schedules(), office.other.schedules());
    schedules.pause("yearly").await.unwrap();
    let options = || TriggerOptions::default().key("2026-01");
    let first = schedules.trigger("yearly", options()).await.unwrap();
    office.pass(MOMENT).await;
    assert_eq!(others.trigger("yearly", options()).await.unwrap(), first);
    let own = TriggerOptions::default().args(Json::parse(r#"["{{run_number}}"]"#).unwrap());
    let second = others.trigger("yearly", own).await.unwrap();
    assert_ne!(second, first);
    let args = async |id| office.backroom.job(id).await.unwrap().args.as_str().to_owned();
    assert_eq!(args(first).await, r#"{"at":"2026-01-01T00:00:00.2Z","run":1}"#);
    assert_eq!(args(second).await, "[2]");
    let state = schedules.get("yearly").await.unwrap().unwrap().summary.state.unwrap();
    assert_eq!((state.counters.triggered, state.counters.fired), (2, 0));
    let error = schedules.trigger("monthly", TriggerOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    office.close().await;
}

#[tokio::test]
async fn a_backfill_runs_every_occurrence_once_a_few_at_a_time_and_goes_on_after_a_restart() {
    let mut office = Office::open().await;
    office.put(hourly(&Act::Succeed)).await;
    office.pass(HOUR + MOMENT).await;
    let schedules = office.backroom.schedules();
    let day = |text: &str| text.parse::<Timestamp>().unwrap();
    let (from, until) = (day("2025-12-31T00:00:00Z"), day("2026-01-01T01:00:00Z"));
    let few = BackfillOptions::default().allow(10);
    let refused = schedules.backfill("hourly", (from, until), few).await.unwrap_err();
    assert!(refused.to_string().contains("has 26 occurrences, and 10 are allowed"), "{refused}");
    let future = schedules.backfill("hourly", (from, day("2026-01-02T00:00:00Z")), few).await.unwrap_err();
    assert_eq!(future.kind(), ErrorKind::Invalid);
    let begun =
        schedules.backfill("hourly", (from, until), BackfillOptions::default().at_once(3)).await.unwrap();
    assert_eq!(begun.total, 26);
    let second = schedules.backfill("hourly", (from, until), BackfillOptions::default()).await.unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Refused);
    office.pass(MOMENT).await;
    office.outage(MINUTE).await;
    office.pass(10 * MOMENT).await;
    let runs = office.runs().await;
    // The one of 01:00 had run.
    assert_eq!(runs.len(), 26);
    assert!(runs.iter().all(|job| job.state == State::Completed));
    let state = schedules.get("hourly").await.unwrap().unwrap().summary.state.unwrap();
    let backfill = state.backfill.unwrap();
    assert_eq!((backfill.done, backfill.is_running()), (26, false));
    assert!(office.news().iter().any(|news| matches!(news, News::Backfilled(_))));
    office.close().await;
}

#[tokio::test]
async fn a_schedule_that_cannot_be_read_or_made_does_not_stop_the_others() {
    let office = Office::open().await;
    office.put(hourly(&Act::Succeed)).await;
    let schedules = office.backroom.schedules();
    for (name, damage) in [("newer", r#"{"v":9,"new":1}"#), ("zone", "")] {
        let definition = Schedule::cron("0 * * * *").name(name).job(&Act::Succeed).definition().unwrap();
        schedules.put_from(Origin::Settings, definition).await.unwrap();
        let row = office.store.schedule(name).await.unwrap().unwrap();
        let mut damaged = row.clone();
        damaged.definition = match damage {
            // A zone that an update of the time zone database removed.
            "" => row.definition.replace("\"UTC\"", "\"Europe/Atlantis\""),
            text => text.to_owned(),
        };
        damaged.revision += 1;
        damaged.moved_by = backroom::ids::Ids::seeded(99).lease().0;
        let moves = vec![ScheduleMove::new(Some(row.revision), damaged)];
        office.store.move_schedules(Arc::new(moves)).await.unwrap();
    }
    office.pass(2 * HOUR).await;
    assert_eq!(office.nominals().await, ["01 01:00", "01 02:00"]);
    let list = schedules.list(None, 10).await.unwrap();
    let failing: Vec<_> =
        list.iter().map(|of| (of.name.as_str(), of.failing.as_ref().map(|f| f.why.as_str()))).collect();
    assert!(matches!(failing[..], [("hourly", None), ("newer", Some(_)), ("zone", Some(_))]), "{failing:?}");
    assert!(failing[1].1.unwrap().contains("newer version"), "{failing:?}");
    assert!(failing[2].1.unwrap().contains("Atlantis"), "{failing:?}");
    assert_eq!(office.news().iter().filter(|news| matches!(news, News::Failing(_))).count(), 1);
    // Corrected, it catches up.
    let corrected = Schedule::cron("0 * * * *").name("zone").job(&Act::Succeed).definition().unwrap();
    schedules.put_from(Origin::Settings, corrected).await.unwrap();
    office.pass(HOUR).await;
    assert_eq!(office.nominals().await.len(), 4);
    assert!(schedules.get("zone").await.unwrap().unwrap().summary.failing.is_none());
    office.close().await;
}

#[tokio::test]
async fn bad_input_is_refused_and_stores_nothing() {
    let office = Office::open().await;
    let schedules = office.backroom.schedules();
    let refused = async |schedule: Schedule| schedules.put(schedule).await.unwrap_err().to_string();
    let of = |expression: &str| Schedule::cron(expression).name("x").job(&Act::Succeed);
    assert!(refused(of("0 0 31 2 *")).await.contains("never"));
    assert!(refused(of("* * * * * *")).await.contains("frequent"));
    assert!(refused(of("0 0 * * *").zone("Oslo")).await.contains("Europe/Oslo"));
    assert!(refused(Schedule::cron("0 0 * * *")).await.contains("it has no job"));
    let args = Json::parse(r#"{"at":"{{now}}"}"#).unwrap();
    assert!(refused(Schedule::cron("0 0 * * *").job_untyped("x", args)).await.contains("names nothing"));
    let mut forged = of("0 0 * * *").definition().unwrap();
    let nominal = office.backroom.clock().now();
    let occurrence = backroom::schedule::Occurrence { schedule: "y".into(), nominal };
    forged.job.extras.occurrence = Some(Box::new(occurrence));
    assert!(refused(forged.into()).await.contains("occurrence"));
    assert!(schedules.list(None, 10).await.unwrap().is_empty());
    assert!(schedules.get("").await.is_err());
    office.close().await;
}

#[tokio::test]
async fn a_changed_definition_keeps_the_counters_and_a_deleted_schedule_is_gone() {
    let office = Office::open().await;
    office.put(hourly(&Act::Succeed)).await;
    office.pass(2 * HOUR + MOMENT).await;
    let changed =
        Schedule::cron("30 * * * *").name("hourly").also(Spec::cron("45 * * * *")).job(&Act::Succeed);
    assert_eq!(office.put(changed).await, Put::Changed);
    office.pass(HOUR).await;
    let schedules = office.backroom.schedules();
    let state = schedules.get("hourly").await.unwrap().unwrap().summary.state.unwrap();
    assert_eq!(state.counters.fired, 4);
    schedules.delete("hourly").await.unwrap();
    office.pass(2 * HOUR).await;
    assert_eq!(office.runs().await.len(), 4);
    assert!(schedules.get("hourly").await.unwrap().is_none());
    assert_eq!(schedules.delete("hourly").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(schedules.history("hourly", None, 10).await.unwrap_err().kind(), ErrorKind::NotFound);
    office.close().await;
}

#[tokio::test]
async fn neighbours_that_do_not_run_are_one_entry_over_many_turns() {
    let office = Office::open().await;
    let hanging = Schedule::every(MINUTE).name("hanging").job(&Act::Hang);
    office.put(hanging).await;
    office.pass(HOUR + MOMENT).await;
    let history = office.backroom.schedules().history("hanging", None, 100).await.unwrap();
    assert_eq!(history.len(), 2, "{history:?}");
    assert_eq!((history[0].what, history[0].count), (What::Passed(Why::StillGoing), 59));
    office.backroom.schedules().delete("hanging").await.unwrap();
    office.backroom.cancel(history[1].job.unwrap()).await.unwrap();
    office.pass(MOMENT).await;
    office.close().await;
}
