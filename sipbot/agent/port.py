"""The agent port."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from sipbot.call.call import Call


class Agent(Protocol):
    """Leads conversations. One object serves all calls: what belongs to a call lives in ``run``."""

    async def run(self, call: Call) -> None:
        """Lead one conversation, which is answered already.

        Returning hangs up, after all queued audio was heard. ``CallEnded`` may pass through: it
        is how a hang-up of the caller ends an agent. Any other exception is a failure.
        """
        ...


@runtime_checkable
class PreparesCalls(Protocol):
    """An agent that wants a moment while it still rings."""

    async def prepare(self, call: Call) -> None:
        """Get ready before the call is answered, e.g. ``await call.prepare(greeting)``.

        Bounded in time; what is not ready by then is cancelled and the call answered anyway. May
        ``call.reject()`` the call. An exception refuses the call.
        """
        ...
