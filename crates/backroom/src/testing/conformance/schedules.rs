//! Schedules: moves under their guards, the jobs and entries of occurrences, and reports about runs.

use std::sync::Arc;

use backroom_core::{
    Event, JobId, Timestamp,
    draft::NewJob,
    schedule::{
        Became, EndOfRun, Entry, Occurrence, Origin, Schedule, ScheduleRow, ScheduledJob, Spec, State, What,
        notice::{About, Notice},
        plan::Why,
    },
};
use futures_util::future::join_all;

use super::env::{Env, KIND, cancel, draft, fail, json, succeed};
use crate::store::{DueAfter, DueSchedule, DueSchedules, Moved, ScheduleMove};

impl Env {
    fn row(&self, name: &str) -> ScheduleRow {
        let job = ScheduledJob::new(KIND, json(r#"{"at":"{{nominal}}"}"#));
        let definition = Schedule::new(name, Spec::cron("0 2 * * *"), job);
        ScheduleRow {
            name: name.into(),
            origin: Origin::Settings,
            created_at: self.now,
            changed_at: self.at(1),
            definition: definition.stored().expect("encodes"),
            state: State::begin(self.now).stored().expect("encodes"),
            next_at: Some(self.at(60)),
            revision: 0,
            moved_by: self.ids.lease().0,
        }
    }

    async fn create(&self, name: &str) -> ScheduleRow {
        let row = self.row(name);
        assert_eq!(self.move_one(ScheduleMove::new(None, row.clone())).await, Moved::Done);
        row
    }

    /// The next move of a schedule, which changes nothing but its revision.
    fn step(&self, row: &ScheduleRow) -> ScheduleMove {
        let after = ScheduleRow { revision: row.revision + 1, moved_by: self.ids.lease().0, ..row.clone() };
        ScheduleMove::new(Some(row.revision), after)
    }

    async fn move_one(&self, moving: ScheduleMove) -> Moved {
        let answers = self.move_many(vec![moving]).await;
        assert_eq!(answers.len(), 1, "one answer per move");
        answers[0]
    }

    async fn move_many(&self, moves: Vec<ScheduleMove>) -> Vec<Moved> {
        self.store.move_schedules(Arc::new(moves)).await.expect("move schedules")
    }

    async fn schedule(&self, name: &str) -> Option<ScheduleRow> {
        self.store.schedule(name).await.expect("schedule")
    }

    async fn history_of(&self, name: &str) -> Vec<Entry> {
        self.store.entries(name, None, 1000).await.expect("entries")
    }

    async fn due_at(&self, now: Timestamp) -> DueSchedules {
        self.store.due_schedules(None, 100, now).await.expect("due schedules")
    }

    /// The only schedule with reports.
    async fn reported(&self) -> DueSchedule {
        let mut found = self.due_at(self.now).await.reported;
        assert_eq!(found.len(), 1, "one schedule has reports");
        found.remove(0)
    }

    /// The job of the occurrence so many seconds after the beginning.
    fn run(&self, row: &ScheduleRow, secs: i64, seq: u64) -> (NewJob, Entry) {
        let nominal = self.at(secs);
        let occurrence = Occurrence { schedule: row.name.clone(), nominal };
        let id = occurrence.job_id();
        let mut new = draft().check(id, self.now, 1000).expect("within all bounds");
        new.job.extras.occurrence = Some(Box::new(occurrence));
        let mut entry = Entry::new(seq, What::Due, nominal, self.now);
        entry.job = Some(id);
        (new, entry)
    }

    /// Moves a schedule on, with a run of each of these occurrences. Answers with the schedule and the jobs.
    async fn fire(&self, row: &ScheduleRow, seconds: &[i64], seq: u64) -> (ScheduleRow, Vec<JobId>) {
        let mut moving = self.step(row);
        let runs = (seq..).zip(seconds).map(|(seq, secs)| self.run(row, *secs, seq));
        (moving.jobs, moving.entries) = runs.unzip();
        let jobs = moving.jobs.iter().map(|new| new.job.id).collect();
        let after = moving.row.clone();
        assert_eq!(self.move_one(moving).await, Moved::Done);
        (after, jobs)
    }
}

pub(super) async fn a_schedule_comes_back_as_it_was_written(env: Env) {
    let row = env.create("nightly \"report\" \u{1f980}").await;
    assert_eq!(env.schedule(&row.name).await.as_ref(), Some(&row));
    assert_eq!(env.schedule("nightly").await, None);
    let mut moving = env.step(&row);
    moving.row.origin = Origin::Api;
    moving.row.next_at = None;
    moving.row.changed_at = env.at(7);
    let after = moving.row.clone();
    assert_eq!(env.move_one(moving).await, Moved::Done);
    assert_eq!(env.schedule(&row.name).await.as_ref(), Some(&after));
    let other = env.create("another").await;
    let list = async |after, limit| env.store.schedules(after, limit).await.expect("list schedules");
    assert_eq!(list(None, 10).await, [other.clone(), after.clone()]);
    assert_eq!(list(None, 1).await, [other]);
    assert_eq!(list(Some("another"), 10).await, [after]);
}

pub(super) async fn a_schedule_is_created_once(env: Env) {
    let row = env.create("nightly").await;
    assert_eq!(env.move_one(ScheduleMove::new(None, env.row("nightly"))).await, Moved::Stale);
    assert_eq!(env.schedule("nightly").await, Some(row.clone()));
    env.store.delete_schedule("nightly", None).await.expect("delete");
    env.store.delete_schedule("nightly", None).await.expect("delete again");
    assert_eq!(env.schedule("nightly").await, None);
    assert_eq!(env.move_one(env.step(&row)).await, Moved::Stale, "it was deleted");
    env.create("nightly").await;
}

pub(super) async fn a_schedule_is_deleted_at_the_revision_that_was_read(env: Env) {
    let row = env.create("nightly").await;
    let delete = async |revision| env.store.delete_schedule("nightly", Some(revision)).await.expect("delete");
    let (after, _) = env.fire(&row, &[60], 1).await;
    assert_eq!(delete(row.revision).await, Moved::Stale, "it has fired since");
    assert_eq!(env.schedule("nightly").await, Some(after.clone()));
    assert_eq!(env.history_of("nightly").await.len(), 1, "its history stays with it");
    assert_eq!(delete(after.revision).await, Moved::Done);
    assert_eq!(delete(after.revision).await, Moved::Done, "it is gone already");
    assert_eq!((env.schedule("nightly").await, env.history_of("nightly").await), (None, Vec::new()));
}

pub(super) async fn of_two_moves_on_one_revision_the_first_is_written(env: Env) {
    let row = env.create("nightly").await;
    let (first, mut second) = (env.step(&row), env.step(&row));
    let (job, entry) = env.run(&row, 60, 1);
    (second.jobs, second.entries) = (vec![job.clone()], vec![entry]);
    assert_eq!(env.move_one(first.clone()).await, Moved::Done);
    assert_eq!(env.move_one(second).await, Moved::Stale);
    assert_eq!(env.schedule("nightly").await, Some(first.row));
    assert_eq!(env.find(job.job.id).await, None);
    assert_eq!(env.history_of("nightly").await, []);
}

pub(super) async fn a_repeated_move_is_done_and_written_once(env: Env) {
    let row = env.create("nightly").await;
    let mut moving = env.step(&row);
    let (job, entry) = env.run(&row, 60, 1);
    (moving.jobs, moving.entries) = (vec![job.clone()], vec![entry.clone()]);
    assert_eq!(env.move_one(moving.clone()).await, Moved::Done);
    let taken = env.take().await;
    env.drive(&taken, succeed(&taken), env.at(1)).await;
    assert_eq!(env.move_one(moving.clone()).await, Moved::Done);
    assert_eq!(env.all().await.len(), 1, "the job is not inserted again");
    assert_eq!(env.schedule("nightly").await, Some(moving.row.clone()));
    assert_eq!(env.history_of("nightly").await, [entry]);
    env.fire(&moving.row, &[120], 2).await;
    assert_eq!(env.move_one(moving).await, Moved::Stale, "another move has followed");
}

pub(super) async fn each_move_is_judged_alone(env: Env) {
    let (one, two, three) = (env.create("one").await, env.create("two").await, env.row("three"));
    let two = env.fire(&two, &[], 1).await.0;
    let mut stale = env.step(&ScheduleRow { revision: 0, ..two.clone() });
    let (job, entry) = env.run(&two, 60, 1);
    (stale.jobs, stale.entries) = (vec![job.clone()], vec![entry]);
    let mut good = env.step(&one);
    let (good_job, entry) = env.run(&one, 60, 1);
    (good.jobs, good.entries) = (vec![good_job.clone()], vec![entry]);
    let moves = vec![stale, good, ScheduleMove::new(None, three.clone())];
    assert_eq!(env.move_many(moves).await, [Moved::Stale, Moved::Done, Moved::Done]);
    assert_eq!(env.find(job.job.id).await, None);
    assert_eq!(env.read(good_job.job.id).await, good_job.job);
    assert_eq!(env.schedule("three").await, Some(three));
    assert_eq!(env.move_many(Vec::new()).await, []);
}

pub(super) async fn a_move_inserts_its_jobs_with_their_entries(env: Env) {
    let row = env.create("nightly").await;
    let (row, jobs) = env.fire(&row, &[60, 120], 1).await;
    let (new, entry) = env.run(&row, 120, 2);
    assert_eq!(env.read(jobs[1]).await, new.job);
    assert_eq!(new.job.extras.occurrence.as_ref().map(|of| of.nominal), Some(env.at(120)));
    assert_eq!(env.history_of("nightly").await, [entry, env.run(&row, 60, 1).1]);
    let counts = env.store.counts(env.now).await.expect("counts");
    assert_eq!(counts.iter().map(|count| count.jobs).sum::<u64>(), 2);
}

pub(super) async fn a_move_inserts_its_notices_once(env: Env) {
    let row = env.create("watched").await;
    let notice = Notice {
        about: About::Overdue,
        schedule: "watched".into(),
        at: env.now,
        since: env.now,
        why: None,
    };
    let new = notice.job("https://example.com/hook");
    let id = new.job.id;
    let first = ScheduleMove { notices: vec![new.clone()], ..env.step(&row) };
    let row = first.row.clone();
    assert_eq!(env.move_one(first.clone()).await, Moved::Done);
    assert_eq!(env.move_one(first).await, Moved::Done, "its answer was lost");
    assert_eq!(env.read(id).await.queue, new.job.queue);
    assert_eq!(env.history_of("watched").await, [], "a notice is no run");
    // Another turn reports the same, and one that is too late reports nothing.
    let again = ScheduleMove { notices: vec![new], ..env.step(&row) };
    assert_eq!(env.move_one(again).await, Moved::Done);
    let other = Notice { about: About::Recovered, ..notice }.job("https://example.com/hook");
    let other_id = other.job.id;
    let stale = ScheduleMove { notices: vec![other], ..env.step(&row) };
    assert_eq!(env.move_one(stale).await, Moved::Stale);
    assert!(env.store.job(other_id).await.expect("job").is_none());
}

pub(super) async fn an_occurrence_that_has_an_entry_starts_no_second_job(env: Env) {
    let row = env.create("nightly").await;
    let (row, jobs) = env.fire(&row, &[60], 1).await;
    // The same occurrence again, as by a backfill, beside another.
    let (_, again) = env.fire(&row, &[60, 120], 2).await;
    assert_eq!(again[0], jobs[0], "the id follows from the schedule and the nominal time");
    let mut stored: Vec<JobId> = env.all().await.iter().map(|job| job.id).collect();
    stored.sort_unstable();
    assert_eq!(stored, again);
    let numbers: Vec<u64> = env.history_of("nightly").await.iter().map(|entry| entry.seq).collect();
    assert_eq!(numbers, [3, 1]);
}

pub(super) async fn the_job_of_an_occurrence_is_not_inserted_again_after_it_ended(env: Env) {
    let row = env.create("nightly").await;
    env.fire(&row, &[60], 1).await;
    let taken = env.take().await;
    let done = env.drive(&taken, succeed(&taken), env.at(1)).await;
    env.store.delete_schedule("nightly", None).await.expect("delete");
    let row = env.create("nightly").await;
    env.fire(&row, &[60], 1).await;
    assert_eq!(env.all().await, [done]);
}

pub(super) async fn the_end_of_a_run_is_reported_with_its_change(env: Env) {
    let row = env.create("nightly").await;
    let (row, jobs) = env.fire(&row, &[60, 120, 180], 1).await;
    let mut claimed = env.claim(env.claim_of(2)).await;
    claimed.sort_by_key(|job| job.id);
    let (completes, fails) = (&claimed[0], &claimed[1]);
    env.drive(completes, succeed(completes), env.at(1)).await;
    let retries = env.drive(fails, fail(fails), env.at(1)).await;
    let discards = Event::Discard { lease: env.ids.lease(), reason: "empty".into() };
    assert!(backroom_core::transition::apply(&retries, discards, env.now).is_err(), "it waits for its retry");
    env.drive(&retries, cancel(), env.at(3)).await;
    let third = env.take().await;
    let discarded =
        env.drive(&third, Event::Discard { lease: third.lease_id.expect("runs"), reason: "empty".into() }, env.at(4));
    let discarded = discarded.await;
    env.drive(&discarded, Event::Retry, env.at(5)).await;
    let found = env.reported().await;
    assert_eq!(found.row, row);
    let reports: Vec<_> =
        found.reports.iter().map(|(_, report)| (report.job, report.became, report.at)).collect();
    assert_eq!(
        reports,
        [
            (jobs[0], Became::Completed, env.at(1)),
            (jobs[1], Became::Cancelled, env.at(3)),
            (jobs[2], Became::Discarded, env.at(4)),
            (jobs[2], Became::Live, env.at(5)),
        ]
    );
    assert_eq!(found.reports[2].1.reason.as_deref(), Some("empty"));
    let live: Vec<bool> = found.runs.iter().map(|run| run.is_live).collect();
    assert_eq!(live, [false, false, true]);
    // Taken over, they are gone, and the entries show the ends.
    let mut moving = env.step(&row);
    moving.taken_over = found.reports.iter().map(|(number, _)| *number).collect();
    let end = EndOfRun { became: Became::Completed, at: env.at(1), reason: None };
    moving.ends = vec![(jobs[0], Some(end.clone()))];
    assert_eq!(env.move_one(moving).await, Moved::Done);
    assert_eq!(env.due_at(env.now).await.reported, []);
    let history = env.history_of("nightly").await;
    assert_eq!(history[2].end, Some(end));
    assert!(history[0].is_open() && history[1].is_open());
}

pub(super) async fn a_job_of_no_schedule_reports_nothing(env: Env) {
    env.create("nightly").await;
    env.completed().await;
    assert_eq!(env.due_at(env.now).await.reported, []);
}

pub(super) async fn a_schedule_that_was_deleted_gets_no_reports(env: Env) {
    let row = env.create("nightly").await;
    env.fire(&row, &[60], 1).await;
    env.store.delete_schedule("nightly", None).await.expect("delete");
    assert_eq!(env.history_of("nightly").await, []);
    let taken = env.take().await;
    env.drive(&taken, succeed(&taken), env.at(1)).await;
    env.create("nightly").await;
    assert_eq!(env.due_at(env.now).await.reported, []);
}

pub(super) async fn due_schedules_come_by_their_moment_in_pages(env: Env) {
    for (name, due) in [("d", Some(30)), ("b", Some(10)), ("c", Some(10)), ("a", Some(50)), ("never", None)] {
        let row = ScheduleRow { next_at: due.map(|secs| env.at(secs)), ..env.row(name) };
        assert_eq!(env.move_one(ScheduleMove::new(None, row)).await, Moved::Done);
    }
    let names = |found: &DueSchedules| {
        found.due.iter().map(|due| due.row.name.clone()).collect::<Vec<_>>().join(" ")
    };
    let nothing = env.due_at(env.at(9)).await;
    assert_eq!((names(&nothing).as_str(), nothing.next_at), ("", Some(env.at(10))));
    let some = env.due_at(env.at(30)).await;
    assert_eq!((names(&some).as_str(), some.next_at, some.more), ("b c d", Some(env.at(50)), false));
    let page = async |after| env.store.due_schedules(after, 2, env.at(60)).await.expect("due");
    let first = page(None).await;
    assert_eq!((names(&first).as_str(), first.more), ("b c", true));
    let after = DueAfter { next_at: env.at(10), name: "c".into() };
    let second = page(Some(Arc::new(after))).await;
    assert_eq!((names(&second).as_str(), second.more, second.next_at), ("d a", false, None));
    let after = DueAfter { next_at: env.at(10), name: "b".into() };
    assert_eq!(names(&page(Some(Arc::new(after))).await), "c d");
}

pub(super) async fn a_run_is_live_until_its_job_has_finished_or_is_deleted(env: Env) {
    let row = ScheduleRow { next_at: Some(env.now), ..env.row("nightly") };
    assert_eq!(env.move_one(ScheduleMove::new(None, row.clone())).await, Moved::Done);
    let (row, jobs) = env.fire(&row, &[60, 120], 1).await;
    let runs = async || -> Vec<(JobId, bool)> {
        let found = env.due_at(env.now).await.due;
        assert_eq!(found.len(), 1);
        found[0].runs.iter().map(|run| (run.job, run.is_live)).collect()
    };
    assert_eq!(runs().await, [(jobs[0], true), (jobs[1], true)], "they wait for a worker");
    let taken = env.claim(env.claim_of(1)).await.remove(0);
    assert_eq!(taken.id, jobs[0]);
    assert_eq!(runs().await, [(jobs[0], true), (jobs[1], true)], "the first runs");
    env.drive(&taken, fail(&taken), env.at(1)).await;
    assert_eq!(runs().await, [(jobs[0], true), (jobs[1], true)], "the first waits for its retry");
    env.store.delete(jobs[0], env.now).await.expect("delete");
    assert_eq!(runs().await, [(jobs[0], false), (jobs[1], true)], "the first is gone");
    let mut moving = env.step(&row);
    let end = |became| Some(EndOfRun { became, at: env.at(2), reason: Some("gone".into()) });
    moving.ends = vec![(jobs[0], end(Became::Cancelled)), (jobs[1], end(Became::Completed)), (jobs[1], None)];
    assert_eq!(env.move_one(moving).await, Moved::Done);
    assert_eq!(runs().await, [(jobs[1], true)], "of two ends the last counts");
}

pub(super) async fn an_entry_of_occurrences_that_did_not_run_grows(env: Env) {
    let mut row = env.create("nightly").await;
    let mut entry = Entry::new(1, What::Passed(Why::StillGoing), env.at(1), env.at(2));
    for count in 1..=3 {
        (entry.count, entry.last) = (count, env.at(i64::try_from(count).expect("small")));
        let mut moving = env.step(&row);
        moving.entries = vec![entry.clone()];
        row = moving.row.clone();
        assert_eq!(env.move_one(moving).await, Moved::Done);
        assert_eq!(env.history_of("nightly").await, [entry.clone()]);
    }
}

pub(super) async fn old_entries_are_deleted_except_those_of_runs_and_of_keys(env: Env) {
    let row = env.create("nightly").await;
    let other = env.create("other").await;
    env.fire(&other, &[60], 1).await;
    let (row, jobs) = env.fire(&row, &[60, 120], 1).await;
    let mut moving = env.step(&row);
    let passed = |seq| Entry::new(seq, What::Passed(Why::Paused), env.at(200), env.at(200));
    let keyed = |seq, at, key: &str| {
        let mut entry = Entry::new(seq, What::Triggered, env.at(at), env.at(at));
        entry.job = Some(env.ids.job(env.at(at)));
        entry.key = Some(key.into());
        entry
    };
    let (old, young) = (keyed(4, 10, "old"), keyed(5, 300, "young"));
    let ended = |job| (job, Some(EndOfRun { became: Became::Completed, at: env.at(400), reason: None }));
    moving.ends = vec![ended(jobs[0])];
    moving.entries = vec![passed(3), old.clone(), young.clone(), passed(6)];
    let row = moving.row.clone();
    assert_eq!(env.move_one(moving).await, Moved::Done);
    let mut moving = env.step(&row);
    moving.ends = [old.job, young.job].into_iter().flatten().map(ended).collect();
    let row = moving.row.clone();
    assert_eq!(env.move_one(moving).await, Moved::Done);
    let mut moving = env.step(&row);
    (moving.forget_up_to, moving.forget_keys_before) = (5, env.at(100));
    assert_eq!(env.move_one(moving).await, Moved::Done);
    let left: Vec<u64> = env.history_of("nightly").await.iter().map(|entry| entry.seq).collect();
    assert_eq!(left, [6, 5, 2], "the newest, a key that is remembered, and a run that is going");
    assert_eq!(env.history_of("other").await.len(), 1);
}

pub(super) async fn the_history_comes_in_pages_and_a_key_finds_its_entry(env: Env) {
    let row = env.create("nightly").await;
    let (row, _) = env.fire(&row, &[60, 120, 180], 1).await;
    let mut moving = env.step(&row);
    let (job, mut entry) = env.run(&row, 500, 4);
    (entry.what, entry.key) = (What::Triggered, Some("order \"7\"".into()));
    (moving.jobs, moving.entries) = (vec![job], vec![entry.clone()]);
    assert_eq!(env.move_one(moving).await, Moved::Done);
    let page = async |before, limit| -> Vec<u64> {
        let found = env.store.entries("nightly", before, limit).await.expect("entries");
        found.iter().map(|entry| entry.seq).collect()
    };
    assert_eq!(page(None, 3).await, [4, 3, 2]);
    assert_eq!(page(Some(2), 3).await, [1]);
    assert_eq!(page(Some(1), 3).await, [0; 0]);
    let of_key = async |schedule, key| env.store.entry_of_key(schedule, key).await.expect("entry of key");
    assert_eq!(of_key("nightly", "order \"7\"").await, Some(entry));
    assert_eq!(of_key("nightly", "order").await, None);
    assert_eq!(of_key("other", "order \"7\"").await, None);
}

pub(super) async fn processes_that_wait_are_notified(env: Env) {
    let hints = env.store.notifier().subscribe_schedules();
    let row = env.create("nightly").await;
    hints.notified().await;
    env.fire(&row, &[60], 1).await;
    hints.notified().await;
    let taken = env.take().await;
    env.drive(&taken, succeed(&taken), env.at(1)).await;
    hints.notified().await;
}

pub(super) async fn many_processes_that_decide_the_same_turn_write_it_once(env: Env) {
    let rows = join_all((0..10).map(|number| env.create(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"][number]))).await;
    let moves = || -> Vec<ScheduleMove> {
        let one = |row: &ScheduleRow| {
            let mut moving = env.step(row);
            let (job, entry) = env.run(row, 60, 1);
            (moving.jobs, moving.entries) = (vec![job], vec![entry]);
            moving
        };
        rows.iter().map(one).collect()
    };
    let answers = join_all((0..8).map(|_| env.move_many(moves()))).await;
    for schedule in 0..rows.len() {
        let done = answers.iter().filter(|of_one| of_one[schedule] == Moved::Done).count();
        assert_eq!(done, 1, "schedule {schedule}");
    }
    assert_eq!(env.all().await.len(), rows.len());
}
