-- The index of answers. Statuses and reasons as in kgrec.data.schemas.TRIES; times are ISO 8601, UTC.

-- What an address last said, and the content it last gave.
CREATE TABLE answers (
    id INTEGER PRIMARY KEY,
    url TEXT NOT NULL UNIQUE,
    run INTEGER NOT NULL,       -- that asked last
    tries INTEGER NOT NULL,
    outcome TEXT NOT NULL,      -- of the last try: ok, missing, refused, failed
    reason TEXT NOT NULL,
    http INTEGER,
    time TEXT NOT NULL,
    final TEXT NOT NULL,        -- where redirects led
    content_type TEXT NOT NULL,
    sha256 TEXT,                -- of the content; null if there is none, kept while the address fails
    bytes INTEGER,
    confirmed TEXT,             -- when the content was fetched, or last found unchanged
    etag TEXT NOT NULL,
    modified TEXT NOT NULL
);

CREATE TABLE tries (
    answer INTEGER NOT NULL,
    attempt INTEGER NOT NULL,   -- from 1
    time TEXT NOT NULL,
    seconds REAL NOT NULL,
    status TEXT NOT NULL,
    http INTEGER,
    reason TEXT NOT NULL,
    bytes INTEGER NOT NULL,     -- of the body as it came over the wire
    PRIMARY KEY (answer, attempt)
) WITHOUT ROWID;

-- Which key wanted which address, and the terms of the source that sent it there.
CREATE TABLE asks (
    key TEXT NOT NULL,
    source TEXT NOT NULL,
    answer INTEGER NOT NULL,
    licence TEXT NOT NULL,
    max_age_days INTEGER,
    PRIMARY KEY (key, source, answer)
) WITHOUT ROWID;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    mode TEXT NOT NULL,
    began TEXT NOT NULL,
    finished INTEGER NOT NULL
);

-- What the check of a find said, by a digest of the check and of the answers the find was made from.
CREATE TABLE verdicts (
    digest BLOB PRIMARY KEY,
    reason TEXT NOT NULL
) WITHOUT ROWID;

PRAGMA user_version = 1;
