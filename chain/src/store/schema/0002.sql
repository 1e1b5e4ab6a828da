-- The commitment to the state as of the tip, in pages; a nibble of the prefix a byte, so that a page
-- lies beside those below it.
CREATE TABLE page (
    prefix BLOB PRIMARY KEY,
    slots  BLOB NOT NULL
) STRICT, WITHOUT ROWID;
