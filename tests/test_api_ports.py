"""The ports of the API: TLS and its certificate, allowed networks, and clients that take their time."""

import asyncio
import contextlib
import json
import re
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from crm_server import CrmServer
from running import Pbx, run, until
from structlog.testing import capture_logs

from celreplay.api.connections import Gate
from celreplay.api.guard import allowed_only
from celreplay.api.server import served
from celreplay.api.tls import Certificate
from celreplay.apiconfig import ApiConfig
from celreplay.clock import SystemClock
from celreplay.errors import CelreplayError
from celreplay.units import Network


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for this host, signed by itself, with its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", f"/CN={name}"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], capture_output=True, check=True)
    return certificate, key


async def subject(port: int) -> str:
    """The name in the certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    command = ["openssl", "x509", "-inform", "DER", "-noout", "-subject"]
    told = await asyncio.to_thread(subprocess.run, command, input=shown, capture_output=True, check=True)
    return str(told.stdout.decode())


@contextlib.asynccontextmanager
async def answering(gate: Gate) -> AsyncIterator[int]:
    """A small application behind the gate; its port."""

    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application(middlewares=[gate.timed])
    app.router.add_get("/", hello)
    async with served(app, gate, ApiConfig(port=0), SystemClock()) as [address]:
        yield int(address.rpartition(":")[2])


async def closed(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other side closes."""
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            return await reader.read()
    return b""


async def test_tls_has_a_port_of_its_own(tmp_path: Path) -> None:
    """curl logs in over both; `plain: false` leaves TLS alone."""
    certificate, key = make_certificate(tmp_path, "pbx")
    async with CrmServer() as crm:
        pbx = Pbx(tmp_path, crm.url)
        pbx.options["api"]["tls"] = {"certificate": str(certificate), "key": str(key), "port": 0}
        curl = (
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--cacert",
            str(certificate),
            "--digest",
        )
        async with pbx.daemon() as daemon:
            addresses = daemon.api.split(", ")
            assert [address.partition(":")[0] for address in addresses] == ["http", "https"]
            for address in addresses:
                code, status, err = await run(*curl, "-u", "admin:night", f"{address}/pbx/replays")
                assert (code, status) == (0, "200"), err
        pbx.options["api"]["plain"] = False
        async with pbx.daemon() as daemon:
            assert daemon.api.startswith("https://")
            assert ", " not in daemon.api


async def test_a_certificate_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    """The daemon does not start, and says which file, why, and where to look."""
    certificate, key = make_certificate(tmp_path, "pbx")
    key.write_text("no key")
    with pytest.raises(
        CelreplayError, match=r"certificate\.pem with the key .*key\.pem cannot be used: .*api\.tls"
    ):
        Certificate(certificate, key)
    with pytest.raises(CelreplayError, match="No such file"):
        Certificate(tmp_path / "none.pem", key)


async def test_a_new_certificate_is_taken_up_without_a_restart(tmp_path: Path) -> None:
    """Later connections see it; half a pair, or rubbish, is told once, and the old one stays."""
    certificate, key = make_certificate(tmp_path, "old")
    pair = Certificate(certificate, key)
    server = await asyncio.start_server(
        lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=pair.context
    )
    port = server.sockets[0].getsockname()[1]
    assert "old" in await subject(port)
    assert not pair.renew()
    whole = key.read_text()
    key.write_text("half")
    with capture_logs() as logs:
        assert not pair.renew()
        assert not pair.renew()
    assert [entry["event"] for entry in logs] == ["api.certificate_unusable"]
    key.write_text(whole)
    assert pair.renew()
    make_certificate(tmp_path, "new")
    assert pair.renew()
    assert "new" in await subject(port)
    server.close()


