"""Leads callers through a flow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from enum import Enum, auto
from functools import lru_cache
from pathlib import Path
from typing import Final

from sipbot.agent.flow.asking import Asker
from sipbot.agent.flow.ear import Ear
from sipbot.agent.flow.hours import is_open
from sipbot.agent.flow.http_call import HttpFailed, ask
from sipbot.agent.flow.load import Flow, load_flow
from sipbot.agent.flow.model import (
    BranchNode,
    GatherNode,
    GotoNode,
    HangupNode,
    HoursNode,
    Http,
    HttpNode,
    LanguageNode,
    ListenNode,
    MenuNode,
    Node,
    PlayNode,
    ReturnNode,
    SayNode,
    SetNode,
    Spoken,
    SubFlowNode,
    Transfer,
    TransferNode,
    Voicemail,
    VoicemailNode,
)
from sipbot.agent.flow.questions import phrases_of
from sipbot.agent.flow.speaking import Speaker, in_language, joined, voice_of
from sipbot.agent.flow.text import fill
from sipbot.agent.flow.voicemail import RATE, beep, keep, record
from sipbot.agent.keys import KeyReader
from sipbot.agent.ports import SpeechToText
from sipbot.agent.recognise import OfflineRecogniser
from sipbot.call.call import Call
from sipbot.call.events import TransferRefused
from sipbot.clock import Clock, SystemClock
from sipbot.errors import ProviderError

MAX_STEPS: Final = 10_000  # nodes of one call; a flow in which nobody listens ends here
WARM_S: Final = 3.0  # seconds while it rings for the recogniser to load


class FlowAgent:
    """The agent of a flow file. Serves any number of calls.

    ``recogniser`` tells what callers say; None is the offline one, which all flows share.
    """

    def __init__(
        self,
        flow: Flow,
        recogniser: SpeechToText | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.flow = flow
        self._clock = clock or SystemClock()
        if recogniser is None:
            recogniser = _offline().pronouncing(flow.file.pronounce)
        self._recogniser = recogniser

    async def prepare(self, call: Call) -> None:
        """Make the speech of the first node while it rings, and the recogniser ready."""
        file = self.flow.file
        node = file.nodes[file.start]
        speeches: list[tuple[Spoken, ...]] = []  # each of them one text
        if isinstance(node, SayNode):
            speeches = [(text,) for text in node.say]
        elif isinstance(node, MenuNode):
            speeches = [(node.menu.prompt,)]
        elif isinstance(node, ListenNode):
            speeches = [(node.listen.first, node.listen.prompt)]
        values = _first_values(self.flow, call)
        for texts in speeches:
            text = joined(fill(in_language(one, file.language, file), values) for one in texts)
            await call.prepare(text, voice=voice_of(file, file.language))
        await self._warm(call)

    async def run(self, call: Call) -> None:
        """Go from node to node until one ends the call."""
        keys = KeyReader(call)
        ear = Ear(call, keys, self._recogniser)
        steps = iter(range(MAX_STEPS))
        await _Walk(self.flow, call, keys, ear, self._clock, self.flow.file.language, steps).walk()

    async def _warm(self, call: Call) -> None:
        if not isinstance(self._recogniser, OfflineRecogniser):
            return
        for node in self.flow.file.nodes.values():
            if isinstance(node, ListenNode) and (phrases := phrases_of(node.listen)):
                try:
                    async with asyncio.timeout(WARM_S):
                        await self._recogniser.warm(phrases)
                except (TimeoutError, ProviderError):
                    call.log.warning("recogniser not ready", limit_s=WARM_S)
                return


def load_flow_agent(
    path: Path, recogniser: SpeechToText | None = None, clock: Clock | None = None
) -> FlowAgent:
    """The agent of a flow file. Raises ``ConfigError`` with every mistake in it."""
    return FlowAgent(load_flow(path), recogniser, clock)


class _Left(Enum):
    """How a flow was left."""

    ENDED = auto()
    RETURNED = auto()


class _Walk:
    """One call's way through a flow. ``steps`` are what is left for all flows of the call."""

    def __init__(
        self,
        flow: Flow,
        call: Call,
        keys: KeyReader,
        ear: Ear,
        clock: Clock,
        language: str,
        steps: Iterator[int],
    ) -> None:
        self.speaker = Speaker(flow, call, keys, language)
        self.speaker.values = _first_values(flow, call)
        self._flow, self._call, self._keys, self._ear = flow, call, keys, ear
        self._clock, self._steps = clock, steps
        self._asker = Asker(self.speaker, keys, ear)
        self._left = _Left.ENDED

    async def walk(self) -> _Left:
        name: str | None = self._flow.file.start
        for _ in self._steps:
            if name is None:
                return self._left
            self._call.log.debug("flow node", node=name)
            name = await self._visit(name, self._flow.file.nodes[name])
            await asyncio.sleep(0)  # others' turn, also where nodes take no time
        self._call.log.warning("flow too long", limit=MAX_STEPS)
        self._left = _Left.ENDED
        return self._left

    async def _visit(self, name: str, node: Node) -> str | None:
        """Do what a node says; returns the next one, or None at the end of the flow."""
        match node:
            case SayNode(next=following):
                await self._say_all(node)
                return following
            case PlayNode(next=following):
                await self.speaker.play(name)
                return following
            case MenuNode(menu=menu):
                return await self._asker.menu(menu)
            case GatherNode(gather=gather):
                return await self._asker.gather(gather)
            case ListenNode(listen=listen):
                return await self._asker.listen(listen)
            case HttpNode(http=http):
                return await self._http(http)
            case SubFlowNode():
                return await self._sub_flow(name, node)
            case VoicemailNode(voicemail=voicemail):
                return await self._voicemail(voicemail)
            case HangupNode(hangup=goodbye):
                await self.speaker.say(goodbye or "", interruptible=False)
                return None
            case TransferNode(transfer=transfer):
                return await self._transfer(transfer)
            case ReturnNode():
                self._left = _Left.RETURNED
                return None
        return self._silent(node)

    def _silent(self, node: Node) -> str | None:
        """As ``_visit``, for nodes that take no time."""
        match node:
            case GotoNode(goto=following):
                return following
            case SetNode(next=following):
                filled = {key: self.speaker.fill(text) for key, text in node.set.items()}
                self.speaker.values |= filled
                return following
            case BranchNode(branch=branch):
                value = self.speaker.values.get(branch.variable, "")
                return branch.cases.get(value, branch.otherwise)
            case LanguageNode(language=language, next=following):
                self.speaker.language = language
                return following
            case HoursNode(hours=hours):
                now = self._clock.wall()
                open_now = is_open(now, hours.open, hours.timezone, hours.holidays)
                return hours.opened if open_now else hours.closed
        raise AssertionError("every kind of node is visited")

    async def _say_all(self, node: SayNode) -> None:
        for text in node.say:
            if not await self.speaker.say(text, interruptible=node.interruptible):
                return

    async def _transfer(self, transfer: Transfer) -> str | None:
        await self.speaker.say(transfer.say, interruptible=False)
        try:
            await self._call.transfer(self.speaker.fill(transfer.target))
        except TransferRefused as refused:
            self._call.log.warning("transfer refused", detail=refused.detail)
            await self.speaker.say(transfer.on_refused, interruptible=False)
            return transfer.otherwise
        return None

    async def _http(self, http: Http) -> str:
        asking = asyncio.create_task(ask(http, dict(self.speaker.values)), name="http of a flow")
        try:
            await self.speaker.say(http.say, interruptible=False)
            self.speaker.values |= await asking
        except HttpFailed as failed:
            self._call.log.warning("http of a flow failed", reason=failed.reason)
            return http.failed
        finally:
            asking.cancel()
            await asyncio.wait({asking})
        return http.next

    async def _sub_flow(self, name: str, node: SubFlowNode) -> str | None:
        inner = _Walk(
            self._flow.flows[name],
            self._call,
            self._keys,
            self._ear,
            self._clock,
            self.speaker.language,
            self._steps,
        )
        given = {key: self.speaker.fill(text) for key, text in node.flow.give.items()}
        inner.speaker.values |= given
        if await inner.walk() is _Left.ENDED:
            return None
        there = inner.speaker.values
        self.speaker.values |= {here: there.get(key, "") for here, key in node.flow.take.items()}
        self.speaker.language = inner.speaker.language
        return node.flow.next

    async def _voicemail(self, voicemail: Voicemail) -> str:
        await self.speaker.say(voicemail.prompt)
        await self._keys.forget()
        await self._call.present(beep(), RATE, interruptible=False)
        pcm, spoken = await record(self._call, self._keys, voicemail.max_s, voicemail.silence_s)
        kept = None
        if spoken:
            try:
                kept = await keep(pcm, self._flow.folder / voicemail.folder, voicemail.keep)
            except OSError as error:
                self._call.log.error("voicemail not kept", error=error.strerror or "")
            else:
                if kept is None:
                    self._call.log.error("voicemail full", limit=voicemail.keep)
        if voicemail.into is not None:
            self.speaker.values[voicemail.into] = kept or ""
        return voicemail.next if kept else voicemail.nothing or voicemail.next


@lru_cache(maxsize=1)
def _offline() -> OfflineRecogniser:
    """The recogniser that all flows of this process share."""
    return OfflineRecogniser()


def _first_values(flow: Flow, call: Call) -> dict[str, str]:
    return {**flow.file.variables, "caller": call.caller, "callee": call.callee}
