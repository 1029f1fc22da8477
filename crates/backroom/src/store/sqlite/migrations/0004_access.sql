-- Who may call the server, what was done by hand, and which requests were carried out under a key of their caller. `token`,
-- `entry` and `record` are JSON; what is searched for is a column.
CREATE TABLE backroom_tokens (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    hash         BLOB    NOT NULL CHECK (length(hash) = 32),
    ended_at     INTEGER,
    revoked_at   INTEGER,
    last_used_at INTEGER,
    token        TEXT    NOT NULL,
    CHECK (revoked_at IS NULL OR ended_at <= revoked_at)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX backroom_tokens_hash ON backroom_tokens (hash);

CREATE TABLE backroom_audit (
    id    BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    at    INTEGER NOT NULL,
    entry TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE backroom_requests (
    key        TEXT    NOT NULL PRIMARY KEY CHECK (key <> ''),
    expires_at INTEGER NOT NULL,
    record     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- To delete those that have expired.
CREATE INDEX backroom_requests_expiry ON backroom_requests (expires_at);

-- Most jobs that may wait in a queue; NULL for any number.
ALTER TABLE backroom_queues ADD COLUMN depth_max INTEGER CHECK (depth_max >= 0);

-- What starts jobs from outside; `definition` is JSON, `pause` the reason of a pause.
CREATE TABLE backroom_triggers (
    name       TEXT    NOT NULL PRIMARY KEY CHECK (name <> ''),
    definition TEXT    NOT NULL,
    defined_at INTEGER NOT NULL,
    paused_at  INTEGER,
    pause      TEXT,
    dropped    INTEGER NOT NULL DEFAULT 0 CHECK (dropped >= 0),
    CHECK ((paused_at IS NULL) = (pause IS NULL))
) STRICT, WITHOUT ROWID;

-- Who reads the source of a trigger; `reader` is JSON. An exclusive reader has the empty slot.
CREATE TABLE backroom_trigger_readers (
    trigger TEXT    NOT NULL,
    slot    TEXT    NOT NULL,
    lease   BLOB    NOT NULL CHECK (length(lease) = 16),
    beat_at INTEGER NOT NULL,
    reader  TEXT    NOT NULL,
    PRIMARY KEY (trigger, slot)
) STRICT, WITHOUT ROWID;

-- How far the source of a trigger was read.
CREATE TABLE backroom_trigger_state (
    trigger TEXT NOT NULL,
    key     TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (trigger, key)
) STRICT, WITHOUT ROWID;

-- Deliveries that became no job; `letter` is JSON.
CREATE TABLE backroom_dead_letters (
    id       BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    trigger  TEXT    NOT NULL,
    identity TEXT    NOT NULL,
    bytes    INTEGER NOT NULL CHECK (bytes >= 0),
    letter   TEXT    NOT NULL,
    body     BLOB,
    UNIQUE (trigger, identity)
) STRICT;

-- To list those of a trigger, and to drop the oldest without reading the bodies.
CREATE INDEX backroom_dead_letters_trigger ON backroom_dead_letters (trigger, id, bytes);
