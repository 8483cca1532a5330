"""A receiver that answers 204 at once, in a process of its own. Prints its port, then on EOF the count.

It reads no more of HTTP/1.1 than it must: what is to be measured is the sender, and both share the cores.
"""

import asyncio
import re
import sys
from typing import cast

_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ID = re.compile(rb"\r\nwebhook-id: *(\S+)", re.IGNORECASE)


class Seen:
    """What has arrived."""

    def __init__(self) -> None:
        self.requests = 0
        self.ids: set[bytes] = set()


class Receiver(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._buffer = b""
        self._transport = cast("asyncio.Transport", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[: end + 2]
            length, identity = _LENGTH.search(head), _ID.search(head)
            if length is None or identity is None:
                raise SystemExit(f"a request without a length or an id: {head!r}")
            whole = end + 4 + int(length[1])
            if len(self._buffer) < whole:
                return
            self._buffer = self._buffer[whole:]
            self._seen.requests += 1
            self._seen.ids.add(identity[1])
            self._transport.write(_ANSWER)


async def main() -> None:
    seen = Seen()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Receiver(seen), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(seen.requests, len(seen.ids), flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
