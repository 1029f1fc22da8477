-- Messages to reply queues. `seq` is the order in which they were written, which is not the order of commits: a reader takes what it
-- finds, and passes no number. `body` is JSON, at most about 300 KB. Messages of a reply queue with the same `order_key` are delivered
-- one after the other. The lease is set while a message is taken; `leased_from` is when it was given.
CREATE TABLE {schema}.messages (
    seq          bigint      GENERATED ALWAYS AS IDENTITY,
    id           uuid        NOT NULL PRIMARY KEY,
    reply_to     text COLLATE "C" NOT NULL CHECK (reply_to <> ''),
    order_key    text COLLATE "C" NOT NULL,
    job_id       uuid        NOT NULL,
    at           timestamptz NOT NULL,
    bytes        {schema}.u63 NOT NULL,
    body         text        NOT NULL,
    deliveries   {schema}.u32 NOT NULL DEFAULT 0,
    lease_id     uuid,
    leased_from  timestamptz,
    leased_until timestamptz,
    CHECK ((lease_id IS NULL) = (leased_from IS NULL)),
    CHECK ((lease_id IS NULL) = (leased_until IS NULL))
) WITH (fillfactor = 70);

-- The order in which a reply queue is delivered. With the other two columns its messages are counted from the index alone.
CREATE INDEX messages_order ON {schema}.messages (reply_to, seq) INCLUDE (bytes, at);

-- What takers have in hand. Few messages are.
CREATE INDEX messages_leased ON {schema}.messages (reply_to, order_key) WHERE lease_id IS NOT NULL;

-- What reply queues lost: messages that were not acknowledged in time, or were too many. `dropped_at` is when the last was dropped.
CREATE TABLE {schema}.reply_queues (
    name       text COLLATE "C" NOT NULL PRIMARY KEY CHECK (name <> ''),
    dropped    {schema}.u63 NOT NULL,
    dropped_at timestamptz NOT NULL
);
