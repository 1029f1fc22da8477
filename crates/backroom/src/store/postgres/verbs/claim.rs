//! Taking due jobs.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use backroom_core::{Effect, JobId, JobRow, Timestamp, bounds::whole_micros, message};
use tokio_postgres::types::Type;

use super::{
    effects::{self, StoredEffects},
    frontier::Walk,
};
use crate::store::postgres::{
    Core,
    columns::{
        row,
        table::{claimed, has_known_extras},
        timestamp::PgTimestamp,
    },
    wire::{
        connection::{Param, Transaction},
        error::Fault,
        settings::Wait,
        sql::{COLUMNS, Sql, columns},
    },
};
use crate::{
    clock::Clock as _,
    store::{Call, Claim},
};

/// The column that says whether the job lies on a tray: behind those of a job.
const TRAY_COLUMN: usize = COLUMNS;
/// Jobs in one statement; a larger claim takes several.
const ROWS_MAX: usize = 5000;

/// The length of a job's extras. A job whose claim must write a message too may only be claimed in a transaction ($13):
/// in any other claim it is an error, [`Fault::is_claim_with_message`]. So claims of all other jobs remain one
/// statement, and pay for no more than the search in a short text that most of them do not have. The error is a cast
/// that fails, since SQL without a function of our own has no other way to raise one. The text depends on the row, so
/// the planner does not evaluate it.
macro_rules! bytes_of_extras {
    () => {
        "CASE WHEN jobs.extras IS NULL THEN 0 \
           WHEN $13 OR strpos(jobs.extras, '\"on\":[\"started\"') = 0 THEN octet_length(jobs.extras) \
           ELSE ('a claim that writes a message must be made in a transaction; it is repeated in one' \
             || left(jobs.kind, 0))::int END"
    };
}

/// The places of due jobs of several queues, each named once, as core's `Event::Claim` says. Parameters 1 to 5: queues and
/// how many of each at most, kinds, now, limit; parameter 9: bytes; 10 and 11: the moments and ids behind which the walk
/// of each queue and priority begins; 12: up to when jobs are due that were stored before the clock was set back, never before
/// now; 13: whether the claim is made in a transaction. The condition on the kind, and more columns, are arguments.
///
/// Jobs with extras of a newer version are left to the programs that can read them.
///
/// The CTE is a fence: inlined, the planner could run the locking subquery again and again, and lock more rows than it
/// takes. It has one index range per priority, so jobs of the future are never read, however many they are. Rows that
/// another claim has locked are skipped, not waited for. The length of args is known without reading them, so args behind
/// the bound in bytes are never read; their rows are locked until the statement ends. What follows goes straight to the
/// rows by their place.
macro_rules! due {
    ($of_kinds:literal, $more:literal) => {
        concat!(
            "WITH open AS MATERIALIZED ( \
               SELECT queue, at_most, place FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY \
                 AS share (queue, at_most, place) \
               WHERE NOT EXISTS (SELECT FROM {schema}.queues \
                 WHERE queues.name = share.queue AND queues.paused_at IS NOT NULL) \
               ORDER BY place), \
             due AS MATERIALIZED ( \
               SELECT found.* FROM open CROSS JOIN LATERAL ( \
                 SELECT ranged.* FROM generate_series(0, 9) AS p (priority) CROSS JOIN LATERAL ( \
                   SELECT jobs.ctid AS tid, octet_length(jobs.args) + ",
            bytes_of_extras!(),
            " AS bytes",
            $more,
            " FROM {schema}.jobs \
                   WHERE jobs.state = 'queued' AND jobs.queue = open.queue \
                     AND jobs.priority = p.priority::smallint AND jobs.scheduled_at <= $12 \
                     AND (jobs.scheduled_at <= $4 OR (jobs.revision = 0 AND jobs.created_at > $4)) \
                     AND (jobs.scheduled_at, jobs.id) > ($10[(open.place::int - 1) * 10 + p.priority + 1], \
                       $11[(open.place::int - 1) * 10 + p.priority + 1]) \
                     AND ",
            $of_kinds,
            " AND (jobs.expires_at IS NULL OR jobs.expires_at > $4) \
                     AND ",
            has_known_extras!(),
            " ORDER BY jobs.scheduled_at, jobs.id LIMIT open.at_most FOR UPDATE SKIP LOCKED) AS ranged \
                 LIMIT open.at_most) AS found \
               LIMIT $5)"
        )
    };
}

