-- Every statement of the store. Named parameters; `turn` is explained in schema/0001.sql.

-- get_meta: one value of the store's own settings
SELECT value FROM meta WHERE key = :key

-- set_meta: write one value of the store's own settings
INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = :value

-- once: what is done, or said, a single time
INSERT OR IGNORE INTO meta (key, value) VALUES (:key, :value)

-- put_call: store a call; its seq stays when it is stored again
INSERT INTO calls (linkedid, system, revision, interpreter, started_at, ended_at, stored_at, payload)
VALUES (:linkedid, :system, :revision, :interpreter, :started_at, :ended_at, :now, :payload)
ON CONFLICT (linkedid, system) DO UPDATE SET revision = :revision, interpreter = :interpreter,
    started_at = :started_at, ended_at = :ended_at, stored_at = :now, payload = :payload
RETURNING seq

-- drop_call: a call that was folded into another has no row of its own
DELETE FROM calls WHERE linkedid = :linkedid AND system = :system RETURNING seq

-- drop_aliases: forget which linkedids were folded into a call
DELETE FROM call_aliases WHERE seq = :seq

-- put_alias: a linkedid was folded into a call
INSERT INTO call_aliases (linkedid, system, seq) VALUES (:linkedid, :system, :seq)
ON CONFLICT (linkedid, system) DO UPDATE SET seq = :seq

-- get_call: a call by its own linkedid
SELECT payload FROM calls WHERE linkedid = :linkedid AND system = :system

-- get_folded_call: a call by a linkedid that was folded into it
SELECT payload FROM calls WHERE seq =
    (SELECT seq FROM call_aliases WHERE linkedid = :linkedid AND system = :system)

-- find_parts: what is known of a call for one connector, all its parts; without an id those that ended long ago
SELECT id, part, state, strand, lane, attempts, revision, reason, replay_id, delivered_at, forced,
    discarded
FROM deliveries WHERE linkedid = :linkedid AND connector = :connector AND system = :system
UNION ALL
SELECT NULL, k.part, k.state, NULL, NULL, 0, k.revision, 'long ago, details are no longer kept', NULL,
    CASE WHEN k.was_delivered THEN k.at * 1000000 END, 0, k.discarded
FROM key_names AS n CROSS JOIN delivery_keys AS k ON k.linkedid = :linkedid AND k.name = n.id
WHERE n.system = :system AND n.connector = :connector

-- insert_delivery: a new delivery; a waiting one stands behind (2) until its strand is looked at, but not one that
-- is alone in it
INSERT INTO deliveries (linkedid, connector, part, system, state, turn, lane, strand, started_at, next_at,
    updated_at, revision, reason, replay_id, forced, delivered_at, waiting_since)
VALUES (:linkedid, :connector, :part, :system, :state,
    CASE WHEN :turn = 2 AND NOT EXISTS (SELECT 1 FROM deliveries AS o INDEXED BY deliveries_strand
        WHERE o.connector = :connector AND o.strand = :strand AND o.turn IS NOT NULL AND o.strand IS NOT NULL)
        THEN :alone ELSE :turn END,
    :lane, :strand, :started_at, :next_at,
    :now, :revision, :reason, :replay_id, :forced, :delivered_at, :waiting_since)
RETURNING id, turn

-- revive_key: one of which only the key is kept becomes a delivery again, as it ended
INSERT INTO deliveries (linkedid, connector, part, system, state, lane, started_at, updated_at, revision, reason,
    delivered_at, discarded)
SELECT k.linkedid, n.connector, k.part, n.system, k.state, :lane, :started_at, k.at * 1000000, k.revision, '',
    CASE WHEN k.was_delivered THEN k.at * 1000000 END, k.discarded
FROM key_names AS n CROSS JOIN delivery_keys AS k ON k.linkedid = :linkedid AND k.name = n.id AND k.part = :part
WHERE n.system = :system AND n.connector = :connector

-- drop_key: what has become a delivery again is none of those that ended long ago
DELETE FROM delivery_keys WHERE linkedid = :linkedid AND part = :part
    AND name = (SELECT id FROM key_names WHERE system = :system AND connector = :connector)

