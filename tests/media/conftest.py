"""Fixtures of the media plane's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.media import kit


@pytest.fixture
def bench() -> Iterator[kit.Bench]:
    """A plane with eight slots and time in the test's hand."""
    with kit.bench() as made:
        yield made
