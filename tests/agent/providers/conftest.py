"""Connections that tests open are closed at their end."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.agent.providers import kit


@pytest.fixture(autouse=True)
async def _closed() -> AsyncGenerator[None, None]:
    yield
    while kit.OPEN:
        await kit.OPEN.pop().close()