-- hasten_delivery: one that waits in a later lane goes to an earlier one; its strand is due to be looked at
UPDATE deliveries SET lane = :lane, turn = CASE WHEN strand IS NULL THEN 1 ELSE 2 END
WHERE id = :id AND state = 'pending' AND lane > :lane AND forced = 0

-- requeue_delivery: an ended delivery starts anew; its journal stays
UPDATE deliveries SET state = :state, turn = :turn, lane = :lane, strand = :strand, started_at = :started_at,
    next_at = :next_at, updated_at = :now, revision = :revision, reason = :reason, replay_id = :replay_id,
    forced = :forced, failures = 0, failing_since = NULL, yields = 0, probing = 0, uncertain_since = NULL,
    absent_seen = 0, order_note = '', waiting_since = :waiting_since, impatient = 0, discarded = 0
WHERE id = :id

-- renew_delivery: the call of a delivery that was never tried has changed
UPDATE deliveries SET turn = :turn, strand = :strand, started_at = :started_at, updated_at = :now,
    revision = :revision WHERE id = :id

-- end_delivery: a delivery ends without an attempt: skipped, marked, superseded
UPDATE deliveries SET state = :state, turn = NULL, next_at = NULL, updated_at = :now, reason = :reason,
    failing_since = NULL, delivered_at = coalesce(delivered_at, :delivered_at) WHERE id = :id

-- put_payload: the bytes to send; an earlier exchange's checkpoint is void
INSERT INTO payloads (delivery_id, payload) VALUES (:id, :payload)
ON CONFLICT (delivery_id) DO UPDATE SET payload = :payload, checkpoint = x''

-- find_folded: deliveries of a linkedid that has become part of another call
SELECT id, connector, part, state, strand, lane FROM deliveries
WHERE linkedid = :linkedid AND system = :system
    AND state IN ('pending', 'sending', 'uncertain', 'delivered', 'skipped', 'dead')

-- supersede_keys: the same for those of which only the key is kept
UPDATE delivery_keys SET state = 'superseded' WHERE linkedid = :linkedid AND state <> 'superseded'
    AND name IN (SELECT id FROM key_names WHERE system = :system)

-- strand_head: the first of a strand and lane that lets nobody pass; those up to it are open, those behind it wait
SELECT id, started_at, linkedid FROM deliveries INDEXED BY deliveries_strand
WHERE connector = :connector AND strand = :strand AND lane = :lane AND turn IS NOT NULL
    AND strand IS NOT NULL AND yields = 0
ORDER BY started_at, id LIMIT 1

-- open_strand: those up to the head need not wait for others, but a live one perhaps for older ones of a replay
UPDATE deliveries SET turn = (CASE WHEN next_at <= :now THEN 0 ELSE 1 END)
WHERE id IN (SELECT id FROM deliveries INDEXED BY deliveries_strand
    WHERE connector = :connector AND strand = :strand AND lane = :lane AND turn IS NOT NULL
        AND strand IS NOT NULL AND turn IN (2, 4) AND (started_at, id) <= (:started_at, :id)
        AND (started_at <= :replayed_at OR impatient OR attempts > 0))

-- block_strand: those behind the head wait for it
UPDATE deliveries SET turn = 2
WHERE id IN (SELECT id FROM deliveries INDEXED BY deliveries_open
    WHERE connector = :connector AND strand = :strand AND lane = :lane AND turn IN (0, 1, 4)
        AND strand IS NOT NULL AND (started_at, id) > (:started_at, :id))

-- hold_back: live ones never tried wait a while for an older one of their strand that is being replayed
UPDATE deliveries SET turn = 4, reason = 'waits for ' || :replayed || ', an older call of its number in a replay',
    order_note = 'waited for ' || :replayed || ', an older call of its number in a replay'
WHERE id IN (SELECT id FROM deliveries INDEXED BY deliveries_strand
    WHERE connector = :connector AND strand = :strand AND lane = 0 AND turn IS NOT NULL
        AND strand IS NOT NULL AND turn < 3 AND (started_at, id) <= (:started_at, :id)
        AND started_at > :replayed_at AND NOT impatient AND attempts = 0)

-- promote: what has become due
UPDATE deliveries SET turn = 0
WHERE id IN (SELECT id FROM deliveries INDEXED BY deliveries_timed
    WHERE connector = :connector AND lane = :lane AND turn = 1 AND next_at <= :now
    ORDER BY next_at LIMIT :most)

