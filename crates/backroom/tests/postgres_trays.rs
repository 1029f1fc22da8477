//! Jobs that one claim took together: each lies in one place at any moment, whoever wants something of it.

#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod postgres_support;
mod tray_office;

use backroom::store::{Call, JobVerbs as _, ReadVerbs as _, WorkerVerbs as _};
use std::{sync::Arc, time::Duration};

use backroom::{
    Json, UniqueRule,
    core::{Change, DisplayState, Draft, Event, JobRow, State, bounds::later, transition::apply},
    store::{
        Claim, Committed, Deleted, Filter, Inserted, LeaseStatus, Record, Store,
        postgres::{PostgresOptions, PostgresStore},
    },
};
use postgres_support::{Place, died, lease, success};
use tray_office::{Office, Rows};

#[tokio::test]
async fn jobs_of_one_claim_are_one_row_until_the_last_has_ended() {
    let (office, jobs) = Office::with_a_tray_of(5).await;
    office.succeed(&jobs[..2]).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 1, finished: 2 });
    office.succeed(&jobs[2..]).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 0, finished: 5 });
}

#[tokio::test]
async fn a_job_on_a_tray_is_read_listed_and_counted_as_the_running_job_it_is() {
    let (office, jobs) = Office::with_a_tray_of(3).await;
    office.succeed(&jobs[..1]).await;
    for job in &jobs[1..] {
        assert_eq!(office.other.job(job.id).await.unwrap().as_ref(), Some(job));
    }
    let filter = Arc::new(Filter { states: vec![State::Running], ..Filter::default() });
    let mut running = jobs[1..].to_vec();
    running.sort_by_key(|job| std::cmp::Reverse(job.id));
    assert_eq!(office.other.list(filter, None, 10).await.unwrap(), running);
    assert_eq!(office.other.list(Arc::default(), None, 10).await.unwrap().len(), 3);
    let counts = office.other.counts(office.place.now).await.unwrap();
    let count = |shown| counts.iter().find(|count| count.state == shown).map(|count| count.jobs);
    assert_eq!((count(DisplayState::Running), count(DisplayState::Completed)), (Some(2), Some(1)));
}

#[tokio::test]
async fn a_job_that_holds_a_key_or_is_large_keeps_its_row() {
    let office = Office::open().await;
    let keyed = Draft { unique: Some(UniqueRule::by_key("k")), ..Draft::new("work", Json::null()) };
    let large = Draft::new("work", Json::parse(format!("\"{}\"", "x".repeat(2000))).unwrap());
    let new = vec![office.place.checked(keyed), office.place.checked(large), office.place.new_job()];
    office.store.insert(Arc::new(new), office.place.now, Call::First).await.unwrap();
    let taken = office.place.claim(&*office.store, 3).await;
    assert_eq!((taken.len(), office.rows().await), (3, Rows { jobs: 2, trays: 1, finished: 0 }));
    office.succeed(&taken).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 0, finished: 3 });
}

#[tokio::test]
async fn a_heartbeat_unloads_what_has_not_ended() {
    let (office, jobs) = Office::with_a_tray_of(3).await;
    office.succeed(&jobs[..1]).await;
    assert_eq!(
        office.held(&office.store, &jobs).await,
        [LeaseStatus::Lost, LeaseStatus::Held, LeaseStatus::Held]
    );
    assert_eq!(office.rows().await, Rows { jobs: 2, trays: 0, finished: 1 });
    office.succeed(&jobs[1..]).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 0, finished: 3 });
}

#[tokio::test]
async fn a_failure_unloads_the_tray_and_leaves_its_neighbours_running() {
    let (office, jobs) = Office::with_a_tray_of(3).await;
    let snoozed =
        office.decide(&jobs[0], Event::Snooze { lease: lease(&jobs[0]), delay: Duration::from_secs(5) });
    let changes = vec![snoozed, success(&jobs[1], office.place.now)];
    assert_eq!(office.store.commit(Arc::new(changes)).await.unwrap(), [Committed::Done, Committed::Done]);
    assert_eq!(office.state(jobs[0].id).await, State::Queued);
    assert_eq!(office.state(jobs[2].id).await, State::Running);
    office.succeed(&jobs[2..]).await;
    assert_eq!(office.rows().await, Rows { jobs: 1, trays: 0, finished: 2 });
}

#[tokio::test]
async fn progress_and_log_lines_of_a_job_on_a_tray_are_kept() {
    let (office, jobs) = Office::with_a_tray_of(2).await;
    let note = office.note(&jobs[0]);
    office.other.note(Arc::new(vec![note.clone()]), office.place.now).await.unwrap();
    assert_eq!(office.store.job(jobs[0].id).await.unwrap().unwrap().progress, note.progress);
    assert_eq!(office.store.logs(jobs[0].id, 0, 10).await.unwrap(), note.lines);
    office.succeed(&jobs).await;
}

