"""Calls, outbox, replays and reading position, kept on disk."""
