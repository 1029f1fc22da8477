-- The first schema: jobs and all that belongs to them, queues, workers.
--
-- Columns stand in the order of `Job` in backroom-core. Moments are microseconds since 1970 (UTC), spans
-- milliseconds, ids the 16 bytes of a UUID. The CHECKs repeat what core promises of every job, so that a row written
-- by hand cannot break it either. They use OR where IN would be easier to read. For an IN over more than two values SQLite
-- builds a temporary table at every insert and update: a tenth of the cost of a job.
CREATE TABLE backroom_jobs (
    id                  BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind                TEXT    NOT NULL CHECK (kind <> ''),
    queue               TEXT    NOT NULL CHECK (queue <> ''),
    lane                TEXT,
    priority            INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 9),
    state               TEXT    NOT NULL
        CHECK (state = 'queued' OR state = 'running' OR state = 'waiting'
            OR state = 'completed' OR state = 'cancelled' OR state = 'discarded'),
    args                TEXT    NOT NULL,
    attempt             INTEGER NOT NULL CHECK (attempt BETWEEN 0 AND 4294967295),
    max_attempts        INTEGER NOT NULL CHECK (max_attempts BETWEEN 1 AND 4294967295),
    crashes             INTEGER NOT NULL CHECK (crashes BETWEEN 0 AND 4294967295),
    scheduled_at        INTEGER NOT NULL,
    expires_at          INTEGER,
    unique_key          TEXT,
    unique_while        TEXT    CHECK (unique_while = 'live' OR unique_while = 'queued' OR unique_while = 'until'),
    unique_until        INTEGER,
    unique_held         INTEGER NOT NULL CHECK (unique_held = 0 OR unique_held = 1),
    lease_id            BLOB    CHECK (length(lease_id) = 16),
    lease_until         INTEGER,
    worker              TEXT,
    progress_percent    INTEGER CHECK (progress_percent BETWEEN 0 AND 100),
    progress_message    TEXT,
    output              TEXT,
    reason              TEXT,
    cancel_requested_at INTEGER,
    woken               INTEGER NOT NULL CHECK (woken = 0 OR woken = 1),
    created_at          INTEGER NOT NULL,
    started_at          INTEGER,
    finished_at         INTEGER,
    tags                TEXT,
    extras              TEXT    CHECK (extras IS NULL OR substr(extras, 1, 5) = '{"v":'),
    revision            INTEGER NOT NULL CHECK (revision >= 0),
    suspicion           TEXT    CHECK ((suspicion IS NULL) = (crashes = 0)),
    links               TEXT    CHECK (links IS NULL OR substr(links, 1, 5) = '{"v":'),
    batch               BLOB    CHECK (length(batch) = 16),
    CHECK ((lease_until IS NOT NULL) = (state = 'running')),
    CHECK (state <> 'running' OR lease_id IS NOT NULL),
    CHECK ((finished_at IS NOT NULL) = (state = 'completed' OR state = 'cancelled' OR state = 'discarded')),
    CHECK ((output IS NOT NULL) = (state = 'completed')),
    CHECK (reason IS NOT NULL OR (state <> 'cancelled' AND state <> 'discarded')),
    CHECK ((unique_key IS NULL) = (unique_while IS NULL)),
    CHECK ((unique_until IS NOT NULL OR unique_while IS NOT 'until') AND (unique_until IS NULL OR unique_while IS NOT NULL)),
    CHECK (unique_held = 0 OR unique_key IS NOT NULL),
    CHECK ((progress_percent IS NULL) = (progress_message IS NULL))
) STRICT, WITHOUT ROWID;

-- The order of claims, one range per queue, priority and kind: a claim skips the kinds that its worker does not handle,
-- however many jobs of them wait. With the columns after `id`, a claim, the search for the next due job and the counts read
-- the index alone.
CREATE INDEX backroom_jobs_queued
    ON backroom_jobs (queue, priority, kind, scheduled_at, id, expires_at, attempt, crashes)
    WHERE state = 'queued';

-- What each worker runs.
CREATE INDEX backroom_jobs_running ON backroom_jobs (worker, id) WHERE state = 'running';

-- History, the oldest first: for pruning and counting. With the last two columns, pruning skips jobs that still hold
-- their unique key without reading their rows.
CREATE INDEX backroom_jobs_finished
    ON backroom_jobs (queue, state, finished_at, id, unique_held, unique_until)
    WHERE finished_at IS NOT NULL;

-- States that few jobs have, the newest first. Completed jobs, which are most of them, have no entry here. Written with OR:
-- from `state = 'waiting'` the planner concludes that this index fits, from an IN it would not.
CREATE INDEX backroom_jobs_rare ON backroom_jobs (state, id, queue)
    WHERE state = 'waiting' OR state = 'cancelled' OR state = 'discarded';

