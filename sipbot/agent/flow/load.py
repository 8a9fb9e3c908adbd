"""Loads a flow file and everything it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sipbot.agent.flow.graph import doubts, mistakes
from sipbot.agent.flow.model import FlowFile, PlayNode
from sipbot.call.wav import Wav, WavError, read_wav
from sipbot.errors import ConfigError, ConfigProblem
from sipbot.yamlmarks import Document, load, validate


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow that can be run. ``sounds`` has the audio of each play node by its name."""

    file: FlowFile
    sounds: Mapping[str, Wav]
    warnings: tuple[ConfigProblem, ...]


def load_flow(path: Path) -> Flow:
    """Read, check and complete a flow file. Raises ``ConfigError`` with every mistake."""
    return from_document(load(path), path.parent)


def from_document(document: Document, folder: Path) -> Flow:
    """As ``load_flow``; sound files are looked up in ``folder``."""
    file = validate(FlowFile, document)
    problems = [document.problem(loc, message) for loc, message in mistakes(file)]
    sounds: dict[str, Wav] = {}
    for name, node in file.nodes.items():
        if isinstance(node, PlayNode):
            try:
                sounds[name] = read_wav(folder / node.play)
            except WavError as error:
                problems.append(document.problem(("nodes", name, "play"), str(error)))
    if problems:
        raise ConfigError(tuple(problems))
    warnings = tuple(document.problem(loc, message) for loc, message in doubts(file))
    return Flow(file, sounds, warnings)
