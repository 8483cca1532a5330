"""`/openapi.yaml`: the description of the API for programs (OpenAPI 3.1)."""

from importlib.resources import files

from aiohttp import web

OPENAPI_PATH = "/openapi.yaml"


async def show(_request: web.Request) -> web.Response:
    """The document, as it stands in the package."""
    text = (files("celreplay.api") / "openapi.yaml").read_text("utf-8")
    return web.Response(text=text, content_type="application/yaml")
