//! Storing new jobs: without unique keys here, with them [in transactions of ours](ours), and [in a caller's](theirs).

mod depth;
mod keyed;
mod ours;
mod theirs;

use std::{collections::HashSet, sync::Arc};

use backroom_core::{JobRow, Timestamp, bounds::later, draft::NewJob};
use tokio_postgres::types::Type;

pub(crate) use self::{
    depth::Limits,
    theirs::{insert as insert_theirs, name_queues},
};

use crate::store::postgres::{
    Core,
    background::{
        batcher::Submission,
        hints::{Hints, NOTIFY_WITHIN, channel, due_within, payload_within},
    },
    columns::{
        jobs::{AlikeColumns, PlainColumns},
        table::{Columns, JOB_TYPES, unnested_jobs},
    },
    wire::{
        connection::{Link, Param},
        error::Fault,
        session::Session,
        settings::{BRIEFLY, Wait},
        sql::{Sql, columns, on_trays_by_ids},
    },
};
use crate::{
    Error,
    store::{Call, Inserted},
};

/// Rows in one statement.
pub(crate) const ROWS_MAX: usize = 5000;
/// Workers are notified at once of jobs that are due within this span: they may sleep until the next one that they know of.
/// Later ones are found by polling long before they are due.
const NOTIFY_AHEAD: std::time::Duration = std::time::Duration::from_secs(60);

/// Stores plain jobs, of which none is stored yet: that some are is an error. ON CONFLICT, which [`INSERT`] has, costs the
/// server half as much again per row (`docs/decisions/0028`). Parameters: id, kind, queue, priority, args, max_attempts,
/// scheduled_at, created_at, tags, extras; an array each.
static INSERT_PLAIN: Sql = Sql {
    text: "INSERT INTO {schema}.jobs (id, kind, queue, priority, state, args, attempt, max_attempts, crashes, \
           scheduled_at, unique_held, woken, created_at, tags, extras, revision, plain) \
           SELECT id, kind, queue, priority, 'queued', args, 0, max_attempts, 0, scheduled_at, false, false, \
           created_at, tags::jsonb, extras, 0, true FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::text[], \
           $6::bigint[], $7::timestamptz[], $8::timestamptz[], $9::text[], $10::text[]) \
           AS new (id, kind, queue, priority, args, max_attempts, scheduled_at, created_at, tags, extras)",
    types: &[
        Type::UUID_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT2_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
    ],
};

/// The same for jobs that differ in id and args alone, as those of a bulk enqueue mostly do. The arrays stand in a SELECT list:
/// in FROM, the server copies them before it reads the first row, which for a single job is the faster way. Parameters:
/// id and args, an array each; kind, queue, priority, max_attempts, scheduled_at, created_at, tags, extras.
static INSERT_ALIKE: Sql = Sql {
    text: "INSERT INTO {schema}.jobs (id, kind, queue, priority, state, args, attempt, max_attempts, crashes, \
           scheduled_at, unique_held, woken, created_at, tags, extras, revision, plain) \
           SELECT id, $3, $4, $5, 'queued', args, 0, $6, 0, $7, false, false, $8, $9::text::jsonb, $10, 0, true \
           FROM (SELECT unnest($1::uuid[]) AS id, unnest($2::text[]) AS args) AS new",
    types: &[
        Type::UUID_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT,
        Type::TEXT,
        Type::INT2,
        Type::INT8,
        Type::TIMESTAMPTZ,
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::TEXT,
    ],
};

/// Stores live jobs as they are. Answers with the ids that were new and whose key was free. Parameters: all columns.
pub(crate) static INSERT: Sql = Sql {
    text: concat!(
        "INSERT INTO {schema}.jobs (",
        columns!(),
        ") ",
        unnested_jobs!(),
        " ON CONFLICT DO NOTHING RETURNING id"
    ),
    types: &JOB_TYPES,
};

/// The same of jobs whose ids others may have made before, in whatever state those are by now. Parameters: all columns.
pub(crate) static INSERT_UNLESS_FINISHED: Sql = Sql {
    text: concat!(
        "INSERT INTO {schema}.jobs (",
        columns!(),
        ") ",
        unnested_jobs!(),
        " WHERE NOT EXISTS (SELECT FROM {schema}.finished WHERE finished.id = new.id) ON CONFLICT DO NOTHING"
    ),
    types: &JOB_TYPES,
};

