"""A disk of its own for the store, small enough to be filled."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = "48m"


class NoDiskError(Exception):
    """No small file system can be had here; the message says why."""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A tmpfs of `SIZE` on the folder, for the time of the block."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "celreplay-chaos", str(folder)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        raise NoDiskError(f"a small file system cannot be mounted: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
