-- The store, version 1. Times are microseconds since the epoch, UTC.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Finished calls; seq grows in the order in which they were completed.
CREATE TABLE calls (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    linkedid TEXT NOT NULL,
    system TEXT NOT NULL,
    revision TEXT NOT NULL,
    interpreter TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    stored_at INTEGER NOT NULL,
    payload BLOB NOT NULL,
    UNIQUE (linkedid, system)
);

-- Further linkedids of a call: those folded into it.
CREATE TABLE call_aliases (
    linkedid TEXT NOT NULL,
    system TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (linkedid, system)
) WITHOUT ROWID;
CREATE INDEX call_aliases_seq ON call_aliases (seq);

-- The only truth about a delivery. `turn` says how near a waiting one is to being claimed:
-- 0 due and at the head of its strand, 1 at the head but not due, 2 behind another of its strand, 3 sending.
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    linkedid TEXT NOT NULL,
    connector TEXT NOT NULL,
    part TEXT NOT NULL,
    system TEXT NOT NULL,
    state TEXT NOT NULL,
    turn INTEGER,
    lane INTEGER NOT NULL,
    strand TEXT,
    started_at INTEGER NOT NULL,
    next_at INTEGER,
    updated_at INTEGER NOT NULL,
    revision TEXT NOT NULL,
    reason TEXT NOT NULL,
    replay_id INTEGER,
    token INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    yields INTEGER NOT NULL DEFAULT 0,
    probing INTEGER NOT NULL DEFAULT 0,
    uncertain_since INTEGER,
    absent_seen INTEGER NOT NULL DEFAULT 0,
    forced INTEGER NOT NULL DEFAULT 0,
    delivered_at INTEGER,
    passed TEXT,
    UNIQUE (linkedid, connector, part, system),
    CHECK (state IN ('pending', 'sending', 'uncertain', 'delivered', 'skipped', 'superseded', 'dead')),
    CHECK ((turn IS NOT NULL) = (state IN ('pending', 'sending', 'uncertain'))),
    CHECK ((coalesce(turn, 0) = 3) = (state = 'sending'))
);
CREATE INDEX deliveries_ready ON deliveries (connector, lane, started_at, id) WHERE turn = 0;
CREATE INDEX deliveries_timed ON deliveries (connector, lane, next_at) WHERE turn = 1;
CREATE INDEX deliveries_open ON deliveries (connector, strand, lane, started_at, id)
    WHERE turn < 2 AND strand IS NOT NULL;
CREATE INDEX deliveries_strand ON deliveries (connector, strand, lane, started_at, id)
    WHERE turn IS NOT NULL AND strand IS NOT NULL;
CREATE UNIQUE INDEX deliveries_sending ON deliveries (connector, strand) WHERE turn = 3;
CREATE INDEX deliveries_failing ON deliveries (connector, failing_since)
    WHERE failing_since IS NOT NULL AND yields = 0;
CREATE INDEX deliveries_replay ON deliveries (replay_id) WHERE turn IS NOT NULL AND replay_id IS NOT NULL;
CREATE INDEX deliveries_recent ON deliveries (connector, state, updated_at);

-- What is sent, and how far the exchange has come; apart, so that the rows above stay small.
CREATE TABLE payloads (
    delivery_id INTEGER PRIMARY KEY,
    payload BLOB NOT NULL,
    checkpoint BLOB NOT NULL DEFAULT x''
);

CREATE TABLE attempts (
    delivery_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    kind TEXT,
    reason TEXT NOT NULL DEFAULT '',
    http_status INTEGER,
    answer BLOB NOT NULL DEFAULT x'',
    PRIMARY KEY (delivery_id, number)
) WITHOUT ROWID;

