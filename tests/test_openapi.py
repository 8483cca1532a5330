"""`/openapi.yaml`: true of every route, and no request made from it finds a fault in the real daemon."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
import yaml
from crm_server import CrmServer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from requests.auth import HTTPDigestAuth
from running import Pbx, until
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import positive_data_acceptance
from test_docs import routes

from celreplay.api.delivery_query import HELD
from celreplay.api.read_call import _KNOWN
from celreplay.store.base import ReplayState, State

FILE = Path(__file__).parent.parent / "celreplay" / "api" / "openapi.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
LOGIN = HTTPDigestAuth("admin", "night")
LEFT_OUT: list[Any] = [positive_data_acceptance]
"""The one check that is left out: that an id and a period exclude each other, that an end lies behind its
start and that a day is in the calendar can be said in no schema of a query."""

FOR_SURE: dict[str, dict[str, Any]] = {
    "GET /pbx/read_call": {"query": {"start_date": "-0", "force": "1"}},
    "POST /pbx/read_call": {"body": {"start_date": "-0", "dry_run": "1"}, "media_type": "application/json"},
    "GET /pbx/replays/{id}": {"path_parameters": {"id": 1}},
    "DELETE /pbx/replays/{id}": {"path_parameters": {"id": 1}},
    "GET /pbx/deliveries/{id}": {"path_parameters": {"id": 1}},
    "POST /pbx/deliveries/discard": {"body": {"state": "dead"}, "media_type": "application/json"},
}
"""Requests that are carried out, for operations that chance would never hit."""


def described() -> Iterator[tuple[str, str]]:
    """(method, path) of the document."""
    for path, operations in DOCUMENT["paths"].items():
        yield from ((method.upper(), path) for method in operations if method != "parameters")


def test_the_document_has_every_route_and_no_other() -> None:
    """Methods and paths are those of the application."""
    plain = {(method, re.sub(r"\{id[^}]*\}\}?", "{id}", path)) for method, path in routes()}
    assert set(described()) == plain


def test_the_document_knows_the_parameters_and_states() -> None:
    """Those of read_call, and the states of deliveries and replays, are the code's own."""
    operations, schemas = DOCUMENT["paths"]["/pbx/read_call"], DOCUMENT["components"]["schemas"]
    named = {parameter["$ref"].rpartition("/")[2] for parameter in operations["get"]["parameters"]}
    assert named == set(schemas["ReadCall"]["properties"]) == set(_KNOWN)
    states = DOCUMENT["components"]["parameters"]["state"]["schema"]["enum"]
    assert set(states) == {*State, HELD}
    assert set(schemas["Delivery"]["properties"]["state"]["enum"]) == set(State)
    assert set(schemas["Replay"]["properties"]["state"]["enum"]) == set(ReplayState)


@pytest.mark.timeout(300)
async def test_no_request_made_from_the_document_finds_a_fault(tmp_path: Path) -> None:
    """schemathesis asks the real daemon: no 500, no answer that the document does not know, no wrong request
    that is taken, nothing without credentials; and each operation has been carried out at least once."""
    async with CrmServer() as crm:
        pbx = Pbx(tmp_path, crm.url)
        async with pbx.daemon() as daemon:
            pbx.happens(3)
            await until(lambda: len(daemon.events("delivery.attempt")) == 3)
            done, faults = await asyncio.to_thread(ask_everything, daemon.api)
            assert faults == []
            assert [label for label in done if not done[label]] == []
            assert [event for event in daemon.log if event.get("level") == "error"] == []


def ask_everything(url: str) -> tuple[Counter[str], list[str]]:
    """How often each operation was carried out, and the faults."""
    served = requests.get(f"{url}/openapi.yaml", auth=LOGIN, timeout=20)
    assert served.text == FILE.read_text("utf-8")
    done: Counter[str] = Counter()
    faults: list[str] = []
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    schema.config.generation.with_security_parameters = False  # the credentials are always those of LOGIN
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        done[operation.label] += 0
        if certain := FOR_SURE.get(operation.label):
            case = operation.Case(**certain)
            done[operation.label] += (
                case.call_and_validate(base_url=url, auth=LOGIN).status_code < HTTPStatus.BAD_REQUEST
            )
        for mode in GenerationMode:
            try:
                ask(operation, mode, url, done)
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE, operation.label  # it has nothing to be wrong about
            except Exception as error:  # noqa: BLE001 - each one is asked, whatever another's faults
                faults.append(f"{operation.label}: {error}")
    return done, faults


def ask(
    operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, url: str, done: Counter[str]
) -> None:
    """Ask one operation as often as the profile says."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=settings().max_examples // 5,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate],
    )
    def asked(case: schemathesis.Case[Any]) -> None:
        answer = case.call_and_validate(base_url=url, auth=LOGIN, excluded_checks=LEFT_OUT)
        done[operation.label] += answer.status_code < HTTPStatus.BAD_REQUEST

    asked()
