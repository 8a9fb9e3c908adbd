"""The recogniser's line and the inbox: bounded, reopened, in order."""

from __future__ import annotations

import asyncio

from sipbot.agent.ports import ListenFor, Transcript
from sipbot.agent.voice.ear import MAX_QUEUED, MAX_REOPENED, RecogniserLine, RecogniserLost
from sipbot.agent.voice.inbox import MAX_WAITING, Alarms, Inbox
from sipbot.call.call import NullLog
from sipbot.errors import ProviderError
from sipbot.testing.clock import virtual_time
from sipbot.testing.providers import ScriptedStt
from sipbot.testing.speech import tone


@virtual_time
async def test_audio_waits_for_a_slow_recogniser_up_to_a_limit() -> None:
    stt = ScriptedStt()
    line = RecogniserLine(stt, ListenFor(8_000), NullLog())
    for _ in range(MAX_QUEUED + 7):
        line.push(tone(20))
    assert line.dropped == 7
    task = asyncio.create_task(line.run())
    await asyncio.sleep(0.1)
    assert stt.pushed == MAX_QUEUED * 160
    task.cancel()
    await asyncio.wait({task})
    assert stt.open_now == 0


@virtual_time
async def test_it_is_opened_again_a_few_times_and_then_given_up() -> None:
    stt = ScriptedStt(failing=MAX_REOPENED + 1)
    line = RecogniserLine(stt, ListenFor(8_000), NullLog())
    heard: list[Transcript | RecogniserLost] = []
    line.listener = heard.append
    await line.run()
    assert heard == [RecogniserLost()]
    assert (line.lost, line.ready.is_set()) == (True, True)


@virtual_time
async def test_what_is_heard_makes_up_for_failures() -> None:
    stt = ScriptedStt()
    line = RecogniserLine(stt, ListenFor(8_000), NullLog())
    heard: list[Transcript | RecogniserLost] = []
    line.listener = heard.append
    task = asyncio.create_task(line.run())
    for number in range(3 * MAX_REOPENED):
        await asyncio.sleep(5.0)
        stt.lines[-1].final(f"text {number}")
        await asyncio.sleep(0.1)
        stt.lines[-1].fail(ProviderError("scripted", "cut-off"))
    await asyncio.sleep(5.0)
    assert stt.opened == 3 * MAX_REOPENED + 1
    assert len(heard) == 3 * MAX_REOPENED
    task.cancel()
    await asyncio.wait({task})


@virtual_time
async def test_the_inbox_is_bounded_and_waits_no_longer_than_told() -> None:
    inbox: Inbox[int] = Inbox()
    for number in range(MAX_WAITING + 3):
        inbox.put(number)
    assert inbox.dropped == 3
    assert [await inbox.get(None) for _ in range(MAX_WAITING)] == list(range(MAX_WAITING))
    loop = asyncio.get_running_loop()
    until = loop.time() + 2
    assert await inbox.get(until) is None
    assert loop.time() == until


def test_alarms_come_in_order_and_once() -> None:
    alarms = Alarms()
    for name, at in (("late", 3.0), ("first", 1.0), ("second", 2.0), ("never", 1.5)):
        alarms.set(name, at)
    alarms.unset("never", "unknown")
    assert alarms.next() == 1.0
    assert alarms.due(2.0) == ["first", "second"]
    assert alarms.due(2.0) == []
    assert alarms.next() == 3.0
