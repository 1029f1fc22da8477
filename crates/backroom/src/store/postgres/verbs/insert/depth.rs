//! Depth limits of queues.
//!
//! A process reads the limits at most once a second ([`Limits`]), so an enqueue into queues without a limit costs
//! nothing more. For a queue with a limit, the jobs that wait are counted before the insert. Processes that insert at
//! the same moment do not see each other. So together they may exceed the limit by what each of them inserts at that
//! moment, and not by more.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use backroom_core::{
    Queue, Timestamp,
    draft::NewJob,
    unique::{Holder, Resolution, resolve_conflict},
};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{Insert, STORED, has_keys, keyed::held_key, ours::SEEN};
use crate::store::postgres::{
    Core,
    columns::row::{self, Cells},
    wire::{connection::Param, error::Fault, session::Session, sql::Sql},
};
use crate::{
    Error,
    clock::Clock as _,
    store::{Call, Inserted},
};

/// The queues with a limit. No parameter.
static LIMITS: Sql =
    Sql { text: "SELECT name, depth_max FROM {schema}.queues WHERE depth_max IS NOT NULL", types: &[] };

/// How many jobs wait in each of these queues, counted up to a bound. Parameters: queues, bounds.
static DEPTHS: Sql = Sql {
    text: "SELECT asked.queue, (SELECT count(*) FROM (SELECT FROM {schema}.jobs \
             WHERE state = 'queued' AND jobs.queue = asked.queue LIMIT asked.bound) AS counted) \
           FROM unnest($1::text[], $2::bigint[]) AS asked (queue, bound)",
    types: &[Type::TEXT_ARRAY, Type::INT8_ARRAY],
};

/// How long the limits that were read are used.
const USED_FOR: Duration = Duration::from_secs(1);
/// The waiting jobs of a full queue are counted up to so many beyond its limit.
const COUNTED_BEYOND: u64 = 1000;

type ByQueue = Arc<HashMap<String, u64>>;

/// The limits that this process has read.
#[derive(Default)]
pub(crate) struct Limits(Mutex<Option<(Duration, ByQueue)>>);

impl Limits {
    /// The next insert reads them again.
    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn read(&self, core: &Core) -> Result<ByQueue, Fault> {
        let now = core.settings.clock.monotonic();
        if let Some((read_at, limits)) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner)
            && now.saturating_sub(*read_at) < USED_FOR
        {
            return Ok(Arc::clone(limits));
        }
        let rows = core.claims.query(&LIMITS, &[]).await?;
        let limits = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<_, i64>(1)?.unsigned_abs())));
        let limits: ByQueue = Arc::new(limits.collect::<Result<_, Fault>>()?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&limits)));
        Ok(limits)
    }
}

/// What refuses each of these calls: a full queue, or nothing.
pub(super) async fn refusals(core: &Core, calls: &[Arc<Insert>]) -> Result<Vec<Option<Error>>, Fault> {
    let limits = core.limits.read(core).await?;
    let mut refusals: Vec<Option<Error>> = calls.iter().map(|_| None).collect();
    if limits.is_empty() {
        return Ok(refusals);
    }
    let queues = calls.iter().flat_map(|call| call.jobs.iter()).map(|new| new.job.queue.as_str());
    let limited: HashSet<&str> = queues.filter(|queue| limits.contains_key(*queue)).collect();
    if limited.is_empty() {
        return Ok(refusals);
    }
    let limited: Vec<(&str, u64)> = limited.into_iter().map(|queue| (queue, limits[queue])).collect();
    let mut depths = depths(&core.claims.query(&DEPTHS, &Asked::of(&limited).params()).await?)?;
    for (call, refusal) in calls.iter().zip(&mut refusals) {
        let mut added = added(&call.jobs, |_| true);
        let mut full = first_full(&limited, &depths, &added);
        // A job that is stored already, or a duplicate, adds nothing. To find that out takes a read.
        if full.is_some() && (call.call == Call::Repeated || has_keys(&call.jobs)) {
            let is_new = new_ones(core, call).await?;
            added = self::added(&call.jobs, |new| is_new.contains(&new.job.id.0));
            full = first_full(&limited, &depths, &added);
        }
        *refusal = full;
        if refusal.is_none() {
            for (queue, added) in added {
                *depths.entry(queue.to_owned()).or_default() += added;
            }
        }
    }
    Ok(refusals)
}

