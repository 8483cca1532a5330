"""`/metrics`: what a real daemon tells Prometheus, and that the rules and the dashboard ask for what there is."""

import json
import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import pytest
import yaml
from aiohttp import ClientSession
from aiohttp.test_utils import make_mocked_request
from crm_server import CrmServer, Play
from fakes import FakeClock
from prometheus_client.parser import text_string_to_metric_families
from running import Pbx, until

from celreplay.api.metrics import Metrics
from celreplay.units import Network, is_within

DOCS = Path(__file__).parent.parent / "docs"
PROMISED = set(
    re.findall(r"^\| `(celreplay_\w+)` \|", (DOCS / "monitoring.md").read_text("utf-8"), re.MULTILINE)
)


@pytest.fixture
async def crm() -> AsyncIterator[CrmServer]:
    """A CRM that takes every call."""
    async with CrmServer() as server:
        yield server


async def test_a_scrape_tells_how_reading_and_delivering_stand(crm: CrmServer, tmp_path: Path) -> None:
    """Every metric of docs/monitoring.md is there, no other, and the values are those of the calls; without
    credentials and without a number of anybody."""
    pbx = Pbx(tmp_path, crm.url)
    async with pbx.daemon() as daemon, ClientSession() as session:
        pbx.happens(2)
        await until(lambda: len(daemon.events("delivery.attempt")) == 2)
        crm.default = Play(status=422)
        pbx.happens(1)
        await until(lambda: len(daemon.events("delivery.attempt")) == 3)
        async with session.get(f"{daemon.api}/metrics") as answer:
            text = await answer.text()
            assert (answer.status, answer.content_type) == (200, "text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert {name for name, *_ in samples} == PROMISED
    assert samples["celreplay_deliveries", "crm", "delivered"] == 2
    assert samples["celreplay_deliveries", "crm", "dead"] == 1
    assert samples["celreplay_attempts_total", "crm", "ok"] == 2
    assert samples["celreplay_attempts_total", "crm", "permanent"] == 1
    assert samples["celreplay_connector_held", "crm"] == 0
    assert samples["celreplay_cel_up",] == 1
    assert samples["celreplay_cel_lag_rows",] == 0
    assert samples["celreplay_store_bytes",] > 0
    assert not re.search(r"\d{5,}", re.sub(r"celreplay_store_bytes \S+", "", text))


async def test_metrics_are_for_this_host_and_those_named() -> None:
    """Whoever is in none of the networks gets 403, before anything is asked."""
    route = Metrics(None, FakeClock(), ())  # type: ignore[arg-type]  # nothing is asked
    stranger = make_mocked_request("GET", "/metrics").clone(remote="192.0.2.1")
    assert (await route.show(stranger)).status == HTTPStatus.FORBIDDEN
    networks = [Network.parse("192.0.2.0/25"), Network.parse("2001:db8::/32")]
    let_in = ("127.0.0.1", "::1", "192.0.2.9", "::ffff:192.0.2.9", "2001:db8::1")
    assert [address for address in let_in if not is_within(address, networks)] == []
    assert [address for address in ("192.0.2.200", "2001:db9::1", "") if is_within(address, networks)] == []


@pytest.mark.parametrize("file", ["alerts.yaml", "grafana.json"])
def test_rules_and_dashboard_ask_for_what_there_is(file: str) -> None:
    """Each expression names metrics of the list only, and each rule says what to do."""
    text = (DOCS / "monitoring" / file).read_text("utf-8")
    found = yaml.safe_load(text)
    assert found == json.loads(text) if file.endswith("json") else found
    rules = found["groups"][0]["rules"] if "groups" in found else []
    assert [rule["alert"] for rule in rules if "what_to_do" not in rule["annotations"]] == []
    asked = set(re.findall(r"\bcelreplay_\w+", text))
    assert len(asked) >= 5
    assert asked <= PROMISED
