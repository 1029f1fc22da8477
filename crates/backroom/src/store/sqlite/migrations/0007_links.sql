-- What ties jobs to others: edges between them, and batches. `on_failure` and `state` are words of core.
CREATE TABLE backroom_edges (
    dependant   BLOB NOT NULL CHECK (length(dependant) = 16),
    predecessor BLOB NOT NULL CHECK (length(predecessor) = 16),
    on_failure  TEXT NOT NULL CHECK (on_failure = 'cancel' OR on_failure = 'run' OR on_failure = 'wait'),
    state       TEXT NOT NULL CHECK (state = 'open' OR state = 'met' OR state = 'broken' OR state = 'waived'),
    PRIMARY KEY (dependant, predecessor)
) STRICT, WITHOUT ROWID;

-- What the end of a predecessor settles.
CREATE INDEX backroom_edges_from ON backroom_edges (predecessor, dependant);

-- Whether a dependant still waits.
CREATE INDEX backroom_edges_open ON backroom_edges (dependant, predecessor) WHERE state = 'open';

-- Edges that a transaction has left for later ones: of which predecessor, and the last dependant that was settled.
CREATE TABLE backroom_edges_left (
    seq     INTEGER PRIMARY KEY,
    edges   TEXT    NOT NULL,
    "after" BLOB    CHECK (length("after") = 16)
) STRICT;

-- Batches. `batch` is JSON; `ended_at` is set while the batch has ended.
CREATE TABLE backroom_batches (
    id       BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    parent   BLOB CHECK (length(parent) = 16),
    ended_at INTEGER,
    batch    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX backroom_batches_parent ON backroom_batches (parent, id) WHERE parent IS NOT NULL;
CREATE INDEX backroom_batches_ended ON backroom_batches (ended_at, id) WHERE ended_at IS NOT NULL;

-- How many members of a batch count as what.
CREATE TABLE backroom_stripes (
    batch     BLOB    NOT NULL CHECK (length(batch) = 16),
    number    INTEGER NOT NULL CHECK (number >= 0),
    gate      TEXT    NOT NULL CHECK (gate = 'open' OR gate = 'closed' OR gate = 'cancelled'),
    live      INTEGER NOT NULL CHECK (live >= 0),
    completed INTEGER NOT NULL CHECK (completed >= 0),
    cancelled INTEGER NOT NULL CHECK (cancelled >= 0),
    discarded INTEGER NOT NULL CHECK (discarded >= 0),
    PRIMARY KEY (batch, number)
) STRICT, WITHOUT ROWID;
