"""Work that a cancellation must not cut in two."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def whole(work: Awaitable[T], *, hurry: Callable[[], None] = lambda: None) -> T:
    """Let the work end, even when the task is cancelled meanwhile; the cancellation goes on after it.

    `hurry` is called when it comes."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        hurry()
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        task.result()
        raise
