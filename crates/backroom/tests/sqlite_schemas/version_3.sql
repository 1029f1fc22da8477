-- Written by version 3, one job in each state and two messages. Published: it never changes.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE backroom_schema (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL) STRICT;
INSERT INTO backroom_schema VALUES(1,'jobs');
INSERT INTO backroom_schema VALUES(2,'imported');
INSERT INTO backroom_schema VALUES(3,'messages');
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
CREATE INDEX backroom_jobs_queued
    ON backroom_jobs (queue, priority, kind, scheduled_at, id, expires_at, attempt, crashes)
    WHERE state = 'queued';
CREATE INDEX backroom_jobs_running ON backroom_jobs (worker, id) WHERE state = 'running';
CREATE INDEX backroom_jobs_finished
    ON backroom_jobs (queue, state, finished_at, id, unique_held, unique_until)
    WHERE finished_at IS NOT NULL;
CREATE INDEX backroom_jobs_rare ON backroom_jobs (state, id, queue)
    WHERE state = 'waiting' OR state = 'cancelled' OR state = 'discarded';
CREATE INDEX backroom_jobs_expiring ON backroom_jobs (expires_at, id) WHERE state = 'queued' AND expires_at IS NOT NULL;
CREATE UNIQUE INDEX backroom_jobs_unique ON backroom_jobs (unique_key) WHERE unique_held = 1;
CREATE INDEX backroom_jobs_batch ON backroom_jobs (batch, id) WHERE batch IS NOT NULL;
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
CREATE UNIQUE INDEX backroom_attempts_run ON backroom_attempts (job_id, lease_id);
CREATE TABLE backroom_logs (
    job_id   BLOB    NOT NULL CHECK (length(job_id) = 16),
    position INTEGER NOT NULL CHECK (position BETWEEN 0 AND 4294967295),
    lease_id BLOB    NOT NULL CHECK (length(lease_id) = 16),
    seq      INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 4294967295),
    at       INTEGER NOT NULL,
    line     TEXT    NOT NULL,
    PRIMARY KEY (job_id, position)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX backroom_logs_line ON backroom_logs (job_id, lease_id, seq);