-- Queued jobs that will expire.
CREATE INDEX backroom_jobs_expiring ON backroom_jobs (expires_at, id) WHERE state = 'queued' AND expires_at IS NOT NULL;

-- One job per held key.
CREATE UNIQUE INDEX backroom_jobs_unique ON backroom_jobs (unique_key) WHERE unique_held = 1;

-- The members of a batch.
CREATE INDEX backroom_jobs_batch ON backroom_jobs (batch, id) WHERE batch IS NOT NULL;

-- Attempts that did not succeed. A job that succeeds at once has none. `after_lines` is how many lines the job's log had: readers
-- who follow the job see the attempt behind them.
CREATE TABLE backroom_attempts (
    seq        INTEGER PRIMARY KEY,
    job_id     BLOB    NOT NULL CHECK (length(job_id) = 16),
    lease_id   BLOB    NOT NULL CHECK (length(lease_id) = 16),
    attempt    INTEGER NOT NULL CHECK (attempt BETWEEN 0 AND 4294967295),
    "end"      TEXT    NOT NULL
        CHECK ("end" = 'failed' OR "end" = 'panicked' OR "end" = 'timedout'
            OR "end" = 'crashed' OR "end" = 'lost' OR "end" = 'discarded' OR "end" = 'cancelled'),
    error      TEXT    NOT NULL,
    worker     TEXT,
    started_at INTEGER,
    ended_at   INTEGER NOT NULL,
    after_lines INTEGER NOT NULL CHECK (after_lines >= 0)
) STRICT;

-- A run ends once, however often its end is reported.
CREATE UNIQUE INDEX backroom_attempts_run ON backroom_attempts (job_id, lease_id);

-- What handlers logged; `seq` is the position within the run, `position` that within the job's log, from 0 without gaps.
CREATE TABLE backroom_logs (
    job_id   BLOB    NOT NULL CHECK (length(job_id) = 16),
    position INTEGER NOT NULL CHECK (position BETWEEN 0 AND 4294967295),
    lease_id BLOB    NOT NULL CHECK (length(lease_id) = 16),
    seq      INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 4294967295),
    at       INTEGER NOT NULL,
    line     TEXT    NOT NULL,
    PRIMARY KEY (job_id, position)
) STRICT, WITHOUT ROWID;

-- A line is written once, however often it is sent.
CREATE UNIQUE INDEX backroom_logs_line ON backroom_logs (job_id, lease_id, seq);

-- To find jobs by tag, the newest first. Untagged jobs cost nothing here.
CREATE TABLE backroom_tags (
    tag    TEXT NOT NULL,
    job_id BLOB NOT NULL CHECK (length(job_id) = 16),
    PRIMARY KEY (tag, job_id)
) STRICT, WITHOUT ROWID;

-- Queues that a job or a setting ever named. `retention` is JSON; NULL is the default.
CREATE TABLE backroom_queues (
    name      TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
    paused_at INTEGER,
    paused_by TEXT CHECK (paused_by = 'moving' OR paused_by = 'moved'),
    retention TEXT
) STRICT, WITHOUT ROWID;

-- What workers report about themselves; `queues`, `kinds`, `trials` and `details` are JSON.
CREATE TABLE backroom_workers (
    name        TEXT    NOT NULL PRIMARY KEY,
    incarnation BLOB    NOT NULL CHECK (length(incarnation) = 16),
    host        TEXT    NOT NULL,
    pid         INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    beat_at     INTEGER NOT NULL,
    beats       INTEGER NOT NULL CHECK (beats >= 0),
    dead        INTEGER NOT NULL CHECK (dead = 0 OR dead = 1),
    lease_ms    INTEGER NOT NULL,
    queues      TEXT    NOT NULL,
    kinds       TEXT    NOT NULL,
    slots       INTEGER NOT NULL,
    running     INTEGER NOT NULL,
    stuck       INTEGER NOT NULL,
    stopping    INTEGER NOT NULL CHECK (stopping = 0 OR stopping = 1),
    trials      TEXT    NOT NULL,
    details     TEXT    NOT NULL,
    trouble     TEXT
) STRICT, WITHOUT ROWID;

-- What each worker counted of the attempts that ended in one minute; `kinds` is JSON. Rows are deleted after an hour.
CREATE TABLE backroom_stats (
    minute INTEGER NOT NULL,
    worker TEXT    NOT NULL,
    kinds  TEXT    NOT NULL,
    PRIMARY KEY (minute, worker)
) STRICT, WITHOUT ROWID;

-- URLs of callbacks whose receiver answered that it wants no more of them.
CREATE TABLE backroom_ended_endpoints (
    url      TEXT    NOT NULL PRIMARY KEY CHECK (url <> ''),
    reason   TEXT    NOT NULL,
    ended_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
