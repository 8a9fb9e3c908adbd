"""Reading keys: time limits, typing ahead, finish keys, hold."""

from __future__ import annotations

import asyncio

import pytest

from sipbot.agent.keys import KeyReader, Typed
from sipbot.call.call import Call
from sipbot.call.events import CallEnded
from sipbot.testing import FakeLeg, virtual_time


async def make() -> tuple[KeyReader, FakeLeg]:
    leg = FakeLeg()
    call = Call(leg, call_id="c1")
    await call.answer()
    return KeyReader(call), leg


def later(seconds: float, leg: FakeLeg, keys: str, gap_s: float = 0.5) -> None:
    loop = asyncio.get_running_loop()
    for index, key in enumerate(keys):
        loop.call_later(seconds + index * gap_s, leg.press, key)


def now() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_a_key_comes_in_time_or_not() -> None:
    reader, leg = await make()
    later(2.0, leg, "5")
    assert await reader.key(3.0) == "5"
    assert await reader.key(3.0) is None
    assert now() == pytest.approx(5.0)
    leg.hang_up()


@virtual_time
async def test_the_end_of_the_call_ends_the_wait() -> None:
    reader, leg = await make()
    asyncio.get_running_loop().call_later(1.0, leg.hang_up)
    for _ in range(2):
        with pytest.raises(CallEnded):
            await reader.key(100.0)
        assert now() == pytest.approx(1.0)


@virtual_time
async def test_the_clock_stands_still_during_hold() -> None:
    reader, leg = await make()
    loop = asyncio.get_running_loop()
    loop.call_later(2.0, leg.hold)
    loop.call_later(60.0, leg.resume)
    later(62.0, leg, "7")
    assert await reader.key(3.0) == "7"
    leg.hang_up()


@pytest.mark.parametrize(
    ("typed", "expected", "at"),
    [
        ("1234", Typed("1234", True), 2.5),
        ("12#", Typed("12", True), 2.0),
        ("1#", Typed("1", False), 1.5),
        ("12", Typed("12", True), 4.5),
        ("1", Typed("1", False), 4.0),
        ("#", Typed("", False), 1.0),
        ("", Typed("", False), 6.0),
    ],
)
@virtual_time
async def test_input_ends_by_number_finish_key_or_silence(
    typed: str, expected: Typed, at: float
) -> None:
    reader, leg = await make()
    later(1.0, leg, typed)
    assert await reader.keys(2, 4, finish="#") == expected
    assert now() == pytest.approx(at if len(typed) < 4 else at + 1.0)
    leg.hang_up()


@virtual_time
async def test_a_finish_key_after_the_last_digit_is_swallowed() -> None:
    reader, leg = await make()
    later(0.1, leg, "1234#", 0.1)
    assert await reader.keys(2, 4, finish="#") == Typed("1234", True)
    assert not reader.waiting
    leg.hang_up()


@virtual_time
async def test_another_key_after_the_last_digit_is_kept() -> None:
    reader, leg = await make()
    later(0.1, leg, "12349", 0.1)
    await reader.keys(2, 4, finish="#")
    assert reader.waiting
    assert await reader.key(1.0) == "9"
    leg.hang_up()


@virtual_time
async def test_a_fixed_number_of_keys_needs_no_finish_key() -> None:
    reader, leg = await make()
    later(0.1, leg, "1234", 0.1)
    assert await reader.keys(4, 4, finish="#") == Typed("1234", True)
    assert now() == pytest.approx(0.4)
    leg.hang_up()


@virtual_time
async def test_what_was_typed_ahead_waits_and_can_be_forgotten() -> None:
    reader, leg = await make()
    for key in "123":
        leg.press(key)
    assert reader.waiting
    assert await reader.key(1.0) == "1"
    await reader.forget()
    assert await reader.key(1.0) is None
    leg.hang_up()