async def test_a_head_that_takes_too_long_is_cut_off() -> None:
    """A byte now and then, nothing at all, a second request that never ends: closed, while others are answered."""
    gate = Gate(head_timeout=0.3)
    async with answering(gate) as port:
        silent, silent_writer = await asyncio.open_connection("127.0.0.1", port)
        slow, slow_writer = await asyncio.open_connection("127.0.0.1", port)
        second, second_writer = await asyncio.open_connection("127.0.0.1", port)
        second_writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await second.readuntil(b"hello")
        second_writer.write(b"GET / HTTP/1.1\r\n")
        with capture_logs() as logs, contextlib.suppress(ConnectionError):
            for byte in b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100:
                slow_writer.write(bytes([byte]))
                await slow_writer.drain()
                await asyncio.sleep(0.02)
        for reader in (silent, slow, second):
            assert await closed(reader) == b""
        assert {entry["event"] for entry in logs} == {"api.head_too_slow"}
        assert gate.addresses.total() == 0
        code, out, _ = await run("curl", "-s", f"http://127.0.0.1:{port}/")
        assert (code, out) == (0, "hello")
        for writer in (silent_writer, slow_writer, second_writer):
            writer.close()


async def test_an_idle_connection_that_was_answered_may_ask_again() -> None:
    """The time runs from the first byte of a head, not between two requests."""
    async with answering(Gate(head_timeout=0.2)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in await reader.readuntil(b"hello")
            await asyncio.sleep(0.5)
        writer.close()


async def test_one_address_cannot_take_all_connections() -> None:
    """One more than its share is closed at once; when one ends, there is room again."""
    gate = Gate(most_of_one=3)
    async with answering(gate) as port:
        open_ = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        await until(lambda: gate.addresses["127.0.0.1"] == 3)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await closed(reader) == b""
        writer.close()
        open_[0][1].close()
        await until(lambda: gate.addresses["127.0.0.1"] == 2)
        code, out, _ = await run("curl", "-s", f"http://127.0.0.1:{port}/")
        assert (code, out) == (0, "hello")
        for _, other in open_:
            other.close()


@pytest.mark.parametrize(
    ("networks", "address", "status"),
    [
        ([], "192.0.2.7", 200),
        (["192.0.2.0/24"], "192.0.2.7", 200),
        (["192.0.2.0/24"], "::ffff:192.0.2.7", 200),
        (["192.0.2.0/24"], "198.51.100.7", 403),
        (["192.0.2.0/24"], "127.0.0.1", 200),
        (["192.0.2.0/24"], "2001:db8::1", 403),
        (["2001:db8::/32"], "2001:db8::1", 200),
        (["192.0.2.7"], "192.0.2.8", 403),
        (["192.0.2.7"], "", 403),
    ],
)
async def test_only_allowed_networks_are_let_in(networks: list[str], address: str, status: int) -> None:
    """`api.allow`; this host always is; without a list all are."""

    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    middleware = allowed_only([Network.parse(network) for network in networks])
    request = request_from(address)
    assert (await middleware(request, hello)).status == status


def request_from(address: str) -> web.Request:
    """A request as aiohttp makes it, from an address of our choice."""
    from aiohttp.test_utils import make_mocked_request  # noqa: PLC0415  only here

    return make_mocked_request("GET", "/").clone(remote=address)


@pytest.mark.parametrize(
    ("sent", "word"),
    [
        (b"\x16\x03\x01 hello\r\n\r\n", "HTTP/1.1"),
        (b"GET /pbx/read_call?id=" + b"1" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", "8 KB"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"y" * 9000 + b"\r\n\r\n", "8 KB"),
        (
            b"POST /pbx/read_call HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1",
        ),
    ],
    ids=["no-http", "long-line", "long-header", "two-lengths"],
)
async def test_what_is_no_http_is_answered_as_json(tmp_path: Path, sent: bytes, word: str) -> None:
    """A refusal of the parser has the form and the headers of all others, and is no error in the log."""
    async with CrmServer() as crm, Pbx(tmp_path, crm.url).daemon() as daemon:
        port = int(daemon.api.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert re.match(rb"HTTP/1\.[01] 400 ", head)
        assert b"X-Content-Type-Options: nosniff" in head
        error = json.loads(body)["error"]
        assert error["code"] == "malformed"
        assert word in error["message"]
        await until(lambda: daemon.events("api.malformed") != [])
        assert [event for event in daemon.log if event.get("level") == "error"] == []
