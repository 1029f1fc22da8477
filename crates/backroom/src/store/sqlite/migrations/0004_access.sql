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
