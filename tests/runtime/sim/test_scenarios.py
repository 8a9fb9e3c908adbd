"""The shipped scenarios against the shipped bot: ``sipbot run`` with its workers, both transports.

All calls run at the same time, for a conversation takes its time.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from sipbot.clock import SystemClock
from sipbot.exotel.sim.load import load_scenario
from sipbot.exotel.sim.report import Case
from sipbot.runtime.sim.run import Wish, play_one
from tests.interop.ports import HOST, free_block
from tests.interop.process import REPO, Program

pytestmark = [pytest.mark.process, pytest.mark.flaky(reruns=2)]

SCENARIOS = REPO / "config" / "sim"
READY_S = 30.0  # on a busy machine
PAIRS = 20  # of RTP ports


class Bot(Program):
    """The shipped bot on ports of its own, with a second desk that hears keys only."""

    stop_s: ClassVar[float] = 45.0

    def __init__(self, folder: Path) -> None:
        base, rtp = free_block(2), free_block(2 * PAIRS)
        self.sip, self.http = f"{HOST}:{base}", f"{HOST}:{base + 1}"
        shipped = SCENARIOS / "bot"
        desk = (shipped / "desk.yaml").read_text()
        (folder / "desk.yaml").write_text(desk)
        (folder / "deaf.yaml").write_text(desk.replace("interrupt: speech", "interrupt: keys"))
        config = (shipped / "sipbot.yaml").read_text()
        for old, new in (
            ("agents:\n", "agents:\n  deaf: {type: flow, file: deaf.yaml}\n"),
            ("routes:\n", "routes:\n  - {to: deaf, agent: deaf}\n"),
        ):
            assert old in config
            config = config.replace(old, new)
        config += "\nlimits: {max_calls: 20, max_cpu_percent: null, max_tick_lateness_ms: null}\n"
        path = folder / "sipbot.yaml"
        path.write_text(config)
        env = {
            "SIM_SIP_PORT": str(base),
            "SIM_HTTP_PORT": str(base + 1),
            "SIM_RTP_PORTS": f"{rtp}-{rtp + 2 * PAIRS - 1}",
            "SIM_DATABASE": str(folder / "sim.db"),
        }
        super().__init__([sys.executable, "-m", "sipbot.cli.main", "run", "-c", str(path)], env=env)

    def wish(self, agent: str) -> Wish:
        user = {"desk": "+918012345678"}.get(agent, agent)
        addresses: Mapping[str, str] = {
            "sip": f"sip:{user}@{self.sip};transport=tcp",
            "stream": f"ws://{self.http}/exotel/voicebot/{agent}",
            "http": f"http://{self.http}",
        }
        return Wish(addresses)


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    with Bot(tmp_path_factory.mktemp("bot")) as running:
        running.wait_line(r"^ready\b", READY_S)
        yield running


async def play(name: str, bot: Bot, agent: str = "desk") -> list[Case]:
    """Every transport of a scenario at the same time."""
    loaded = load_scenario(SCENARIOS / name, {})
    plays = [
        play_one(loaded, transport, bot.wish(agent), SystemClock())
        for transport in loaded.scenario.transport
    ]
    return list(await asyncio.gather(*plays))


async def test_a_conversation_with_keys_interruptions_and_transfer(bot: Bot) -> None:
    desk, deaf, leaving, throttled = await asyncio.gather(
        play("desk.yaml", bot),
        play("desk.yaml", bot, "deaf"),
        play("leaving.yaml", bot),
        play("throttled.yaml", bot),
    )
    for case in (*desk, *leaving, *throttled):
        assert case.failures == [], (case.name, case.transport, bot.output())
    assert [case.transport for case in desk] == ["sip", "stream"]
    for case in desk:
        assert [step.name for step in case.run.talks[0].steps] == [
            "wait_speech",
            "interrupt",
            "act",
            "interrupt",
            "act",
            "wait_silence",
            "press",
            "wait_end",
        ]
        assert case.run.faults == []
    # The same scenario finds out a bot that does not listen while it speaks.
    for case in deaf:
        assert case.failures[0] == "interrupt: the bot spoke on for more than 1500 ms", case
        assert case.run.dialled == []
