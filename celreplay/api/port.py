"""Listening, and saying who has the port when it is taken.

The vendor's module of the documents uses port 8077 too: an admin who switches meets this on the first day.
"""

import errno
import socket
from pathlib import Path

from celreplay.errors import CelreplayError

_LISTEN = "0A"  # state of /proc/net/tcp, linux/include/net/tcp_states.h


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises CelreplayError that names the process in the way and the remedy."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise _explained(error, host, port) from None
    listener.setblocking(False)
    return listener


def _explained(error: OSError, host: str, port: int) -> CelreplayError:
    if error.errno == errno.EADDRINUSE:
        who = holder_of(port)
        return CelreplayError(
            f"port {port} on {host} is taken" + (f" by {who}" if who else ""),
            hint="stop that program, or set another api.port in the config",
        )
    if error.errno == errno.EACCES:
        return CelreplayError(f"no right to listen on port {port}", hint="set api.port to 1024 or above")
    return CelreplayError(f"cannot listen on {host} port {port}: {error.strerror}", hint="see api.host")


def holder_of(port: int) -> str:
    """`NAME (pid N)` of the process that listens on a TCP port of this host; empty where it cannot be seen
    (another user's processes need root)."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for descriptors in Path("/proc").glob("[0-9]*/fd"):
        try:
            if any(str(link.readlink()) in sockets for link in descriptors.iterdir()):
                name = (descriptors.parent / "comm").read_text().strip()
                return f"{name} (pid {descriptors.parent.name})"
        except OSError:
            continue  # gone meanwhile, or not ours to see
    return ""


def _listening_inodes(port: int) -> set[str]:
    """Inodes of listening sockets, from the table that proc(5) describes."""
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        lines = table.read_text().splitlines()[1:] if table.exists() else []
        for fields in map(str.split, lines):
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(fields[9])
    return inodes
