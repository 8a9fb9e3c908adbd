"""Streams over TLS on the event loop that production uses, and a certificate that changes."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from sipbot.agent.echo import EchoAgent
from sipbot.errors import TransportError
from sipbot.ops.config_http import HttpTlsConfig
from sipbot.runtime.stream_parts import load_certificate
from sipbot.transport.tls import ensure_self_signed
from tests.http.stream_kit import FRAME, Exotel, serving

uvloop = pytest.importorskip("uvloop")


def pair(folder: Path, name: str) -> HttpTlsConfig:
    files = HttpTlsConfig(certificate=folder / f"{name}.crt", private_key=folder / f"{name}.key")
    ensure_self_signed(files.certificate, files.private_key, ["localhost"], datetime.now(UTC))
    return files


def trusting(files: HttpTlsConfig) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=files.certificate)


async def echo(url: str, files: HttpTlsConfig) -> Exotel:
    exotel = (await Exotel.dial(url, context=trusting(files))).start()
    while len(exotel.heard) < 2 * FRAME:
        exotel.speaks(np.full(FRAME, 3_000, np.int16))
        await asyncio.wait({exotel.closed}, timeout=0.02)
    return exotel


def test_a_new_certificate_drops_nobody(tmp_path: Path) -> None:
    first, second = pair(tmp_path, "one"), pair(tmp_path, "two")
    http = {"listen": "https://127.0.0.1:0", "tls": first.model_dump()}

    async def main() -> None:
        async with serving({"echo": EchoAgent()}, http=http) as bot:
            url = bot.ws("/exotel/voicebot/echo").replace("127.0.0.1", "localhost")
            early = await echo(url, first)
            context = bot.server._tls
            assert context is not None
            load_certificate(context, second)
            late = await echo(url, second)
            with pytest.raises(ssl.SSLCertVerificationError):
                await Exotel.dial(url, context=trusting(first))
            before = len(early.heard)
            while len(early.heard) == before:
                early.speaks(np.full(FRAME, 3_000, np.int16))
                await asyncio.wait({early.closed}, timeout=0.02)
            for exotel in (early, late):
                exotel.stops()
                assert await exotel.end() == (1000, "caller-hung-up")
            await bot.settled()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_a_key_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    first, second = pair(tmp_path, "one"), pair(tmp_path, "two")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_certificate(context, first)
    mixed = HttpTlsConfig(certificate=second.certificate, private_key=first.private_key)
    with pytest.raises(TransportError, match=r"http\.tls"):
        load_certificate(context, mixed)
    missing = HttpTlsConfig(certificate=tmp_path / "no", private_key=tmp_path / "no")
    with pytest.raises(TransportError, match="No such file"):
        load_certificate(context, missing)