#[tokio::test]
async fn another_process_ends_looks_at_and_cancels_what_it_did_not_claim() {
    let (office, jobs) = Office::with_a_tray_of(3).await;
    assert_eq!(office.commit(&office.other, success(&jobs[0], office.place.now)).await, Committed::Done);

    let (office, jobs) = Office::with_a_tray_of(3).await;
    assert_eq!(office.held(&office.other, &jobs[..1]).await, [LeaseStatus::Held]);

    let (office, jobs) = Office::with_a_tray_of(3).await;
    let seen = office.other.job(jobs[0].id).await.unwrap().unwrap();
    let mark = office.decide(&seen, Event::Cancel { reason: "stop".into() });
    assert_eq!(office.commit(&office.other, mark).await, Committed::Done);
    assert_eq!(
        office.held(&office.store, &jobs[..2]).await,
        [LeaseStatus::CancelRequested, LeaseStatus::Held]
    );
    // Decided on the row as it was claimed; the mark has moved it on.
    assert_eq!(office.commit(&office.store, success(&jobs[0], office.place.now)).await, Committed::Stale);
    office.succeed(&jobs[1..]).await;
}

#[tokio::test]
async fn jobs_on_the_tray_of_a_dead_worker_are_found_and_rescued() {
    let (office, jobs) = Office::with_a_tray_of(3).await;
    office.succeed(&jobs[..1]).await;
    let at = later(office.place.now, Duration::from_secs(31));
    let worker = jobs[0].worker.clone().unwrap();
    assert!(office.other.running_of("other", None, 10).await.unwrap().is_empty());
    let holders = office.other.holders().await.unwrap();
    assert_eq!(
        holders.iter().map(|holder| (holder.name.as_str(), holder.holds)).collect::<Vec<_>>(),
        [(worker.as_str(), true)]
    );
    let lapsed = office.other.running_of(&worker, None, 10).await.unwrap();
    assert_eq!(lapsed.len(), 2);
    assert_eq!(office.rows().await.trays, 1, "looking writes nothing");
    let rescue = |job: &JobRow| apply(job, died(), at).unwrap().unwrap();
    assert_eq!(office.rows().await.trays, 1, "to find them changes nothing");
    assert_eq!(office.commit(&office.other, rescue(&lapsed[0])).await, Committed::Done);
    let late = jobs.iter().find(|job| job.id == lapsed[0].id).unwrap();
    assert_eq!(office.commit(&office.store, success(late, office.place.now)).await, Committed::Stale);
}

#[tokio::test]
async fn an_end_told_twice_is_written_once() {
    let (office, jobs) = Office::with_a_tray_of(3).await;
    office.succeed(&jobs[..1]).await;
    // The tray is there still and has a copy of the first.
    office.succeed(&jobs[..2]).await;
    office.succeed(&jobs).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 0, finished: 3 });
}

#[tokio::test]
async fn a_repeated_insert_of_a_job_on_a_tray_stores_nothing() {
    let office = Office::open().await;
    let new = Arc::new(vec![office.place.new_job(), office.place.new_job()]);
    office.store.insert(Arc::clone(&new), office.place.now, Call::First).await.unwrap();
    let taken = office.place.claim(&*office.store, 2).await;
    for store in [&*office.store, &office.other] {
        let again = store.insert(Arc::clone(&new), office.place.now, Call::Repeated).await.unwrap();
        assert_eq!(again, [Inserted::Created, Inserted::Created]);
        assert_eq!(office.rows().await, Rows { jobs: 0, trays: 1, finished: 0 });
    }
    office.succeed(&taken).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 0, finished: 2 });
}

#[tokio::test]
async fn a_repeated_claim_answers_with_what_is_on_the_tray() {
    let office = Office::open().await;
    office
        .store
        .insert(Arc::new(vec![office.place.new_job(), office.place.new_job()]), office.place.now, Call::First)
        .await
        .unwrap();
    let wish = office.place.wish(2);
    let first = office.store.claim(Arc::new(wish.clone()), office.place.now, Call::First).await.unwrap();
    office.succeed(&first[..1]).await;
    assert_eq!(
        office.store.claim(Arc::new(wish), office.place.now, Call::Repeated).await.unwrap(),
        first[1..]
    );
}

/// What ended, and was then taken out of the history, does not come back when the rest of its tray is unloaded.
async fn does_not_come_back(take_out: impl AsyncFnOnce(&Office, &JobRow)) {
    let (office, jobs) = Office::with_a_tray_of(2).await;
    office.succeed(&jobs[..1]).await;
    take_out(&office, &jobs[0]).await;
    assert_eq!(office.held(&office.store, &jobs[1..]).await, [LeaseStatus::Held]);
    let taken = office.place.claim(&*office.store, 10).await;
    assert!(taken.is_empty(), "{taken:?}");
    let worker = jobs[1].worker.clone().unwrap();
    let lapsed = office.store.running_of(&worker, None, 10).await.unwrap();
    assert_eq!(lapsed.iter().map(|job| job.id).collect::<Vec<_>>(), [jobs[1].id]);
}