/// Those of the ids in $1 that are stored elsewhere than in `jobs`.
macro_rules! stored_elsewhere {
    () => {
        concat!(
            "SELECT id FROM {schema}.finished WHERE id = ANY($1::uuid[]) UNION ALL SELECT id",
            on_trays_by_ids!()
        )
    };
}

/// Deletes jobs that an insert stored although they run on a tray or are finished: it was repeated, and they had been claimed
/// meanwhile. In the same transaction, so no other transaction sees them. Parameter: the ids.
static TAKE_BACK: Sql = Sql {
    text: concat!("DELETE FROM {schema}.jobs WHERE id = ANY(ARRAY(", stored_elsewhere!(), "))"),
    types: &[Type::UUID_ARRAY],
};

/// Creates queues that are not there yet. Parameter: their names.
pub(crate) static NAME_QUEUES: Sql = Sql {
    text: "INSERT INTO {schema}.queues (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING",
    types: &[Type::TEXT_ARRAY],
};

/// Which of these ids are stored. Parameter: the ids.
pub(crate) static STORED: Sql = Sql {
    text: concat!("SELECT id FROM {schema}.jobs WHERE id = ANY($1::uuid[]) UNION ALL ", stored_elsewhere!()),
    types: &[Type::UUID_ARRAY],
};

/// One call.
pub(crate) struct Insert {
    pub(crate) jobs: Arc<Vec<NewJob>>,
    pub(crate) now: Timestamp,
    pub(crate) call: Call,
}

impl Submission for Arc<Insert> {
    fn count(&self) -> usize {
        self.jobs.len()
    }

    fn repeated(&self) -> Self {
        Arc::new(Insert { jobs: Arc::clone(&self.jobs), now: self.now, call: Call::Repeated })
    }
}

/// Stores the jobs of several calls, except of those that a full queue refuses.
pub(crate) async fn insert(
    core: &Core,
    track: usize,
    calls: &[Arc<Insert>],
) -> Result<Vec<Result<Vec<Inserted>, Fault>>, Fault> {
    let refusals = depth::refusals(core, calls).await?;
    if refusals.iter().all(Option::is_none) {
        return insert_admitted(core, track, calls).await;
    }
    let admitted = calls.iter().zip(&refusals).filter(|(_, refusal)| refusal.is_none());
    let admitted: Vec<Arc<Insert>> = admitted.map(|(call, _)| Arc::clone(call)).collect();
    let answers =
        if admitted.is_empty() { Vec::new() } else { insert_admitted(core, track, &admitted).await? };
    let mut answers = answers.into_iter();
    let answer = |refusal: Option<Error>| match refusal {
        Some(full) => Err(full.into()),
        None => answers.next().unwrap_or_else(|| Ok(Vec::new())),
    };
    Ok(refusals.into_iter().map(answer).collect())
}

/// Stores the jobs of several calls in one transaction. If another transaction has locked what some of them need (a key that
/// it is about to take), each call has a transaction of its own, so that only these fail. The first track is the connection
/// that writes, the other the one for claims.
async fn insert_admitted(
    core: &Core,
    track: usize,
    calls: &[Arc<Insert>],
) -> Result<Vec<Result<Vec<Inserted>, Fault>>, Fault> {
    match insert_together(core, track, calls, Wait::Usual).await {
        Err(fault) if fault.is_locked_out() && calls.len() > 1 => {
            let mut answers: Vec<_> = calls.iter().map(|_| Ok(Vec::new())).collect();
            // Calls without keys first: they wait for no other transaction.
            let (keyed, free): (Vec<usize>, Vec<usize>) =
                (0..calls.len()).partition(|index| has_keys(&calls[*index].jobs));
            for index in free.into_iter().chain(keyed) {
                // Some of its jobs may have been stored by the common try, and may have left the table since.
                let again = [calls[index].repeated()];
                let alone = insert_together(core, track, &again, Wait::Briefly).await;
                answers[index] = alone.map(|mut answers| answers.pop().unwrap_or_default());
            }
            Ok(answers)
        }
        together => Ok(together?.into_iter().map(Ok).collect()),
    }
}