CREATE TABLE backroom_tags (
    tag    TEXT NOT NULL,
    job_id BLOB NOT NULL CHECK (length(job_id) = 16),
    PRIMARY KEY (tag, job_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE backroom_queues (
    name      TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
    paused_at INTEGER,
    paused_by TEXT CHECK (paused_by = 'moving' OR paused_by = 'moved'),
    retention TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE backroom_stats (
    minute INTEGER NOT NULL,
    worker TEXT    NOT NULL,
    kinds  TEXT    NOT NULL,
    PRIMARY KEY (minute, worker)
) STRICT, WITHOUT ROWID;
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
CREATE TABLE backroom_ended_endpoints (
    url      TEXT    NOT NULL PRIMARY KEY CHECK (url <> ''),
    reason   TEXT    NOT NULL,
    ended_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO backroom_jobs VALUES(X'018cc251f4007000800000000000000a','mail','default',NULL,5,'queued','{"n":1}',0,20,0,1800000000000000,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,1800000000000000,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO backroom_jobs VALUES(X'018cc251f4007000800000000000000b','mail','default','lane-1',0,'running','{"n":2}',2,20,1,1800000000000000,1800000900000000,'mail=k','until',1800000900000000,1,X'a1a1a1a1a1a14a1aa1a1a1a1a1a1a1a1',1800000030000000,'worker-1',50,'half',NULL,NULL,NULL,0,1800000000000000,1800000001000000,NULL,'["red"]','{"v":1,"timeout_ms":1500,"retry":{"backoff":"quartic"},"meta":{"k":"v"}}',5,'{"on_trial":0,"alone":1,"at":"2027-01-15T08:00:00Z","ran_ms":1000}',NULL,NULL);
INSERT INTO backroom_jobs VALUES(X'018cc251f4007000800000000000000c','mail','default',NULL,5,'waiting','{"n":3}',0,20,0,1800000000000000,NULL,NULL,NULL,NULL,0,X'b1b1b1b1b1b14b1bb1b1b1b1b1b1b1b1',NULL,'worker-1',NULL,NULL,NULL,NULL,NULL,0,1800000000000000,1800000001000000,NULL,NULL,NULL,2,NULL,NULL,NULL);
INSERT INTO backroom_jobs VALUES(X'018cc251f4007000800000000000000d','mail','default',NULL,5,'completed','{"n":4}',1,20,0,1800000000000000,NULL,'mail=l','live',NULL,0,X'c1c1c1c1c1c14c1cc1c1c1c1c1c1c1c1',NULL,'worker-1',NULL,NULL,'"done"',NULL,NULL,0,1800000000000000,1800000001000000,1800000002000000,NULL,NULL,2,NULL,NULL,NULL);
INSERT INTO backroom_jobs VALUES(X'018cc251f4007000800000000000000e','mail','other',NULL,9,'cancelled','{"n":5}',0,20,0,1800000000000000,NULL,'mail=m','queued',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,'no longer wanted',NULL,0,1800000000000000,NULL,1800000002000000,NULL,NULL,1,NULL,NULL,NULL);
INSERT INTO backroom_jobs VALUES(X'018cc251f4007000800000000000000f','mail','other',NULL,5,'discarded','{"n":6}',1,1,0,1800000000000000,NULL,NULL,NULL,NULL,0,X'd1d1d1d1d1d14d1dd1d1d1d1d1d1d1d1',NULL,'worker-1',NULL,NULL,NULL,'gave up after 1 attempts: boom',NULL,0,1800000000000000,1800000001000000,1800000002000000,'["blue","red"]',NULL,2,NULL,NULL,NULL);
INSERT INTO backroom_attempts VALUES(1,X'018cc251f4007000800000000000000f',X'd1d1d1d1d1d14d1dd1d1d1d1d1d1d1d1',1,'failed','boom','worker-1',1800000001000000,1800000002000000,0);
INSERT INTO backroom_logs VALUES(X'018cc251f4007000800000000000000b',0,X'a1a1a1a1a1a14a1aa1a1a1a1a1a1a1a1',0,1800000001500000,'hello');
INSERT INTO backroom_tags VALUES('blue',X'018cc251f4007000800000000000000f');
INSERT INTO backroom_tags VALUES('red',X'018cc251f4007000800000000000000b');
INSERT INTO backroom_tags VALUES('red',X'018cc251f4007000800000000000000f');
INSERT INTO backroom_queues VALUES('default',NULL,NULL,NULL);
INSERT INTO backroom_queues VALUES('other',1800000003000000,NULL,'{"completed":{"count":10}}');
INSERT INTO backroom_workers VALUES('worker-1',X'00000000000000000000000000000000','host',42,1800000000000000,1800000001000000,1,0,30000,'[["default",4]]','["mail"]',4,1,0,0,'{"on":null,"passed":[]}','{}',NULL);
CREATE TABLE backroom_imported (
    job_id BLOB NOT NULL PRIMARY KEY CHECK (length(job_id) = 16)
) STRICT, WITHOUT ROWID;
INSERT INTO backroom_imported VALUES(X'018cc251f4007000800000000000000b');
CREATE TABLE backroom_messages (
    seq          INTEGER PRIMARY KEY,
    id           BLOB    NOT NULL CHECK (length(id) = 16),
    reply_to     TEXT    NOT NULL CHECK (reply_to <> ''),
    order_key    TEXT    NOT NULL,
    job_id       BLOB    NOT NULL CHECK (length(job_id) = 16),
    at           INTEGER NOT NULL,
    bytes        INTEGER NOT NULL CHECK (bytes >= 0),
    body         TEXT    NOT NULL,
    deliveries   INTEGER NOT NULL CHECK (deliveries >= 0),
    lease_id     BLOB    CHECK (length(lease_id) = 16),
    leased_from  INTEGER,
    leased_until INTEGER,
    CHECK ((lease_id IS NULL) = (leased_from IS NULL)),
    CHECK ((lease_id IS NULL) = (leased_until IS NULL))
) STRICT;
CREATE UNIQUE INDEX backroom_messages_id ON backroom_messages (id);
CREATE INDEX backroom_messages_order ON backroom_messages (reply_to, seq, bytes, at);
CREATE INDEX backroom_messages_leased ON backroom_messages (reply_to, order_key) WHERE lease_id IS NOT NULL;
CREATE TABLE backroom_reply_queues (
    name       TEXT    NOT NULL PRIMARY KEY CHECK (name <> ''),
    dropped    INTEGER NOT NULL CHECK (dropped >= 0),
    dropped_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO backroom_messages VALUES(1,X'018cc251f40070008000000000000101','replies','order 7',X'018cc251f4007000800000000000000b',1800000002000000,219,'{"type":"completed","job_id":"018cc251-f400-7000-8000-00000000000b","kind":"mail","queue":"default","attempt":1,"max_attempts":20,"state":"completed","at":"2027-01-15T08:00:02Z","correlation_id":"order 7","output":null}',0,NULL,NULL,NULL);
INSERT INTO backroom_messages VALUES(2,X'018cc251f40070008000000000000102','replies','order 8',X'018cc251f4007000800000000000000b',1800000002000000,219,'{"type":"completed","job_id":"018cc251-f400-7000-8000-00000000000b","kind":"mail","queue":"default","attempt":1,"max_attempts":20,"state":"completed","at":"2027-01-15T08:00:02Z","correlation_id":"order 8","output":null}',1,X'a1a1a1a1a1a14a1aa1a1a1a1a1a1a1a1',1800000002000000,1800000032000000);
INSERT INTO backroom_reply_queues VALUES('replies',3,1800000002000000);
COMMIT;
