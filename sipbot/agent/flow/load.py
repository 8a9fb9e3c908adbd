"""Loads a flow file and everything it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sipbot.agent.flow.graph import Finding, doubts, mistakes
from sipbot.agent.flow.model import FlowFile, ListenNode, PlayNode, SubFlowNode
from sipbot.agent.flow.questions import patterns_of
from sipbot.agent.recognise.lexicon import bad_phones, unknown
from sipbot.agent.recognise.phrases import PhraseError, parse
from sipbot.call.wav import Wav, WavError, read_wav
from sipbot.errors import ConfigError, ConfigProblem
from sipbot.yamlmarks import Document, load, validate

MAX_DEPTH: Final = 8  # flows within flows


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow that can be run. ``sounds`` and ``flows`` are by the name of the node."""

    file: FlowFile
    sounds: Mapping[str, Wav]
    warnings: tuple[ConfigProblem, ...]
    flows: Mapping[str, Flow] = field(default_factory=dict)
    folder: Path = Path()


def load_flow(path: Path) -> Flow:
    """Read, check and complete a flow file. Raises ``ConfigError`` with every mistake."""
    return _load(path, ())


def from_document(document: Document, folder: Path, above: tuple[Path, ...] = ()) -> Flow:
    """As ``load_flow``; files are looked up in ``folder``. ``above`` are the flows around it."""
    file = validate(FlowFile, document)
    problems = [document.problem(loc, message) for loc, message in mistakes(file)]
    problems += [document.problem(loc, message) for loc, message in _phrase_mistakes(file)]
    sounds: dict[str, Wav] = {}
    flows: dict[str, Flow] = {}
    for name, node in file.nodes.items():
        try:
            if isinstance(node, PlayNode):
                sounds[name] = read_wav(folder / node.play)
            elif isinstance(node, SubFlowNode):
                flows[name] = _load(folder / node.flow.file, above)
                for loc, message in _transfer_mistakes(node, flows[name]):
                    problems.append(document.problem(("nodes", name, *loc), message))
        except WavError as error:
            problems.append(document.problem(("nodes", name, "play"), str(error)))
        except _TooDeep as error:
            problems.append(document.problem(("nodes", name, "flow", "file"), str(error)))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(tuple(problems))
    warnings = [document.problem(loc, message) for loc, message in doubts(file)]
    for inner in flows.values():
        warnings += inner.warnings
    return Flow(file, sounds, tuple(dict.fromkeys(warnings)), flows, folder)


class _TooDeep(Exception):
    """Flows call each other in a circle, or too deeply."""


def _load(path: Path, above: tuple[Path, ...]) -> Flow:
    if path.resolve() in above:
        raise _TooDeep("the flows call each other in a circle")
    if len(above) >= MAX_DEPTH:
        raise _TooDeep(f"flows are called more than {MAX_DEPTH} deep")
    return from_document(load(path), path.parent, (*above, path.resolve()))


def _transfer_mistakes(node: SubFlowNode, inner: Flow) -> Iterator[Finding]:
    for name in node.flow.give:
        if name not in inner.file.variables:
            yield ("flow", "give", name), "the other flow has no such variable"


def _phrase_mistakes(file: FlowFile) -> Iterator[Finding]:
    """What the recogniser cannot listen for."""
    for word, phones in file.pronounce.items():
        if bad := bad_phones(phones):
            yield ("pronounce", word), f"no phones of ARPABET: {', '.join(bad)}"
    for name, node in file.nodes.items():
        if isinstance(node, ListenNode):
            for loc, pattern in patterns_of(node.listen):
                here = ("nodes", name, "listen", *loc)
                try:
                    strange = unknown(parse(pattern).words, file.pronounce)
                except PhraseError as error:
                    yield here, str(error)
                    continue
                if strange:
                    yield here, f"the recogniser does not know: {', '.join(strange)} (pronounce)"
