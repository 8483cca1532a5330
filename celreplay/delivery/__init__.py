"""Retry arithmetic, holds and the workers that deliver."""