-- let_pass: those that have been failing too long for the patience of their strand
UPDATE deliveries SET yields = 1
WHERE id IN (SELECT id FROM deliveries INDEXED BY deliveries_failing
    WHERE connector = :connector AND failing_since <= :failing_since AND failing_since IS NOT NULL
        AND yields = 0 ORDER BY failing_since LIMIT :most)
RETURNING strand

-- lose_patience: live ones that have waited long enough for older ones of a replay
UPDATE deliveries SET impatient = 1
WHERE id IN (SELECT id FROM deliveries INDEXED BY deliveries_patient
    WHERE connector = :connector AND turn = 4 AND NOT impatient AND waiting_since <= :waiting_since
    ORDER BY waiting_since LIMIT :most)
RETURNING strand

-- ready: due deliveries of a lane in their order, none of a strand of which one is being sent
SELECT d.id, d.strand FROM deliveries AS d INDEXED BY deliveries_ready
WHERE d.connector = :connector AND d.lane = :lane AND d.turn = 0
    AND NOT EXISTS (SELECT 1 FROM deliveries AS s INDEXED BY deliveries_sending
        WHERE s.connector = d.connector AND s.strand = d.strand AND s.turn = 3)
ORDER BY d.started_at, d.id

-- ready_of_replay: the same of one replay; NULL: of those that none asked for (any more)
SELECT d.id, d.strand FROM deliveries AS d INDEXED BY deliveries_fair
WHERE d.connector = :connector AND d.replay_id IS :replay_id AND d.turn = 0 AND d.lane = 1
    AND NOT EXISTS (SELECT 1 FROM deliveries AS s INDEXED BY deliveries_sending
        WHERE s.connector = d.connector AND s.strand = d.strand AND s.turn = 3)
ORDER BY d.started_at, d.id

-- next_replay: the next replay that has something due
SELECT replay_id FROM deliveries INDEXED BY deliveries_fair
WHERE connector = :connector AND replay_id > :after AND replay_id <= :until AND turn = 0 AND lane = 1
ORDER BY replay_id LIMIT 1

-- candidate: what the worker of a delivery needs, with what it passes
SELECT d.id, d.linkedid, d.part, d.system, d.lane, d.strand, d.state, d.token, d.attempts, d.failures, d.forced,
    d.uncertain_since, d.absent_seen, d.order_note, p.payload, p.checkpoint,
    (SELECT o.linkedid FROM deliveries AS o INDEXED BY deliveries_strand
     WHERE o.connector = d.connector AND o.strand = d.strand AND o.lane = d.lane AND o.turn IS NOT NULL
        AND o.strand IS NOT NULL AND (o.started_at, o.id) < (d.started_at, d.id)
     ORDER BY o.started_at, o.id LIMIT 1) AS passed,
    (SELECT o.linkedid FROM deliveries AS o INDEXED BY deliveries_strand
     WHERE d.lane = 0 AND o.connector = d.connector AND o.strand = d.strand AND o.lane = 1 AND o.turn IS NOT NULL
        AND o.strand IS NOT NULL AND o.started_at < d.started_at
     ORDER BY o.started_at, o.id LIMIT 1) AS replayed
FROM deliveries AS d JOIN payloads AS p ON p.delivery_id = d.id
WHERE d.id = :id

-- take: a delivery becomes a worker's
UPDATE deliveries SET state = 'sending', turn = 3, token = token + 1, attempts = attempts + 1, updated_at = :now,
    probing = :probing, reason = :reason, order_note = :order_note WHERE id = :id

-- begin_attempt: the journal, before the request leaves
INSERT INTO attempts (delivery_id, number, started_at) VALUES (:id, :number, :now)

-- claimed: of these deliveries those that are being sent; `crowded`: others of the strand wait
SELECT d.id, d.token, d.connector, d.strand, d.lane, d.attempts, d.failures, d.failing_since, d.probing, d.uncertain_since,
    d.order_note, d.forced, d.delivered_at, r.state AS replay_state, d.replay_id, a.started_at AS attempt_started_at,
    EXISTS (SELECT 1 FROM deliveries AS o INDEXED BY deliveries_strand WHERE o.connector = d.connector
        AND o.strand = d.strand AND o.turn IS NOT NULL AND o.strand IS NOT NULL AND o.id <> d.id) AS crowded
