-- Schedules, their history, and reports about their runs. `definition` and `state` are JSON. `next_at` is when the schedule is planned
-- next. `moved_by` names the last write, so that a repeated one is recognised.
CREATE TABLE backroom_schedules (
    name       TEXT    NOT NULL PRIMARY KEY CHECK (name <> ''),
    origin     TEXT    NOT NULL CHECK (origin = 'program' OR origin = 'settings' OR origin = 'api'),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    definition TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    next_at    INTEGER,
    revision   INTEGER NOT NULL CHECK (revision >= 0),
    moved_by   BLOB    NOT NULL CHECK (length(moved_by) = 16)
) STRICT, WITHOUT ROWID;

CREATE INDEX backroom_schedules_due ON backroom_schedules (next_at, name) WHERE next_at IS NOT NULL;

-- What became of occurrences. One that became a job has a row of its own; neighbours that did not run, for one reason, share one,
-- from `first` to `last`. `became` is set when the run has ended. The id of the job follows from the schedule and the nominal time
-- (`first`), so the index of ids is what lets an occurrence fire once.
CREATE TABLE backroom_schedule_entries (
    schedule TEXT    NOT NULL,
    seq      INTEGER NOT NULL CHECK (seq > 0),
    what     TEXT    NOT NULL,
    first    INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    count    INTEGER NOT NULL CHECK (count > 0),
    at       INTEGER NOT NULL,
    job_id   BLOB    CHECK (length(job_id) = 16),
    key      TEXT,
    became   TEXT    CHECK (became = 'completed' OR became = 'discarded' OR became = 'cancelled'),
    ended_at INTEGER,
    reason   TEXT,
    PRIMARY KEY (schedule, seq),
    CHECK (became IS NULL OR job_id IS NOT NULL),
    CHECK ((became IS NULL) = (ended_at IS NULL))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX backroom_schedule_entries_job ON backroom_schedule_entries (job_id) WHERE job_id IS NOT NULL;

-- The idempotency keys of triggers.
CREATE UNIQUE INDEX backroom_schedule_entries_key ON backroom_schedule_entries (schedule, key) WHERE key IS NOT NULL;

-- Runs that are going.
CREATE INDEX backroom_schedule_entries_open ON backroom_schedule_entries (schedule, seq)
    WHERE job_id IS NOT NULL AND became IS NULL;

-- Ends of runs that no turn of the schedule has taken over.
CREATE TABLE backroom_schedule_reports (
    number   INTEGER PRIMARY KEY,
    schedule TEXT    NOT NULL,
    job_id   BLOB    NOT NULL CHECK (length(job_id) = 16),
    became   TEXT    NOT NULL CHECK (became = 'completed' OR became = 'discarded' OR became = 'cancelled' OR became = 'live'),
    at       INTEGER NOT NULL,
    reason   TEXT
) STRICT;

CREATE INDEX backroom_schedule_reports_order ON backroom_schedule_reports (schedule, number);

-- What was done over time: a row for each minute of two hours, and for each quarter of an hour of eight days.
CREATE TABLE backroom_samples (
    grain  TEXT    NOT NULL CHECK (grain = 'minute' OR grain = 'quarter'),
    at     INTEGER NOT NULL,
    sample TEXT    NOT NULL,
    PRIMARY KEY (grain, at)
) STRICT, WITHOUT ROWID;
