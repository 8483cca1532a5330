-- name: columns
-- The table's columns and their types.
SELECT COLUMN_NAME, LOWER(DATA_TYPE) FROM information_schema.COLUMNS
WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION

-- name: indexes
-- Columns that lead an index.
SELECT COLUMN_NAME FROM information_schema.STATISTICS
WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND SEQ_IN_INDEX = 1

-- name: alike
-- Tables that look like CEL.
SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.COLUMNS
WHERE LOWER(COLUMN_NAME) = 'eventtype' AND TABLE_SCHEMA NOT IN ('information_schema', 'mysql')
