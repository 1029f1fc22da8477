//! Taking due jobs.

use std::collections::BTreeSet;

use backroom_core::{Effect, JobId, JobRow, Kinds, Timestamp, transition::apply};
use rusqlite::{CachedStatement, Connection, params};

use super::{
    columns::{HAS_KNOWN_EXTRAS, columns},
    commit::carry_out,
    error::Fault,
    hints::Hints,
    pairs::{Pair, Pairs},
    row::{self, micros},
};
use crate::store::{Call, Claim};

/// With more damaged rows than that before its due jobs, a queue is left: each claim would read all of them.
pub(super) const DAMAGED_MAX: usize = 1000;

/// Takes up to `claim.limit` jobs, queue by queue in the order of the shares.
pub(super) fn claim(
    connection: &Connection,
    claim: &Claim,
    now: Timestamp,
    call: Call,
    hints: &mut Hints,
) -> Result<Vec<JobRow>, Fault> {
    if call == Call::Repeated {
        // If the lost call took anything, that is the whole answer: its shares were filled then.
        let taken = taken_before(connection, claim)?;
        if !taken.is_empty() {
            return Ok(taken);
        }
    }
    let mut finding = Finding::prepare(connection, claim.due, now)?;
    let mut taking = Taking::prepare(connection)?;
    let (mut taken, mut bytes) = (Vec::new(), 0);
    for share in &claim.shares {
        if is_full(claim, taken.len(), bytes) {
            break;
        }
        let limit = share.at_most.min(claim.limit.saturating_sub(taken.len()));
        if limit == 0 || is_paused(connection, &share.queue)? {
            continue;
        }
        let full = taken.len() + limit;
        // Rows of this queue that cannot be read. The claim asks again for more rows.
        let mut damaged = BTreeSet::new();
        loop {
            let known = damaged.len();
            let ids = finding.due(&claim.kinds, &share.queue, full - taken.len() + known * 2)?;
            for id in ids {
                if taken.len() >= full || is_full(claim, taken.len(), bytes) {
                    break;
                }
                if damaged.contains(&id) {
                    continue;
                }
                match taking.take(claim, id, now)? {
                    Take::Taken(job, effects) => {
                        hints.job(job.id);
                        for effect in &effects {
                            carry_out(connection, job.id, effect, hints)?;
                        }
                        bytes += job.bytes();
                        taken.push(*job);
                    }
                    Take::Damaged => _ = damaged.insert(id),
                    Take::NotDue => {}
                }
            }
            if damaged.len() > known && finding.leave_newer()? {
                damaged.clear();
                continue;
            }
            if damaged.len() == known
                || damaged.len() > DAMAGED_MAX
                || taken.len() >= full
                || is_full(claim, taken.len(), bytes)
            {
                break;
            }
        }
    }
    Ok(taken)
}

/// Whether the claim holds as many bytes as it may.
fn is_full(claim: &Claim, jobs: usize, bytes: usize) -> bool {
    jobs > 0 && bytes >= claim.bytes_max
}

/// Whether claims leave this queue alone. One lookup by name.
pub(super) fn is_paused(connection: &Connection, queue: &str) -> Result<bool, Fault> {
    let mut select = connection
        .prepare_cached("SELECT 1 FROM backroom_queues WHERE name = ?1 AND paused_at IS NOT NULL")?;
    Ok(select.exists([queue])?)
}

/// Jobs that run under the lease of this claim. Reads the index of leases: as many entries as jobs run at all.
fn taken_before(connection: &Connection, claim: &Claim) -> Result<Vec<JobRow>, Fault> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM backroom_jobs WHERE state = 'running' AND lease_id = ?1 ORDER BY priority, scheduled_at, id"
    );
    row::jobs(connection, sql, params![claim.lease.0.as_bytes()], claim.limit)
}

macro_rules! in_order {
    () => {
        " ORDER BY scheduled_at, id LIMIT ?5"
    };
}

/// Due jobs of one queue, priority and kind that have not expired (?4 is now), at most ?5.
macro_rules! due {
    ($which:literal) => {
        concat!(
            "SELECT scheduled_at, id FROM backroom_jobs INDEXED BY backroom_jobs_queued \
             WHERE state = 'queued' AND queue = ?1 AND priority = ?2 AND kind = ?3",
            $which,
            " AND (expires_at IS NULL OR expires_at > ?4)",
            in_order!()
        )
    };
}

/// Those due by now.
const DUE: &str = due!(" AND scheduled_at <= ?4");
/// As `JobRow::is_due` says: those beyond now, up to ?6.
const DUE_BEFORE_STEP: &str =
    due!(" AND scheduled_at > ?4 AND scheduled_at <= ?6 AND revision = 0 AND created_at > ?4");

/// The statement, limited to jobs whose extras this program can read.
fn of_known(due: &str) -> String {
    due.replace(in_order!(), &format!(" AND {}{}", *HAS_KNOWN_EXTRAS, in_order!()))
}

/// Finds due jobs. From the entries of one index alone, until the claim has met a row that it cannot read.
struct Finding<'a> {
    connection: &'a Connection,
    leaves_newer: bool,
    pairs: Pairs<'a>,
    of_pair: CachedStatement<'a>,
    now: Timestamp,
    /// Of jobs that were stored before the clock was set back, only then.
    before_step: Option<(CachedStatement<'a>, Timestamp)>,
}

