-- Messages to reply queues, in the order in which they were written. `body` is JSON, at most about 300 KB. Messages of a reply queue
-- with the same `order_key` are delivered one after the other. The lease is set while a message is taken; `leased_from` is when it
-- was given.
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

-- A change that is written again writes no message twice; and takers acknowledge by id.
CREATE UNIQUE INDEX backroom_messages_id ON backroom_messages (id);

-- The order in which a reply queue is delivered. With the last two columns its messages are counted from the index alone.
CREATE INDEX backroom_messages_order ON backroom_messages (reply_to, seq, bytes, at);

-- What takers have in hand. Few messages are.
CREATE INDEX backroom_messages_leased ON backroom_messages (reply_to, order_key) WHERE lease_id IS NOT NULL;

-- What reply queues lost: messages that were not acknowledged in time, or were too many. `dropped_at` is when the last was dropped.
CREATE TABLE backroom_reply_queues (
    name       TEXT    NOT NULL PRIMARY KEY CHECK (name <> ''),
    dropped    INTEGER NOT NULL CHECK (dropped >= 0),
    dropped_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
