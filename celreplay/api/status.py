"""`/status` for monitoring, and `/readyz` for whoever starts the daemon."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from celreplay.api.errors import answer, refusal
from celreplay.api.parameters import read_parameters, refuse_unknown, single
from celreplay.monitor import Monitor


class Status:
    """The routes."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    async def show(self, request: web.Request) -> web.Response:
        """Everything, or the one element that `path=` names, its keys joined by dots."""
        parameters = read_parameters(request.raw_path.partition("?")[2], "", b"")
        refuse_unknown(parameters, ("path",))
        whole = await self._monitor.status()
        path = single(parameters, "path")
        if path is None:
            return answer(whole)
        try:
            return answer(element(whole, path))
        except KeyError as missing:
            message = f"there is no element {str(missing.args[0])[:60]!r} in the path"
            return refusal(HTTPStatus.NOT_FOUND, "not_found", message, "path")

    async def readyz(self, _request: web.Request) -> web.Response:
        """200 once calls are being read and stored, else 503. A CRM that is away does not matter here."""
        ready = self._monitor.ready
        return answer({"ready": ready}, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)


def element(whole: Mapping[str, Any], path: str) -> object:
    """What stands at a path like `connectors.crm.dead`. Raises KeyError with the key that is not there; keys
    that hold a dot themselves are found too."""
    found: object = whole
    keys = path.split(".")
    while keys:
        if not isinstance(found, Mapping):
            raise KeyError(keys[0])
        for length in range(len(keys), 0, -1):
            key = ".".join(keys[:length])
            if key in found:
                found, keys = found[key], keys[length:]
                break
        else:
            raise KeyError(keys[0])
    return msgspec.to_builtins(found)
