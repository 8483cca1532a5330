"""What is wrong right now: each part sets its problem and takes it back; `/healthz` shows them."""

from collections.abc import Mapping


class Health:
    """Problems by part (`cel`, `store`, …). A problem is told to the log once, not at every try."""

    def __init__(self) -> None:
        self._problems: dict[str, str] = {}

    def problem(self, part: str, text: str) -> bool:
        """Note a problem; True when this part had another one, or none: the moment to log it."""
        new = self._problems.get(part) != text
        self._problems[part] = text
        return new

    def well(self, part: str) -> bool:
        """Take the part's problem back; True when it had one."""
        return self._problems.pop(part, None) is not None

    @property
    def problems(self) -> Mapping[str, str]:
        """Part → what is wrong, for people."""
        return dict(self._problems)
