-- Schedules, their history, and reports about their runs. `definition` and `state` are JSON. `next_at` is when the schedule is planned
-- next. `moved_by` names the last write, so that a repeated one is recognised.
CREATE TABLE {schema}.schedules (
    name       text COLLATE "C" NOT NULL PRIMARY KEY CHECK (name <> ''),
    origin     text        NOT NULL CHECK (origin IN ('program', 'settings', 'api')),
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    definition text        NOT NULL,
    state      text        NOT NULL,
    next_at    timestamptz,
    revision   {schema}.u63 NOT NULL,
    moved_by   uuid        NOT NULL
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_threshold = 1000
);

CREATE INDEX schedules_due ON {schema}.schedules (next_at, name) WHERE next_at IS NOT NULL;

-- What became of occurrences. One that became a job has a row of its own; neighbours that did not run, for one reason, share one,
-- from `first` to `last`. `became` is set when the run has ended. The id of the job follows from the schedule and the nominal time
-- (`first`), so the index of ids is what lets an occurrence fire once.
CREATE TABLE {schema}.schedule_entries (
    schedule text COLLATE "C" NOT NULL,
    seq      bigint      NOT NULL CHECK (seq > 0),
    what     text        NOT NULL,
    first    timestamptz NOT NULL,
    last     timestamptz NOT NULL,
    count    bigint      NOT NULL CHECK (count > 0),
    at       timestamptz NOT NULL,
    job_id   uuid,
    key      text COLLATE "C",
    became   text        CHECK (became IN ('completed', 'discarded', 'cancelled')),
    ended_at timestamptz,
    reason   text,
    PRIMARY KEY (schedule, seq),
    CHECK (became IS NULL OR job_id IS NOT NULL),
    CHECK ((became IS NULL) = (ended_at IS NULL))
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX schedule_entries_job ON {schema}.schedule_entries (job_id) WHERE job_id IS NOT NULL;

-- The idempotency keys of triggers.
CREATE UNIQUE INDEX schedule_entries_key ON {schema}.schedule_entries (schedule, key) WHERE key IS NOT NULL;

-- Runs that are going.
CREATE INDEX schedule_entries_open ON {schema}.schedule_entries (schedule, seq) WHERE job_id IS NOT NULL AND became IS NULL;

-- Ends of runs that no turn of the schedule has taken over.
CREATE TABLE {schema}.schedule_reports (
    number   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schedule text COLLATE "C" NOT NULL,
    job_id   uuid        NOT NULL,
    became   text        NOT NULL CHECK (became IN ('completed', 'discarded', 'cancelled', 'live')),
    at       timestamptz NOT NULL,
    reason   text
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);

CREATE INDEX schedule_reports_order ON {schema}.schedule_reports (schedule, number);

-- What was done over time: a row for each minute of two hours, and for each quarter of an hour of eight days.
CREATE TABLE {schema}.samples (
    grain  text        NOT NULL CHECK (grain IN ('minute', 'quarter')),
    at     timestamptz NOT NULL,
    sample text        NOT NULL,
    PRIMARY KEY (grain, at)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
