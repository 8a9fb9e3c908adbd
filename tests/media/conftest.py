"""Fixtures of the media plane's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sipbot.media.fast import PURE_PYTHON, compiled
from tests.media import kit
from tests.peers import skip_or_fail


@pytest.fixture(params=["compiled", "python"], autouse=True)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Everything about the plane holds with the compiled path and without it."""
    if request.param == "python":
        monkeypatch.setenv(PURE_PYTHON, "1")
    elif compiled() is None:
        skip_or_fail("the compiled path of the media plane is not there: is there a C compiler?")
    wanted: str = request.param
    return wanted


@pytest.fixture
def bench() -> Iterator[kit.Bench]:
    """A plane with eight slots and time in the test's hand."""
    with kit.bench() as made:
        yield made
