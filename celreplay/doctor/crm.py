"""The CRMs: whether they can be reached, and, where one can be asked, whether it knows us."""

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from celreplay.connectors.base import Connector, Delivery, Outcome
from celreplay.connectors.failures import place
from celreplay.connectors.http import HttpDriver
from celreplay.connectors.state import SharedState
from celreplay.connectors.trip import Trip
from celreplay.doctor.findings import Finding, error, ok, warning
from celreplay.times import Instant

_PATIENCE = 10.0


async def about_connectors(
    connectors: Mapping[str, Connector], addresses: Mapping[str, str], now: Instant
) -> list[Finding]:
    """One finding for each. Nothing is sent that a CRM would take for a call."""
    return [await _about(connector, addresses.get(name, ""), now) for name, connector in connectors.items()]


async def _about(connector: Connector, url: str, now: Instant) -> Finding:
    about = f"connector {connector.name}"
    if connector.can_probe:
        return await _asked(connector, about, now)
    if not url:
        return ok(about, "has no address to be tried")
    trouble = await _unreachable(url)
    if trouble:
        return error(about, f"{place(url)}: {trouble}", "check the address, the firewall and the certificate")
    return ok(about, f"{place(url)} is reached; whether it knows us shows with the first call")


async def _asked(connector: Connector, about: str, now: Instant) -> Finding:
    delivery = Delivery(system="doctor", connector=connector.name, linkedid="0.0", part="call", payload=b"")
    async with HttpDriver() as driver:
        state = SharedState()
        answer = await driver.probe(connector.probe(delivery, state, now), Trip(state=state))
    if isinstance(answer, Outcome):
        how = "see the connector's page in docs/connectors"
        kind = error if answer.http_status is None or answer.kind.value in {"auth", "config"} else warning
        return kind(about, answer.reason, how)
    return ok(about, "it answers, and lets us ask")


async def _unreachable(url: str) -> str:
    parts = urlsplit(url)
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if tls else 80)
    try:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls)
        writer.close()
    except ssl.SSLCertVerificationError as trouble:
        return f"its certificate is not trusted: {trouble.verify_message}"
    except TimeoutError:
        return f"no connection within {_PATIENCE:.0f} s"
    except OSError as trouble:
        return (trouble.strerror or str(trouble)).lower()
    return ""