/// How many jobs of a call go into each queue.
fn added(jobs: &[NewJob], counts: impl Fn(&NewJob) -> bool) -> HashMap<&str, u64> {
    let mut added = HashMap::new();
    for new in jobs.iter().filter(|new| counts(new)) {
        *added.entry(new.job.queue.as_str()).or_default() += 1;
    }
    added
}

fn first_full(
    limited: &[(&str, u64)],
    depths: &HashMap<String, u64>,
    added: &HashMap<&str, u64>,
) -> Option<Error> {
    limited.iter().find_map(|(queue, depth_max)| {
        let (depth, added) =
            (depths.get(*queue).copied().unwrap_or(0), added.get(queue).copied().unwrap_or(0));
        let is_over = Queue::is_over(*depth_max, depth.saturating_add(added), added);
        is_over.then(|| Error::queue_full(queue, depth, *depth_max))
    })
}

/// Those of a call's jobs that are not stored and whose key no other job holds.
async fn new_ones(core: &Core, call: &Insert) -> Result<HashSet<Uuid>, Fault> {
    let ids: Vec<Uuid> = call.jobs.iter().map(|new| new.job.id.0).collect();
    let stored = core.writer.query(&STORED, &[&ids]).await?;
    let stored: HashSet<Uuid> = stored.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<_, Fault>>()?;
    let mut keys: Vec<&str> = call.jobs.iter().filter_map(|new| held_key(&new.job)).collect();
    keys.sort_unstable();
    keys.dedup();
    let holders = core.writer.query(&SEEN, &[&keys]).await?;
    let holders: HashMap<String, Holder> = holders.iter().map(row::holder).collect::<Result<_, _>>()?;
    let mut taken = HashSet::new();
    let mut is_new = |new: &&NewJob| {
        if stored.contains(&new.job.id.0) {
            return false;
        }
        let Some(key) = held_key(&new.job) else { return true };
        let is_free = holders
            .get(key)
            .is_none_or(|holder| resolve_conflict(holder, new.on_conflict, call.now) == Resolution::Release);
        is_free && taken.insert(key.to_owned())
    };
    Ok(call.jobs.iter().filter(|new| is_new(new)).map(|new| new.job.id.0).collect())
}

/// The parameters of [`DEPTHS`].
struct Asked<'a> {
    queues: Vec<&'a str>,
    bounds: Vec<i64>,
}

impl<'a> Asked<'a> {
    fn of(limited: &[(&'a str, u64)]) -> Self {
        let bound =
            |depth_max: u64| i64::try_from(depth_max.saturating_add(COUNTED_BEYOND)).unwrap_or(i64::MAX);
        Self {
            queues: limited.iter().map(|(queue, _)| *queue).collect(),
            bounds: limited.iter().map(|(_, depth_max)| bound(*depth_max)).collect(),
        }
    }

    fn params(&self) -> [Param<'_>; 2] {
        [&self.queues, &self.bounds]
    }
}

fn depths(rows: &[impl Cells]) -> Result<HashMap<String, u64>, Fault> {
    rows.iter().map(|row| Ok((row.cell(0)?, row.cell::<i64>(1)?.unsigned_abs()))).collect()
}

/// What waits in queues with a limit before a transaction of a caller writes its jobs.
pub(super) struct Before<'a> {
    limited: Vec<(&'a str, u64)>,
    depths: HashMap<String, u64>,
}

impl<'a> Before<'a> {
    /// Counts, and sets a savepoint to which [`check`](Self::check) can go back.
    pub(super) async fn of(session: &mut Session<'_>, limited: Vec<(&'a str, u64)>) -> Result<Self, Fault> {
        session.run("SAVEPOINT backroom_depth").await?;
        let depths = depths(&session.query(&DEPTHS, &Asked::of(&limited).params()).await?)?;
        Ok(Self { limited, depths })
    }

    /// Accepts what was written, or takes it back and answers with the reason.
    pub(super) async fn check(
        self,
        session: &mut Session<'_>,
        jobs: &[(&NewJob, Timestamp)],
        answers: &[Inserted],
    ) -> Result<(), Fault> {
        let mut added: HashMap<&str, u64> = HashMap::new();
        for ((new, _), answer) in jobs.iter().zip(answers) {
            if *answer == Inserted::Created {
                *added.entry(new.job.queue.as_str()).or_default() += 1;
            }
        }
        match first_full(&self.limited, &self.depths, &added) {
            None => session.run("RELEASE SAVEPOINT backroom_depth").await,
            Some(full) => {
                session.run("ROLLBACK TO SAVEPOINT backroom_depth; RELEASE SAVEPOINT backroom_depth").await?;
                Err(full.into())
            }
        }
    }
}
