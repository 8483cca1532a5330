"""A thread that owns one connection. Writes that wait together are committed together (group commit)."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import structlog

from celreplay.errors import StoreError
from celreplay.store.sqlite.check import first_damage
from celreplay.store.sqlite.errors import ends_transaction, is_damage, store_error

_log = structlog.get_logger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BATCH = 128
"""Jobs in one transaction at most: bounds what a failing commit takes along, and how long a lock is held."""


class _Job(msgspec.Struct):
    work: Work[Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    result: Any = None
    error: Exception | None = None

    def resolve(self) -> None:
        if self.future.done():  # the caller was cancelled; what it asked for has been done all the same
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Damage:
    """What the threads of one store know of its file's being broken. It stays so until the file is opened
    again: writing to it would break more."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.error: StoreError | None = None

    def found(self, error: Exception) -> StoreError:
        """The error for everybody; the first time it is looked for what is broken, and the log is told."""
        if self.error is None:
            self.error = store_error(error, self._path, first_damage(self._path))
            _log.error("store.damaged", error=str(self.error))
        return self.error


class DatabaseThread:
    """Runs jobs on one connection in the order in which they were asked for.

    A writing thread takes what waits (up to BATCH) into one transaction with a savepoint for each job: a job
    that raises is undone alone. No caller hears of success before the commit is on disk. A reading thread
    gives every job a transaction, that is, a view, of its own.
    """

    def __init__(self, connection: sqlite3.Connection, path: str, damage: Damage, *, writes: bool) -> None:
        self._connection = connection
        self._path = path
        self._damage = damage
        self._writes = writes
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        name = "store-writer" if writes else "store-reader"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def run(self, work: Work[T]) -> T:
        """Do it and return what it returned. Raises StoreError, or what the job raised.

        Cancelling the caller does not undo the job."""
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.create_future(), loop)
        with self._lock:
            if self._closed:
                raise StoreError(f"store {self._path}: it has been closed")
            self._jobs.put(job)
        result: T = await job.future
        return result

    def close(self) -> None:
        """Finish what was accepted, end the thread, close the connection. Blocks."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            try:
                if self._writes:
                    self._write(batch)
                else:
                    self._read(batch)
            except Exception as error:  # noqa: BLE001  the boundary of the thread: callers get it, the thread lives
                self._fail(batch, error)
            _hand_back(batch)

    def _take(self) -> list[_Job] | None:
        first = self._jobs.get()
        if first is None:
            return None
        batch = [first]
        while self._writes and len(batch) < BATCH:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)  # nothing comes behind it: the queue is closed
                break
            batch.append(job)
        return batch

    def _write(self, batch: list[_Job]) -> None:
        if self._damage.error is not None:
            raise self._damage.error
        self._connection.execute("BEGIN IMMEDIATE")
        for job in batch:
            self._connection.execute("SAVEPOINT job")
            try:
                job.result = job.work(self._connection)
            except Exception as error:  # the boundary of a job: its caller gets it
                if ends_transaction(error) or not self._connection.in_transaction:
                    raise
                job.error = self._for_people(error)
                self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
        self._connection.execute("COMMIT")

    def _read(self, batch: list[_Job]) -> None:
        for job in batch:
            self._connection.execute("BEGIN")
            job.result = job.work(self._connection)
            self._connection.execute("COMMIT")

    def _fail(self, batch: list[_Job], error: Exception) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as second:
            error = second
        for job in batch:
            job.error = self._for_people(error)

    def _for_people(self, error: Exception) -> Exception:
        if is_damage(error):
            return self._damage.found(error)
        return store_error(error, self._path) if isinstance(error, sqlite3.Error) else error


def _hand_back(batch: list[_Job]) -> None:
    """Resolve futures in their own loops; one wake-up for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in batch:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, jobs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, jobs)
        except RuntimeError:
            continue  # the loop has ended: nobody waits for the answer


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        job.resolve()