/// The rows of `due` up to the one that fills the claim in bytes. Nearly always that is all of them, which one sum shows. Only
/// else are they summed row by row, which costs a claim of small jobs a twelfth. Parameter 9: bytes.
macro_rules! within_bytes {
    () => {
        " AND ((SELECT sum(bytes) FROM due) < $9 OR due.tid = ANY (ARRAY( \
             SELECT tid FROM (SELECT tid, sum(bytes) OVER (ROWS UNBOUNDED PRECEDING) - bytes AS bytes_before FROM due) \
               AS summed WHERE bytes_before < $9 OR bytes_before = 0)))"
    };
}

/// Lets due jobs run where they are. Parameters 6 to 8: lease, until, worker. The server does not send back the columns that
/// the claim itself sets. The last column, behind those of a job, says whether it lies on a tray.
macro_rules! run_in_place {
    ($which:literal) => {
        concat!(
            "UPDATE {schema}.jobs SET state = 'running', attempt = attempt + 1, \
               unique_held = unique_held AND unique_while <> 'queued', lease_id = $6, lease_until = $7, worker = $8, \
               progress_percent = NULL, progress_message = NULL, started_at = $4, revision = revision + 1 \
             FROM due WHERE jobs.ctid = due.tid",
            within_bytes!(),
            $which,
            " RETURNING ",
            claimed!(),
            ", false"
        )
    };
}

const CLAIM_TYPES: [Type; 13] = [
    Type::TEXT_ARRAY,
    Type::INT8_ARRAY,
    Type::TEXT_ARRAY,
    Type::TIMESTAMPTZ,
    Type::INT8,
    Type::UUID,
    Type::TIMESTAMPTZ,
    Type::TEXT,
    Type::INT8,
    Type::TIMESTAMPTZ_ARRAY,
    Type::UUID_ARRAY,
    Type::TIMESTAMPTZ,
    Type::BOOL,
];

/// Takes due jobs, each in its row. Parameters: as above.
macro_rules! claim {
    ($of_kinds:literal) => {
        Sql { text: concat!(due!($of_kinds, ""), " ", run_in_place!("")), types: &CLAIM_TYPES }
    };
}

/// Takes due jobs onto trays, one for each queue. Some jobs are taken in their rows: those that are not plain, those
/// changed since their insert, and those so large that to write them twice would cost more than it saves. Parameters:
/// as above.
macro_rules! claim_on_tray {
    ($of_kinds:literal) => {
        Sql { text: concat!(
        due!(
            $of_kinds, ", plain AND revision = 0 AND octet_length(args) + coalesce(pg_column_size(tags), 0) \
             + coalesce(octet_length(extras), 0) <= 2000 AS fits"
        ),
        ", taken AS ( \
           DELETE FROM {schema}.jobs USING due WHERE jobs.ctid = due.tid AND due.fits",
        within_bytes!(),
        " RETURNING id, kind, queue, priority, args, max_attempts, scheduled_at, created_at, tags, extras), \
         tray AS ( \
           INSERT INTO {schema}.trays (lease_id, queue, lease_until, worker, started_at, live, first_id, last_id, jobs) \
           SELECT $6, queue, $7, $8, $4, count(*), \
             (SELECT id FROM taken AS one WHERE one.queue = taken.queue ORDER BY id LIMIT 1), \
             (SELECT id FROM taken AS one WHERE one.queue = taken.queue ORDER BY id DESC LIMIT 1), \
             array_agg(ROW(id, kind, priority, args, max_attempts, scheduled_at, created_at, tags, extras) \
               ::{schema}.tray_job) \
           FROM taken GROUP BY queue), \
         apart AS (",
        run_in_place!(" AND NOT due.fits"),
        ") \
         SELECT id, kind, queue, NULL::text, priority, 'running', args, 1, max_attempts, 0, scheduled_at, \
           NULL::timestamptz, NULL::text, NULL::text, NULL::timestamptz, false, NULL::uuid, \
           NULL::timestamptz, NULL::text, NULL::smallint, NULL::text, NULL::text, NULL::text, NULL::timestamptz, false, \
           created_at, NULL::timestamptz, NULL::timestamptz, tags, extras, 1, NULL::text, NULL::text, NULL::uuid, true, true FROM taken \
         UNION ALL SELECT * FROM apart"
    ),
    types: &CLAIM_TYPES }
    };
}