fn has_keys(jobs: &[NewJob]) -> bool {
    jobs.iter().any(|new| new.job.unique_key.is_some())
}

async fn insert_together(
    core: &Core,
    track: usize,
    calls: &[Arc<Insert>],
    wait: Wait,
) -> Result<Vec<Vec<Inserted>>, Fault> {
    let jobs: Vec<(&NewJob, Timestamp)> =
        calls.iter().flat_map(|call| call.jobs.iter().map(|new| (new, call.now))).collect();
    let mut unnamed = core.unnamed_queues(jobs.iter().map(|(new, _)| new.job.queue.as_str()));
    let answers = if calls.iter().any(|call| has_keys(&call.jobs)) {
        let of_calls: Vec<usize> =
            calls.iter().enumerate().flat_map(|(place, call)| call.jobs.iter().map(move |_| place)).collect();
        let is_repeated = calls.iter().any(|insert| insert.call == Call::Repeated);
        let handed = ours::Handed { jobs: &jobs, calls: &of_calls, is_repeated };
        let (answers, is_named) = ours::insert(core, &handed, &unnamed, wait).await?;
        if !is_named {
            unnamed.clear();
        }
        answers
    } else {
        // To name a queue may have to wait for another transaction that names it, and claims must not wait.
        let link = if track == 0 || !unnamed.is_empty() { &core.writer } else { &core.claims };
        let is_repeated = calls.iter().any(|insert| insert.call == Call::Repeated);
        match insert_free(link, &jobs, &unnamed, is_repeated).await {
            // An open transaction names the queue. The jobs need not wait for that: the next enqueue names it.
            Err(fault) if fault.is_locked_out() && !unnamed.is_empty() => {
                unnamed.clear();
                insert_free(link, &jobs, &unnamed, is_repeated).await?;
            }
            inserted => inserted?,
        }
        vec![Inserted::Created; jobs.len()]
    };
    core.remember_queues(unnamed);
    notify(&core.hints, &jobs, &answers);
    let mut answers = answers.into_iter();
    Ok(calls.iter().map(|call| answers.by_ref().take(call.jobs.len()).collect()).collect())
}

/// Notifies the workers of queues whose jobs are due now or soon.
pub(crate) fn notify(hints: &Hints, jobs: &[(&NewJob, Timestamp)], answers: &[Inserted]) {
    for answer in answers {
        if let Inserted::Replaced(holder) = answer {
            hints.job(*holder);
        }
    }
    if earliest(jobs, answers).is_some_and(|due_at| hints.is_behind(due_at)) {
        hints.behind();
    }
    due_queues(jobs, answers).into_iter().for_each(|queue| hints.queue(queue));
}

/// When the first of the jobs that were stored is due.
fn earliest(jobs: &[(&NewJob, Timestamp)], answers: &[Inserted]) -> Option<Timestamp> {
    let is_stored = |answer: &Inserted| matches!(answer, Inserted::Created | Inserted::Replaced(_));
    let stored = jobs.iter().zip(answers).filter(|(_, answer)| is_stored(answer));
    stored.map(|((new, _), _)| new.job.scheduled_at).min()
}

/// Has the commit of a caller's transaction notify workers of jobs that are due now or soon.
pub(crate) async fn notify_within(
    session: &mut Session<'_>,
    schema: &str,
    jobs: &[(&NewJob, Timestamp)],
    answers: &[Inserted],
) -> Result<(), Fault> {
    let queues = due_queues(jobs, answers);
    if !queues.is_empty() {
        let first = earliest(jobs, answers).map(due_within);
        let messages: Vec<String> = first.into_iter().chain(queues.into_iter().map(payload_within)).collect();
        session.query(&NOTIFY_WITHIN, &[&channel(schema), &messages]).await?;
    }
    Ok(())
}

