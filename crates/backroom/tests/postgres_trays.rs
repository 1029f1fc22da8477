//! Jobs that one claim took together: each lies in one place at any moment, whichever process changes or reads it.

#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod postgres_support;
mod tray_office;

use backroom::store::{Call, JobVerbs as _, ReadVerbs as _, WorkerVerbs as _};
use std::{sync::Arc, time::Duration};

use backroom::{
    Backroom, Json, UniqueRule,
    core::{
        Change, DisplayState, Draft, Event, Extras, JobRow, State, bounds::later, draft::When,
        transition::apply,
    },
    store::{
        Claim, Committed, Deleted, Filter, Inserted, LeaseStatus, Record, Share,
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
async fn a_job_that_is_not_plain_or_was_changed_since_its_insert_never_lies_on_a_tray() {
    let office = Office::open().await;
    let draft = || Draft::new("work", Json::null());
    let new = [
        Draft { lane: Some("lane".into()), ..draft() },
        Draft { expiry: Some(When::In(Duration::from_secs(60))), ..draft() },
        Draft { unique: Some(UniqueRule::by_key("key")), ..draft() },
    ];
    let new = new.map(|draft| office.place.checked(draft));
    office.store.insert(Arc::new(new.to_vec()), office.place.now, Call::First).await.unwrap();
    let taken = office.place.claim(&*office.store, 10).await;
    assert_eq!((taken.len(), office.rows().await), (3, Rows { jobs: 3, trays: 0, finished: 0 }));
    office.succeed(&taken).await;

    // Plain when it was inserted, and given back since.
    office.place.insert(&*office.store, office.place.new_job()).await;
    let first = office.place.claim(&*office.store, 1).await.remove(0);
    assert_eq!(office.rows().await.trays, 1);
    let release = office.decide(&first, Event::Release { lease: lease(&first) });
    assert_eq!(office.commit(&office.store, release).await, Committed::Done);
    let again = office.place.claim(&*office.store, 1).await;
    assert_eq!((again.len(), office.rows().await), (1, Rows { jobs: 1, trays: 0, finished: 3 }));
    office.succeed(&again).await;
}

#[tokio::test]
async fn each_queue_of_a_claim_has_a_tray_of_its_own() {
    let office = Office::open().await;
    let in_queue =
        |queue: &str| office.place.checked(Draft { queue: queue.into(), ..Draft::new("work", Json::null()) });
    let new = ["one", "two", "one"].map(in_queue);
    office.store.insert(Arc::new(new.to_vec()), office.place.now, Call::First).await.unwrap();
    let shares = ["one", "two"].map(|queue| Share { queue: queue.into(), at_most: 5 });
    let wish = Claim { shares: shares.to_vec(), ..office.place.wish(10) };
    let jobs = office.store.claim(Arc::new(wish.clone()), office.place.now, Call::First).await.unwrap();
    let rows = office.client.query("SELECT queue, live FROM trays ORDER BY queue", &[]).await.unwrap();
    let trays: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(trays, [("one".to_owned(), 2), ("two".to_owned(), 1)]);
    for job in &jobs {
        assert_eq!(office.other.job(job.id).await.unwrap().as_ref(), Some(job));
    }
    let repeated = office.store.claim(Arc::new(wish), office.place.now, Call::Repeated).await;
    assert_eq!(repeated.unwrap().len(), 3);

    let (ended, open): (Vec<JobRow>, Vec<JobRow>) = jobs.into_iter().partition(|job| job.queue == "two");
    office.succeed(&ended).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 1, finished: 1 });
    office.succeed(&open[..1]).await;
    assert_eq!(office.held(&office.store, &open[1..]).await, [LeaseStatus::Held]);
    assert_eq!(office.rows().await, Rows { jobs: 1, trays: 0, finished: 2 });
    office.succeed(&open[1..]).await;
}

#[tokio::test]
async fn a_job_with_tags_and_extras_lies_on_a_tray_and_comes_back_whole() {
    let office = Office::open().await;
    let extras = Extras {
        timeout: Some(Duration::from_secs(90)),
        meta: [("key".to_owned(), "value".to_owned())].into(),
        ..Extras::default()
    };
    let new: Vec<_> = (1..3)
        .map(|number| {
            let args = Json::parse(number.to_string()).unwrap();
            let tags = vec!["tag".to_owned()];
            office.place.checked(Draft { tags, extras: extras.clone(), ..Draft::new("work", args) })
        })
        .collect();
    office.store.insert(Arc::new(new.clone()), office.place.now, Call::First).await.unwrap();
    let jobs = office.place.claim(&*office.store, 2).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 1, finished: 0 });
    for (job, new) in jobs.iter().zip(&new) {
        assert_eq!((&job.tags, &job.extras, &job.args), (&new.job.tags, &new.job.extras, &new.job.args));
        assert_eq!(office.other.job(job.id).await.unwrap().as_ref(), Some(job));
    }
    office.succeed(&jobs[..1]).await;
    assert_eq!(office.held(&office.store, &jobs[1..]).await, [LeaseStatus::Held]);
    for job in &jobs {
        let stored = office.other.job(job.id).await.unwrap().unwrap();
        assert_eq!((&stored.tags, &stored.extras), (&job.tags, &job.extras));
    }
}