static CLAIM: Sql = claim!("jobs.kind = ANY($3::text[])");
static CLAIM_ON_TRAY: Sql = claim_on_tray!("jobs.kind = ANY($3::text[])");
static CLAIM_OF_ANY: Sql = claim!("jobs.kind <> ALL($3::text[])");
static CLAIM_OF_ANY_ON_TRAY: Sql = claim_on_tray!("jobs.kind <> ALL($3::text[])");

/// Jobs that run under a lease. Reads the index of leases: as many entries as jobs run at all. Parameter: the
/// lease.
static TAKEN_BEFORE: Sql = Sql {
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM {schema}.jobs WHERE state = 'running' AND lease_id = $1 UNION ALL SELECT ",
        columns!(),
        " FROM {schema}.jobs_on_trays WHERE lease_id = $1 ORDER BY priority, scheduled_at, id"
    ),
    types: &[Type::UUID],
};

/// Takes up to `claim.limit` jobs, queue by queue in the order of the shares.
pub(crate) async fn claim(
    core: &Core,
    claim: &Claim,
    now: Timestamp,
    call: Call,
) -> Result<Vec<JobRow>, Fault> {
    if call == Call::Repeated {
        let taken = taken_before(core, claim).await?;
        if !taken.is_empty() {
            return Ok(taken);
        }
    }
    let queue = claim.shares.first().map_or("", |share| share.queue.as_str());
    let on_tray = core.trays.fits(queue, claim.limit, core.settings.options.trays_from);
    let (mut taken, mut bytes) = (Vec::new(), 0);
    let mut shares: Vec<(&str, usize)> =
        claim.shares.iter().map(|share| (share.queue.as_str(), share.at_most)).collect();
    // A queue may be named twice, but in one statement only once: the statement would find its rows a second time.
    while taken.len() < claim.limit && shares.iter().any(|(_, at_most)| *at_most > 0) {
        let round = next_round(&mut shares);
        let limit = (claim.limit - taken.len()).min(ROWS_MAX);
        // The trays of a lease come from one statement.
        let on_tray = on_tray && taken.is_empty();
        let room = claim.bytes_max.saturating_sub(bytes);
        let Took { jobs: found, is_full } = match take(core, claim, &round, (limit, room), on_tray, now).await
        {
            // The call that this one repeats was still on its way, and has written its tray by now.
            Err(fault) if fault.is_unique_violation() => return taken_before(core, claim).await,
            found => found?,
        };
        bytes += found.iter().map(JobRow::bytes).sum::<usize>();
        if bytes >= claim.bytes_max {
            taken.extend(found);
            break;
        }
        let count_of = |queue: &str| found.iter().filter(|job| job.queue == queue).count();
        // A queue that gave less than was asked for has nothing more; but a statement that was full may have left something.
        if is_full {
            shares.splice(0..0, round.iter().map(|(queue, at_most)| (*queue, at_most - count_of(queue))));
        }
        for (queue, at_most) in &round {
            let given = count_of(queue);
            if !is_full && given < *at_most {
                shares.iter_mut().filter(|(other, _)| other == queue).for_each(|(_, left)| *left = 0);
            }
        }
        taken.extend(found);
    }
    core.trays.took(queue, taken.len());
    Ok(taken)
}

