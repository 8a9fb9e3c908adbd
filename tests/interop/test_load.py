"""Many calls at once through the whole server: hardly anything lost or late, whatever the machine.

On a quiet machine nothing is, see docs/benchmarks.md; a test that must pass on every machine leaves
room for what else runs there.

``SIPBOT_LOAD_CALLS`` and ``SIPBOT_LOAD_SECONDS`` change the size (200 calls, 30 s).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.peers import require

from .harness import BotConfig, BotProcess
from .ports import HOST
from .process import REPO, Program
from .wire import Caller, Line

CALLS = int(os.environ.get("SIPBOT_LOAD_CALLS", "200"))
SECONDS = float(os.environ.get("SIPBOT_LOAD_SECONDS", "30"))
WARM_UP_S = 3.0
VERDICT = ("lost", "late", "duplicates")  # late: back after more than 30 ms
FAIR_LAG_MS = 5.0  # a generator that sends later than this after its own plan was held up itself
FAIR_SHARE, UNFAIR_SHARE = 0.005, 0.1  # of all packets that may be lost, late or double
_ATTEMPTS = 3
_OTHER_FILES = 100
_SPARE_PAIRS = 16
_COMPILE_S = 60.0
_DECOY_PORT = 40_000  # what the offers name; the generator's real ports are learnt by latching

pytestmark = [pytest.mark.load, pytest.mark.timeout(3 * SECONDS + 120)]


def generator(directory: Path) -> Path:
    """Compile the RTP load generator of the benchmarks."""
    program = directory / "rtp_load"
    source = REPO / "scripts" / "bench" / "rtp_load.c"
    subprocess.run(
        [require("cc"), "-O2", "-o", str(program), str(source)], check=True, timeout=_COMPILE_S
    )
    return program


@contextmanager
def calls_up(line: Line, config: BotConfig, user: str) -> Iterator[list[int]]:
    """Open CALLS calls one after the other; yields the server's RTP ports. Ends them all."""
    callers = [Caller(line, user, config.sip_port) for _ in range(CALLS)]
    yield [caller.establish(_DECOY_PORT).media_port for caller in callers]
    for caller in callers:
        caller.hangup()


def measure(program: Path, bot: BotProcess, ports: list[int]) -> dict[str, Any]:
    command = [str(program), HOST, str(SECONDS), str(WARM_UP_S), str(bot.pid)]
    with Program([*command, *map(str, ports)]) as load:
        assert load.wait_exit(SECONDS + WARM_UP_S + 30.0) == 0, load.output()
    figures: dict[str, Any] = json.loads(load.lines[-1])
    return figures


@pytest.mark.parametrize("user", ["loopback", "echo"])
def test_echo_calls_lose_nothing(tmp_path: Path, user: str) -> None:
    """``loopback`` turns round in the media plane, ``echo`` takes the way of every agent."""
    room = CALLS + _SPARE_PAIRS
    # The generator's sockets are opened after the calls: leave time to learn their ports.
    config = BotConfig.free(
        rtp_pairs=CALLS * _ATTEMPTS + _SPARE_PAIRS,
        limits={"max_calls": room},
        **{"media.latch_window_s": 60},
    )
    program = generator(tmp_path)
    with BotProcess(config, tmp_path) as bot:
        figures = measure_fairly(program, bot, user)
        left = bot.open_files()
    bad = sum(figures[name] for name in VERDICT)
    # A machine that holds up the generator holds up the server too: then only a rout is a failure.
    limit = FAIR_SHARE if figures["max_lag_ms"] < FAIR_LAG_MS else UNFAIR_SHARE
    assert bad <= limit * figures["sent"], figures
    assert left <= 2 * CALLS * _ATTEMPTS + _OTHER_FILES  # pairs in quarantine are still bound


def measure_fairly(program: Path, bot: BotProcess, user: str) -> dict[str, Any]:
    """Measure up to ``_ATTEMPTS`` times until nothing is lost or late; the last one counts.

    Each time with new calls: a call learns the port of its peer only once.
    """
    figures: dict[str, Any] = {}
    for _ in range(_ATTEMPTS):
        with Line(bot.config.sip_port) as line, calls_up(line, bot.config, user) as ports:
            assert len(set(ports)) == CALLS
            figures = measure(program, bot, ports)
        print("\n" + json.dumps(figures))  # noqa: T201 - shown with pytest -s
        if not any(figures[name] for name in VERDICT):
            break
    return figures
