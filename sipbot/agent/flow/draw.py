"""Draws a flow as SVG: nodes in layers from the start, arrows with what leads along them.

Nodes that no way leads to are dashed and grey; nodes from which no way leads to an end of the call
are red. A small layered layout: layers by distance, order by the middle of the neighbours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from sipbot.agent.flow.graph import reachable, spoken_texts, targets
from sipbot.agent.flow.model import (
    FlowFile,
    GatherNode,
    HangupNode,
    ListenNode,
    MenuNode,
    Node,
    ReturnNode,
    TransferNode,
)

WIDTH: Final = 190  # of a node, in pixels
HEIGHT: Final = 54
GAP_X: Final = 40
GAP_Y: Final = 90
MARGIN: Final = 30
SHOWN: Final = 30  # characters of a text in a node
SWEEPS: Final = 8  # of ordering
_STYLE: Final = (
    "text{font:12px sans-serif;fill:#222}.kind{font-size:10px;fill:#666}.label{font-size:10px;"
    "fill:#345}rect{fill:#f4f7fb;stroke:#4a6;stroke-width:1.5}.start rect{stroke-width:3}"
    ".end rect{fill:#eef6ee}.unreachable rect{fill:#eee;stroke:#888;stroke-dasharray:5 4}"
    ".stuck rect{fill:#fde8e8;stroke:#c22}path{fill:none;stroke:#678;stroke-width:1.2}"
    "path.back{stroke-dasharray:3 3}"
)


@dataclass(frozen=True, slots=True)
class Edge:
    """A way from node to node; ``label`` says when it is taken."""

    start: str
    end: str
    label: str


def draw(file: FlowFile, title: str = "") -> str:
    """The flow as an SVG document."""
    edges = edges_of(file)
    places = _places(file, edges)
    seen, stuck = reachable(file), stuck_nodes(file)
    width = max(x for x, _ in places.values()) + WIDTH + MARGIN
    height = max(y for _, y in places.values()) + HEIGHT + MARGIN
    svg = Element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=str(width),
        height=str(height),
        role="img",
    )
    SubElement(svg, "title").text = title or "flow"
    SubElement(svg, "style").text = _STYLE
    _arrow_head(svg)
    for index, edge in enumerate(edges):
        _draw_edge(svg, edge, places, index)
    for name, node in file.nodes.items():
        marks = ["node"]
        marks += ["start"] if name == file.start else []
        marks += ["end"] if _is_end(node) else []
        marks += ["unreachable"] if name not in seen else []
        marks += ["stuck"] if name in stuck else []
        _draw_node(svg, name, node, places[name], " ".join(marks))
    return tostring(svg, encoding="unicode") + "\n"


def edges_of(file: FlowFile) -> list[Edge]:
    """All ways, those between the same two nodes joined."""
    labels: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, node in file.nodes.items():
        for loc, target in targets(node):
            parts = [str(part) for part in loc if part not in ("menu", "options", "cases", "next")]
            word = " ".join(part for part in parts if part not in _kinds(node))
            if word not in labels[name, target]:
                labels[name, target].append(word)
    return [
        Edge(start, end, ", ".join(word for word in words if word))
        for (start, end), words in labels.items()
    ]


def stuck_nodes(file: FlowFile) -> set[str]:
    """Nodes from which the call can only end because somebody hangs up."""
    ends = {name for name, node in file.nodes.items() if _is_end(node)}
    ways = defaultdict(set)
    for name, node in file.nodes.items():
        for _, target in targets(node):
            ways[target].add(name)
    waiting = list(ends)
    while waiting:
        for name in ways[waiting.pop()] - ends:
            ends.add(name)
            waiting.append(name)
    return set(file.nodes) - ends


def _is_end(node: Node) -> bool:
    """Whether the flow may end here."""
    match node:
        case HangupNode() | ReturnNode() | TransferNode():
            return True
        case MenuNode(menu=question) | GatherNode(gather=question) | ListenNode(listen=question):
            return question.otherwise is None
    return False


def _kinds(node: Node) -> tuple[str, ...]:
    return (kind_of(node), "answers")


def kind_of(node: Node) -> str:
    """The key that names what the node does."""
    return next(iter(type(node).model_fields)).rstrip("_")


def _places(file: FlowFile, edges: Sequence[Edge]) -> dict[str, tuple[int, int]]:
    """Left upper corner of each node."""
    layers = _ordered(_layers(file, edges), edges)
    widest = max(len(layer) for layer in layers)
    places = {}
    for depth, layer in enumerate(layers):
        indent = (widest - len(layer)) * (WIDTH + GAP_X) // 2
        for column, name in enumerate(layer):
            x = MARGIN + indent + column * (WIDTH + GAP_X)
            places[name] = (x, MARGIN + depth * (HEIGHT + GAP_Y))
    return places


def _layers(file: FlowFile, edges: Sequence[Edge]) -> list[list[str]]:
    """Nodes by their distance from the start; those without a way come last."""
    following = defaultdict(list)
    for edge in edges:
        if edge.end in file.nodes:
            following[edge.start].append(edge.end)
    depth: dict[str, int] = {}
    for root in (file.start, *file.nodes):
        if root in depth or root not in file.nodes:
            continue
        level, now = max(depth.values(), default=-1) + 1, [root]
        while now:
            for name in now:
                depth[name] = level
            now = list(dict.fromkeys(n for name in now for n in following[name] if n not in depth))
            level += 1
    layers: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name, level in depth.items():
        layers[level].append(name)
    return layers


def _ordered(layers: list[list[str]], edges: Sequence[Edge]) -> list[list[str]]:
    """Each layer sorted by where its neighbours stand, so that fewer arrows cross."""
    near = defaultdict(set)
    for edge in edges:
        near[edge.start].add(edge.end)
        near[edge.end].add(edge.start)
    for sweep in range(SWEEPS):
        place = {n: (c + 0.5) / len(row) for row in layers for c, n in enumerate(row)}
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            layer.sort(key=lambda name: _middle(name, near[name], place))
            place |= {name: (column + 0.5) / len(layer) for column, name in enumerate(layer)}
    return layers


def _middle(name: str, near: set[str], place: Mapping[str, float]) -> float:
    others = [place[other] for other in near if other != name and other in place]
    return sum(others) / len(others) if others else place[name]


def _arrow_head(svg: Element) -> None:
    marker = SubElement(
        SubElement(svg, "defs"),
        "marker",
        id="head",
        viewBox="0 0 8 8",
        refX="8",
        refY="4",
        markerWidth="7",
        markerHeight="7",
        orient="auto",
    )
    SubElement(marker, "path", d="M0 0L8 4L0 8z", style="fill:#678;stroke:none")


def _draw_edge(svg: Element, edge: Edge, places: Mapping[str, tuple[int, int]], index: int) -> None:
    if edge.start not in places or edge.end not in places:
        return
    (x1, y1), (x2, y2) = places[edge.start], places[edge.end]
    shift = (index % 5 - 2) * 14  # so that arrows of one node do not lie on each other
    down = y2 > y1
    if down:
        start, end = (x1 + WIDTH // 2 + shift, y1 + HEIGHT), (x2 + WIDTH // 2 + shift, y2)
        middle = (start[1] + end[1]) // 2
        path = f"M{start[0]} {start[1]}C{start[0]} {middle} {end[0]} {middle} {end[0]} {end[1]}"
    else:  # back, beside the nodes
        start = (x1 + WIDTH, y1 + HEIGHT // 2 + shift // 2)
        end = (x2 + WIDTH, y2 + HEIGHT // 2 + 8 + shift // 2)
        bow = max(start[0], end[0]) + GAP_X // 2 + abs(shift)
        path = f"M{start[0]} {start[1]}C{bow} {start[1]} {bow} {end[1]} {end[0]} {end[1]}"
    attributes = {"d": path, "marker-end": "url(#head)"}
    SubElement(svg, "path", attributes if down else {**attributes, "class": "back"})
    if edge.label:
        at = (start[0] * 2 + end[0]) // 3, (start[1] * 2 + end[1]) // 3
        _text(svg, at[0] + 3, at[1], edge.label, "label")


def _draw_node(svg: Element, name: str, node: Node, place: tuple[int, int], marks: str) -> None:
    x, y = place
    group = SubElement(svg, "g", {"class": marks, "id": f"node-{name}"})
    size = {"width": str(WIDTH), "height": str(HEIGHT), "rx": "8"}
    SubElement(group, "rect", {"x": str(x), "y": str(y), **size})
    _text(group, x + 10, y + 18, name, "name")
    _text(group, x + WIDTH - 10, y + 18, kind_of(node), "kind", anchor="end")
    _text(group, x + 10, y + 40, _summary(node), "kind")


def _summary(node: Node) -> str:
    """The beginning of what is spoken there."""
    for _, text in spoken_texts(node):
        shown = text if isinstance(text, str) else next(iter(text.values()))
        if shown:
            return shown if len(shown) <= SHOWN else shown[: SHOWN - 1] + "…"
    return ""


def _text(parent: Element, x: int, y: int, text: str, kind: str, anchor: str = "start") -> None:
    place = {"x": str(x), "y": str(y), "class": kind, "text-anchor": anchor}
    SubElement(parent, "text", place).text = text
