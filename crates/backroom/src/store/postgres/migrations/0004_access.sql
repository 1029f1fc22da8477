-- Who may call the server, what was done by hand, and which requests were carried out under a key of their caller. `token`,
-- `entry` and `record` are JSON; what is searched for is a column.
CREATE TABLE {schema}.tokens (
    id           uuid        NOT NULL PRIMARY KEY,
    hash         bytea       NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    ended_at     timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    token        text        NOT NULL,
    CHECK (revoked_at IS NULL OR ended_at <= revoked_at)
) WITH (fillfactor = 50);

CREATE TABLE {schema}.audit (
    id    uuid        NOT NULL PRIMARY KEY,
    at    timestamptz NOT NULL,
    entry text        NOT NULL
);

CREATE TABLE {schema}.requests (
    key        text COLLATE "C" NOT NULL PRIMARY KEY CHECK (key <> ''),
    expires_at timestamptz NOT NULL,
    record     text        NOT NULL
) WITH (fillfactor = 70);

-- To delete those that have expired.
CREATE INDEX requests_expiry ON {schema}.requests (expires_at);

-- Most jobs that may wait in a queue; NULL for any number.
ALTER TABLE {schema}.queues ADD COLUMN depth_max bigint CHECK (depth_max >= 0);

-- What starts jobs from outside; `definition` is JSON, `pause` the reason of a pause.
CREATE TABLE {schema}.triggers (
    name       text COLLATE "C" NOT NULL PRIMARY KEY CHECK (name <> ''),
    definition text        NOT NULL,
    defined_at timestamptz NOT NULL,
    paused_at  timestamptz,
    pause      text,
    dropped    bigint      NOT NULL DEFAULT 0 CHECK (dropped >= 0),
    CHECK ((paused_at IS NULL) = (pause IS NULL))
) WITH (fillfactor = 50);

-- Who reads the source of a trigger; `reader` is JSON. An exclusive reader has the empty slot.
CREATE TABLE {schema}.trigger_readers (
    trigger text COLLATE "C" NOT NULL,
    slot    text COLLATE "C" NOT NULL,
    lease   uuid        NOT NULL,
    beat_at timestamptz NOT NULL,
    reader  text        NOT NULL,
    PRIMARY KEY (trigger, slot)
) WITH (fillfactor = 50);

-- How far the source of a trigger was read.
CREATE TABLE {schema}.trigger_state (
    trigger text COLLATE "C" NOT NULL,
    key     text COLLATE "C" NOT NULL,
    value   text NOT NULL,
    PRIMARY KEY (trigger, key)
) WITH (fillfactor = 70);

-- Deliveries that became no job; `letter` is JSON.
CREATE TABLE {schema}.dead_letters (
    id       uuid   NOT NULL PRIMARY KEY,
    trigger  text COLLATE "C" NOT NULL,
    identity text COLLATE "C" NOT NULL,
    bytes    bigint NOT NULL CHECK (bytes >= 0),
    letter   text   NOT NULL,
    body     bytea,
    UNIQUE (trigger, identity)
);

-- To list those of a trigger, and to drop the oldest without reading the bodies.
CREATE INDEX dead_letters_trigger ON {schema}.dead_letters (trigger, id) INCLUDE (bytes);

-- Kinds whose args are sealed, and queues that some callers only may serve. Programs write here what their settings say, because `enqueue`
-- knows no settings and refuses both.
CREATE TABLE {schema}.guarded (
    what text NOT NULL CHECK (what IN ('kind', 'queue')),
    name text COLLATE "C" NOT NULL CHECK (name <> ''),
    PRIMARY KEY (what, name)
);
