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
    HoursNode,
    HttpNode,
    LanguageNode,
    ListenNode,
    MenuNode,
    Node,
    PlayNode,
    SayNode,
    SetNode,
    Spoken,
    SubFlowNode,
    TransferNode,
    VoicemailNode,
)
from sipbot.agent.flow.text import BUILT_IN, fill, names_in

Loc: TypeAlias = tuple[str | int, ...]
Finding: TypeAlias = tuple[Loc, str]

# They say and ask nothing, and may take no time.
_SILENT: Final = (GotoNode, SetNode, BranchNode, LanguageNode, HoursNode, HttpNode, SubFlowNode)
_GOES_ON: Final = (SayNode, PlayNode, SetNode, LanguageNode)  # they need a next
SPOKEN_FIELDS: Final = (
    "first",
    "prompt",
    "say",
    "on_timeout",
    "on_invalid",
    "on_refused",
    "confirm",
)


def targets(node: Node) -> Iterator[tuple[Loc, str]]:
    """Where in the node (below its own place) which node is named."""
    match node:
        case SayNode(next=name) | PlayNode(next=name) | SetNode(next=name) if name is not None:
            yield ("next",), name
        case LanguageNode(next=name) if name is not None:
            yield ("next",), name
        case GotoNode(goto=name):
            yield ("goto",), name
        case MenuNode(menu=menu):
            yield from _named("menu", menu, "otherwise", options=menu.options)
        case GatherNode(gather=gather):
            yield from _named("gather", gather, "next", "otherwise")
        case BranchNode(branch=branch):
            yield from _named("branch", branch, "otherwise", cases=branch.cases)
        case TransferNode(transfer=transfer):
            yield from _named("transfer", transfer, "otherwise")
        case ListenNode(listen=listen):
            for key, answer in listen.answers.items():
                yield ("listen", "answers", key, "next"), answer.next
            if listen.digits is not None:
                yield ("listen", "digits", "next"), listen.digits.next
            yield from _named("listen", listen, "otherwise")
        case HttpNode(http=http):
            yield from _named("http", http, "next", "failed")
        case HoursNode(hours=hours):
            yield from _named("hours", hours, "opened", "closed")
        case SubFlowNode(flow=flow):
            yield from _named("flow", flow, "next")
        case VoicemailNode(voicemail=voicemail):
            yield from _named("voicemail", voicemail, "next", "nothing")


def _named(
    key: str, inner: object, *fields: str, **maps: Mapping[str, str]
) -> Iterator[tuple[Loc, str]]:
    """The nodes in ``maps`` and in those ``fields`` of ``inner`` that are not None."""
    for field, options in maps.items():
        for option, name in options.items():
            yield (key, field, option), name
    for field in fields:
        name = getattr(inner, field)
        if name is not None:
            yield (key, field), name


def texts(node: Node) -> Iterator[tuple[Loc, str]]:
    """Where in the node which text stands that may hold variables, in every language."""
    for loc, spoken in spoken_texts(node):
        yield from spelled(loc, spoken)
    match node:
        case SetNode(set=values):
            yield from _each(("set",), values)
        case TransferNode(transfer=transfer):
            yield ("transfer", "target"), transfer.target
        case HttpNode(http=http):
            yield ("http", "url"), http.url
            yield from _each(("http", "query"), http.query)
            yield from _each(("http", "body"), http.body or {})
            yield from _each(("http", "headers"), http.headers)
        case SubFlowNode(flow=flow):
            yield from _each(("flow", "give"), flow.give)


def spoken_texts(node: Node) -> Iterator[tuple[Loc, Spoken]]:
    """Where in the node which text stands that is spoken."""
    match node:
        case SayNode(say=said):
            for index, text in enumerate(said):
                yield ("say", index), text
        case HangupNode(hangup=goodbye):
            yield ("hangup",), goodbye or ""
        case _:
            for key in ("menu", "gather", "listen", "transfer", "http", "voicemail"):
                inner = getattr(node, key, None)
                for field in SPOKEN_FIELDS:
                    text = getattr(inner, field, "")
                    if text:
                        yield (key, field), text


def spelled(loc: Loc, text: Spoken) -> Iterator[tuple[Loc, str]]:
    """A spoken text in each of its languages."""
    if isinstance(text, str):
        yield loc, text
    else:
        yield from _each(loc, text)


def _each(loc: Loc, values: Mapping[str, str]) -> Iterator[tuple[Loc, str]]:
    for key, text in values.items():
        yield (*loc, key), text


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
        if isinstance(node, _GOES_ON) and node.next is None:
            yield here, "is a dead end: add next, or end with hangup or transfer"
        for loc, text in texts(node):
            for variable in sorted(names_in(text) - known):
                yield (*here, *loc), f"nothing sets the variable {variable!r}"
        if isinstance(node, BranchNode) and node.branch.variable not in known:
            yield (*here, "branch", "variable"), "nothing sets this variable"
        if (
            isinstance(node, LanguageNode)
            and flow.languages
            and node.language not in flow.languages
        ):
            yield (*here, "language"), f"is none of languages: {', '.join(flow.languages)}"
        if _spins(flow.nodes, name):
            yield here, "leads back to itself without saying or asking anything"


def doubts(flow: FlowFile) -> Iterator[Finding]:
    """What works but is probably not meant."""
    seen = reachable(flow)
    for name, node in flow.nodes.items():
        if name not in seen:
            yield ("nodes", name), "no way leads to this node"
        for loc, text in spoken_texts(node):
            for missing in _untranslated(flow, text):
                yield ("nodes", name, *loc), f"has no text in {missing!r}"


def reachable(flow: FlowFile) -> set[str]:
    """The nodes that some way leads to."""
    seen = {flow.start}
    waiting = [flow.start]
    while waiting:
        node = flow.nodes.get(waiting.pop())
        for _, target in targets(node) if node is not None else ():
            if target not in seen:
                seen.add(target)
                waiting.append(target)
    return seen


def _untranslated(flow: FlowFile, text: Spoken) -> Iterator[str]:
    """Languages of the flow that the text lacks; one without letters needs no translation."""
    if isinstance(text, str):
        if len(flow.languages) > 1 and any(char.isalpha() for char in fill(text, {})):
            yield from (name for name in flow.languages if name != flow.language)
        return
    yield from (name for name in {flow.language, *flow.languages} if name not in text)


def _variables(flow: FlowFile) -> set[str]:
    known = {*BUILT_IN, *flow.variables}
    for node in flow.nodes.values():
        match node:
            case SetNode(set=values):
                known.update(values)
            case GatherNode(gather=gather):
                known.add(gather.into)
            case ListenNode(listen=listen):
                known.update(() if listen.into is None else (listen.into,))
                known.update(() if listen.digits is None else (listen.digits.into,))
            case HttpNode(http=http):
                known.update(http.take)
            case SubFlowNode(flow=sub):
                known.update(sub.take)
            case VoicemailNode(voicemail=voicemail) if voicemail.into is not None:
                known.add(voicemail.into)
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