FROM json_each(:ids) AS wanted
JOIN deliveries AS d ON d.id = wanted.value
LEFT JOIN replays AS r ON r.id = d.replay_id
LEFT JOIN attempts AS a ON a.delivery_id = d.id AND a.number = d.attempts
WHERE d.turn = 3

-- checkpoint: how far the exchange has come, while the claim is ours
UPDATE payloads SET checkpoint = :data WHERE delivery_id =
    (SELECT id FROM deliveries WHERE id = :id AND token = :token AND turn = 3)

-- settle: the end of an attempt
UPDATE deliveries SET state = :state, turn = :turn, reason = :reason, next_at = :next_at, updated_at = :now,
    failures = :failures, failing_since = :failing_since, uncertain_since = :uncertain_since,
    absent_seen = :absent_seen, probing = 0, delivered_at = coalesce(delivered_at, :delivered_at) WHERE id = :id

-- end_attempt: the answer goes into the journal
UPDATE attempts SET ended_at = :ended_at, kind = :kind, reason = :reason, http_status = :http_status,
    answer = :answer WHERE delivery_id = :id AND number = :number

-- give_back: a claim whose request never left
UPDATE deliveries SET state = :state, turn = 1, attempts = attempts - 1, reason = :reason, next_at = :now,
    updated_at = :now, probing = 0 WHERE id = :id

-- drop_attempt: an attempt that was none
DELETE FROM attempts WHERE delivery_id = :id AND number = :number

-- recover: what a dead process was sending may have arrived
UPDATE deliveries SET state = 'uncertain', turn = 1, next_at = :now, updated_at = :now, absent_seen = 0,
    probing = 0, reason = :reason, uncertain_since = coalesce(
        (SELECT a.started_at FROM attempts AS a WHERE a.delivery_id = deliveries.id
            AND a.number = deliveries.attempts), :now)
WHERE turn = 3
RETURNING connector, strand

-- next_ready: the earliest of what is due and whose strand is free
SELECT min(next_at) AS at FROM (SELECT connector, strand, next_at FROM deliveries INDEXED BY deliveries_ready
    WHERE connector = :connector AND lane = :lane AND turn = 0
        AND NOT EXISTS (SELECT 1 FROM deliveries AS s INDEXED BY deliveries_sending
            WHERE s.connector = :connector AND s.strand = deliveries.strand AND s.turn = 3)
    LIMIT 1) AS first

-- oldest_due: when the earliest call began that is due
SELECT min(started_at) AS at FROM deliveries INDEXED BY deliveries_ready
WHERE connector = :connector AND lane = :lane AND turn = 0

-- next_timed: the earliest of what is not due yet
SELECT min(next_at) AS at FROM deliveries INDEXED BY deliveries_timed
WHERE connector = :connector AND lane = :lane AND turn = 1

-- next_failing: since when the one has been failing that will be passed next, on the patience clock
SELECT min(failing_since) AS at FROM deliveries INDEXED BY deliveries_failing
WHERE connector = :connector AND failing_since IS NOT NULL AND yields = 0

-- next_impatient: since when the live one has been waiting that will pass older ones of a replay next
SELECT min(waiting_since) AS at FROM deliveries INDEXED BY deliveries_patient
WHERE connector = :connector AND turn = 4 AND NOT impatient

-- get_connector: state, hold and patience of a connector
SELECT state, hold, held_since, standstill FROM connectors WHERE connector = :connector

-- set_connector_state: replace the key-value of a connector
INSERT INTO connectors (connector, state) VALUES (:connector, :state)
ON CONFLICT (connector) DO UPDATE SET state = :state

-- set_hold: hold a connector; the first moment of an unbroken hold stays
INSERT INTO connectors (connector, hold, held_since) VALUES (:connector, :hold, :since)
ON CONFLICT (connector) DO UPDATE SET hold = :hold, held_since = coalesce(held_since, :since)

-- release_hold: the connector is sent to again
UPDATE connectors SET hold = NULL WHERE connector = :connector

-- add_standstill: a hold is over; the patience clock stood still for its length
UPDATE connectors SET standstill = :standstill, held_since = NULL WHERE connector = :connector

-- holds: connectors on hold
SELECT connector, hold FROM connectors WHERE hold IS NOT NULL

