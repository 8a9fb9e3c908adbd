"""Rules for all tests."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.databases import (  # noqa: F401  # fixtures for all
    database_url,
    postgres,
    sqlite_model,
    sqlite_url,
    store,
    store_url,
)

# Time says nothing about correctness on a busy machine; pytest's own time-out bounds each test.
settings.register_profile("sipbot", deadline=None)
settings.load_profile("sipbot")

# These drive real processes and sockets, so that a machine that stands still for a moment can make
# a good server look bad. What is really broken fails every time.
_REAL_TIME = ("interop", "processes", "fuzz", "transport", "http", "cli")
RERUNS = 2


@pytest.fixture(scope="session", autouse=True)
def _state_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Servers that tests start keep nothing in the user's own directories."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name in _REAL_TIME:
            item.add_marker(pytest.mark.flaky(reruns=RERUNS))
