"""`pbx.numbers:` of the configuration, the forms in which numbers are wanted."""

import re
from typing import Annotated

import msgspec

from celreplay.units import Regex


class RewriteConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One rewrite of numbers."""

    match: Regex
    """For the whole number."""
    replace: str
    """What stands in its place; `\\1` is the first group of `match`."""

    def __post_init__(self) -> None:
        try:
            re.compile(self.match).sub(self.replace, "")
        except (re.error, IndexError) as error:
            raise ValueError(f"replace: {self.replace!r} does not fit {self.match!r}: {error}") from None


class NumbersConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of both sides."""

    outside: tuple[RewriteConfig, ...] = ()
    """Rewrites of outside numbers, in order."""
    inside: tuple[RewriteConfig, ...] = ()
    """Rewrites of numbers of this PBX, in order."""
    e164: bool = False
    """Outside numbers with `+` and country code."""
    region: Annotated[str, msgspec.Meta(pattern=r"^([A-Z]{2})?$")] = ""
    """The country of outside numbers without a country code."""

    def __post_init__(self) -> None:
        if self.e164 and self.region and not _is_country(self.region):
            raise ValueError(f"region: {self.region!r} is no country: use two letters of ISO 3166, as DE")


def _is_country(region: str) -> bool:
    import phonenumbers  # noqa: PLC0415 - its tables are loaded only for those who want E.164

    return region in phonenumbers.SUPPORTED_REGIONS
