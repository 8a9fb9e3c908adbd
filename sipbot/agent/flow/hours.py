"""Opening hours: ``mon-sat 09:00-19:00``, ``sun 10:00-12:30``, ``daily 00:00-24:00``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES: Final = 24 * 60
_PERIOD: Final = re.compile(
    r"(daily|[a-z]{3}(?:-[a-z]{3})?(?:,[a-z]{3}(?:-[a-z]{3})?)*) (\d\d):(\d\d)-(\d\d):(\d\d)"
)


def check_period(text: str) -> str:
    """``text`` as it is. Raises ValueError unless it is a period."""
    _read(text)
    return text


def is_open(
    now: float, periods: Sequence[str], timezone: str, holidays: Sequence[str] = ()
) -> bool:
    """Whether ``now`` (seconds since 1970 UTC) lies in one of the periods and on no holiday.

    A period whose end is before its beginning goes on past midnight.
    """
    local = datetime.fromtimestamp(now, ZoneInfo(timezone))
    if local.date().isoformat() in holidays:
        return False
    minute, today = local.hour * 60 + local.minute, local.weekday()
    for period in periods:
        days, begin, end = _read(period)
        if begin <= end:
            if today in days and begin <= minute < end:
                return True
        elif (today in days and minute >= begin) or ((today - 1) % 7 in days and minute < end):
            return True
    return False


def _read(text: str) -> tuple[frozenset[int], int, int]:
    """Days (0 is Monday), first minute, and the minute after the last one."""
    found = _PERIOD.fullmatch(text.casefold().strip())
    if found is None:
        raise ValueError("write a period as 'mon-sat 09:00-19:00' or 'daily 10:00-12:30'")
    hour, minute, to_hour, to_minute = map(int, found.groups()[1:])
    begin, end = hour * 60 + minute, to_hour * 60 + to_minute
    if minute > 59 or to_minute > 59 or begin > DAY_MINUTES or end > DAY_MINUTES or begin == end:
        raise ValueError("the times of a period lie between 00:00 and 24:00 and differ")
    return _days(found.group(1)), begin, end


def _days(text: str) -> frozenset[int]:
    if text == "daily":
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise ValueError(f"the days are {', '.join(DAYS)}")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        days.update(day % 7 for day in range(begin, end + (7 if end < begin else 0) + 1))
    return frozenset(days)
