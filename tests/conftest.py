"""Database servers of a test run, one of each per worker, and the profiles of hypothesis."""

import logging
import os
import signal
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings
from servers import Mariadb, Postgresql, running_mariadb, running_postgresql

settings.register_profile(
    "fast", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "ci", max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a run in the background ignores Ctrl-C, and so would every program under test
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def log_as_before() -> Iterator[None]:
    """For tests that configure the log of their process: afterwards it is as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    named = {name: logging.getLogger(name).level for name in ("asyncio", "aiohttp.access")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in named.items():
        logging.getLogger(name).setLevel(before)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """A PostgreSQL server; each test makes its own database."""
    with running_postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Mariadb]:
    """A MariaDB server; each test makes its own database."""
    with running_mariadb() as server:
        yield server
