"""The call on virtual time: what is said, heard, interrupted, marked and ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from sipbot.call.call import Call
from sipbot.call.events import (
    CallEnded,
    CallEvent,
    Dtmf,
    Ended,
    Held,
    MarkReached,
    Resumed,
    TransferRefused,
)
from sipbot.call.leg import EndReason, TransferResult
from sipbot.call.speech import Said
from sipbot.errors import LocalProtocolError, SpeechError
from sipbot.testing import FakeLeg, LoopClock, ScriptedSynthesizer, level, tone, virtual_time


async def started(leg: FakeLeg | None = None, **lengths_ms: int) -> tuple[Call, FakeLeg]:
    leg = leg or FakeLeg()
    speech = ScriptedSynthesizer(lengths_ms=lengths_ms, rate=16_000)
    call = Call(leg, call_id="c1", synthesizer=speech, clock=LoopClock())
    await call.answer()
    return call, leg


def now() -> float:
    return asyncio.get_running_loop().time()


async def after(seconds: float, act: Callable[[], Awaitable[object] | None]) -> None:
    await asyncio.sleep(seconds)
    result = act()
    if result is not None:
        await result


@virtual_time
async def test_say_returns_when_all_of_it_was_heard() -> None:
    call, leg = await started(hello=1_000)
    said = await call.say("hello")
    assert said == Said(heard_ms=1_000, total_ms=1_000, interrupted=False)
    assert now() == pytest.approx(1.0, abs=0.021)
    assert level(leg.heard[400:-400]) == pytest.approx(8_000 / 2**0.5, rel=0.02)
    await call.hangup()


@virtual_time
async def test_a_key_stops_interruptible_speech_at_once() -> None:
    call, leg = await started(hello=5_000)
    pressed = asyncio.create_task(after(1.0, lambda: leg.press("1")))
    said = await call.say("hello")
    assert said.interrupted
    assert said.heard_ms == pytest.approx(1_000, abs=21)
    assert now() == pytest.approx(1.0, abs=0.001)
    assert call.waiting_ms == 0
    assert await anext(call.events()) == Dtmf("1")
    await pressed
    await call.hangup()


@virtual_time
async def test_a_key_leaves_other_speech_alone() -> None:
    call, leg = await started(hello=2_000)
    pressed = asyncio.create_task(after(1.0, lambda: leg.press("1")))
    assert await call.say("hello", interruptible=False) == Said(2_000, 2_000, False)
    assert call.keys_waiting == 1
    await pressed
    await call.hangup()


@virtual_time
async def test_a_key_pressed_while_waiting_for_a_turn_counts_for_that_text_too() -> None:
    call, leg = await started(first=1_000, second=1_000)
    pressed = asyncio.create_task(after(0.5, lambda: leg.press("1")))
    first, second = await asyncio.gather(call.say("first"), call.say("second"))
    assert first.interrupted
    assert second == Said(0, 0, True)
    await pressed
    await call.hangup()


@virtual_time
async def test_texts_of_several_tasks_are_spoken_in_order() -> None:
    call, _ = await started(a=1_000, b=500, c=300)
    ends: list[tuple[str, float]] = []

    async def speak(text: str) -> None:
        await call.say(text)
        ends.append((text, round(now(), 1)))

    await asyncio.gather(speak("a"), speak("b"), speak("c"))
    assert ends == [("a", 1.0), ("b", 1.5), ("c", 1.8)]
    await call.hangup()


@virtual_time
async def test_clear_interrupts_speech_and_tells_what_was_not_heard() -> None:
    call, _ = await started(hello=1_500)
    cleared: list[int] = []

    async def clear() -> None:
        cleared.append(await call.clear())

    task = asyncio.create_task(after(0.5, clear))
    said = await call.say("hello", interruptible=False)
    assert said.interrupted
    assert said.heard_ms == pytest.approx(500, abs=21)
    assert cleared[0] + said.heard_ms == pytest.approx(1_500, abs=2)
    await task
    await call.hangup()


@virtual_time
async def test_clear_drops_texts_that_wait_for_their_turn() -> None:
    call, _ = await started(a=1_000, b=1_000)
    task = asyncio.create_task(after(0.2, call.clear))
    first, second = await asyncio.gather(call.say("a"), call.say("b", interruptible=False))
    assert first.interrupted
    assert second == Said(0, 0, True)
    assert await call.say("a") == Said(1_000, 1_000, False)
    await task
    await call.hangup()


@virtual_time
async def test_cancelled_speech_falls_silent() -> None:
    call, _ = await started(hello=5_000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await call.say("hello")
    assert call.waiting_ms == 0
    assert (await call.say("again")).interrupted is False
    await call.hangup()


@virtual_time
async def test_a_slow_synthesiser_is_closed_when_a_key_comes() -> None:
    leg = FakeLeg()
    speech = ScriptedSynthesizer(delay_s=30.0)
    call = Call(leg, call_id="c1", synthesizer=speech)
    await call.answer()
    pressed = asyncio.create_task(after(1.0, lambda: leg.press("1")))
    assert (await call.say("hello")).interrupted
    assert now() == pytest.approx(1.0, abs=0.001)
    assert speech.closed == 1
    await pressed
    await call.hangup()


@virtual_time
async def test_failed_speech_raises_and_frees_the_line() -> None:
    leg = FakeLeg()
    speech = ScriptedSynthesizer(failing=frozenset({"bad"}))
    call = Call(leg, call_id="c1", synthesizer=speech)
    await call.answer()
    with pytest.raises(SpeechError):
        await call.say("bad")
    assert (await call.say("good")).total_ms == speech.length_ms("good")
    await call.hangup()


@virtual_time
async def test_speech_without_a_synthesiser_is_a_clear_error() -> None:
    call = Call(FakeLeg(), call_id="c1")
    await call.answer()
    with pytest.raises(SpeechError, match="no speech synthesiser"):
        await call.say("hello")
    await call.hangup()


@virtual_time
async def test_prepared_speech_is_made_once() -> None:
    leg, speech = FakeLeg(), ScriptedSynthesizer()
    call = Call(leg, call_id="c1", synthesizer=speech)
    await call.prepare("hello")
    await call.answer()
    said = await call.say("hello")
    assert said.heard_ms == speech.length_ms("hello")
    assert speech.asked == ["hello"]
    await call.hangup()


@virtual_time
async def test_play_is_held_back_by_a_full_line() -> None:
    call, leg = await started()
    await call.play(tone(2_000), 8_000)
    assert now() == 0.0
    await call.play(tone(2_000), 8_000)
    assert now() == pytest.approx(1.95, abs=0.13)
    await call.drain()
    assert now() == pytest.approx(4.0, abs=0.021)
    assert call.played_ms == 4_000
    assert np.array_equal(leg.heard, np.concatenate((tone(2_000), tone(2_000))))
    await call.hangup()


@virtual_time
async def test_play_takes_bytes_and_other_rates() -> None:
    call, leg = await started()
    audio = tone(500, 24_000)
    for start in range(0, len(audio), 480):
        await call.play(audio[start : start + 480].tobytes(), 24_000)
    await call.drain()
    assert call.played_ms == 500
    assert level(leg.heard[400:3_600]) == pytest.approx(8_000 / 2**0.5, rel=0.02)
    await call.hangup()


@virtual_time
async def test_play_blocked_by_a_full_line_gives_up_when_cleared() -> None:
    call, _ = await started()
    task = asyncio.create_task(after(0.5, call.clear))
    await call.play(tone(10_000), 8_000)
    assert now() <= 0.6
    assert call.waiting_ms == 0
    await task
    await call.hangup()


@virtual_time
async def test_play_refuses_what_is_no_audio() -> None:
    call, _ = await started()
    with pytest.raises(TypeError):
        await call.play(np.zeros((2, 2), np.int16), 8_000)
    with pytest.raises(ValueError, match="Hz"):
        await call.play(tone(20), 1)
    await call.hangup()


@virtual_time
async def test_marks_tell_played_from_cleared() -> None:
    call, _ = await started()
    await call.play(tone(200), 8_000)
    await call.mark("first")
    await call.play(tone(1_000), 8_000)
    await call.mark("second")
    events = call.events()
    assert await anext(events) == MarkReached("first", played=True)
    assert now() == pytest.approx(0.2, abs=0.021)
    await call.clear()
    assert await anext(events) == MarkReached("second", played=False)
    await call.mark("third")
    assert await anext(events) == MarkReached("third", played=True)
    await call.hangup()


@virtual_time
async def test_marks_settle_before_the_end() -> None:
    call, leg = await started()
    await call.play(tone(1_000), 8_000)
    await call.mark("late")
    leg.hang_up()
    assert [event async for event in call.events()] == [
        MarkReached("late", played=False),
        Ended(EndReason.CALLER_HUNG_UP),
    ]


@virtual_time
async def test_events_come_in_order_and_stop_after_the_end() -> None:
    call, leg = await started()
    leg.press("5")
    leg.hold()
    leg.resume()
    leg.hang_up()
    events: list[CallEvent] = [event async for event in call.events()]
    assert events == [Dtmf("5"), Held(), Resumed(), Ended(EndReason.CALLER_HUNG_UP)]
    assert [event async for event in call.events()] == []


@virtual_time
async def test_everything_that_waits_ends_with_the_call() -> None:
    call, leg = await started(hello=10_000)
    waiting = [
        asyncio.create_task(call.say("hello")),
        asyncio.create_task(call.say("hello", interruptible=False)),
        asyncio.create_task(call.drain()),
        asyncio.create_task(call.play(tone(100), 8_000)),
        asyncio.create_task(call.send_dtmf("1" * 50)),
    ]
    await asyncio.sleep(1.0)
    leg.hang_up()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, CallEnded) for result in results), results
    assert now() == pytest.approx(1.0)


@virtual_time
async def test_nothing_works_after_the_end_but_hanging_up() -> None:
    call, leg = await started()
    leg.hang_up(EndReason.MEDIA_TIMEOUT)
    for act in (call.drain, call.clear, call.ring, call.answer):
        with pytest.raises(CallEnded) as ended:
            await act()
        assert ended.value.reason is EndReason.MEDIA_TIMEOUT
    await call.hangup()
    assert [frame async for frame in call.audio()] == []


@virtual_time
async def test_speaking_before_the_answer_is_our_mistake() -> None:
    call = Call(FakeLeg(), call_id="c1")
    with pytest.raises(LocalProtocolError):
        await call.say("hello")
    with pytest.raises(LocalProtocolError):
        await call.play(tone(20), 8_000)


@virtual_time
async def test_audio_comes_in_frames_of_20_ms_at_the_rate_asked_for() -> None:
    call, leg = await started()
    leg.speak(tone(1_000, level=10_000))
    frames = []
    async for frame in call.audio(rate=16_000):
        frames.append(frame)
        if len(frames) == 45:
            break
    assert {len(frame) for frame in frames} == {320}
    assert level(np.concatenate(frames[5:40])) == pytest.approx(10_000 / 2**0.5, rel=0.02)
    await call.hangup()


@virtual_time
async def test_audio_is_from_now_on_and_knows_its_place() -> None:
    call, leg = await started()
    leg.speak(tone(1_000))
    await asyncio.sleep(1.5)
    stream = call.audio(8_000)
    frame = await anext(stream)
    assert level(frame) == 0.0
    assert stream.position_ms == pytest.approx(1_520, abs=21)
    await call.hangup()


@virtual_time
async def test_a_later_listener_takes_over() -> None:
    call, _ = await started()
    first = call.audio(8_000)
    await anext(first)
    second = call.audio(8_000)
    await anext(second)
    with pytest.raises(StopAsyncIteration):
        await anext(first)
    await call.hangup()


@virtual_time
async def test_listening_twice_at_once_is_our_mistake() -> None:
    call, _ = await started()
    stream = call.audio(8_000)
    task = asyncio.ensure_future(stream.__anext__())
    await asyncio.sleep(0)
    with pytest.raises(LocalProtocolError):
        call.audio(8_000)
    await task
    await call.hangup()


@virtual_time
async def test_hanging_up_lets_the_last_words_be_heard() -> None:
    call, leg = await started()
    await call.play(tone(1_000), 8_000)
    await call.hangup()
    assert call.played_ms == 1_000
    assert leg.steps == ["answer", "hangup bot-hung-up"]
    assert call.end_reason is EndReason.BOT_HUNG_UP


@virtual_time
async def test_hanging_up_now_does_not_wait() -> None:
    call, _ = await started()
    await call.play(tone(1_000), 8_000)
    await call.hangup(now=True)
    assert now() == 0.0


@virtual_time
async def test_transfer_waits_for_the_last_words_and_ends_the_call() -> None:
    call, leg = await started()
    await call.play(tone(1_000), 8_000)
    await call.transfer("front-desk")
    assert leg.steps == ["answer", "transfer front-desk", "hangup transferred"]
    assert call.played_ms == 1_000
    assert call.end_reason is EndReason.TRANSFERRED


@virtual_time
async def test_a_refused_transfer_leaves_the_call_as_it_was() -> None:
    call, _ = await started(FakeLeg(transfer_result=TransferResult(False, "no-refer")), sorry=200)
    with pytest.raises(TransferRefused) as refused:
        await call.transfer("front-desk")
    assert refused.value.detail == "no-refer"
    assert (await call.say("sorry")).heard_ms == 200
    await call.hangup()


@virtual_time
async def test_keys_that_do_not_exist_are_refused_without_naming_them() -> None:
    call, leg = await started()
    with pytest.raises(ValueError, match="keys are") as refused:
        await call.send_dtmf("12x")
    assert "12x" not in str(refused.value)
    await call.send_dtmf("12#")
    assert leg.steps[-1] == "dtmf 12#"
    await call.hangup()


@virtual_time
async def test_the_record_has_the_times() -> None:
    leg = FakeLeg()
    call = Call(leg, call_id="c1", agent_name="a", clock=LoopClock(), rule="routes[0]")
    await call.ring()
    await asyncio.sleep(2.0)
    await call.answer()
    await asyncio.sleep(3.0)
    leg.press("1")
    leg.hang_up()
    record = call.record(stats={"lost": 0})
    assert (record.setup_ms, record.talk_ms, record.keys) == (2_000, 3_000, 1)
    assert record.rung_at == record.invited_at == call.started_at
    assert (record.reason, record.detail) == (EndReason.CALLER_HUNG_UP, "scripted")
    assert (record.agent, record.rule, record.stats) == ("a", "routes[0]", {"lost": 0})
    assert record.caller == call.caller == leg.info.caller


@virtual_time
async def test_events_that_nobody_takes_are_bounded_but_the_end_comes() -> None:
    call, leg = await started()
    for _ in range(1_005):
        leg.press("1")
    leg.hang_up()
    events = [event async for event in call.events()]
    assert len(events) == 1_001
    assert events[-1] == Ended(EndReason.CALLER_HUNG_UP)
    assert call.record().dropped_events == 5


@virtual_time
async def test_rejecting_is_for_calls_not_yet_answered() -> None:
    leg = FakeLeg()
    call = Call(leg, call_id="c1")
    await call.reject(486)
    assert call.end_reason is EndReason.REJECTED
    call, _ = await started()
    with pytest.raises(LocalProtocolError):
        await call.reject()
    await call.hangup()


@virtual_time
async def test_speech_waits_while_the_caller_holds() -> None:
    call, leg = await started(hello=1_000)
    loop = asyncio.get_running_loop()
    loop.call_later(0.5, leg.hold)
    loop.call_later(30.5, leg.resume)
    assert await call.say("hello") == Said(1_000, 1_000, False)
    assert now() == pytest.approx(31.0, abs=0.05)
    await call.hangup()


@virtual_time
async def test_a_caller_who_holds_cannot_keep_us_from_hanging_up() -> None:
    call, leg = await started()
    leg.hold()
    await call.play(tone(100), 8_000)
    await call.hangup()
    assert now() == pytest.approx(60.0)
    assert call.end_reason is EndReason.BOT_HUNG_UP


@virtual_time
async def test_a_finished_piece_is_presented_like_speech() -> None:
    call, leg = await started()
    assert await call.present(tone(500, 16_000), 16_000) == Said(500, 500, False)
    pressed = asyncio.create_task(after(0.2, lambda: leg.press("1")))
    said = await call.present(tone(1_000), 8_000)
    assert said.interrupted
    assert said.heard_ms == pytest.approx(200, abs=21)
    await pressed
    await call.hangup()
