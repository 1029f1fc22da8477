-- The first schema: jobs and all that belongs to them, queues, workers. `{schema}` stands for the schema's name.
--
-- Columns stand in the order of `Job` in backroom-core. Types and CHECKs repeat what core promises of every job, so that a
-- row written by hand cannot break it either.
--
-- Names are compared byte by byte (COLLATE "C"), whatever the database's language: so they sort as in every other store,
-- and an index entry costs no call into the rules of a language.

-- What a single column must keep to is said by its type: the server reads such a rule once per session, the CHECKs of a
-- table at every statement.
CREATE DOMAIN {schema}.u32 AS bigint CHECK (VALUE BETWEEN 0 AND 4294967295);
CREATE DOMAIN {schema}.u32_from_1 AS bigint CHECK (VALUE BETWEEN 1 AND 4294967295);
CREATE DOMAIN {schema}.u63 AS bigint CHECK (VALUE >= 0);
CREATE DOMAIN {schema}.priority AS smallint CHECK (VALUE BETWEEN 0 AND 9);
CREATE DOMAIN {schema}.percent AS smallint CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN {schema}.extras AS text CHECK (starts_with(VALUE, '{"v":'));
CREATE DOMAIN {schema}.unique_while AS text COLLATE "C" CHECK (VALUE IN ('live', 'queued', 'until'));

-- Jobs that are live, and the few finished ones that still hold their unique key: the unique index over held keys
-- needs them in one table. Small and hot; vacuumed often, because every row leaves it.
CREATE TABLE {schema}.jobs (
    -- Half of each page is left for the entry that the claim of the job adds.
    id                  uuid        NOT NULL PRIMARY KEY WITH (fillfactor = 45),
    kind                text COLLATE "C" NOT NULL,
    queue               text COLLATE "C" NOT NULL,
    lane                text COLLATE "C",
    priority            {schema}.priority NOT NULL,
    state               text COLLATE "C" NOT NULL,
    args                text        NOT NULL,
    attempt             {schema}.u32 NOT NULL,
    max_attempts        {schema}.u32_from_1 NOT NULL,
    crashes             {schema}.u32 NOT NULL,
    scheduled_at        timestamptz NOT NULL,
    expires_at          timestamptz,
    unique_key          text COLLATE "C",
    unique_while        {schema}.unique_while,
    unique_until        timestamptz,
    unique_held         boolean     NOT NULL,
    lease_id            uuid,
    lease_until         timestamptz,
    worker              text COLLATE "C",
    progress_percent    {schema}.percent,
    progress_message    text,
    output              text,
    reason              text,
    cancel_requested_at timestamptz,
    woken               boolean     NOT NULL,
    created_at          timestamptz NOT NULL,
    started_at          timestamptz,
    finished_at         timestamptz,
    tags                jsonb,
    extras              {schema}.extras,
    revision            {schema}.u63 NOT NULL,
    suspicion           text,
    -- What ties the job to others, as JSON; and the batch that it is a member of, which the links say as well.
    links               text,
    batch               uuid,
    -- Core's decision at insert: the job may lie on a tray when it is claimed for the first time.
    plain               boolean     NOT NULL DEFAULT false,
    CONSTRAINT jobs_state CHECK (CASE WHEN finished_at IS NULL
        THEN state IN ('queued', 'running', 'waiting') AND output IS NULL
            AND (state = 'running') = (lease_until IS NOT NULL) AND (lease_until IS NULL OR lease_id IS NOT NULL)
        ELSE state IN ('completed', 'discarded', 'cancelled') AND lease_until IS NULL
            AND (state = 'completed') = (output IS NOT NULL) AND (output IS NOT NULL OR reason IS NOT NULL) END),
    CONSTRAINT jobs_unique CHECK (CASE WHEN unique_key IS NULL
        THEN unique_while IS NULL AND unique_until IS NULL AND NOT unique_held
        ELSE unique_while IS NOT NULL AND (unique_while <> 'until' OR unique_until IS NOT NULL) END),
    CONSTRAINT jobs_pairs CHECK ((progress_percent IS NULL) = (progress_message IS NULL)
        AND (suspicion IS NULL) = (crashes = 0))
) WITH (
    fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_analyze_scale_factor = 0.2,
    autovacuum_analyze_threshold = 5000
);

-- The history. Appended to and pruned, changed only to revive a job. No key is held here.
CREATE TABLE {schema}.finished (
    LIKE {schema}.jobs INCLUDING DEFAULTS,
    PRIMARY KEY (id),
    CONSTRAINT finished_state CHECK (state IN ('completed', 'discarded', 'cancelled') AND finished_at IS NOT NULL
        AND lease_until IS NULL AND NOT unique_held
        AND (state = 'completed') = (output IS NOT NULL) AND (output IS NOT NULL OR reason IS NOT NULL)),
    CONSTRAINT finished_pairs CHECK ((progress_percent IS NULL) = (progress_message IS NULL)
        AND (unique_key IS NULL) = (unique_while IS NULL)
        AND (unique_until IS NOT NULL OR unique_while IS DISTINCT FROM 'until')
        AND (unique_until IS NULL OR unique_while IS NOT NULL))
);

