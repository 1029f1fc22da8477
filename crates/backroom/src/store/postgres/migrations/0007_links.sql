-- What ties jobs to others: edges between them, and batches. `on_failure` and `state` are words of core.
CREATE TABLE {schema}.edges (
    dependant   uuid NOT NULL,
    predecessor uuid NOT NULL,
    on_failure  text NOT NULL CHECK (on_failure IN ('cancel', 'run', 'wait')),
    state       text NOT NULL CHECK (state IN ('open', 'met', 'broken', 'waived')),
    PRIMARY KEY (dependant, predecessor)
) WITH (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 2000
);

-- What the end of a predecessor settles.
CREATE INDEX edges_from ON {schema}.edges (predecessor, dependant);

-- Whether a dependant still waits.
CREATE INDEX edges_open ON {schema}.edges (dependant) WHERE state = 'open';

-- Edges that a transaction has left for later ones: of which predecessor, and the last dependant that was settled.
CREATE TABLE {schema}.edges_left (
    seq     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    edges   text   NOT NULL,
    "after" uuid
);

-- Batches. `batch` is JSON; `ended_at` is set while the batch has ended.
CREATE TABLE {schema}.batches (
    id       uuid NOT NULL PRIMARY KEY,
    parent   uuid,
    ended_at timestamptz,
    batch    text NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX batches_parent ON {schema}.batches (parent) WHERE parent IS NOT NULL;
CREATE INDEX batches_ended ON {schema}.batches (ended_at) WHERE ended_at IS NOT NULL;

-- How many members of a batch count as what. Half of each page is left, so that a row is updated in place.
CREATE TABLE {schema}.stripes (
    batch     uuid    NOT NULL,
    number    integer NOT NULL CHECK (number >= 0),
    gate      text    NOT NULL CHECK (gate IN ('open', 'closed', 'cancelled')),
    live      {schema}.u63 NOT NULL,
    completed {schema}.u63 NOT NULL,
    cancelled {schema}.u63 NOT NULL,
    discarded {schema}.u63 NOT NULL,
    PRIMARY KEY (batch, number)
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 2000
);
