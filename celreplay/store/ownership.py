"""One daemon for one store: a lock that the kernel gives back when its holder dies."""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from celreplay.errors import StoreError

_TRIES = 5
_PAUSE = 0.02


class Ownership:
    """Holds `PATH.lock` until `close`; made by `acquire`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, path: str | Path) -> "Ownership | None":
        """Become the owner of the store at `path`; None when another process is (`holder` says which).
        Raises StoreError where the lock file cannot be made."""
        lock = lock_path(path)
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            hint = f"{lock.parent} must exist and belong to celreplay's user"
            raise StoreError(f"lock {lock}: it cannot be made: {error.strerror}", hint=hint) from None
        give_to_owner_of(lock.parent, descriptor)
        if not _lock(descriptor):
            os.close(descriptor)
            return None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def close(self) -> None:
        """Give it back. The file stays: a removed one could be locked twice."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lock(descriptor: int) -> bool:
    """Tried for a moment: `holder` of another process locks it too, for as long as it looks."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return True
    return False


def give_to_owner_of(folder: Path, descriptor: int) -> None:
    """A file that root makes (`sudo celreplay status`) must not lock the daemon's own user out."""
    if os.geteuid() == 0:
        found = folder.stat()
        os.fchown(descriptor, found.st_uid, found.st_gid)


def lock_path(path: str | Path) -> Path:
    """`PATH.lock`."""
    return Path(f"{path}.lock")


def holder(path: str | Path) -> int | None:
    """The pid of the process that owns the store; None when none does, or when it cannot be told."""
    try:
        with lock_path(path).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read(32).strip()
                return int(text) if text.isdigit() else None
    except OSError:
        return None
    return None