-- A plain job on a tray, as it was inserted. What all jobs of the tray have in common are columns of `trays`. A composite type whose
-- values are stored must never change: programs that run meanwhile could not write it any more. So it has neither the row type
-- of `jobs` nor our domains, and new fields of a job go into `extras`.
CREATE TYPE {schema}.tray_job AS (
    id           uuid,
    kind         text COLLATE "C",
    priority     smallint,
    args         text,
    max_attempts bigint,
    scheduled_at timestamptz,
    created_at   timestamptz,
    tags         jsonb,
    extras       text
);

-- Plain jobs of one queue that one claim took together, and that run for the first time, unless they are in `finished`;
-- `live` have not ended. So nothing may be deleted from `finished` whose lease has a tray: it would run again. Each
-- id lies between `first_id` and `last_id`.
CREATE TABLE {schema}.trays (
    lease_id    uuid        NOT NULL,
    queue       text COLLATE "C" NOT NULL,
    lease_until timestamptz NOT NULL,
    worker      text COLLATE "C" NOT NULL,
    started_at  timestamptz NOT NULL,
    live        bigint      NOT NULL CHECK (live > 0),
    first_id    uuid        NOT NULL,
    last_id     uuid        NOT NULL,
    jobs        {schema}.tray_job[] NOT NULL,
    PRIMARY KEY (lease_id, queue)
) WITH (fillfactor = 50);

-- They exist for milliseconds: to compress them costs more than to write them.
ALTER TABLE {schema}.trays ALTER jobs SET STORAGE EXTERNAL;

-- What runs on trays, with the bounds of the tray's ids: a statement that searches for an id need not read other trays.
CREATE VIEW {schema}.jobs_on_trays AS
    SELECT job.id, job.kind, trays.queue, NULL::text COLLATE "C" AS lane, job.priority::{schema}.priority,
        'running'::text COLLATE "C" AS state, job.args, 1::{schema}.u32 AS attempt, job.max_attempts::{schema}.u32_from_1,
        0::{schema}.u32 AS crashes, job.scheduled_at, NULL::timestamptz AS expires_at, NULL::text COLLATE "C" AS unique_key,
        NULL::{schema}.unique_while AS unique_while, NULL::timestamptz AS unique_until, false AS unique_held,
        trays.lease_id, trays.lease_until, trays.worker, NULL::{schema}.percent AS progress_percent,
        NULL::text AS progress_message, NULL::text AS output, NULL::text AS reason,
        NULL::timestamptz AS cancel_requested_at, false AS woken, job.created_at, trays.started_at,
        NULL::timestamptz AS finished_at, job.tags, job.extras::{schema}.extras, 1::{schema}.u63 AS revision,
        NULL::text AS suspicion, NULL::text AS links, NULL::uuid AS batch, true AS plain, trays.first_id, trays.last_id
    FROM {schema}.trays CROSS JOIN LATERAL unnest(trays.jobs) AS job
    WHERE NOT EXISTS (SELECT FROM {schema}.finished WHERE finished.id = job.id);

-- Every job there is, wherever it lies.
CREATE VIEW {schema}.every_job AS
    SELECT * FROM {schema}.jobs UNION ALL SELECT * FROM {schema}.finished UNION ALL
    SELECT id, kind, queue, lane, priority, state, args, attempt, max_attempts, crashes, scheduled_at, expires_at,
        unique_key, unique_while, unique_until, unique_held, lease_id, lease_until, worker,
        progress_percent, progress_message, output, reason, cancel_requested_at, woken, created_at, started_at,
        finished_at, tags, extras, revision, suspicion, links, batch, plain
    FROM {schema}.jobs_on_trays;

-- The order of claims, one range per queue and priority.
CREATE INDEX jobs_queued ON {schema}.jobs (queue, priority, scheduled_at, id) WHERE state = 'queued';

-- What each worker runs.
CREATE INDEX jobs_running ON {schema}.jobs (worker, id) WHERE state = 'running';

-- Queued jobs that will expire.
CREATE INDEX jobs_expiring ON {schema}.jobs (expires_at) WHERE state = 'queued' AND expires_at IS NOT NULL;

-- Live jobs that neither of the indexes above finds, and finished ones that hold their key.
CREATE INDEX jobs_rare ON {schema}.jobs (state, id) WHERE state NOT IN ('queued', 'running');

-- One job per held key.
CREATE UNIQUE INDEX jobs_held_key ON {schema}.jobs (unique_key) WHERE unique_held;

