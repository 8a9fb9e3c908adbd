"""Hostile bytes against the running server while a good call is in progress.

``SIPBOT_FUZZ_SECONDS`` sets the length (default 10), ``SIPBOT_FUZZ_SEED`` repeats a run.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.interop.baresip import Baresip
from tests.interop.harness import BotConfig, BotProcess, pass_time
from tests.interop.tone import level_db, measure_tone, sine, write_wav
from tests.interop.wire import Caller, Line
from tests.peers import require

from .attacker import Attacker
from .hostile import HOST, garbage, rtcp_packet, rtp_packet, sip_request, spoil

SECONDS = float(os.environ.get("SIPBOT_FUZZ_SECONDS", "10"))
SEED = int(os.environ.get("SIPBOT_FUZZ_SEED", "20261121"))
WARM_UP_S = 3.0
GROWTH_BYTES = 24 * 2**20
T1_MS = 100  # short timers: calls that hostile INVITEs opened are gone after 64 * T1
SETTLE_S = 64 * T1_MS / 1000 + 5.0
TONE_HZ = 440.0


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[BotProcess]:
    short: dict[str, Any] = {"sip.timers": {"t1_ms": T1_MS}}
    config = BotConfig.free(rtp_pairs=24, limits={"max_calls": 20}, **short)
    with BotProcess(config, tmp_path) as process:
        yield process


def options_status(bot: BotProcess, transport: str) -> int:
    with Line(bot.config.sip_port, "tcp" if transport == "tcp" else "udp") as line:
        call = Caller(line, "echo", bot.config.sip_port)
        line.send(call.request("OPTIONS"))
        return call.answer(method="OPTIONS").status


def call_succeeds_within(bot: BotProcess, seconds: float) -> bool:
    """Whether a new call is taken; hostile calls may fill the house until they time out."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with Line(bot.config.sip_port) as line:
            call = Caller(line, "echo", bot.config.sip_port)
            call.invite(40_000)
            answer = call.answer()
            if answer.status == 200:
                call.ack()
                call.hangup()
                return True
            call.to_tag = answer.to_tag
            call.ack(failure=True)
            assert answer.status in (486, 503), answer.first
        pass_time(0.5)
    return False


@pytest.mark.fuzz
@pytest.mark.timeout(SECONDS + 120)
def test_calls_in_progress_are_unharmed(bot: BotProcess, tmp_path: Path) -> None:
    require("baresip")
    tone = sine(TONE_HZ, SECONDS + 30.0)
    phone = Baresip(tmp_path / "phone", transport="tcp", play=write_wav(tmp_path / "t.wav", tone))
    media = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with phone, closing(media), Line(bot.config.sip_port) as line:
        phone.dial(f"sip:echo@{HOST}:{bot.config.sip_port}")
        media.bind((HOST, 0))
        media.setblocking(False)
        victim = Caller(line, "echo", bot.config.sip_port)
        answer = victim.establish(media.getsockname()[1])
        insider = Caller(line, "echo", bot.config.sip_port)
        insider.establish(40_000)
        attacker = Attacker(bot.config, SEED, media, (HOST, answer.media_port), insider)
        with closing(attacker):
            attacker.run(WARM_UP_S)
            before = bot.resident_bytes()
            attacker.run(SECONDS)
            growth = bot.resident_bytes() - before
        assert bot.alive, bot.output()[-4000:]
        assert growth < GROWTH_BYTES, f"grew by {growth / 2**20:.1f} MiB, seed {SEED}"
        victim.hangup()
        phone.hangup()
    assert options_status(bot, "udp") == 200
    assert options_status(bot, "tcp") == 200
    assert call_succeeds_within(bot, SETTLE_S)
    heard = measure_tone(phone.heard(), TONE_HZ)
    assert heard.seconds > SECONDS
    assert heard.level_db == pytest.approx(level_db(tone), abs=1.0)
    assert heard.longest_gap_ms <= 40
    assert bot.troubles() == []


def test_the_hostile_generators_do_not_fail_themselves() -> None:
    rng = random.Random(SEED)
    seen: set[bytes] = set()
    for _ in range(3000):
        seed = rng.choice(
            (sip_request(rng, "echo", 40_000, "UDP"), rtp_packet(rng), rtcp_packet(rng))
        )
        seen.add(spoil(rng, seed))
        seen.add(garbage(rng))
    assert len(seen) > 5000


def test_same_seed_same_bytes() -> None:
    runs = [[spoil(rng, rtp_packet(rng)) for _ in range(50)] for rng in map(random.Random, (7, 7))]
    assert runs[0] == runs[1]
