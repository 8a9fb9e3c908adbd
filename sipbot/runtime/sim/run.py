"""Runs scenario files and gathers their cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sipbot.clock import Clock, SystemClock
from sipbot.errors import SipbotError
from sipbot.exotel.sim.judge import Run, judge
from sipbot.exotel.sim.load import Loaded, load_scenario, needs, steps_of
from sipbot.exotel.sim.model import Bot, TransportName
from sipbot.exotel.sim.report import Case
from sipbot.exotel.sim.steps import action_of
from sipbot.runtime.loop import run_on_fast_loop
from sipbot.runtime.sim.play import Player, Setting
from sipbot.runtime.sim.voice import Voices

_SCHEMES: Final = {
    "sip": "sip",
    "sips": "sip",
    "ws": "stream",
    "wss": "stream",
    "http": "http",
    "https": "http",
}
_EXAMPLES: Final = {"sip": "sip:...", "stream": "ws://...", "http": "http://..."}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for. ``transports`` empty: what each scenario says."""

    bot: Mapping[str, str]  # by "sip", "stream", "http"
    transports: tuple[TransportName, ...] = ()
    insecure: bool = False


def kind_of(url: str) -> str | None:
    """Which address of a bot a URL is: ``sip``, ``stream`` or ``http``; None for none."""
    return _SCHEMES.get(url.partition(":")[0].lower())


def load_all(files: Sequence[Path], environment: Mapping[str, str]) -> list[Loaded]:
    """Read scenario files. Raises ``ConfigError`` for the first one with mistakes."""
    return [load_scenario(path, environment) for path in files]


def run_all(scenarios: Sequence[Loaded], wish: Wish) -> list[Case]:
    """Play everything, one call after the other. ``missing`` must have found nothing."""
    return run_on_fast_loop(play_all(scenarios, wish, SystemClock()))


async def play_all(scenarios: Sequence[Loaded], wish: Wish, clock: Clock) -> list[Case]:
    """As ``run_all``, on the running loop."""
    chosen = _chosen(scenarios, wish)
    return [await play_one(loaded, transport, wish, clock) for loaded, transport in chosen]


async def play_one(loaded: Loaded, transport: TransportName, wish: Wish, clock: Clock) -> Case:
    """One scenario over one transport. What prevents it stands in the case's ``error``."""
    began = clock.monotonic()
    run, error = Run(), ""
    try:
        voices = Voices(loaded.sounds)
        actions = [action_of(step) for _, step in steps_of(loaded.scenario)]
        await voices.prepare(action for action in actions if action is not None)
        player = Player(
            loaded, transport, Setting(_bot(loaded, wish), clock, wish.insecure), voices
        )
        run = player.run
        await player.play()
    except SipbotError as trouble:
        error = str(trouble)
    checks = [] if error else judge(loaded.scenario, run, transport)
    return Case(loaded.name, transport, clock.monotonic() - began, run, checks, error)


def missing(scenarios: Sequence[Loaded], wish: Wish) -> list[str]:
    """What of the bot's addresses is needed and was not given, one sentence each."""
    found = []
    for loaded, transport in _chosen(scenarios, wish):
        bot = _bot(loaded, wish)
        for needed in sorted(set(needs(loaded.scenario, transport))):
            if getattr(bot, needed) is None:
                sentence = f"{loaded.name} [{transport}] needs --bot {_EXAMPLES[needed]}"
                if sentence not in found:
                    found.append(sentence)
    return found


def _chosen(scenarios: Sequence[Loaded], wish: Wish) -> list[tuple[Loaded, TransportName]]:
    return [
        (loaded, transport)
        for loaded in scenarios
        for transport in loaded.scenario.transport
        if not wish.transports or transport in wish.transports
    ]


def _bot(loaded: Loaded, wish: Wish) -> Bot:
    return Bot(**{**loaded.scenario.bot.model_dump(), **wish.bot})
