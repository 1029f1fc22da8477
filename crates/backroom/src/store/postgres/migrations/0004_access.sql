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
