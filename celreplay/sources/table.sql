-- name: first
-- The oldest rows.
SELECT {columns} FROM {table} ORDER BY {order} LIMIT :limit

-- name: last
-- The newest rows, newest first.
SELECT {columns} FROM {table} ORDER BY {order} DESC LIMIT :limit

-- name: first_by_time
-- The rows with the lowest eventtime.
SELECT {columns} FROM {table} ORDER BY {eventtime} LIMIT :limit

-- name: page_by_id
-- The next rows in the order of writing.
SELECT {columns} FROM {table} WHERE {id} > :last ORDER BY {id} LIMIT :limit

-- name: marks_by_id
-- What is needed to judge rows without reading them whole, in the order of writing.
SELECT {marks} FROM {table} WHERE {id} > :last AND {id} <= :until ORDER BY {id} LIMIT :limit

-- name: ids_between
-- The first and the last id of a period; needs an index on eventtime.
SELECT MIN({id}), MAX({id}) FROM {table} WHERE {eventtime} >= :start AND {eventtime} < :end

-- name: page_by_time
-- The next rows by their time.
SELECT {columns} FROM {table} WHERE {eventtime} > :last ORDER BY {eventtime} LIMIT :limit

-- name: rows_at
-- All rows of one eventtime.
SELECT {columns} FROM {table} WHERE {eventtime} = :moment

-- name: rows_by_id
-- Rows found before by their keys, or that may have come late.
SELECT {columns} FROM {table} WHERE {id} IN :ids

-- name: rows_by_linkedid
-- One half of a look-up: rows under these linkedids.
SELECT {columns} FROM {table} WHERE {linkedid} IN :keys

-- name: rows_by_key
-- Rows under these linkedids, or of these channels under other linkedids than the known ones; uses an index
-- on either column.
SELECT {columns} FROM {table} WHERE {linkedid} IN :keys
UNION ALL
SELECT {columns} FROM {table}
WHERE {uniqueid} IN :keys AND ({linkedid} IS NULL OR {linkedid} NOT IN :known)
