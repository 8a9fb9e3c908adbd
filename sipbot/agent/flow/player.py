"""Leads callers through a flow."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sipbot.agent.flow.load import Flow, load_flow
from sipbot.agent.flow.model import (
    BranchNode,
    Gather,
    GatherNode,
    GotoNode,
    HangupNode,
    Menu,
    MenuNode,
    Node,
    PlayNode,
    SayNode,
    SetNode,
    Transfer,
    TransferNode,
)
from sipbot.agent.flow.text import fill, names_in
from sipbot.agent.keys import KeyReader
from sipbot.agent.level import until_speech
from sipbot.call.call import Call
from sipbot.call.events import TransferRefused
from sipbot.call.speech import Said

MAX_STEPS: Final = 10_000  # nodes of one call; a flow in which nobody listens ends here


class FlowAgent:
    """The agent of a flow file. Serves any number of calls."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow

    async def prepare(self, call: Call) -> None:
        """Make the speech of the first node while it rings."""
        node = self.flow.file.nodes[self.flow.file.start]
        texts: tuple[str, ...] = ()
        if isinstance(node, SayNode):
            texts = node.say
        elif isinstance(node, MenuNode):
            texts = (node.menu.prompt,)
        values = _first_values(self.flow, call)
        for text in texts:
            await call.prepare(fill(text, values), voice=self.flow.file.voice)

    async def run(self, call: Call) -> None:
        """Go from node to node until one ends the call."""
        await _Walk(self.flow, call).walk()


def load_flow_agent(path: Path) -> FlowAgent:
    """The agent of a flow file. Raises ``ConfigError`` with every mistake in it."""
    return FlowAgent(load_flow(path))


@dataclass(frozen=True, slots=True)
class _Question:
    """What menus and gathers have in common."""

    prompt: str
    retries: int
    on_timeout: str
    on_invalid: str


class _Walk:
    """One call's way through the flow."""

    def __init__(self, flow: Flow, call: Call) -> None:
        self._flow, self._call = flow, call
        self._keys = KeyReader(call)
        self._values = _first_values(flow, call)

    async def walk(self) -> None:
        name: str | None = self._flow.file.start
        steps = 0
        while name is not None and steps < MAX_STEPS:
            self._call.log.debug("flow node", node=name)
            name = await self._visit(name, self._flow.file.nodes[name])
            steps += 1
        if name is not None:
            self._call.log.warning("flow too long", limit=MAX_STEPS)

    async def _visit(self, name: str, node: Node) -> str | None:
        """Do what a node says; returns the next one, or None at the end of the call."""
        match node:
            case SayNode(next=following):
                await self._say_all(node)
                return following
            case PlayNode(next=following):
                await self._play(name)
                return following
            case MenuNode(menu=menu):
                return await self._menu(menu)
            case GatherNode(gather=gather):
                return await self._gather(gather)
            case GotoNode(goto=following):
                return following
            case SetNode(next=following):
                self._values |= {key: self._fill(text) for key, text in node.set.items()}
                return following
            case BranchNode(branch=branch):
                value = self._values.get(branch.variable, "")
                return branch.cases.get(value, branch.otherwise)
            case HangupNode(hangup=goodbye):
                await self._say(goodbye or "", interruptible=False)
                return None
            case TransferNode(transfer=transfer):
                return await self._transfer(transfer)

    async def _say_all(self, node: SayNode) -> None:
        for text in node.say:
            if not await self._say(text, interruptible=node.interruptible):
                return

    async def _say(self, text: str, *, interruptible: bool = True) -> bool:
        """Speak; False when the caller's keys cut it short, or had been typed ahead."""
        filled = self._fill(text)
        if not filled:
            return True
        if interruptible and self._keys.waiting:
            return False
        voice = self._flow.file.voice
        speaking = self._call.say(filled, voice=voice, interruptible=interruptible)
        said = await (self._listening(speaking) if interruptible else speaking)
        return not said.interrupted

    async def _play(self, name: str) -> None:
        sound = self._flow.sounds[name]
        if not self._keys.waiting:
            await self._listening(self._call.present(sound.pcm, sound.rate))

    async def _listening(self, speaking: Coroutine[Any, Any, Said]) -> Said:
        """Speak, and listen meanwhile where the caller's voice may interrupt."""
        if self._flow.file.interrupt == "keys":
            return await speaking
        return await until_speech(self._call, speaking)

    async def _menu(self, menu: Menu) -> str | None:
        question = _Question(menu.prompt, menu.retries, menu.on_timeout, menu.on_invalid)
        for attempt in range(menu.retries + 1):
            await self._say(menu.prompt)
            key = await self._keys.key(menu.timeout_s)
            if key in menu.options:
                return menu.options[key]
            await self._complain(question, attempt, silent=key is None)
        return menu.otherwise

    async def _gather(self, gather: Gather) -> str | None:
        question = _Question(gather.prompt, gather.retries, gather.on_timeout, gather.on_invalid)
        for attempt in range(gather.retries + 1):
            await self._say(gather.prompt)
            typed = await self._keys.keys(
                gather.min_digits,
                gather.max_digits,
                finish=gather.finish_on_key,
                first_s=gather.first_timeout_s,
                further_s=gather.digit_timeout_s,
            )
            if typed.complete:
                self._values[gather.into] = typed.keys
                return gather.next
            await self._complain(question, attempt, silent=not typed.keys)
        return gather.otherwise

    async def _complain(self, question: _Question, attempt: int, *, silent: bool) -> None:
        """Say what was wrong. What was typed ahead after a mistake was not meant for us."""
        if not silent:
            await self._keys.forget()
        if attempt < question.retries:
            await self._say(question.on_timeout if silent else question.on_invalid)

    async def _transfer(self, transfer: Transfer) -> str | None:
        await self._say(transfer.say, interruptible=False)
        try:
            await self._call.transfer(self._fill(transfer.target))
        except TransferRefused as refused:
            self._call.log.warning("transfer refused", detail=refused.detail)
            await self._say(transfer.on_refused, interruptible=False)
            return transfer.otherwise
        return None

    def _fill(self, text: str) -> str:
        return fill(text, self._values) if names_in(text) else text


def _first_values(flow: Flow, call: Call) -> dict[str, str]:
    return {**flow.file.variables, "caller": call.caller, "callee": call.callee}
