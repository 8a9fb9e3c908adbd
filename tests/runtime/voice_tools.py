"""What the tests of voice agents load by name."""

from __future__ import annotations


async def slots(day: str, hour: int = 9) -> dict[str, object]:
    """Free slots of a day."""
    return {"day": day, "hour": hour}


def not_async(day: str) -> str:
    return day


class NoRule:
    """Has no method hold_ms."""


class Quick:
    """Never waits long."""

    def hold_ms(self, text: str, speech_ms: float) -> float:
        return 120
