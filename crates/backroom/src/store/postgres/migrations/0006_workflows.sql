-- Journals of workflows. `header` is JSON without what is published, which has a column of its own. A job that only has signals so
-- far has revision 0. `arrived` counts what has arrived, and numbers it.
CREATE TABLE {schema}.journals (
    workflow  uuid        NOT NULL PRIMARY KEY,
    revision  {schema}.u63 NOT NULL,
    header    text,
    published text,
    wake_at   timestamptz,
    arrived   {schema}.u63 NOT NULL,
    CHECK ((header IS NULL) = (revision = 0))
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_threshold = 2000
);

-- Workflows that a timer wakes.
CREATE INDEX journals_waking ON {schema}.journals (wake_at, workflow) WHERE wake_at IS NOT NULL;

-- What workflows have asked for, and what came of it; `entry` is JSON.
CREATE TABLE {schema}.journal (
    workflow uuid NOT NULL,
    key      text COLLATE "C" NOT NULL CHECK (key <> ''),
    entry    text NOT NULL,
    PRIMARY KEY (workflow, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);

-- Signals, and ends of children; `arrival` is JSON, dropped once an entry has taken it. `id` is made by the sender: what is sent again
-- under it is the same.
CREATE TABLE {schema}.arrivals (
    workflow uuid   NOT NULL,
    n        bigint NOT NULL CHECK (n > 0),
    id       uuid   NOT NULL,
    arrival  text,
    taken_at timestamptz,
    PRIMARY KEY (workflow, n),
    CHECK ((arrival IS NULL) = (taken_at IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);

CREATE UNIQUE INDEX arrivals_id ON {schema}.arrivals (workflow, id);

-- What is taken, to forget it after a while.
CREATE INDEX arrivals_taken ON {schema}.arrivals (taken_at, workflow, n) WHERE taken_at IS NOT NULL;
