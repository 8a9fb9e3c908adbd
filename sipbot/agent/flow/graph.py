"""Where the nodes of a flow lead, and mistakes that can be seen without a caller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from sipbot.agent.flow.model import (
    BranchNode,
    FlowFile,
    GatherNode,
    GotoNode,
    HangupNode,
    MenuNode,
    Node,
    PlayNode,
    SayNode,
    SetNode,
    TransferNode,
)
from sipbot.agent.flow.text import BUILT_IN, names_in

Loc: TypeAlias = tuple[str | int, ...]
Finding: TypeAlias = tuple[Loc, str]

_SILENT: Final = (GotoNode, SetNode, BranchNode)  # they take no time


def targets(node: Node) -> Iterator[tuple[Loc, str]]:
    """Where in the node (below its own place) which node is named."""
    match node:
        case SayNode(next=name) | PlayNode(next=name) | SetNode(next=name) if name is not None:
            yield ("next",), name
        case GotoNode(goto=name):
            yield ("goto",), name
        case MenuNode(menu=menu):
            for key, name in menu.options.items():
                yield ("menu", "options", key), name
            if menu.otherwise is not None:
                yield ("menu", "otherwise"), menu.otherwise
        case GatherNode(gather=gather):
            yield ("gather", "next"), gather.next
            if gather.otherwise is not None:
                yield ("gather", "otherwise"), gather.otherwise
        case BranchNode(branch=branch):
            for value, name in branch.cases.items():
                yield ("branch", "cases", value), name
            yield ("branch", "otherwise"), branch.otherwise
        case TransferNode(transfer=transfer) if transfer.otherwise is not None:
            yield ("transfer", "otherwise"), transfer.otherwise


def texts(node: Node) -> Iterator[tuple[Loc, str]]:
    """Where in the node which text stands that may hold variables."""
    match node:
        case SayNode(say=said):
            for index, text in enumerate(said):
                yield ("say", index), text
        case MenuNode(menu=menu):
            yield ("menu", "prompt"), menu.prompt
            yield ("menu", "on_timeout"), menu.on_timeout
            yield ("menu", "on_invalid"), menu.on_invalid
        case GatherNode(gather=gather):
            yield ("gather", "prompt"), gather.prompt
            yield ("gather", "on_timeout"), gather.on_timeout
            yield ("gather", "on_invalid"), gather.on_invalid
        case SetNode(set=values):
            for name, text in values.items():
                yield ("set", name), text
        case HangupNode(hangup=goodbye):
            yield ("hangup",), goodbye or ""
        case TransferNode(transfer=transfer):
            yield ("transfer", "target"), transfer.target
            yield ("transfer", "say"), transfer.say
            yield ("transfer", "on_refused"), transfer.on_refused


def mistakes(flow: FlowFile) -> Iterator[Finding]:
    """What makes a flow unusable."""
    if flow.start not in flow.nodes:
        yield ("start",), _no_node(flow)
    known = _variables(flow)
    for name, node in flow.nodes.items():
        here: Loc = ("nodes", name)
        for loc, target in targets(node):
            if target not in flow.nodes:
                yield (*here, *loc), _no_node(flow)
        if isinstance(node, SayNode | PlayNode | SetNode) and node.next is None:
            yield here, "is a dead end: add next, or end with hangup or transfer"
        for loc, text in texts(node):
            for variable in sorted(names_in(text) - known):
                yield (*here, *loc), f"nothing sets the variable {variable!r}"
        if isinstance(node, BranchNode) and node.branch.variable not in known:
            yield (*here, "branch", "variable"), "nothing sets this variable"
        if _spins(flow.nodes, name):
            yield here, "leads back to itself without saying or asking anything"


def doubts(flow: FlowFile) -> Iterator[Finding]:
    """What works but is probably not meant."""
    seen = {flow.start}
    waiting = [flow.start]
    while waiting:
        for _, target in targets(flow.nodes[waiting.pop()]):
            if target not in seen:
                seen.add(target)
                waiting.append(target)
    for name in flow.nodes:
        if name not in seen:
            yield ("nodes", name), "no way leads to this node"


def _variables(flow: FlowFile) -> set[str]:
    known = {*BUILT_IN, *flow.variables}
    for node in flow.nodes.values():
        if isinstance(node, SetNode):
            known.update(node.set)
        elif isinstance(node, GatherNode):
            known.add(node.gather.into)
    return known


def _spins(nodes: Mapping[str, Node], start: str) -> bool:
    """Whether a way of silent nodes leads from ``start`` back to it."""
    waiting, seen = [start], set[str]()
    while waiting:
        node = nodes.get(waiting.pop())
        if not isinstance(node, _SILENT):
            continue
        for _, target in targets(node):
            if target == start:
                return True
            if target not in seen:
                seen.add(target)
                waiting.append(target)
    return False


def _no_node(flow: FlowFile) -> str:
    return f"there is no such node (nodes: {', '.join(sorted(flow.nodes))})"
