-- The index: everything here can be rebuilt from the block log.

-- Bodies in the log, in order of arrival (rowid).
CREATE TABLE block (
    arrival INTEGER PRIMARY KEY,
    hash    BLOB NOT NULL UNIQUE,
    header  BLOB NOT NULL,
    offset  INTEGER NOT NULL,
    length  INTEGER NOT NULL,
    invalid INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The main chain. undo = postcard list of (key, value before the block).
CREATE TABLE chain (
    height  INTEGER PRIMARY KEY,
    hash    BLOB NOT NULL UNIQUE,
    header  BLOB NOT NULL,
    undo    BLOB NOT NULL
) STRICT;

-- Transactions of the main chain, with the state machine's outcome.
CREATE TABLE tx (
    txid     BLOB PRIMARY KEY,
    height   INTEGER NOT NULL,
    position INTEGER NOT NULL,
    outcome  BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The state as of the tip. A rowid table, because values can be large and arrive in order:
-- they are appended to the table, and only keys go into the B-tree of the unique index.
CREATE TABLE state (
    key   BLOB NOT NULL UNIQUE,
    value BLOB NOT NULL
) STRICT;

-- genesis: hash of the network; log_end: bytes of the block log that this index covers.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