async fn taken_before(core: &Core, claim: &Claim) -> Result<Vec<JobRow>, Fault> {
    row::readable_jobs(&core.claims.query(&TAKEN_BEFORE, &[&claim.lease.0]).await?)
}

/// The shares up to the first queue that is named a second time.
fn next_round<'a>(shares: &mut Vec<(&'a str, usize)>) -> Vec<(&'a str, usize)> {
    shares.retain(|(_, at_most)| *at_most > 0);
    let is_second = |index: &usize| shares[..*index].iter().any(|(queue, _)| *queue == shares[*index].0);
    let end = (0..shares.len()).find(is_second).unwrap_or(shares.len());
    shares.drain(..end).collect()
}

/// What one statement took.
struct Took {
    jobs: Vec<JobRow>,
    /// The queues may have more than it took.
    is_full: bool,
}

async fn take(
    core: &Core,
    claim: &Claim,
    round: &[(&str, usize)],
    (limit, bytes_max): (usize, usize),
    on_tray: bool,
    now: Timestamp,
) -> Result<Took, Fault> {
    let queues: Vec<&str> = round.iter().map(|(queue, _)| *queue).collect();
    let at_most: Vec<i64> = round.iter().map(|(_, at_most)| row::at_most((*at_most).min(limit))).collect();
    let began = core.settings.clock.monotonic();
    let begin = core.frontiers.begin(&claim.kinds, &queues, began);
    let begin_at: Vec<PgTimestamp> = begin.at.iter().copied().map(PgTimestamp).collect();
    let sql = match (on_tray, claim.kinds.is_any_but()) {
        (true, false) => &CLAIM_ON_TRAY,
        (false, false) => &CLAIM,
        (true, true) => &CLAIM_OF_ANY_ON_TRAY,
        (false, true) => &CLAIM_OF_ANY,
    };
    let kinds = claim.kinds.names();
    let (now_param, limit_param, until) = (PgTimestamp(now), row::at_most(limit), PgTimestamp(claim.until));
    let (bytes_param, due) = (row::at_most(bytes_max), PgTimestamp(claim.due.max(now)));
    let mut params: [Param<'_>; 13] = [
        &queues,
        &at_most,
        &kinds,
        &now_param,
        &limit_param,
        &claim.lease.0,
        &until,
        &claim.worker,
        &bytes_param,
        &begin_at,
        &begin.ids,
        &due,
        &false,
    ];
    let mut alone = None;
    if !core.claims_with_messages.are_expected(began) {
        match core.claims.query(sql, &params).await {
            Err(fault) if fault.is_claim_with_message() => core.claims_with_messages.expect(began),
            rows => alone = Some(rows?),
        }
    }
    let (transaction, rows) = match alone {
        Some(rows) => (None, rows),
        None => {
            params[12] = &true;
            let (transaction, rows) = core.claims.begin_with(Wait::Usual, sql, &params).await?;
            (Some(transaction), rows)
        }
    };
    // The statement took damaged rows as well. They stay under this lease, and must not strand the others.
    let mut jobs = row::readable_jobs(&rows)?;
    let has_damaged = jobs.len() < rows.len();
    for job in &mut jobs {
        job.lease_id = Some(claim.lease);
        job.lease_until = Some(whole_micros(claim.until));
        job.worker = Some(claim.worker.clone());
        job.started_at = Some(whole_micros(now));
    }
    if let Some(transaction) = transaction {
        // Boxed: it is rare, and its future is large.
        Box::pin(commit_with_messages(core, transaction, &jobs, now)).await?;
    }
    let ended = core.settings.clock.monotonic();
    let is_full =
        has_damaged || jobs.len() >= limit || jobs.iter().map(JobRow::bytes).sum::<usize>() >= bytes_max;
    let has_more = |queue: &str, at_most: usize| {
        is_full || jobs.iter().filter(|job| job.queue == queue).count() >= at_most
    };
    let exhausted: Vec<&str> =
        round.iter().filter(|(queue, at_most)| !has_more(queue, *at_most)).map(|(queue, _)| *queue).collect();
    let took = ended.saturating_sub(began);
    let walk = Walk {
        kinds: &claim.kinds,
        queues: &queues,
        begin: &begin,
        found: &jobs,
        exhausted: &exhausted,
        took,
    };
    // By the database's time, too: the caller's clock may be ahead, and this claim saw nothing that is committed in between.
    let seen = core.database_time.now().map_or(now, |time| time.min(now));
    core.frontiers.walked(&walk, seen, ended);
    // An update answers in any order.
    let places: HashMap<&str, usize> =
        queues.iter().enumerate().map(|(place, queue)| (*queue, place)).collect();
    jobs.sort_by(|one, other| {
        let place =
            |job: &JobRow| (places.get(job.queue.as_str()).copied(), job.priority, job.scheduled_at, job.id);
        place(one).cmp(&place(other))
    });
    let mut on_tray = 0;
    for row in &rows {
        on_tray += usize::from(row.try_get::<_, bool>(TRAY_COLUMN)?);
    }
    core.trays.laid(claim.lease, on_tray);
    core.dead_rows.add(rows.len());
    core.hints.jobs_here(jobs.iter().map(|job| job.id));
    Ok(Took { jobs, is_full })
}

