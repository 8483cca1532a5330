"""The whole path: a period of a PostgreSQL CEL table, replayed to a local receiver in another process.

`python benchmarks/pipeline.py [CALLS]` prints calls a second, and the memory of the daemon before, during and
after. The daemon is `celreplay serve` as it is.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from generated_rows import rows

BENCHMARKS = Path(__file__).parent
sys.path.insert(0, str(BENCHMARKS.parent / "tests"))
from servers import Postgresql, free_port, running_postgresql  # noqa: E402  the tests' servers

TABLES = BENCHMARKS.parent / "tests" / "tables"
START = 1_790_000_000
RENAMED = {
    "cidname": "cid_name", "cidnum": "cid_num", "cidani": "cid_ani", "cidrdnis": "cid_rdnis",
    "ciddnid": "cid_dnid", "eventextra": "extra",
}  # fmt: skip


async def fill(server: Postgresql, calls: int) -> int:
    """A table in the documented form, with the indexes that docs/sources.md asks for. Its rows."""
    connection = await asyncpg.connect(server.url("postgres"))
    await connection.execute((TABLES / "postgresql.sql").read_text())
    columns: list[str] = []
    batch: list[tuple[Any, ...]] = []
    written = 0
    for row in rows(calls, START):
        named: dict[str, Any] = {RENAMED.get(name, name): value for name, value in row.items()}
        named["eventtime"] = _local(float(row["eventtime"]))
        named["amaflags"] = int(row["amaflags"] or 0)
        columns = columns or list(named)
        batch.append(tuple(named.values()))
        if len(batch) == 20_000:
            await connection.copy_records_to_table("cel", records=batch, columns=columns)
            written += len(batch)
            batch.clear()
    await connection.copy_records_to_table("cel", records=batch, columns=columns)
    await connection.execute((TABLES / "postgresql-indexes.sql").read_text())
    await connection.execute("ANALYZE cel")
    await connection.close()
    return written + len(batch)


def _local(epoch: float) -> datetime:
    """Moscow's wall time, as cel_pgsql writes it."""
    return datetime.fromtimestamp(epoch, UTC).replace(tzinfo=None) + timedelta(hours=3)


def config(folder: Path, server: Postgresql, receiver: int, port: int) -> Path:
    path = folder / "celreplay.yaml"
    secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # noqa: S105  of the contract's vectors
    path.write_text(
        json.dumps(
            {
                "pbx": {"name": "bench", "timezone": "Europe/Moscow"},
                "cel": {"url": server.url("postgres")},
                "store": {"url": f"sqlite:///{folder / 'store.sqlite'}"},
                "api": {"port": port, "users": {"bench": "bench"}},
                "log": {"level": "error"},
                "connectors": {
                    "crm": {
                        "type": "webhook",
                        "url": f"http://127.0.0.1:{receiver}/",
                        "secret": secret,
                        "workers": 32,
                    }
                },
            }
        )
    )
    path.chmod(0o600)
    return path


def megabytes(pid: int) -> float:
    """Resident memory of a process, proc(5)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def replay(port: int, pid: int) -> tuple[float, dict[str, Any], float]:
    """Ask for the whole period and watch it to its end: seconds, the replay, the most memory in MB."""
    base = f"http://127.0.0.1:{port}"
    digest = aiohttp.DigestAuthMiddleware("bench", "bench")
    most = 0.0
    async with aiohttp.ClientSession(middlewares=(digest,)) as session:
        begun = time.monotonic()
        async with session.get(f"{base}/pbx/read_call?start_date={START}") as answer:
            body = await answer.json()
        print(f"read_call answered {answer.status} after {(time.monotonic() - begun) * 1000:.0f} ms")
        while True:
            async with session.get(f"{base}/pbx/replays/{body['replay']}") as answer:
                body = await answer.json()
            most = max(most, megabytes(pid))
            if body["state"] in {"done", "failed"}:
                return time.monotonic() - begun, body, most
            await asyncio.sleep(0.2)


async def main(calls: int) -> None:
    with running_postgresql() as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{await fill(server, calls)} rows of {calls} calls")
        receiver = subprocess.Popen(  # noqa: ASYNC220  nothing else runs yet
            [sys.executable, str(BENCHMARKS / "receiver.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        port = free_port()
        path = config(folder, server, int((receiver.stdout or sys.stdin).readline()), port)
        daemon = subprocess.Popen([sys.executable, "-m", "celreplay", "serve", "-c", str(path)])  # noqa: ASYNC220  the same
        try:
            await asyncio.sleep(3)
            print(f"daemon: pid {daemon.pid}", flush=True)
            before = cpu_seconds(daemon.pid)
            await asyncio.sleep(10)
            used = cpu_seconds(daemon.pid) - before
            print(f"idle: {megabytes(daemon.pid):.1f} MB RSS, {used / 10:.2%} CPU over 10 s")
            seconds, body, most = await replay(port, daemon.pid)
            print(f"{calls / seconds:,.0f} calls/s ({seconds:.1f} s), at most {most:.0f} MB RSS")
            print(json.dumps(body)[:600])
        finally:
            daemon.terminate()
            daemon.wait(30)
            out, _ = receiver.communicate("")
            print("received, distinct:", out.strip(), "| cores:", os.cpu_count())


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
