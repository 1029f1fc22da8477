-- Journals of workflows. `header` is JSON without what is published, which has a column of its own. A job that only has signals so
-- far has revision 0. `arrived` counts what has arrived, and numbers it.
CREATE TABLE backroom_journals (
    workflow  BLOB    NOT NULL PRIMARY KEY CHECK (length(workflow) = 16),
    revision  INTEGER NOT NULL CHECK (revision >= 0),
    header    TEXT,
    published TEXT,
    wake_at   INTEGER,
    arrived   INTEGER NOT NULL CHECK (arrived >= 0),
    CHECK ((header IS NULL) = (revision = 0))
) STRICT, WITHOUT ROWID;

-- Workflows that a timer wakes.
CREATE INDEX backroom_journals_waking ON backroom_journals (wake_at, workflow) WHERE wake_at IS NOT NULL;

-- What workflows have asked for, and what came of it; `entry` is JSON.
CREATE TABLE backroom_journal (
    workflow BLOB NOT NULL CHECK (length(workflow) = 16),
    key      TEXT NOT NULL CHECK (key <> ''),
    entry    TEXT NOT NULL,
    PRIMARY KEY (workflow, key)
) STRICT, WITHOUT ROWID;

-- Signals, and ends of children; `arrival` is JSON, dropped once an entry has taken it. `id` is made by the sender: what is sent again
-- under it is the same.
CREATE TABLE backroom_arrivals (
    workflow BLOB    NOT NULL CHECK (length(workflow) = 16),
    n        INTEGER NOT NULL CHECK (n > 0),
    id       BLOB    NOT NULL CHECK (length(id) = 16),
    arrival  TEXT,
    taken_at INTEGER,
    PRIMARY KEY (workflow, n),
    CHECK ((arrival IS NULL) = (taken_at IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX backroom_arrivals_id ON backroom_arrivals (workflow, id);

-- What is taken, to forget it after a while.
CREATE INDEX backroom_arrivals_taken ON backroom_arrivals (taken_at, workflow, n) WHERE taken_at IS NOT NULL;
