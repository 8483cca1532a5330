"""The parameters of a request, from its query and its body (form or JSON), as lists of text. Pure.

A number of a JSON body is kept as it is written, so that `-0` and `1234567890.10` survive.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import NoReturn
from urllib.parse import parse_qsl

from celreplay.errors import BadRequestError

MAX_FIELDS = 20_000
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_LARGEST_LIST = 1000
_SWITCH = {"0": False, "1": True, "false": False, "true": True}
Parameters = Mapping[str, Sequence[str]]
"""Name → its values in order; `id` may have several."""


class UnsupportedBodyError(BadRequestError):
    """The body is of a media type that is not read (status 415)."""


def read_parameters(query: str, content_type: str, body: bytes) -> Parameters:
    """All parameters. One that stands in the query and in the body too is refused. Raises BadRequestError."""
    in_query = _by_name(_pairs(query, "query"))
    in_body = _of_body(content_type, body)
    for name in in_body:
        if name in in_query:
            raise BadRequestError(f"{_shown(name)} stands both in the query and in the body", parameter=name)
    return {**in_query, **in_body}


def refuse_unknown(parameters: Parameters, known: Collection[str]) -> None:
    """Raise BadRequestError for a name that is not known: a misspelt one must not be passed over."""
    for name in parameters:
        if name not in known:
            listed = ", ".join(known) or "none"
            raise BadRequestError(
                f"there is no parameter {_shown(name)} (known: {listed})",
                parameter=name,
                code="unknown_parameter",
            )


def single(parameters: Parameters, name: str) -> str | None:
    """The value of a parameter that may stand once; None where it does not stand."""
    values = parameters.get(name)
    if values is None:
        return None
    if len(values) != 1:
        raise BadRequestError(f"{name} stands {len(values)} times; give it once", parameter=name)
    return values[0]


def limit_of(parameters: Parameters) -> int:
    """How long a list may be: `limit`, 1 to 1000, without it 100."""
    value = single(parameters, "limit")
    if value is None:
        return 100
    if not (value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= _LARGEST_LIST):
        raise BadRequestError(f"limit must be 1 to {_LARGEST_LIST}, not {value[:40]!r}", parameter="limit")
    return int(value)


def switch(parameters: Parameters, name: str) -> bool:
    """`0`, `1`, `true` or `false`; without it false."""
    value = single(parameters, name)
    if value is None:
        return False
    if value not in _SWITCH:
        raise BadRequestError(f"{name} must be 0 or 1, not {value[:40]!r}", parameter=name)
    return _SWITCH[value]


def _pairs(text: str, where: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeError:
        raise BadRequestError(f"the {where} is not UTF-8") from None
    except ValueError:
        raise BadRequestError(f"the {where} has more than {MAX_FIELDS} parameters") from None


def _by_name(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def _of_body(content_type: str, body: bytes) -> dict[str, list[str]]:
    if not body.strip():
        return {}
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in {"", _FORM, _JSON}:
        raise UnsupportedBodyError(
            f"a body of the type {_shown(media_type)} is not read: send {_JSON} or {_FORM}",
            code="unsupported_media_type",
        )
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadRequestError("the body is not UTF-8") from None
    # curl -d '{"id": …}' without a header says it were a form
    if media_type == _JSON or text.lstrip().startswith("{"):
        return _of_json(text)
    return _by_name(_pairs(text.strip("\r\n"), "body"))


def _of_json(text: str) -> dict[str, list[str]]:
    try:
        value = json.loads(
            text,
            parse_int=str,
            parse_float=str,
            parse_constant=_no_number,
            object_pairs_hook=_object,
        )
    except ValueError as error:
        raise BadRequestError(f"the body is no JSON: {error}") from None
    except RecursionError:
        raise BadRequestError("the body is no JSON of ours: it is nested too deep") from None
    if not isinstance(value, dict):
        raise BadRequestError('the body must be a JSON object, like {"id": ["1234567890.1"]}')
    return {name: _texts(name, item) for name, item in value.items() if item is not None}


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object; a name that stands twice is refused, because readers differ in which one counts."""
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise BadRequestError(f"{_shown(name)} stands twice in the JSON object", parameter=name)
        found[name] = value
    return found


def _texts(name: str, value: object) -> list[str]:
    """A JSON value as texts; `id` may be an array, nothing else may."""
    if isinstance(value, list) and name == "id":
        if not value:
            raise BadRequestError("id is an empty array", parameter="id")
        return [_text(name, item) for item in value]
    return [_text(name, value)]


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        raise BadRequestError(f"{_shown(name)} must be a text or a number", parameter=name)
    return str(value)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")  # noqa: PLR2004 - enough to recognise it