-- holds_of_replay: those at which deliveries of a replay wait
SELECT c.connector, c.hold FROM connectors AS c WHERE c.hold IS NOT NULL
    AND EXISTS (SELECT 1 FROM deliveries AS d INDEXED BY deliveries_replay
        WHERE d.replay_id = :replay_id AND d.connector = c.connector AND d.turn IS NOT NULL
            AND d.replay_id IS NOT NULL)

-- add_replay: a request to process calls again
INSERT INTO replays (state, requested_at, requested_by, ids, "start", "end", force, connector, dry_run,
    mark_delivered, cursor, found, queued, already_delivered, already_waiting, marked_delivered, changed, skipped,
    not_found, in_progress, delivered, dead, finished_at, error)
VALUES (:state, :requested_at, :requested_by, :ids, :start, :end, :force, :connector, :dry_run,
    :mark_delivered, :cursor, :found, :queued, :already_delivered, :already_waiting, :marked_delivered, :changed,
    :skipped, :not_found, :in_progress, :delivered, :dead, :finished_at, :error)

-- get_replay: a replay with its counters
SELECT * FROM replays WHERE id = :id

-- recent_replays: newest first
SELECT * FROM replays ORDER BY id DESC LIMIT :limit

-- unfinished_replays: those that still have calls to find, oldest first
SELECT * FROM replays INDEXED BY replays_unfinished
WHERE state IN ('requested', 'looking_up', 'delivering') AND (state <> 'delivering' OR in_progress <> '[]')
ORDER BY id LIMIT :limit

-- progress_replay: what a step found
UPDATE replays SET found = :found, queued = :queued, already_delivered = :already_delivered,
    already_waiting = :already_waiting, marked_delivered = :marked_delivered, changed = :changed,
    skipped = :skipped, not_found = :not_found, in_progress = :in_progress, cursor = :cursor WHERE id = :id

-- set_replay_state: move a replay on, unless it has ended
UPDATE replays SET state = :state, finished_at = :finished_at, error = :error
WHERE id = :id AND state IN ('requested', 'looking_up', 'delivering')

-- waiting_of_replay: the deliveries a cancelled replay takes back: never those that may have arrived,
-- nor what the tail has met since: that is a live call
SELECT id, connector, strand, lane, delivered_at FROM deliveries INDEXED BY deliveries_replay
WHERE replay_id = :id AND replay_id IS NOT NULL AND turn IS NOT NULL AND state = 'pending' AND lane = 1

-- forget_replay: a forced delivery that is taken back was delivered before, not by this replay
UPDATE deliveries SET state = 'delivered', turn = NULL, next_at = NULL, updated_at = :now, reason = :reason,
    failing_since = NULL, forced = 0, replay_id = NULL WHERE id = :id

-- add_item: what a replay found for one delivery
INSERT OR IGNORE INTO replay_items (replay_id, number, linkedid, connector, part, result, reason)
VALUES (:replay_id, (SELECT coalesce(max(number), 0) + 1 FROM replay_items WHERE replay_id = :replay_id),
    :linkedid, :connector, :part, :result, :reason)

-- replay_items: what a replay found, in the order found
SELECT linkedid, connector, part, result, reason FROM replay_items
WHERE replay_id = :replay_id ORDER BY number LIMIT :limit

-- deliveries_of_call: deliveries of a call, newest change first, behind a place
SELECT * FROM deliveries WHERE linkedid = :linkedid AND system = :system
    AND updated_at >= :since AND (updated_at, id) < (:at, :id)
ORDER BY updated_at DESC, id DESC

-- keys_of_call: deliveries of a call of which only the key is kept, as a person sees them, behind a place
SELECT 0 AS id, n.connector, k.linkedid, k.part, k.state, :reason AS reason, 0 AS lane, 0 AS attempts, k.revision,
    coalesce((SELECT c.started_at FROM calls AS c WHERE c.linkedid = k.linkedid AND c.system = n.system),
        k.at * 1000000) AS started_at,
    NULL AS strand, NULL AS next_at, k.at * 1000000 AS updated_at,
    CASE WHEN k.was_delivered THEN k.at * 1000000 END AS delivered_at, NULL AS replay_id
FROM key_names AS n CROSS JOIN delivery_keys AS k ON k.linkedid = :linkedid AND k.name = n.id
WHERE n.system = :system AND k.at * 1000000 >= :since AND (k.at * 1000000, 0) < (:at, :id)

