"""The scripted caller against a bot in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sipbot.call.leg import Pcm
from sipbot.exotel.sim.caller import Caller
from sipbot.exotel.sim.load import scenario_of
from sipbot.exotel.sim.steps import Action
from sipbot.testing import tone, virtual_time

from .kit import FakeLine


async def voice(action: Action, rate: int) -> Pcm:
    assert rate == 8_000
    return tone(action.tone_ms or 800)


@asynccontextmanager
async def calling() -> AsyncIterator[tuple[Caller, FakeLine]]:
    line = FakeLine()
    try:
        yield Caller(line, voice), line
    finally:
        await line.close()


async def follow(caller: Caller, *steps: str) -> list[tuple[str, bool, str]]:
    text = "caller:\n" + "".join(f"  - {step}\n" for step in steps)
    verdict = await caller.follow(scenario_of(text).scenario.caller)
    assert verdict is all(result.passed for result in caller.results)
    return [(result.name, result.passed, result.detail) for result in caller.results]


@virtual_time
async def test_a_good_conversation() -> None:
    async with calling() as (caller, line):
        line.says((600, 900), (200, 500))
        asyncio.get_running_loop().call_later(6, line.ends, "bot")
        found = await follow(
            caller,
            "wait_speech: {within_ms: 1000}",
            "wait_silence: {for_ms: 500, within_ms: 4000}",
            "press: 12",
            "say: hello",
            "pause_ms: 100",
            "wait_end: {within_ms: 4000}",
        )
    assert [passed for _, passed, _ in found] == [True] * 6
    assert found[0][2] == "heard after 600 ms"
    assert found[1][2] == "silent after 1560 ms"
    assert line.pressed == ["12"]
    assert line.spoken == 6_400


@virtual_time
async def test_times_are_limits() -> None:
    async with calling() as (caller, line):
        line.says((1500, 500))
        found = await follow(caller, "wait_speech: {within_ms: 1000}", "press: 1")
    assert found == [("wait_speech", False, "nothing was heard for 1000 ms")]
    assert line.pressed == []  # nothing is done after a failure
    async with calling() as (caller, line):
        line.says((0, 5000))
        found = await follow(caller, "wait_silence: {within_ms: 2000}")
    assert found == [("wait_silence", False, "not silent for 700 ms within 2000 ms")]
    async with calling() as (caller, line):
        found = await follow(caller, "wait_end: {within_ms: 500}")
    assert found == [("wait_end", False, "the bot did not end the talk within 500 ms")]


@virtual_time
async def test_an_interruption_that_the_bot_obeys() -> None:
    async with calling() as (caller, line):
        line.says((300, 8_000))
        line.cut_after_ms, line.reply_after_ms, line.reply_ms = 120, 700, 400
        found = await follow(
            caller,
            "interrupt: {after_ms: 500, press: 1, silent_within_ms: 400, speech_within_ms: 1500}",
        )
    [(name, passed, detail)] = found
    assert (name, passed) == ("interrupt", True)
    silent, heard = (int(part.split()[2]) for part in detail.split(", "))
    assert 100 <= silent <= 160
    assert 680 <= heard <= 720
    assert 800 <= line.ears.sounds[0].end <= 1_000


@virtual_time
async def test_an_interruption_by_speech_counts_from_its_beginning() -> None:
    async with calling() as (caller, line):
        line.says((0, 8_000))
        line.cut_after_ms = 300
        found = await follow(caller, "interrupt: {after_ms: 200, say: stop, silent_within_ms: 400}")
    assert found[0][1], found
    assert line.spoken == 6_400


@pytest.mark.parametrize("cut_after_ms", [None, 700])
def test_a_bot_that_speaks_on_is_caught(cut_after_ms: int | None) -> None:
    @virtual_time
    async def judged() -> list[tuple[str, bool, str]]:
        async with calling() as (caller, line):
            line.says((0, 8_000))
            line.cut_after_ms = cut_after_ms
            return await follow(
                caller, "interrupt: {after_ms: 200, press: 1, silent_within_ms: 400}"
            )

    assert judged() == [("interrupt", False, "the bot spoke on for more than 400 ms")]


@virtual_time
async def test_pauses_between_words_are_no_obedience() -> None:
    async with calling() as (caller, line):
        line.says(*[(460, 250)] * 20)
        found = await follow(caller, "interrupt: {after_ms: 300, press: 1, silent_within_ms: 1000}")
    assert not found[0][1]


@virtual_time
async def test_an_interruption_begins_in_the_middle_of_a_word() -> None:
    async with calling() as (caller, line):
        line.says((0, 500), (400, 500), (400, 5_000))
        line.cut_after_ms = 100
        found = await follow(caller, "interrupt: {after_ms: 600, press: 1, silent_within_ms: 400}")
    assert found[0][1], found
    assert line.ears.sounds[1].start == 900
    assert line.ears.sounds[1].end < 1_100


@virtual_time
async def test_there_must_be_something_to_interrupt() -> None:
    async with calling() as (caller, line):
        line.says((0, 300))
        found = await follow(caller, "interrupt: {after_ms: 2000, press: 1, silent_within_ms: 400}")
    assert found[0][2] == "the bot had fallen silent before it could be interrupted"
    async with calling() as (caller, line):
        found = await follow(
            caller, "interrupt: {begins_within_ms: 300, press: 1, silent_within_ms: 400}"
        )
    assert found[0][2] == "the bot did not speak within 300 ms"
    assert line.pressed == []


@virtual_time
async def test_a_key_must_be_answered() -> None:
    async with calling() as (caller, line):
        line.cut_after_ms, line.reply_after_ms, line.reply_ms = 100, 500, 300
        found = await follow(caller, "act: {press: 1, speech_within_ms: 1000}")
        assert found[0][1], found
        assert await follow(caller, "act: {press: 2, speech_within_ms: 100}") != found
    assert caller.results[-1].detail == "nothing was heard within 100 ms"


@virtual_time
async def test_hold_and_lines_without_it() -> None:
    async with calling() as (caller, line):
        assert await follow(caller, "hold_ms: 500") == [("hold_ms", True, "")]
        assert line.holds == [True, False]
        line.can_hold = False
        found = await follow(caller, "hold_ms: 500")
    assert found[-1] == ("hold_ms", True, "this line has no hold")


@virtual_time
async def test_the_end_of_the_talk_in_the_middle_of_the_script() -> None:
    async with calling() as (caller, line):
        asyncio.get_running_loop().call_later(0.5, line.ends, "bot")
        found = await follow(caller, "wait_speech: {}", "press: 1")
    assert found == [("wait_speech", False, "the talk was ended by the bot before")]


@virtual_time
async def test_the_caller_leaves() -> None:
    async with calling() as (caller, line):
        await follow(caller, "hang_up:")
        assert line.ended_by == "caller"
        found = await follow(caller, "wait_end: {}")
    assert found[-1] == ("wait_end", False, "the talk was ended by the caller before")