/// What a later version adds to a job goes into columns of `jobs` and into the extras. The type of what lies on trays stays.
#[tokio::test]
async fn a_process_goes_on_while_a_later_version_has_migrated_the_tables_and_lays_trays_beside_it() {
    let (office, jobs) = Office::with_a_tray_of(3).await;
    let fields = "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute \
                  WHERE attrelid = 'tray_job'::regclass ORDER BY attnum";
    let rows = office.client.query(fields, &[]).await.unwrap();
    let fields: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let released = [
        ("id", "uuid"),
        ("kind", "text"),
        ("priority", "smallint"),
        ("args", "text"),
        ("max_attempts", "bigint"),
        ("scheduled_at", "timestamp with time zone"),
        ("created_at", "timestamp with time zone"),
        ("tags", "jsonb"),
        ("extras", "text"),
    ];
    let released = released.map(|(name, ty)| (name.to_owned(), ty.to_owned()));
    assert_eq!(
        fields, released,
        "programs that run could not write another type: new fields go into the extras"
    );

    // The later version migrates, and takes a job with a field that this one does not know.
    let later = "ALTER TABLE jobs ADD COLUMN later text; ALTER TABLE finished ADD COLUMN later text; \
                 CREATE INDEX jobs_later ON jobs (later) WHERE later IS NOT NULL";
    office.client.batch_execute(later).await.unwrap();
    let theirs = office.place.new_job().job.id.0;
    let lease_of_theirs = office.place.ids.lease().0;
    let take = "INSERT INTO trays (lease_id, queue, lease_until, worker, started_at, live, first_id, last_id, jobs) \
                VALUES ($1, 'default', now(), 'later', now(), 1, $2, $2, ARRAY[ROW($2::uuid, 'later', 5, '{}', 3, now(), now(), \
                NULL, '{\"v\":2,\"reply_to\":\"answers\"}')::tray_job])";
    assert_eq!(office.client.execute(take, &[&lease_of_theirs, &theirs]).await.unwrap(), 1);

    // This one goes on: it ends and unloads what it took before, and lays another tray.
    office.succeed(&jobs[..1]).await;
    office.store.note(Arc::new(vec![office.note(&jobs[1])]), office.place.now).await.unwrap();
    office.succeed(&jobs[1..]).await;
    let new = vec![office.place.new_job(), office.place.new_job()];
    office.store.insert(Arc::new(new), office.place.now, Call::First).await.unwrap();
    let more = office.place.claim(&*office.store, 2).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 2, finished: 3 });
    office.succeed(&more).await;

    // The later version ends its job, whose field is in the history now.
    let end = "INSERT INTO finished (id, kind, queue, priority, state, args, attempt, max_attempts, crashes, scheduled_at, \
               unique_held, lease_id, worker, output, woken, created_at, started_at, finished_at, extras, revision) \
               SELECT id, kind, queue, priority, 'completed', args, attempt, max_attempts, crashes, scheduled_at, false, \
               lease_id, worker, 'null', false, created_at, started_at, now(), extras, 2 \
               FROM jobs_on_trays WHERE lease_id = $1";
    assert_eq!(office.client.execute(end, &[&lease_of_theirs]).await.unwrap(), 1);
    office.client.execute("DELETE FROM trays WHERE lease_id = $1", &[&lease_of_theirs]).await.unwrap();
    let extras = office.client.query_one("SELECT extras::text FROM finished WHERE id = $1", &[&theirs]).await;
    assert!(extras.unwrap().get::<_, &str>(0).contains("reply_to"));
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 0, finished: 6 });
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
async fn progress_and_log_lines_of_a_job_on_a_tray_are_stored() {
    let (office, jobs) = Office::with_a_tray_of(2).await;
    let note = office.note(&jobs[0]);
    office.other.note(Arc::new(vec![note.clone()]), office.place.now).await.unwrap();
    assert_eq!(office.store.job(jobs[0].id).await.unwrap().unwrap().progress, note.progress);
    assert_eq!(office.store.logs(jobs[0].id, 0, 10).await.unwrap(), note.lines);
    office.succeed(&jobs).await;
}

#[tokio::test]
async fn another_process_ends_reads_and_cancels_what_it_did_not_claim() {
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
    let found = office.other.running_of(&worker, None, 10).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(office.rows().await.trays, 1, "reading writes nothing");
    let rescue = |job: &JobRow| apply(job, died(), at).unwrap().unwrap();
    assert_eq!(office.rows().await.trays, 1, "to find them changes nothing");
    assert_eq!(office.commit(&office.other, rescue(&found[0].job)).await, Committed::Done);
    let late = jobs.iter().find(|job| job.id == found[0].job.id).unwrap();
    assert_eq!(office.commit(&office.store, success(late, office.place.now)).await, Committed::Stale);
}

#[tokio::test]
async fn an_end_reported_twice_is_written_once() {
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
    let found = office.store.running_of(&worker, None, 10).await.unwrap();
    assert_eq!(found.iter().map(|running| running.job.id).collect::<Vec<_>>(), [jobs[1].id]);
}

#[tokio::test]
async fn a_deleted_job_does_not_come_back_from_its_tray() {
    does_not_come_back(async |office, job| {
        assert_eq!(office.store.delete(job.id, backroom::Timestamp::UNIX_EPOCH).await.unwrap(), Deleted::Yes);
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
    let record =
        Record { job: taken[0].clone(), attempts: vec![], lines: vec![], edges: Vec::new(), journal: None };
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

#[tokio::test]
async fn a_job_in_a_callers_transaction_runs_after_one_on_a_tray() {
    let (office, jobs) = Office::with_a_tray_of(3).await;
    let backroom = Backroom::open(&office.place.url()).await.unwrap();
    let mut client = office.place.client().await;
    let transaction = client.transaction().await.unwrap();
    let after = backroom.enqueue_untyped("work", Json::null()).after(jobs[0].id);
    let after = after.within_postgres(&transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(after.status().await.unwrap().state, State::Waiting);
    assert_eq!(office.rows().await, Rows { jobs: 4, trays: 0, finished: 0 });
    office.succeed(&jobs[1..]).await;
    assert_eq!(after.status().await.unwrap().state, State::Waiting);
    backroom.close().await.unwrap();
}