-- recent_deliveries: of one connector and state in a period, newest change first
SELECT * FROM deliveries INDEXED BY deliveries_recent WHERE connector = :connector AND state = :state
    AND updated_at >= :since AND updated_at < :at
ORDER BY updated_at DESC, id DESC

-- deliveries_at: those of one moment, behind a place (an index has no range over two columns if one is the rowid)
SELECT * FROM deliveries INDEXED BY deliveries_recent WHERE connector = :connector AND state = :state
    AND updated_at = :at AND id < :id
ORDER BY id DESC

-- delivery: one delivery, whether its bytes are kept, and how its last attempt ended
SELECT d.*, p.delivery_id IS NOT NULL AS kept, a.number AS last_number, a.kind AS last_kind,
    a.started_at AS last_started_at
FROM deliveries AS d
LEFT JOIN payloads AS p ON p.delivery_id = d.id
LEFT JOIN attempts AS a ON a.delivery_id = d.id AND a.number = d.attempts
WHERE d.id = :id

-- retry: an ended delivery is due at once, as a person wishes; its journal stays
UPDATE deliveries SET state = :state, turn = :turn, strand = :strand, started_at = :started_at, next_at = :now,
    updated_at = :now, revision = :revision, reason = :reason, replay_id = NULL, failures = 0,
    failing_since = NULL, yields = 0, probing = 0, uncertain_since = :uncertain_since, absent_seen = 0,
    order_note = '', impatient = 1, discarded = 0
WHERE id = :id

-- renew_payload: new bytes for an exchange that goes on where it was
INSERT INTO payloads (delivery_id, payload) VALUES (:id, :payload)
ON CONFLICT (delivery_id) DO UPDATE SET payload = :payload

-- discard: a dead delivery is off the list; a replay of its period leaves it there
UPDATE deliveries SET state = :state, updated_at = :now, reason = :reason, forced = 0, discarded = 1
WHERE id = :id

-- resume: a held connector may have a canary at once
UPDATE connectors SET hold = json_set(hold, '$.next_canary_at', :now)
WHERE connector = :connector AND hold IS NOT NULL

-- wake_late: those of a lane that wait for a moment no wait leads to
UPDATE deliveries SET next_at = :now
WHERE id IN (SELECT id FROM deliveries INDEXED BY deliveries_timed
    WHERE connector = :connector AND lane = :lane AND turn = 1 AND next_at > :furthest)

-- set_back: the clock was set back, and what waits keeps its waits; rare, so that it may read all
UPDATE deliveries SET next_at = next_at - :by, failing_since = failing_since - :by,
    waiting_since = waiting_since - :by, uncertain_since = uncertain_since - :by
WHERE turn IN (0, 1, 2, 4)

-- set_back_holds: the same for connectors on hold
UPDATE connectors SET held_since = held_since - :by, hold = json_set(hold,
    '$.next_canary_at', json_extract(hold, '$.next_canary_at') - :by, '$.since', json_extract(hold, '$.since') - :by)
WHERE hold IS NOT NULL

-- wake_one: the next one of a lane is due now
UPDATE deliveries SET turn = 0, next_at = :now
WHERE id IN (SELECT id FROM deliveries INDEXED BY deliveries_timed
    WHERE connector = :connector AND lane = :lane AND turn = 1 ORDER BY next_at LIMIT 1)

-- attempts: the journal of a delivery
SELECT number, started_at, ended_at, kind, reason, http_status, answer FROM attempts
WHERE delivery_id = :id ORDER BY number

-- counts: deliveries by connector and state
SELECT connector, state, n FROM counters WHERE n <> 0

-- recount: the same by counting; for the check only
SELECT connector, state, count(*) AS n FROM
    (SELECT connector, state FROM deliveries
     UNION ALL SELECT n.connector, k.state FROM delivery_keys AS k JOIN key_names AS n ON n.id = k.name) AS both
GROUP BY connector, state

-- kept_twice: identities that stand in both tables; for the check only
SELECT d.id FROM delivery_keys AS k JOIN key_names AS n ON n.id = k.name
JOIN deliveries AS d ON d.linkedid = k.linkedid AND d.connector = n.connector AND d.part = k.part
    AND d.system = n.system