-- The history of a queue, the oldest first: for pruning and counting. Completed jobs, the many, have an index of their
-- own that need not hold their state. Without the id, which would double its width: those with one finished_at were decided in
-- one batch, a thousand at most, and are sorted when they are read.
CREATE INDEX finished_completed_by_age ON {schema}.finished (queue, finished_at) WHERE state = 'completed';
CREATE INDEX finished_others_by_age ON {schema}.finished (queue, state, finished_at) WHERE state <> 'completed';

-- States that few finished jobs are in, the newest found first: completed jobs, the many, do not pay for it.
CREATE INDEX finished_rare ON {schema}.finished (state, id) WHERE state <> 'completed';

-- To find jobs by tag. Untagged jobs cost nothing here.
CREATE INDEX jobs_tags ON {schema}.jobs USING gin (tags jsonb_path_ops) WHERE tags IS NOT NULL;
CREATE INDEX finished_tags ON {schema}.finished USING gin (tags jsonb_path_ops) WHERE tags IS NOT NULL;

-- The members of batches.
CREATE INDEX jobs_batch ON {schema}.jobs (batch, id) WHERE batch IS NOT NULL;
CREATE INDEX finished_batch ON {schema}.finished (batch, id) WHERE batch IS NOT NULL;

-- Attempts that did not succeed. A job that succeeds at once has none. A run ends once, however often its end is
-- reported. `after_lines` is how many lines the job's log had: readers who follow the job see the attempt behind them.
CREATE TABLE {schema}.attempts (
    seq        bigint      GENERATED ALWAYS AS IDENTITY,
    job_id     uuid        NOT NULL,
    lease_id   uuid        NOT NULL,
    attempt    {schema}.u32 NOT NULL,
    "end"      text        NOT NULL
        CHECK ("end" IN ('failed', 'panicked', 'timedout', 'crashed', 'lost', 'discarded', 'cancelled')),
    error      text        NOT NULL,
    worker     text,
    started_at timestamptz,
    ended_at   timestamptz NOT NULL,
    after_lines {schema}.u32 NOT NULL,
    PRIMARY KEY (job_id, lease_id)
);

-- What handlers logged; `seq` is the position within the run. A line is written once, however often it is sent. `position` is
-- that within the job's log, from 0 without gaps. Its index is what makes a later position be committed later: a transaction
-- takes the position behind the last one that it sees, so of two at the same time the second waits for the first, and
-- starts over.
CREATE TABLE {schema}.logs (
    job_id   uuid        NOT NULL,
    position {schema}.u32 NOT NULL,
    lease_id uuid        NOT NULL,
    seq      {schema}.u32 NOT NULL,
    at       timestamptz NOT NULL,
    line     text        NOT NULL,
    PRIMARY KEY (job_id, lease_id, seq),
    UNIQUE (job_id, position)
);

-- Queues that a job or a setting ever named; `retention` is JSON, none is the default.
CREATE TABLE {schema}.queues (
    name      text COLLATE "C" NOT NULL PRIMARY KEY CHECK (name <> ''),
    paused_at timestamptz,
    paused_by text        CHECK (paused_by IN ('moving', 'moved')),
    retention text
);

-- What workers report of themselves; `queues`, `kinds`, `trials` and `details` are JSON.
CREATE TABLE {schema}.workers (
    name        text COLLATE "C" NOT NULL PRIMARY KEY,
    incarnation uuid        NOT NULL,
    host        text        NOT NULL,
    pid         bigint      NOT NULL,
    started_at  timestamptz NOT NULL,
    beat_at     timestamptz NOT NULL,
    beats       {schema}.u63 NOT NULL,
    dead        boolean     NOT NULL,
    lease_ms    bigint      NOT NULL,
    queues      text        NOT NULL,
    kinds       text        NOT NULL,
    slots       bigint      NOT NULL,
    running     bigint      NOT NULL,
    stuck       bigint      NOT NULL,
    stopping    boolean     NOT NULL,
    trials      text        NOT NULL,
    details     text        NOT NULL,
    trouble     text
) WITH (fillfactor = 50);

-- What each worker counted of the attempts that ended in one minute; `kinds` is JSON. Rows are deleted after an hour.
CREATE TABLE {schema}.stats (
    minute timestamptz NOT NULL,
    worker text COLLATE "C" NOT NULL,
    kinds  text        NOT NULL,
    PRIMARY KEY (minute, worker)
) WITH (fillfactor = 50);

-- URLs of callbacks whose receiver answered that it wants no more of them.
CREATE TABLE {schema}.ended_endpoints (
    url      text COLLATE "C" NOT NULL PRIMARY KEY CHECK (url <> ''),
    reason   text             NOT NULL,
    ended_at timestamptz      NOT NULL
);
