//! What the database says at the end, and what it must say.

use std::{collections::HashMap, sync::Arc, time::Duration};

use backroom::{Backroom, DisplayState, Filter, JobId, State, core::bounds::CRASHES_MAX};

use super::{feed::Acknowledged, until};
use crate::postgres_support::client;

/// The last dead worker's leases run out within two seconds, and the next pass of upkeep comes two seconds later.
const LIMIT: Duration = Duration::from_secs(30);
/// A job that was there at several deaths waits longer before it runs again.
const SUSPECTS_LIMIT: Duration = Duration::from_secs(240);
const JOBS_MAX: usize = 1_000_000;

/// Notes every time that a job is written as finished, in the same transaction: the row itself would not tell whether it
/// was written twice. And every tray.
const NOTE_FINISHES: &str = "
    CREATE TABLE public.finishes (id uuid NOT NULL);
    CREATE FUNCTION public.note_finish() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.finishes VALUES (new.id); RETURN NULL; END $$;
    CREATE TRIGGER finishes AFTER INSERT ON backroom.finished
        FOR EACH ROW EXECUTE FUNCTION public.note_finish();
    CREATE TABLE public.trays (lease_id uuid NOT NULL);
    CREATE FUNCTION public.note_tray() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.trays VALUES (new.lease_id); RETURN NULL; END $$;
    CREATE TRIGGER trays AFTER INSERT ON backroom.trays FOR EACH ROW EXECUTE FUNCTION public.note_tray();";

/// From here on every finish is noted. The store's tables must be there.
pub(crate) async fn note_finishes(url: &str) {
    client(url).await.batch_execute(NOTE_FINISHES).await.unwrap();
}

/// What happened, for a reader of the test's output.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) acknowledged: usize,
    pub(crate) jobs: usize,
    pub(crate) poisoned: usize,
    pub(crate) crashes: u32,
}

/// Returns when no job is live.
pub(crate) async fn settled(backroom: &Backroom) {
    until("every job is finished", SUSPECTS_LIMIT, async || {
        // While the database is away, no process can read it.
        let counts = backroom.store().counts(backroom.clock().now()).await.ok()?;
        counts.iter().all(|count| count.jobs == 0 || is_finished(count.state)).then_some(())
    })
    .await;
}

fn is_finished(shown: DisplayState) -> bool {
    match shown {
        DisplayState::Completed | DisplayState::Cancelled | DisplayState::Discarded => true,
        DisplayState::Scheduled
        | DisplayState::Retrying
        | DisplayState::Available
        | DisplayState::Running
        | DisplayState::Waiting => false,
    }
}

/// No acknowledged job is lost; each is finished, once; each crash left its trace.
pub(crate) async fn check(backroom: &Backroom, url: &str, acknowledged: &Acknowledged) -> Summary {
    let store = backroom.store();
    let jobs = store.list(Arc::new(Filter::default()), None, JOBS_MAX).await.unwrap();
    let by_id: HashMap<JobId, _> = jobs.iter().map(|job| (job.id, job)).collect();
    assert_eq!(by_id.len(), jobs.len(), "no job is there twice");
    for (id, number) in acknowledged {
        let job = by_id.get(id).unwrap_or_else(|| panic!("job {id} was acknowledged and is lost"));
        if let Some(output) = &job.output {
            assert_eq!(output.as_str(), number.to_string(), "job {id} has its own output");
        }
    }
    let (mut crashes, mut poisoned) = (0, 0);
    for job in &jobs {
        match job.state {
            State::Completed => {}
            State::Discarded => {
                let reason = job.reason.as_deref().unwrap_or_default();
                assert!(job.crashes >= CRASHES_MAX && reason.starts_with("poison"), "{job:?}");
                poisoned += 1;
            }
            State::Queued | State::Running | State::Waiting | State::Cancelled => {
                panic!("neither completed nor discarded: {job:?}")
            }
        }
        assert!(job.lease_until.is_none(), "no lease holds a finished job: {job:?}");
        crashes += job.crashes;
        if job.crashes > 0 {
            let attempts = store.attempts(job.id).await.unwrap();
            assert!(attempts.len() >= job.crashes as usize, "an attempt per crash: {job:?}: {attempts:?}");
        }
    }
    let client = client(url).await;
    let count = async |what: &str| -> usize {
        let row = client.query_one(&format!("SELECT {what}"), &[]).await.unwrap();
        usize::try_from(row.get::<_, i64>(0)).unwrap()
    };
    // A job that another one's death took along has an attempt and no crash.
    assert!(count("count(*) FROM backroom.attempts").await >= crashes as usize, "an attempt per crash");
    assert_eq!(count("count(*) FROM backroom.jobs").await, 0, "nothing is left among the live jobs");
    assert_eq!(count("count(*) FROM backroom.trays").await, 0, "and no tray is left");
    assert!(count("count(*) FROM public.trays").await > jobs.len() / 100, "jobs went by trays");
    assert_eq!(count("count(*) FROM public.finishes").await, jobs.len(), "each job was finished once");
    assert_eq!(count("count(DISTINCT id) FROM public.finishes").await, jobs.len());
    Summary { acknowledged: acknowledged.len(), jobs: jobs.len(), poisoned, crashes }
}

/// An outage and its end are logged once per process, not for every call that meets them. Lines about single jobs (rescued, lease
/// or result lost) are as many as the jobs, and not counted.
pub(crate) fn no_flood(said: &[String], outages: usize) {
    let of_jobs = |line: &&String| {
        [
            "the lease ran out",
            "lease was lost",
            "result is dropped",
            "a worker is dead",
            "of a dead worker",
            backroom::ATTEMPTS_TARGET,
        ]
        .iter()
        .any(|what| line.contains(what))
    };
    let rest: Vec<String> = said.iter().filter(|line| !of_jobs(line)).cloned().collect();
    // One line for its beginning and one for its end, in each process.
    assert!(rest.len() <= outages * 2, "a flood of words about {outages} outages:\n{}", rest.join("\n"));
    assert!(said.iter().all(|line| !line.contains("ERROR")), "{}", said.join("\n"));
}
