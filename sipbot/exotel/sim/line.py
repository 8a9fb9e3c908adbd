"""The port between a scripted caller and a line to the bot."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

from sipbot.call.leg import Pcm
from sipbot.exotel.sim.ears import Ears

EndedBy: TypeAlias = Literal["bot", "caller", "network"]


class Line(Protocol):
    """The caller's end of one talk. On an ended line every action does nothing."""

    @property
    def rate(self) -> int:
        """Hz of what is spoken and heard."""
        ...

    @property
    def ears(self) -> Ears: ...

    @property
    def ended_by(self) -> EndedBy | None:
        """None while it lives."""
        ...

    async def speak(self, pcm: Pcm) -> None:
        """Speak; returns when all of it has left."""
        ...

    async def press(self, keys: str) -> None:
        """Press keys; returns when the last one was sent."""
        ...

    async def hold(self, on: bool) -> bool:
        """Begin or end a hold; False where this kind of line has none, or it was refused."""
        ...

    async def hang_up(self) -> None:
        """The caller leaves."""
        ...
