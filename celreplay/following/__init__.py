"""Following a CEL table: which of its rows are new, whatever happens to the table meanwhile."""