-- The patience for a failing call stands still while its connector is held: held_since is the beginning of
-- the hold, kept after its release until the next claim adds its length to standstill.
CREATE TABLE connectors (
    connector TEXT PRIMARY KEY,
    state TEXT NOT NULL DEFAULT '{}',
    hold TEXT,
    held_since INTEGER,
    standstill INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE replays (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    state TEXT NOT NULL,
    requested_at INTEGER NOT NULL,
    requested_by TEXT NOT NULL,
    ids TEXT NOT NULL,
    "start" INTEGER,
    "end" INTEGER,
    force TEXT NOT NULL,
    connector TEXT,
    dry_run INTEGER NOT NULL,
    mark_delivered INTEGER NOT NULL,
    cursor TEXT,
    found INTEGER NOT NULL DEFAULT 0,
    queued INTEGER NOT NULL DEFAULT 0,
    already_delivered INTEGER NOT NULL DEFAULT 0,
    already_waiting INTEGER NOT NULL DEFAULT 0,
    marked_delivered INTEGER NOT NULL DEFAULT 0,
    changed INTEGER NOT NULL DEFAULT 0,
    skipped TEXT NOT NULL DEFAULT '{}',
    not_found TEXT NOT NULL DEFAULT '[]',
    in_progress TEXT NOT NULL DEFAULT '[]',
    waiting INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0,
    finished_at INTEGER,
    error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX replays_unfinished ON replays (id) WHERE state IN ('requested', 'looking_up', 'delivering');

CREATE TABLE replay_items (
    replay_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    linkedid TEXT NOT NULL,
    connector TEXT NOT NULL,
    part TEXT NOT NULL,
    result TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (replay_id, number),
    UNIQUE (replay_id, linkedid, connector, part)
) WITHOUT ROWID;

-- How many deliveries each connector has in each state; kept here, because counting takes long.
CREATE TABLE counters (
    connector TEXT NOT NULL,
    state TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (connector, state)
) WITHOUT ROWID;

CREATE TRIGGER count_new AFTER INSERT ON deliveries
BEGIN
    INSERT INTO counters (connector, state, n) VALUES (NEW.connector, NEW.state, 1)
        ON CONFLICT (connector, state) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER count_change AFTER UPDATE OF state ON deliveries WHEN NEW.state <> OLD.state
BEGIN
    UPDATE counters SET n = n - 1 WHERE connector = OLD.connector AND state = OLD.state;
    INSERT INTO counters (connector, state, n) VALUES (NEW.connector, NEW.state, 1)
        ON CONFLICT (connector, state) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER count_gone AFTER DELETE ON deliveries
BEGIN
    UPDATE counters SET n = n - 1 WHERE connector = OLD.connector AND state = OLD.state;
END;

CREATE TRIGGER replay_new AFTER INSERT ON deliveries WHEN NEW.replay_id IS NOT NULL AND NEW.turn IS NOT NULL
BEGIN
    UPDATE replays SET waiting = waiting + 1 WHERE id = NEW.replay_id;
END;

CREATE TRIGGER replay_requeued AFTER UPDATE OF state ON deliveries
    WHEN NEW.replay_id IS NOT NULL AND OLD.turn IS NULL AND NEW.turn IS NOT NULL
BEGIN
    UPDATE replays SET waiting = waiting + 1 WHERE id = NEW.replay_id;
END;

-- A delivery of a replay has come to its end; with the last one the replay is done.
CREATE TRIGGER replay_settled AFTER UPDATE OF state ON deliveries
    WHEN OLD.replay_id IS NOT NULL AND OLD.turn IS NOT NULL AND NEW.turn IS NULL
BEGIN
    UPDATE replays SET
        waiting = waiting - 1,
        delivered = delivered + (NEW.state = 'delivered' AND NEW.replay_id IS OLD.replay_id),
        dead = dead + (NEW.state = 'dead'),
        finished_at = CASE WHEN state = 'delivering' AND waiting = 1 THEN NEW.updated_at ELSE finished_at END,
        state = CASE WHEN state = 'delivering' AND waiting = 1 THEN 'done' ELSE state END
    WHERE id = OLD.replay_id;
END;