/// Writes the messages about the claims, and commits both.
async fn commit_with_messages(
    core: &Core,
    transaction: Transaction,
    jobs: &[JobRow],
    now: Timestamp,
) -> Result<(), Fault> {
    let of_job = |job: &JobRow| {
        let id = job.id;
        message::of_claimed(job, now).into_iter().map(move |effect| (id, effect))
    };
    let effects: Vec<(JobId, Effect)> = jobs.iter().flat_map(of_job).collect();
    if !effects.is_empty() {
        core.claims_with_messages.expect(core.settings.clock.monotonic());
    }
    let stored = StoredEffects::of(core, effects.iter().map(|(id, effect)| (*id, effect)))?;
    transaction.commit_with(&stored.statements()).await?;
    stored.committed(core);
    effects::notify(core, effects.iter().map(|(_, effect)| effect));
    Ok(())
}

/// Whether claims of this process are made in transactions, because one of the last met a job whose claim writes a message.
/// Such a claim is two round trips instead of one.
#[derive(Debug, Default)]
pub(crate) struct ClaimsWithMessages {
    /// A reading of the monotonic clock, in milliseconds.
    until: AtomicU64,
}

/// How long a process goes on so. Then one claim fails, and is repeated, if there is another such job.
const MESSAGES_EXPECTED: Duration = Duration::from_secs(60);

impl ClaimsWithMessages {
    fn are_expected(&self, now: Duration) -> bool {
        u128::from(self.until.load(Ordering::Relaxed)) > now.as_millis()
    }

    fn expect(&self, now: Duration) {
        let until = now.saturating_add(MESSAGES_EXPECTED).as_millis();
        self.until.store(u64::try_from(until).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_recognises_the_extras_that_ask_for_a_message_about_it() {
        for claim in [&CLAIM, &CLAIM_ON_TRAY, &CLAIM_OF_ANY, &CLAIM_OF_ANY_ON_TRAY] {
            assert!(claim.text.contains(message::STARTED_IN_EXTRAS));
        }
    }
}
