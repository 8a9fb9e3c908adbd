"""The agent: opens a session while it rings, and leads the conversation over it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from sipbot.agent.ports import RealtimeModel, RealtimeSession, RealtimeSetup, Tool
from sipbot.agent.realtime.conversation import RealtimeConversation, without_model
from sipbot.agent.realtime.settings import RealtimeSettings
from sipbot.agent.tools.toolbox import RunnableTool, Toolbox
from sipbot.call.call import Call
from sipbot.errors import ProviderError

CONNECT_S: Final = 15.0  # seconds for a session to begin, over the provider's own limits


class _Line:
    """The session of one call, in a task of its own, from ringing to the end of the call."""

    def __init__(self, model: RealtimeModel, setup: RealtimeSetup) -> None:
        self._model, self._setup = model, setup
        self._done = asyncio.Event()
        self.session: asyncio.Future[RealtimeSession] = asyncio.get_running_loop().create_future()

    async def hold(self, call: Call) -> None:
        """Keep the session open until the call ends or ``release``."""
        try:
            async with self._model.open(self._setup) as session:
                self.session.set_result(session)
                waiting = [
                    asyncio.ensure_future(work) for work in (call.wait_ended(), self._done.wait())
                ]
                try:
                    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for one in waiting:
                        one.cancel()
        except ProviderError as error:
            if not self.session.done():
                self.session.set_exception(error)
                self.session.exception()  # seen, in case nobody asks for it

    def release(self) -> None:
        self._done.set()


class RealtimeAgent:
    """Serves all calls; ``model`` hears and speaks."""

    def __init__(
        self,
        model: RealtimeModel,
        settings: RealtimeSettings,
        tools: Sequence[RunnableTool] = (),
    ) -> None:
        self.settings = settings
        self._model, self._toolbox = model, Toolbox(tools)
        self._lines: dict[str, tuple[_Line, asyncio.Task[None]]] = {}

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What the model may call."""
        return self._toolbox.described

    async def prepare(self, call: Call) -> None:
        """While it rings: connect. A failure is dealt with once the call is answered."""
        await asyncio.wait({self._line(call).session}, timeout=CONNECT_S)

    async def run(self, call: Call) -> None:
        """Lead one conversation."""
        line = self._line(call)
        try:
            async with asyncio.timeout(CONNECT_S):
                session = await asyncio.shield(line.session)
        except (ProviderError, TimeoutError) as error:
            reason = str(error) or "timeout"
            call.log.warning("model not reached", error=reason)
            return await without_model(call, self.settings)
        try:
            await self._converse(call, session)
        finally:
            line.release()
        return None

    async def _converse(self, call: Call, session: RealtimeSession) -> None:
        conversation: RealtimeConversation | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                conversation = RealtimeConversation(
                    call, session, self.settings, self._toolbox, tasks
                )
                await conversation.run()
        finally:
            if conversation is not None:
                used = conversation.used.items()
                stats = {f"{name}_{unit}": count for (name, unit), count in used}
                call.add_stats(
                    {
                        **stats,
                        "turns": conversation.turns,
                        "interruptions": conversation.interruptions,
                    }
                )

    def _line(self, call: Call) -> _Line:
        """The call's session, which is opened now if it was not before."""
        if call.id not in self._lines:
            settings = self.settings
            setup = RealtimeSetup(
                settings.prompt,
                settings.listen_rate,
                settings.voice,
                settings.language,
                self._toolbox.described,
            )
            line = _Line(self._model, setup)
            task = asyncio.create_task(line.hold(call), name=f"realtime {call.id}")
            task.add_done_callback(lambda _: self._lines.pop(call.id, None))
            self._lines[call.id] = (line, task)
        return self._lines[call.id][0]
