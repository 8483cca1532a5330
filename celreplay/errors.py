"""The exception tree. Every message is for the admin: what happened, where, and (in `hint`) what to do."""


class CelreplayError(Exception):
    """Something a person can cause or repair; shown in one line, never with a traceback."""

    code = "unavailable"
    """The word for programs; the API and `--json` tell it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(CelreplayError):
    """The configuration file is wrong. `mistakes` holds all of them, each `path: what is wrong`."""

    code = "config"

    def __init__(self, mistakes: list[str], *, where: str = "") -> None:
        super().__init__(f"{where}: " * bool(where) + "; ".join(mistakes))
        self.mistakes = mistakes


class SourceError(CelreplayError):
    """The CEL table cannot be used until somebody changes something: no such table, column or right."""

    code = "cel_unusable"


class SourceUnavailableError(SourceError):
    """The CEL database does not answer now; asking again later is right."""

    code = "cel_unavailable"


class StoreError(CelreplayError):
    """The store cannot be used: unreadable, read-only, newer than this version, full."""

    code = "store_unusable"


class BadRequestError(CelreplayError):
    """A request is wrong. `parameter` names the culprit; nothing has happened."""

    def __init__(self, message: str, *, parameter: str | None = None, code: str = "bad_request") -> None:
        super().__init__(message)
        self.parameter = parameter
        self.code = code
