"""Time windows by zone, on days when the clocks change too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.outbound.windows import Schedule, Window

INDIA = ZoneInfo("Asia/Kolkata")


def at(text: str, zone: str = "Asia/Kolkata") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def schedule(*windows: str, zone: str = "Asia/Kolkata") -> Schedule:
    return Schedule.parse(windows, zone)


def test_open_and_closed_to_the_minute() -> None:
    office = schedule("mon-fri 09:00-18:00")
    assert not office.is_open(at("2026-11-25 08:59:59"))  # a Wednesday
    assert office.is_open(at("2026-11-25 09:00:00"))
    assert office.is_open(at("2026-11-25 17:59:59"))
    assert not office.is_open(at("2026-11-25 18:00:00"))
    assert not office.is_open(at("2026-11-28 12:00:00"))  # a Saturday


def test_the_zone_decides_not_the_machine() -> None:
    office = schedule("daily 09:00-10:00")
    assert office.is_open(datetime(2026, 11, 25, 3, 30, tzinfo=UTC).timestamp())
    assert not office.is_open(datetime(2026, 11, 25, 9, 30, tzinfo=UTC).timestamp())


def test_next_opening() -> None:
    office = schedule("mon-fri 09:00-13:00", "mon-fri 14:00-18:00")
    assert office.next_open(at("2026-11-25 08:00")) == at("2026-11-25 09:00")
    assert office.next_open(at("2026-11-25 13:30")) == at("2026-11-25 14:00")
    assert office.next_open(at("2026-11-25 15:00")) == at("2026-11-25 15:00")
    assert office.next_open(at("2026-11-27 18:00")) == at("2026-11-30 09:00")  # over the weekend


def test_a_weekly_window_found_right_after_it_closed() -> None:
    weekly = schedule("sun 10:00-11:00")
    assert weekly.next_open(at("2026-11-29 11:00")) == at("2026-12-06 10:00")


def test_days_that_wrap_and_lists() -> None:
    assert Window.parse("sat-mon 00:00-24:00").days == {5, 6, 0}
    assert Window.parse("mon,wed , 09:00-10:00".replace(" ,", "")).days == {0, 2}
    assert str(Window.parse("Sat,Sun 9:05-10:00")) == "sat,sun 09:05-10:00"


def test_without_windows_always_open() -> None:
    assert schedule().is_open(0.0)
    assert schedule().next_open(5.0) == 5.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mon",
        "mon 9-18",
        "foo 09:00-10:00",
        "mon 10:00-09:00",
        "mon 09:00-24:01",
        "mon 09:60-10:00",
    ],
)
def test_mistakes_are_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|window"):
        Window.parse(text)


def test_unknown_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        schedule(zone="Mars/Olympus")
    with pytest.raises(ValueError, match="time zone"):
        schedule(zone="../../etc/passwd")


def test_hours_of_a_day_when_clocks_change() -> None:
    berlin = schedule("daily 09:00-10:00", zone="Europe/Berlin")
    # 29 March 2026: summer time begins, nine o'clock is an hour earlier than the day before.
    first = berlin.next_open(at("2026-03-28 12:00", "Europe/Berlin"))
    assert first == datetime(2026, 3, 29, 7, 0, tzinfo=UTC).timestamp()


@given(st.floats(min_value=1.6e9, max_value=1.9e9), st.sampled_from(["UTC", "Europe/Berlin"]))
def test_it_is_open_when_it_says_it_opens(now: float, zone: str) -> None:
    office = schedule("mon-fri 09:00-12:30", "sat 10:00-11:00", zone=zone)
    opens = office.next_open(now)
    assert office.is_open(opens)
    assert 0 <= opens - now <= timedelta(days=3).total_seconds()
