-- The store, version 2.

-- What stays for ever of a delivery that ended long ago: that it is not to be sent again, or why it never was.
-- An identity is either here or in `deliveries`. Kept small: names stand in `key_names`, `at` is in seconds.
CREATE TABLE key_names (
    id INTEGER PRIMARY KEY,
    system TEXT NOT NULL,
    connector TEXT NOT NULL,
    UNIQUE (system, connector)
);

CREATE TABLE delivery_keys (
    linkedid TEXT NOT NULL,
    name INTEGER NOT NULL,
    part TEXT NOT NULL,
    state TEXT NOT NULL,
    at INTEGER NOT NULL,
    was_delivered INTEGER NOT NULL,
    discarded INTEGER NOT NULL DEFAULT 0,
    revision TEXT NOT NULL,
    PRIMARY KEY (linkedid, name, part),
    CHECK (state IN ('delivered', 'skipped', 'superseded', 'dead'))
) WITHOUT ROWID;

-- A delivery counts as long as its key is there.
CREATE TRIGGER count_key AFTER INSERT ON delivery_keys
BEGIN
    INSERT INTO counters (connector, state, n)
        VALUES ((SELECT connector FROM key_names WHERE id = NEW.name), NEW.state, 1)
        ON CONFLICT (connector, state) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER count_key_change AFTER UPDATE OF state ON delivery_keys WHEN NEW.state <> OLD.state
BEGIN
    UPDATE counters SET n = n - 1
        WHERE connector = (SELECT connector FROM key_names WHERE id = OLD.name) AND state = OLD.state;
    INSERT INTO counters (connector, state, n)
        VALUES ((SELECT connector FROM key_names WHERE id = NEW.name), NEW.state, 1)
        ON CONFLICT (connector, state) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER count_key_gone AFTER DELETE ON delivery_keys
BEGIN
    UPDATE counters SET n = n - 1
        WHERE connector = (SELECT connector FROM key_names WHERE id = OLD.name) AND state = OLD.state;
END;

-- What retention removes is found by its age.
CREATE INDEX calls_started ON calls (started_at, seq);
CREATE INDEX replays_finished ON replays (finished_at, id) WHERE finished_at IS NOT NULL AND waiting = 0;

-- A person took a dead delivery off the list: no replay of its period sends it again.
ALTER TABLE deliveries ADD COLUMN discarded INTEGER NOT NULL DEFAULT 0;

-- For what a replay has waiting, connector by connector.
DROP INDEX deliveries_replay;
CREATE INDEX deliveries_replay ON deliveries (replay_id, connector) WHERE turn IS NOT NULL AND replay_id IS NOT NULL;

-- A live delivery may wait a while for older calls of its number that are being replayed: turn 4, among those
-- up to the head of their strand. `waiting_since`: when it was queued, on the patience clock (see
-- connectors.standstill); `impatient`: it waits no longer. `order_note` tells people whom it waited for or passed.
ALTER TABLE deliveries ADD COLUMN waiting_since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN impatient INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN order_note TEXT NOT NULL DEFAULT '';
UPDATE deliveries SET order_note = 'passed ' || passed || ', the older call of its number that kept failing'
    WHERE passed IS NOT NULL;
ALTER TABLE deliveries DROP COLUMN passed;
DROP INDEX deliveries_open;
CREATE INDEX deliveries_open ON deliveries (connector, strand, lane, started_at, id)
    WHERE turn IN (0, 1, 4) AND strand IS NOT NULL;
CREATE INDEX deliveries_patient ON deliveries (connector, waiting_since) WHERE turn = 4 AND NOT impatient;

-- Due deliveries of replays, replay by replay: each has its turn.
CREATE INDEX deliveries_fair ON deliveries (connector, replay_id, started_at, id) WHERE turn = 0 AND lane = 1;