#[tokio::test]
async fn a_deleted_job_does_not_come_back_from_its_tray() {
    does_not_come_back(async |office, job| {
        assert_eq!(office.store.delete(job.id).await.unwrap(), Deleted::Yes);
        assert_eq!(office.store.job(job.id).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_pruned_job_does_not_come_back_from_its_tray() {
    does_not_come_back(async |office, _| {
        assert_eq!(office.prune().await, 0, "its tray has it still");
    })
    .await;
}

#[tokio::test]
async fn a_job_is_pruned_when_its_tray_is_gone() {
    let (office, jobs) = Office::with_a_tray_of(2).await;
    office.succeed(&jobs).await;
    assert_eq!(office.prune().await, 2);
}

#[tokio::test]
async fn a_job_that_is_retried_by_hand_runs_once_more_and_not_twice() {
    let (office, jobs) = Office::with_a_tray_of(2).await;
    office.succeed(&jobs[..1]).await;
    let done = office.store.job(jobs[0].id).await.unwrap().unwrap();
    let again = office.decide(&done, Event::Retry);
    assert_eq!(office.commit(&office.other, again).await, Committed::Done);
    assert_eq!(office.rows().await, Rows { jobs: 2, trays: 0, finished: 0 }, "its neighbour is unloaded");
    let second = office.place.claim(&*office.store, 10).await;
    assert_eq!(second.iter().map(|job| job.id).collect::<Vec<_>>(), [jobs[0].id]);
    office.succeed(&second).await;
    office.succeed(&jobs[1..]).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 0, finished: 2 });
}

#[tokio::test]
async fn an_end_beside_a_tray_leaves_it_as_it_is() {
    let office = Office::open().await;
    let keyed = Draft { unique: Some(UniqueRule::by_key("k")), ..Draft::new("work", Json::null()) };
    let new = vec![office.place.checked(keyed), office.place.new_job(), office.place.new_job()];
    let keyed_id = new[0].job.id;
    office.store.insert(Arc::new(new), office.place.now, Call::First).await.unwrap();
    let (in_row, on_tray): (Vec<JobRow>, Vec<JobRow>) =
        office.place.claim(&*office.store, 3).await.into_iter().partition(|job| job.id == keyed_id);
    office.succeed(&in_row).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 1, finished: 1 });
    office.succeed(&on_tray).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 0, finished: 3 });
}

#[tokio::test]
async fn a_job_on_a_tray_is_neither_imported_nor_inserted_beside_a_key_once_more() {
    let office = Office::open().await;
    let new = office.place.new_job();
    office.store.insert(Arc::new(vec![new.clone()]), office.place.now, Call::First).await.unwrap();
    let taken = office.place.claim(&*office.store, 1).await;
    let record = Record { job: taken[0].clone(), attempts: vec![], lines: vec![] };
    assert_eq!(office.other.import(Arc::new(vec![record])).await.unwrap(), 0);
    let keyed = Draft { unique: Some(UniqueRule::by_key("k")), ..Draft::new("work", Json::null()) };
    let both = vec![new, office.place.checked(keyed)];
    let answers = office.other.insert(Arc::new(both), office.place.now, Call::Repeated).await.unwrap();
    assert_eq!(answers, [Inserted::Created, Inserted::Created]);
    assert_eq!(office.rows().await, Rows { jobs: 1, trays: 1, finished: 0 });
}

#[tokio::test]
async fn trays_are_taken_while_there_is_a_backlog_whose_jobs_succeed_many_at_a_time() {
    let place = Place::new();
    let options = PostgresOptions { trays_from: 4, ..PostgresOptions::default() };
    let store = PostgresStore::connect(&place.url(), options).await.unwrap();
    let client = place.client().await;
    let trays = async || -> i64 { client.query_one("SELECT count(*) FROM trays", &[]).await.unwrap().get(0) };
    let insert = async |jobs: usize| {
        let new = (0..jobs).map(|_| place.new_job()).collect();
        store.insert(Arc::new(new), place.now, Call::First).await.unwrap();
    };
    let commit = async |changes: Vec<Change>| store.commit(Arc::new(changes)).await.unwrap();
    insert(40).await;
    let first = place.claim(&store, 16).await;
    assert_eq!((first.len(), trays().await), (16, 0), "nothing is known yet");
    commit(first.iter().map(|job| success(job, place.now)).collect()).await;
    let second = place.claim(&store, 8).await;
    assert_eq!((second.len(), trays().await), (8, 1), "a backlog whose jobs succeed");
    let snooze = Event::Snooze { lease: lease(&second[0]), delay: Duration::from_secs(5) };
    commit(vec![apply(&second[0], snooze, place.now).unwrap().unwrap()]).await;
    let third = place.claim(&store, 8).await;
    assert_eq!((third.len(), trays().await), (8, 0), "one did not succeed");
    commit(second[1..].iter().chain(&third).map(|job| success(job, place.now)).collect()).await;
    assert_eq!((place.claim(&store, 3).await.len(), trays().await), (3, 0), "it asks for few");
    insert(20).await;
    assert_eq!((place.claim(&store, 8).await.len(), trays().await), (8, 0), "the one before got few");
    assert_eq!((place.claim(&store, 7).await.len(), trays().await), (7, 1), "all is well again");
}
