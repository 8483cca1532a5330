-- name: columns
-- The table's columns and their types; $1 is the quoted name, found by the search path.
SELECT attname::text, format_type(atttypid, atttypmod)::text FROM pg_attribute
WHERE attrelid = to_regclass($1::text) AND attnum > 0 AND NOT attisdropped ORDER BY attnum

-- name: indexes
-- Columns that lead a usable index.
SELECT a.attname::text FROM pg_index AS i
JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
WHERE i.indrelid = to_regclass($1::text) AND i.indisvalid AND i.indpred IS NULL

-- name: alike
-- Tables that look like CEL.
SELECT c.relnamespace::regnamespace::text || '.' || c.relname FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind IN ('r', 'v', 'm', 'f', 'p')
WHERE a.attname = 'eventtype' AND NOT a.attisdropped
