"""Reads scenario files; every mistake is told with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from sipbot.call.wav import Wav, WavError, read_wav
from sipbot.errors import ConfigError
from sipbot.exotel.sim.model import (
    Applet,
    ConnectSipApplet,
    Scenario,
    StreamApplet,
    Talk,
    TalkApplet,
    VoicebotApplet,
)
from sipbot.exotel.sim.steps import Step, action_of
from sipbot.ops.expand import expand
from sipbot.yamlmarks import Document, load, loads, validate

Loc: TypeAlias = tuple[str | int, ...]
BRANCHES: Final = ("next", "ok", "otherwise", "talked", "no_answer", "not_dialled")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A scenario that can be run. ``sounds`` has the audio of each file that a caller plays."""

    name: str
    file: str
    scenario: Scenario
    sounds: Mapping[str, Wav]


def load_scenario(path: Path, environment: Mapping[str, str]) -> Loaded:
    """Read, expand and check a file. Raises ``ConfigError`` with every mistake."""
    return from_document(load(path), path.parent, environment)


def scenario_of(text: str, environment: Mapping[str, str] | None = None) -> Loaded:
    """The same from a text, for tests. Sound files are looked up in the current directory."""
    return from_document(loads(text, "scenario.yaml"), Path(), environment or {})


def from_document(document: Document, folder: Path, environment: Mapping[str, str]) -> Loaded:
    """As ``load_scenario``; sound files are looked up in ``folder``."""
    document = expand(document, environment, folder)
    scenario = validate(Scenario, document)
    problems = [document.problem(loc, message) for loc, message in mistakes(scenario)]
    sounds: dict[str, Wav] = {}
    for loc, step in steps_of(scenario):
        action = action_of(step)
        if action is None or action.play is None:
            continue
        try:
            sounds[action.play] = read_wav(folder / action.play)
        except WavError as error:
            problems.append(document.problem(loc, f"the sound {error}"))
    if problems:
        raise ConfigError(tuple(problems))
    name = scenario.name or Path(document.name).stem
    return Loaded(name, document.name, scenario, sounds)


def mistakes(scenario: Scenario) -> Iterator[tuple[Loc, str]]:
    """What makes a flow unusable."""
    names = ", ".join(sorted(scenario.applets))
    if scenario.start not in scenario.applets:
        yield ("start",), f"there is no such applet (applets: {names})"
    for name, applet in scenario.applets.items():
        for branch in BRANCHES:
            target = getattr(applet, branch, None)
            if target is not None and target not in scenario.applets:
                yield ("applets", name, branch), f"there is no such applet (applets: {names})"
        wrong = {VoicebotApplet: "sip", ConnectSipApplet: "stream"}.get(type(applet))
        if wrong in scenario.transport:
            other = "stream" if wrong == "sip" else "sip"
            yield ("applets", name), f"runs over {other} only: say transport: [{other}]"
    for index, expected in enumerate(scenario.expect.path or ()):
        if expected not in scenario.applets:
            yield ("expect", "path", index), f"there is no such applet (applets: {names})"
    if scenario.expect.transferred_to is not None and scenario.expect.not_transferred:
        yield ("expect", "not_transferred"), "contradicts transferred_to"


def steps_of(scenario: Scenario) -> Iterator[tuple[Loc, Step]]:
    """Every step of every caller, with its place."""
    for index, step in enumerate(scenario.caller):
        yield ("caller", index), step
    for name, applet in scenario.applets.items():
        talk = talk_of(applet)
        for index, step in enumerate((talk[1].caller or ()) if talk else ()):
            yield ("applets", name, talk[0] if talk else "", "caller", index), step


def talk_of(applet: Applet) -> tuple[str, Talk] | None:
    """The talk of an applet that connects the bot, and the key that it stands under."""
    match applet:
        case TalkApplet(talk=talk):
            return "talk", talk
        case VoicebotApplet(voicebot=voicebot):
            return "voicebot", voicebot
        case ConnectSipApplet(connect_sip=connect):
            return "connect_sip", connect
    return None


def needs(scenario: Scenario, transport: str) -> Iterator[str]:
    """Which addresses of the bot a run over ``transport`` needs: ``sip``, ``stream``, ``http``."""
    for applet in scenario.applets.values():
        match applet:
            case TalkApplet():
                yield transport
            case VoicebotApplet(voicebot=voicebot) if voicebot.url is None:
                yield "stream"
            case ConnectSipApplet(connect_sip=connect) if connect.uri is None:
                yield "sip"
            case StreamApplet(stream=stream) if stream.action == "start" and stream.url is None:
                yield "stream"
        for url in urls_of(applet):
            if url.startswith("/"):
                yield "http"


def urls_of(applet: Applet) -> Iterator[str]:
    """Every URL that stands in an applet."""
    for name in type(applet).model_fields:
        inner = getattr(applet, name)
        for field in ("url", "fallback_url"):
            url = getattr(inner, field, None)
            if isinstance(url, str):
                yield url
