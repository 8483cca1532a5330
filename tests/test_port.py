"""Port 8077 may be taken by the module that celreplay replaces."""

import os
import socket

import pytest

from celreplay.api.port import holder_of, listen
from celreplay.errors import CelreplayError


def test_a_taken_port_names_the_process_and_the_remedy() -> None:
    """The admin learns which program has the port and which key changes it."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CelreplayError) as caught:
            listen("127.0.0.1", port)
        assert f"(pid {os.getpid()})" in str(caught.value)
        assert "api.port" in str(caught.value)


def test_a_free_port_is_listened_on_and_has_no_other_holder() -> None:
    """The socket that comes back accepts connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert holder_of(port) == ""
    listener = listen("127.0.0.1", port)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            assert client.getpeername()[1] == port
    finally:
        listener.close()


def test_a_foreign_address_is_refused_in_plain_words() -> None:
    """An address that is not this host's names the key."""
    with pytest.raises(CelreplayError, match=r"api\.host"):
        listen("192.0.2.1", 8077)
