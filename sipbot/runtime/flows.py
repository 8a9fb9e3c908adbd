"""Flow files for the command line: their mistakes, their picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sipbot.agent.flow import load_flow
from sipbot.agent.flow.draw import draw, stuck_nodes
from sipbot.agent.flow.model import FlowFile
from sipbot.yamlmarks import load, validate


@dataclass(frozen=True, slots=True)
class Checked:
    """A flow without mistakes: what is doubtful about it, one text each."""

    nodes: int
    doubts: tuple[str, ...]


def check(path: Path) -> Checked:
    """Look a flow file through. Raises ``ConfigError`` with its mistakes."""
    flow = load_flow(path)
    doubts = [str(one) for one in flow.warnings]
    doubts += [
        f"{path}: nodes.{name}: from here no way leads to the end of the call"
        for name in sorted(stuck_nodes(flow.file))
    ]
    return Checked(len(flow.file.nodes), tuple(doubts))


def picture(path: Path) -> str:
    """A flow file as SVG. Raises ``ConfigError`` for one that cannot be read as a flow.

    Flows with mistakes in their ways are drawn, so that the mistakes can be seen.
    """
    return draw(validate(FlowFile, load(path)), path.stem)