-- recount_replays: replays whose number of waiting deliveries is wrong; for the check only
SELECT r.id FROM replays AS r WHERE r.waiting <>
    (SELECT count(*) FROM deliveries AS d WHERE d.replay_id = r.id AND d.turn IS NOT NULL)

-- without_bytes: deliveries that wait and could never be sent; for the check only
SELECT d.id FROM deliveries AS d WHERE d.turn IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM payloads AS p WHERE p.delivery_id = d.id)

-- lost_payloads: bytes of a delivery that is not there; for the check only
SELECT p.delivery_id FROM payloads AS p WHERE NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.id = p.delivery_id)

-- lost_attempts: attempts of a delivery that is not there; for the check only
SELECT DISTINCT a.delivery_id FROM attempts AS a
WHERE NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.id = a.delivery_id)

-- lost_aliases: linkedids of a call that is not there; for the check only
SELECT a.linkedid FROM call_aliases AS a WHERE NOT EXISTS (SELECT 1 FROM calls AS c WHERE c.seq = a.seq)

-- strands: all strands with something waiting; for the check only
SELECT id, connector, strand, lane, turn, yields, attempts, impatient FROM deliveries
WHERE turn IS NOT NULL AND strand IS NOT NULL
ORDER BY connector, strand, lane, started_at, id

-- in_doubt: deliveries that may have arrived under the present name of the PBX
SELECT count(*) AS n FROM deliveries WHERE turn IS NOT NULL AND state IN ('sending', 'uncertain')

-- rename_deliveries: the same PBX under another name
UPDATE deliveries SET system = :name WHERE system = :old

-- rename_calls: the same PBX under another name
UPDATE calls SET system = :name WHERE system = :old

-- rename_aliases: the same PBX under another name
UPDATE call_aliases SET system = :name WHERE system = :old

-- rename_keys: the same PBX under another name
UPDATE key_names SET system = :name WHERE system = :old

-- old_deliveries: a page of what ended before a moment; the newest row of all stays, so that no id is given twice
SELECT id, linkedid, connector, system FROM deliveries INDEXED BY deliveries_recent
WHERE connector = :connector AND state = :state AND updated_at < :before
    AND id < (SELECT max(id) FROM deliveries)
ORDER BY updated_at LIMIT :limit

-- name_keys: a number for the names in a key
INSERT OR IGNORE INTO key_names (system, connector) VALUES (:system, :connector)

-- keep_key: what stays of a delivery for ever
INSERT INTO delivery_keys (linkedid, name, part, state, at, was_delivered, discarded, revision)
SELECT d.linkedid, n.id, d.part, d.state, coalesce(d.delivered_at, d.updated_at) / 1000000,
    d.delivered_at IS NOT NULL, d.discarded, d.revision
FROM deliveries AS d JOIN key_names AS n ON n.system = d.system AND n.connector = d.connector WHERE d.id = :id

-- drop_payload: the bytes that were sent
DELETE FROM payloads WHERE delivery_id = :id

-- drop_attempts: the journal of a delivery
DELETE FROM attempts WHERE delivery_id = :id

-- drop_delivery: a delivery of which only the key is kept
DELETE FROM deliveries WHERE id = :id

-- old_calls: a page of calls that began before a moment, behind a place
SELECT seq, started_at, EXISTS (SELECT 1 FROM deliveries AS d
    WHERE d.linkedid = calls.linkedid AND d.system = calls.system) AS in_use
FROM calls INDEXED BY calls_started WHERE (started_at, seq) > (:started_at, :seq) AND started_at < :before
ORDER BY started_at, seq LIMIT :limit

-- forget_call: a call that is older than calls are kept
DELETE FROM calls WHERE seq = :seq

-- old_replay: the first replay that ended before a moment
SELECT id FROM replays INDEXED BY replays_finished
WHERE finished_at < :before AND finished_at IS NOT NULL AND waiting = 0 ORDER BY finished_at, id LIMIT 1

-- drop_items: a page of what a replay found
DELETE FROM replay_items WHERE replay_id = :id AND number IN
    (SELECT number FROM replay_items WHERE replay_id = :id ORDER BY number LIMIT :limit)

-- drop_replay: a replay of which nothing more is kept
DELETE FROM replays WHERE id = :id
