from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from sipbot.transport.endpoint import TransportLimits
from sipbot.transport.resolve import HopResolver
from sipbot.transport.tls import TlsContexts, ensure_self_signed
from tests.transport.support import Box

BoxMaker = Callable[..., Box]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    pair = folder / "bot.crt", folder / "bot.key"
    ensure_self_signed(*pair, ["localhost", "127.0.0.1", "::1"], datetime.now(UTC))
    return pair


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> TlsContexts:
    return TlsContexts(*certificate, ca=certificate[0])


@pytest_asyncio.fixture
async def box(tls: TlsContexts) -> AsyncIterator[BoxMaker]:
    """Makes endpoints; afterwards all are closed and nothing of them may be left."""
    made: list[Box] = []

    def make(
        *,
        limits: TransportLimits | None = None,
        resolver: HopResolver | None = None,
        refuse: tuple[str, ...] = (),
        contexts: TlsContexts | None = tls,
    ) -> Box:
        made.append(Box(tls=contexts, limits=limits, resolver=resolver, refuse=refuse))
        return made[-1]

    yield make
    for one in made:
        await one.endpoint.close()
        assert (one.endpoint.connections, one.endpoint.pending_sends) == (0, 0)
    assert asyncio.all_tasks() == {asyncio.current_task()}, "a task is left"
