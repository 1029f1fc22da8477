//! The bare loop: the same rows in the same tables and batches with the same durability, and nothing else.
//!
//! No client, no worker, no decisions, no wakes: one thread, one connection, prepared statements. What it reaches is
//! what SQLite gives; what the library keeps of it is the price of everything else.

use std::{path::Path, time::Duration};

use backroom::{Durability, Error, ErrorKind, Options, clock::Clock, ids::Ids};
use rusqlite::{Connection, params};

use super::{args::BenchArgs, place::Place, report::Baseline, workload::Noop};

/// Rows per transaction, as the library's bulk enqueue and its worker under load.
const BATCH: u32 = 1000;

/// Runs the loop on a file next to the one that was measured, made by the same migrations, and removes it.
pub(super) async fn measure(args: &BenchArgs, place: &Place) -> Result<Baseline, Error> {
    let file = place.file_beside().ok_or_else(|| {
        let message = "measure a baseline: it is a loop over SQLite; use a sqlite: store";
        Error::new(ErrorKind::Invalid, message)
    })?;
    let made = Options::new().open(&format!("sqlite:{}", file.display())).await?;
    made.close().await?;
    let looped = Loop::open(&file, place)
        .and_then(|bare| bare.run(args))
        .map_err(|error| Error::new(ErrorKind::Unavailable, "measure the baseline").caused_by(error));
    for suffix in ["", "-wal", "-shm"] {
        // What SQLite has removed already need not be removed again.
        let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
    }
    looped
}

struct Loop<'a> {
    connection: Connection,
    clock: &'a dyn Clock,
    ids: Ids,
}

impl<'a> Loop<'a> {
    fn open(file: &Path, place: &'a Place) -> rusqlite::Result<Self> {
        let connection = Connection::open(file)?;
        let synchronous = match place.durability {
            Durability::Full => "FULL",
            Durability::Relaxed => "NORMAL",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "cache_size", -32_768)?;
        // Checkpoints as rare as the library's own.
        connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
        Ok(Self { connection, clock: &**place.backroom.clock(), ids: Ids::from_entropy() })
    }

    fn run(self, args: &BenchArgs) -> rusqlite::Result<Baseline> {
        let enqueue = self.enqueue(args)?;
        let drain = self.drain(args)?;
        let jobs = f64::from(args.jobs);
        Ok(Baseline {
            enqueue_per_s: jobs / enqueue.as_secs_f64(),
            drain_per_s: jobs / drain.as_secs_f64(),
            lifecycle_per_s: jobs / (enqueue + drain).as_secs_f64(),
        })
    }

    fn enqueue(&self, args: &BenchArgs) -> rusqlite::Result<Duration> {
        let start = self.clock.now();
        let mut jobs = Noop::many(args.jobs, args.payload_bytes).peekable();
        while jobs.peek().is_some() {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            let mut insert = self.connection.prepare_cached(
                "INSERT INTO backroom_jobs (id, kind, queue, priority, state, args, attempt, max_attempts, crashes, \
                 scheduled_at, unique_held, woken, created_at, revision) \
                 VALUES (?1, 'bench_noop', 'bench', 5, 'queued', ?2, 0, 20, 0, ?3, 0, 0, ?3, 0)",
            )?;
            let now = self.clock.now();
            for job in jobs.by_ref().take(BATCH as usize) {
                let args = serde_json::to_string(&job).unwrap_or_default();
                insert.execute(params![self.ids.job(now).0.as_bytes(), args, now.as_microsecond()])?;
            }
            self.connection.execute_batch("COMMIT")?;
        }
        Ok(self.since(start))
    }

    /// Each transaction completes one batch and claims the next.
    fn drain(&self, args: &BenchArgs) -> rusqlite::Result<Duration> {
        let start = self.clock.now();
        let lease = self.ids.lease();
        let mut running: Vec<[u8; 16]> = Vec::new();
        let mut completed = 0;
        while completed < args.jobs as usize {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            self.complete(&running, lease.0.as_bytes())?;
            completed += running.len();
            running = self.claim(lease.0.as_bytes())?;
            self.connection.execute_batch("COMMIT")?;
        }
        Ok(self.since(start))
    }

    fn claim(&self, lease: &[u8; 16]) -> rusqlite::Result<Vec<[u8; 16]>> {
        let now = self.clock.now().as_microsecond();
        let mut select = self.connection.prepare_cached(
            "SELECT id FROM backroom_jobs WHERE state = 'queued' AND queue = 'bench' AND priority = 5 AND kind = 'bench_noop' \
             AND scheduled_at <= ?1 ORDER BY scheduled_at, id LIMIT ?2",
        )?;
        let ids = select.query_map(params![now, BATCH], |row| row.get(0))?;
        let ids = ids.collect::<rusqlite::Result<Vec<[u8; 16]>>>()?;
        let mut read = self.connection.prepare_cached("SELECT args FROM backroom_jobs WHERE id = ?1")?;
        let mut update = self.connection.prepare_cached(
            "UPDATE backroom_jobs SET state = 'running', attempt = attempt + 1, lease_id = ?2, lease_until = ?3, \
             worker = 'bare', started_at = ?4, revision = revision + 1 WHERE id = ?1",
        )?;
        for id in &ids {
            let _args: String = read.query_row([id], |row| row.get(0))?;
            update.execute(params![id, lease, now + 30_000_000, now])?;
        }
        Ok(ids)
    }

    fn complete(&self, ids: &[[u8; 16]], lease: &[u8; 16]) -> rusqlite::Result<()> {
        let now = self.clock.now().as_microsecond();
        let mut update = self.connection.prepare_cached(
            "UPDATE backroom_jobs SET state = 'completed', lease_until = NULL, output = 'null', finished_at = ?3, \
             revision = revision + 1 WHERE id = ?1 AND state = 'running' AND lease_id = ?2",
        )?;
        ids.iter().try_for_each(|id| update.execute(params![id, lease, now]).map(drop))
    }

    fn since(&self, start: backroom::Timestamp) -> Duration {
        let span = self.clock.now().duration_since(start);
        Duration::try_from(span).unwrap_or_default().max(Duration::from_micros(1))
    }
}