impl<'a> Finding<'a> {
    fn prepare(connection: &'a Connection, due: Timestamp, now: Timestamp) -> Result<Self, Fault> {
        let of_pair = connection.prepare_cached(DUE)?;
        let before_step =
            if due > now { Some((connection.prepare_cached(DUE_BEFORE_STEP)?, due)) } else { None };
        let pairs = Pairs::prepare(connection)?;
        Ok(Self { connection, leaves_newer: false, pairs, of_pair, now, before_step })
    }

    /// From now on only jobs whose extras this program can read are found. That reads their rows, too. False if it was so before.
    fn leave_newer(&mut self) -> Result<bool, Fault> {
        if self.leaves_newer {
            return Ok(false);
        }
        self.leaves_newer = true;
        self.of_pair = self.connection.prepare_cached(&of_known(DUE))?;
        if let Some((of_pair, _)) = &mut self.before_step {
            *of_pair = self.connection.prepare_cached(&of_known(DUE_BEFORE_STEP))?;
        }
        Ok(true)
    }

    /// Ids of due jobs of one queue, in the order they are served. What lies in the future and the kinds that are not
    /// handled are never read, however many there are. Within a priority the kinds are merged by their turn.
    fn due(&mut self, kinds: &Kinds, queue: &str, limit: usize) -> Result<Vec<JobId>, Fault> {
        let now = micros(self.now);
        let mut found = Vec::new();
        let mut merged = 0;
        let mut before: Option<Pair> = None;
        while let Some(pair) = self.pairs.after(queue, before.as_ref())? {
            if before.as_ref().is_some_and(|before| before.priority != pair.priority) {
                found[merged..].sort_unstable();
                if found.len() >= limit {
                    break;
                }
                merged = found.len();
            }
            if kinds.includes(&pair.kind) {
                let most = row::at_most(limit - merged);
                let mut rows = self.of_pair.query(params![queue, pair.priority, pair.kind, now, most])?;
                while let Some(entry) = rows.next()? {
                    found.push((entry.get::<_, i64>(0)?, row::job_id(entry, 1)?));
                }
                if let Some((of_pair, due)) = &mut self.before_step {
                    let params = params![queue, pair.priority, pair.kind, now, most, micros(*due)];
                    let mut rows = of_pair.query(params)?;
                    while let Some(entry) = rows.next()? {
                        found.push((entry.get::<_, i64>(0)?, row::job_id(entry, 1)?));
                    }
                }
            }
            before = Some(pair);
        }
        found[merged..].sort_unstable();
        found.truncate(limit);
        Ok(found.into_iter().map(|(_, id)| id).collect())
    }
}

/// What became of a candidate.
enum Take {
    Taken(Box<JobRow>, Vec<Effect>),
    /// Core or the guard refused: it is not to be had.
    NotDue,
    /// Its row cannot be read.
    Damaged,
}

/// Takes jobs one by one, as core decides. Reading the row and then writing it measures faster than
/// `UPDATE … RETURNING`, which copies every row that it answers with.
struct Taking<'a> {
    read: CachedStatement<'a>,
    write: CachedStatement<'a>,
}

impl<'a> Taking<'a> {
    fn prepare(connection: &'a Connection) -> Result<Self, Fault> {
        let read = connection.prepare_cached(row::FIND)?;
        // Every field that a claim moves; the rest does not change. Guarded by the revision that was just read.
        let write = connection.prepare_cached(
            "UPDATE backroom_jobs SET state = 'running', attempt = ?3, unique_held = ?4, lease_id = ?5, \
             lease_until = ?6, worker = ?7, progress_percent = NULL, progress_message = NULL, started_at = ?8, \
             revision = revision + 1 WHERE id = ?1 AND revision = ?2 AND state = 'queued'",
        )?;
        Ok(Self { read, write })
    }

    fn take(&mut self, claim: &Claim, id: JobId, now: Timestamp) -> Result<Take, Fault> {
        let read = self.read.query([id.0.as_bytes()])?.next()?.map(row::job_if_whole).transpose()?;
        let mut job = match read {
            Some((_, Some(job))) => job,
            Some((_, None)) => return Ok(Take::Damaged),
            None => return Ok(Take::NotDue),
        };
        let event = claim.event();
        let Ok(Some(change)) = apply(&job, event, now) else { return Ok(Take::NotDue) };
        let written = self.write.execute(params![
            id.0.as_bytes(),
            row::revision(change.revision_before),
            change.attempt,
            change.unique_held,
            row::lease(change.lease_id.as_ref()),
            change.lease_until.map(micros),
            change.worker,
            change.started_at.map(micros),
        ])?;
        if written == 0 {
            return Ok(Take::NotDue);
        }
        change.write_to(&mut job);
        Ok(Take::Taken(Box::new(job), change.effects))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::schema, *};

    #[test]
    fn due_jobs_are_found_from_the_index_alone() {
        let connection = Connection::open_in_memory().expect("SQLite");
        schema::migrate(&connection).unwrap_or_else(|_| panic!("the schema"));
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {DUE}")).expect("a plan");
        let params = params!["q", 0, "k", 0, 1];
        let lines = explain.query_map(params, |row| row.get::<_, String>(3)).expect("a plan");
        let plan = lines.map(|line| line.expect("a line")).collect::<Vec<_>>().join("\n");
        assert!(plan.contains("USING COVERING INDEX backroom_jobs_queued"), "{plan}");
    }
}