/// The queues of jobs that were stored and are due now or soon.
fn due_queues<'a>(jobs: &[(&'a NewJob, Timestamp)], answers: &[Inserted]) -> HashSet<&'a str> {
    let mut queues: HashSet<&str> = HashSet::new();
    // Neighbours mostly have the same queue.
    let mut last = None;
    for ((new, now), answer) in jobs.iter().zip(answers) {
        let queue = Some(new.job.queue.as_str());
        match answer {
            Inserted::Created if queue == last => {}
            Inserted::Created if new.job.scheduled_at <= later(*now, NOTIFY_AHEAD) => {
                last = queue;
                queues.extend(queue);
            }
            Inserted::Replaced(_) => queues.extend(queue),
            Inserted::Created | Inserted::Duplicate(_) | Inserted::KeyHeld(_) => {}
        }
    }
    queues
}

/// New jobs without keys, as parameters of the statement that stores them.
enum New<'a> {
    Alike(AlikeColumns<'a>),
    Plain(PlainColumns<'a>),
    Any(Box<Columns<'a>>),
}

impl New<'_> {
    fn statement(&self) -> (&'static Sql, Vec<Param<'_>>) {
        match self {
            Self::Alike(columns) => (&INSERT_ALIKE, columns.params()),
            Self::Plain(columns) => (&INSERT_PLAIN, columns.params()),
            Self::Any(columns) => (&INSERT, columns.params()),
        }
    }
}

/// The statements before those for the jobs. They wait only briefly for a transaction that names the same queue.
fn naming_queues<'a>(unnamed: &'a Vec<String>) -> Vec<(&'static Sql, Vec<Param<'a>>)> {
    if unnamed.is_empty() {
        return Vec::new();
    }
    vec![(&BRIEFLY, Vec::new()), (&NAME_QUEUES, vec![unnamed])]
}

/// Jobs without keys, which wait for no other transaction.
async fn insert_free(
    link: &Link,
    jobs: &[(&NewJob, Timestamp)],
    unnamed: &Vec<String>,
    is_repeated: bool,
) -> Result<(), Fault> {
    if is_repeated || !is_new(insert_new(link, jobs, unnamed).await)? {
        insert_again(link, jobs, unnamed).await?;
    }
    Ok(())
}

/// Jobs none of which is stored yet, in one round trip.
async fn insert_new(link: &Link, jobs: &[(&NewJob, Timestamp)], unnamed: &Vec<String>) -> Result<(), Fault> {
    let (plain, others): (Vec<&JobRow>, Vec<&JobRow>) =
        jobs.iter().map(|(new, _)| &new.job).partition(|job| job.is_plain());
    let mut chunks = Vec::new();
    for chunk in plain.chunks(ROWS_MAX) {
        let jobs = chunk.iter().copied();
        chunks.push(match AlikeColumns::of(jobs.clone())? {
            Some(columns) => New::Alike(columns),
            None => New::Plain(PlainColumns::of(jobs)?),
        });
    }
    for chunk in others.chunks(ROWS_MAX) {
        chunks.push(New::Any(Box::new(Columns::of(chunk.iter().copied())?)));
    }
    let mut statements = naming_queues(unnamed);
    statements.extend(chunks.iter().map(New::statement));
    match statements.as_slice() {
        // A transaction by itself.
        [(sql, params)] => link.query(sql, params).await.map(drop),
        statements => link.all_or_none(statements).await.map(drop),
    }
}

/// Whether the jobs were inserted; not so if some were stored already.
fn is_new(inserted: Result<(), Fault>) -> Result<bool, Fault> {
    match inserted {
        Err(fault) if fault.is_unique_violation() => Ok(false),
        inserted => inserted.map(|()| true),
    }
}

/// Jobs of which some may be stored already, in whatever state, in one round trip.
async fn insert_again(
    link: &Link,
    jobs: &[(&NewJob, Timestamp)],
    unnamed: &Vec<String>,
) -> Result<(), Fault> {
    let chunks = jobs.chunks(ROWS_MAX).map(|chunk| Columns::of(chunk.iter().map(|(new, _)| &new.job)));
    let chunks: Vec<Columns<'_>> = chunks.collect::<Result<_, _>>()?;
    let mut statements = naming_queues(unnamed);
    for columns in &chunks {
        statements.push((&INSERT, columns.params()));
        statements.push((&TAKE_BACK, vec![columns.ids()]));
    }
    link.all_or_none(&statements).await.map(drop)
}
