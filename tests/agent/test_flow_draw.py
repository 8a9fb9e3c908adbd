"""Pictures of flows, and what is found without a caller."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

from typer.testing import CliRunner

from sipbot.agent.flow import load_flow
from sipbot.agent.flow.draw import draw, edges_of, stuck_nodes
from sipbot.agent.flow.model import FlowFile
from sipbot.cli.main import app
from sipbot.yamlmarks import loads, validate

RECEPTION = Path(__file__).resolve().parents[2] / "config" / "flows" / "reception.yaml"
SVG = "{http://www.w3.org/2000/svg}"
ODD = """
start: a
nodes:
  a: {menu: {prompt: <which>, options: {1: b, 2: c}, otherwise: c}}
  b: {hangup: bye}
  c: {say: round, next: d}
  d: {say: and round, next: c}
  lonely: {hangup: never}
"""


def classes(svg: str) -> dict[str, set[str]]:
    groups = [one for one in fromstring(svg).iter(f"{SVG}g") if one.get("id")]
    return {_id(one): set((one.get("class") or "").split()) for one in groups}


def _id(group: Element) -> str:
    return (group.get("id") or "").removeprefix("node-")


def test_the_picture_has_every_node_and_marks_what_is_wrong() -> None:
    svg = draw(validate(FlowFile, loads(ODD, "f")), "odd")
    marks = classes(svg)
    assert set(marks) == {"a", "b", "c", "d", "lonely"}
    assert "start" in marks["a"]
    assert "end" in marks["b"]
    assert {name for name, found in marks.items() if "unreachable" in found} == {"lonely"}
    assert {name for name, found in marks.items() if "stuck" in found} == {"c", "d"}
    assert "&lt;which&gt;" in svg


def test_ways_between_two_nodes_are_one_arrow() -> None:
    edges = edges_of(validate(FlowFile, loads(ODD, "f")))
    assert [(e.end, e.label) for e in edges if e.start == "a"] == [
        ("b", "1"),
        ("c", "2, otherwise"),
    ]


def test_the_reception_has_no_dead_end_and_nodes_do_not_lie_on_each_other() -> None:
    file = load_flow(RECEPTION).file
    assert stuck_nodes(file) == set()
    boxes = [
        (float(one.get("x") or 0), float(one.get("y") or 0))
        for one in fromstring(draw(file)).iter(f"{SVG}rect")
    ]
    assert len(boxes) == len(set(boxes)) == len(file.nodes)


def test_commands(tmp_path: Path) -> None:
    runner, odd = CliRunner(), tmp_path / "odd.yaml"
    odd.write_text(ODD)
    done = runner.invoke(app, ["flow", "check", str(odd)])
    assert done.exit_code == 0
    assert "nodes.lonely: no way leads to this node" in done.output
    assert "nodes.c: from here no way leads to the end" in done.output
    assert runner.invoke(app, ["flow", "check", "--strict", str(odd)]).exit_code == 1
    assert runner.invoke(app, ["flow", "check", "--strict", str(RECEPTION)]).exit_code == 0
    drawn = tmp_path / "odd.svg"
    assert runner.invoke(app, ["flow", "draw", str(odd), "-o", str(drawn)]).exit_code == 0
    assert "lonely" in drawn.read_text()
    odd.write_text("start: a\nnodes: {a: {goto: b}}\n")
    done = runner.invoke(app, ["flow", "check", str(odd)])
    assert done.exit_code == 2
    assert "there is no such node" in done.output
