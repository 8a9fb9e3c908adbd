"""When calls may be made: weekdays and hours in a time zone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LOOK_AHEAD_DAYS: Final = 8  # a window that opens weekly opens within them
_DAY_MINUTES: Final = 24 * 60
_WINDOW: Final = re.compile(
    r"(?P<days>[a-z,-]+)\s+(?P<h1>\d{1,2}):(?P<m1>\d{2})\s*-\s*(?P<h2>\d{1,2}):(?P<m2>\d{2})"
)
FORM: Final = "must look like 'mon-fri 09:00-18:00', 'sat,sun 10:00-13:00' or 'daily 09:00-21:00'"


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of some weekdays. ``days`` count from 0 for Monday, times in minutes from midnight."""

    days: frozenset[int]
    first: int
    end: int  # the first minute that is outside

    def __str__(self) -> str:
        days = ",".join(DAYS[day] for day in sorted(self.days))
        return f"{days} {_clock(self.first)}-{_clock(self.end)}"

    @classmethod
    def parse(cls, text: str) -> Window:
        """Raises ValueError that says what is allowed."""
        match = _WINDOW.fullmatch(text.strip().lower())
        if match is None:
            raise ValueError(FORM)
        first = int(match["h1"]) * 60 + int(match["m1"])
        end = int(match["h2"]) * 60 + int(match["m2"])
        if int(match["m1"]) > 59 or int(match["m2"]) > 59 or end > _DAY_MINUTES:
            raise ValueError("the hours must lie between 00:00 and 24:00")
        if first >= end:
            raise ValueError("a window must end later on the same day than it begins")
        return cls(_days(match["days"]), first, end)


def _days(text: str) -> frozenset[int]:
    if text == "daily":
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(FORM)
        start, stop = DAYS.index(first), DAYS.index(last if dash else first)
        found.update(day % 7 for day in range(start, stop + (7 if stop < start else 0) + 1))
    return frozenset(found)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """Windows in a zone. Without windows it is always open."""

    windows: tuple[Window, ...]
    zone: ZoneInfo

    @classmethod
    def parse(cls, windows: Sequence[str], zone: str) -> Schedule:
        """Raises ValueError."""
        return cls(tuple(Window.parse(one) for one in windows), zone_named(zone))

    def is_open(self, wall: float) -> bool:
        """Whether calls may be made at ``wall``, in seconds since 1970 UTC."""
        if not self.windows:
            return True
        local = datetime.fromtimestamp(wall, self.zone)
        minute = local.hour * 60 + local.minute
        return any(
            local.weekday() in one.days and one.first <= minute < one.end for one in self.windows
        )

    def next_open(self, wall: float) -> float:
        """``wall`` while it is open, else when it opens next."""
        if self.is_open(wall):
            return wall
        return min(moment for moment in self._openings(wall) if moment > wall)

    def _openings(self, wall: float) -> Iterator[float]:
        today = datetime.fromtimestamp(wall, self.zone).date()
        for ahead in range(LOOK_AHEAD_DAYS):
            day = today + timedelta(days=ahead)
            for one in self.windows:
                if day.weekday() in one.days:
                    yield self._moment(day, one.first)

    def _moment(self, day: date, minute: int) -> float:
        return datetime.combine(day, time(minute // 60, minute % 60), self.zone).timestamp()


def zone_named(name: str) -> ZoneInfo:
    """A zone of the IANA database. Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError("must be a time zone such as Asia/Kolkata or UTC") from None
