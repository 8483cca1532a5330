-- name: columns
-- The table's columns: name, declared type, place in the primary key.
SELECT name, lower(type), pk FROM pragma_table_info(?)

-- name: indexes
-- Columns that lead an index.
SELECT i.name FROM pragma_index_list(?) AS l JOIN pragma_index_info(l.name) AS i ON i.seqno = 0

-- name: kind
-- table or view.
SELECT type, sql FROM sqlite_master WHERE name = ? AND type IN ('table', 'view')

-- name: alike
-- Tables that look like CEL.
SELECT DISTINCT m.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c
WHERE m.type IN ('table', 'view') AND lower(c.name) = 'eventtype'
