"""What Asterisk wrote: rows of the CEL table as events, and which rows belong together. Pure."""
