"""What every kind of leg must do. Subclass ``LegContract`` and provide the ``harness`` fixture.

The harness plays the peer and moves time; nothing here sleeps. ``tests/legs/test_fake_leg.py`` is
the smallest example.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

import numpy as np
import pytest

from sipbot.call.leg import EndReason, Leg, LegDtmf, LegEnded, LegEvent, Pcm

T = TypeVar("T")


class LegHarness(Protocol):
    """One leg of a new, unanswered inbound call, and the peer on its other side."""

    leg: Leg

    async def advance(self, ms: int) -> None:
        """Let ``ms`` (a multiple of 20) pass: audio moves, timers fire, tasks run."""
        ...

    async def peer_sends(self, pcm: Pcm) -> None:
        """The peer says this, at the leg's rate, from now on as time passes."""
        ...

    def peer_heard(self) -> Pcm:
        """All audio that reached the peer so far, silence included, at the leg's rate."""
        ...

    async def peer_presses(self, digit: str) -> None:
        """The peer presses one key; the event is out when this and 300 ms have passed."""
        ...

    async def peer_hangs_up(self) -> None:
        """The peer ends the call, or cancels it when it was not answered."""
        ...

    def peer_saw(self) -> list[str]:
        """What the peer was told: of ``ringing``, ``answered``, ``rejected 486``, ``ended``."""
        ...


def tone(ms: int, rate: int, level: int = 8_000) -> Pcm:
    time = np.arange(rate * ms // 1000) / rate
    samples: Pcm = np.rint(level * np.sin(2 * np.pi * 500 * time)).astype(np.int16)
    return samples


def loudness(pcm: Pcm) -> float:
    return float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64)))) if len(pcm) else 0.0


def loud_ms(pcm: Pcm, rate: int) -> float:
    """How much of the audio is tone and not silence; blocks of 5 ms."""
    block = rate // 200
    blocks = pcm[: len(pcm) // block * block].reshape(-1, block).astype(np.float64)
    return float(np.sum(np.sqrt(np.mean(blocks**2, axis=1)) > 1_000)) * 5


class LegContract:
    """The tests. They bear the loss of telephone codecs, but no lost or added audio."""

    @staticmethod
    def listen(harness: LegHarness) -> list[LegEvent]:
        events: list[LegEvent] = []
        harness.leg.attach(events.append)
        return events

    @staticmethod
    async def settle(harness: LegHarness, waiting: asyncio.Task[T], limit_ms: int = 3_000) -> T:
        """Let time pass until ``waiting`` is done."""
        for _ in range(limit_ms // 20):
            if waiting.done():
                break
            await harness.advance(20)
        assert waiting.done(), f"not done after {limit_ms} ms"
        return waiting.result()

    async def done(self, harness: LegHarness, work: Coroutine[Any, Any, T]) -> T:
        return await self.settle(harness, asyncio.ensure_future(work))

    async def answered(self, harness: LegHarness) -> list[LegEvent]:
        events = self.listen(harness)
        await self.done(harness, harness.leg.answer())
        await harness.advance(40)
        return events

    async def test_ringing_and_answering_are_told_once(self, harness: LegHarness) -> None:
        for _ in range(2):
            await self.done(harness, harness.leg.ring())
        for _ in range(2):
            await self.done(harness, harness.leg.answer())
        await harness.advance(100)
        assert harness.peer_saw() == ["ringing", "answered"]
        assert not harness.leg.ended

    async def test_a_rejected_call_is_over(self, harness: LegHarness) -> None:
        events = self.listen(harness)
        for _ in range(2):
            await self.done(harness, harness.leg.reject(486))
        await harness.advance(100)
        assert harness.leg.ended
        assert [type(event) for event in events] == [LegEnded]
        assert events[0] == LegEnded(EndReason.REJECTED, events[0].detail)  # type: ignore[union-attr]
        assert harness.peer_saw() == ["rejected 486"]

    async def test_a_cancelled_call_is_over(self, harness: LegHarness) -> None:
        events = self.listen(harness)
        await self.done(harness, harness.leg.ring())
        await harness.peer_hangs_up()
        await harness.advance(100)
        assert harness.leg.ended
        assert isinstance(events[-1], LegEnded)
        assert events[-1].reason is EndReason.CANCELLED
        await self.done(harness, harness.leg.answer())
        assert "answered" not in harness.peer_saw()

    async def test_the_peer_hangs_up(self, harness: LegHarness) -> None:
        events = await self.answered(harness)
        await harness.peer_hangs_up()
        await harness.advance(100)
        assert harness.leg.ended
        ends = [event for event in events if isinstance(event, LegEnded)]
        assert [end.reason for end in ends] == [EndReason.CALLER_HUNG_UP]
        assert events[-1] is ends[0]

    async def test_we_hang_up_and_say_why(self, harness: LegHarness) -> None:
        events = await self.answered(harness)
        await self.done(harness, harness.leg.hangup(EndReason.AGENT_FAILED))
        await self.done(harness, harness.leg.hangup())
        await harness.advance(100)
        ends = [event for event in events if isinstance(event, LegEnded)]
        assert [end.reason for end in ends] == [EndReason.AGENT_FAILED]
        assert harness.peer_saw()[-1] == "ended"

    async def test_events_are_kept_until_somebody_listens(self, harness: LegHarness) -> None:
        await self.done(harness, harness.leg.ring())
        await harness.peer_hangs_up()
        await harness.advance(100)
        events = self.listen(harness)
        assert [type(event) for event in events] == [LegEnded]

    async def test_the_peer_is_heard(self, harness: LegHarness) -> None:
        await self.answered(harness)
        audio = harness.leg.audio
        audio.read()
        before = audio.received
        await harness.peer_sends(tone(500, audio.rate))
        parts = []
        for _ in range(40):
            await harness.advance(20)
            parts.append(audio.read())
        heard = np.concatenate(parts)
        assert audio.received - before == len(heard)
        assert len(heard) * 1000 / audio.rate == pytest.approx(800, abs=60)
        assert loud_ms(heard, audio.rate) == pytest.approx(500, abs=10)
        start = int(np.argmax(np.abs(heard) > 1_000))
        middle = heard[start + 400 : start + 2_400]
        assert loudness(middle) == pytest.approx(8_000 / 2**0.5, rel=0.05)

    async def test_reading_waits_for_audio(self, harness: LegHarness) -> None:
        await self.answered(harness)
        audio = harness.leg.audio
        audio.read()
        assert len(audio.read()) == 0
        await harness.peer_sends(tone(200, audio.rate))
        assert await self.done(harness, audio.wait_readable())
        assert len(audio.read()) > 0

    async def test_the_peer_hears_us_and_positions_tell_when(self, harness: LegHarness) -> None:
        await self.answered(harness)
        audio = harness.leg.audio
        sound = tone(600, audio.rate)
        assert audio.write(sound) == len(sound)
        assert audio.written == len(sound)
        await harness.advance(300)
        assert audio.played == audio.consumed
        assert audio.played * 1000 / audio.rate == pytest.approx(300, abs=60)
        assert await self.done(harness, audio.wait_consumed(len(sound)))
        await harness.advance(100)
        assert audio.played == audio.consumed == audio.written == len(sound)
        heard = harness.peer_heard()
        assert loud_ms(heard, audio.rate) == pytest.approx(600, abs=10)
        start = int(np.argmax(np.abs(heard) > 1_000))
        middle = heard[start + 400 : start + 3_200]
        assert loudness(middle) == pytest.approx(8_000 / 2**0.5, rel=0.05)

    async def test_pieces_of_any_length_join_without_a_seam(self, harness: LegHarness) -> None:
        await self.answered(harness)
        audio = harness.leg.audio
        sound = tone(400, audio.rate)
        for start in range(0, len(sound), 77):
            assert audio.write(sound[start : start + 77]) == len(sound[start : start + 77])
        assert await self.done(harness, audio.wait_consumed(len(sound)))
        await harness.advance(100)
        assert loud_ms(harness.peer_heard(), audio.rate) == pytest.approx(400, abs=10)

    async def test_a_full_line_takes_no_more(self, harness: LegHarness) -> None:
        await self.answered(harness)
        audio = harness.leg.audio
        long = tone(5_000, audio.rate)
        taken = audio.write(long)
        assert audio.rate < taken < len(long)  # more than a second, not all
        assert audio.write(long) == 0
        assert await self.done(harness, audio.wait_consumed(audio.rate // 2))
        assert 0 < audio.write(long) <= audio.rate

    async def test_clearing_tells_what_was_not_heard(self, harness: LegHarness) -> None:
        await self.answered(harness)
        audio = harness.leg.audio
        audio.write(tone(1_000, audio.rate))
        await harness.advance(300)
        waiting = asyncio.ensure_future(audio.wait_consumed(audio.written))
        unheard = await self.done(harness, audio.clear())
        assert await self.settle(harness, waiting)
        assert audio.consumed == audio.written
        assert audio.played == audio.written - unheard
        assert unheard * 1000 / audio.rate == pytest.approx(700, abs=80)
        await harness.advance(500)
        heard_ms = audio.played * 1000 / audio.rate
        assert loud_ms(harness.peer_heard(), audio.rate) == pytest.approx(heard_ms, abs=10)

    async def test_after_clearing_the_line_plays_on(self, harness: LegHarness) -> None:
        await self.answered(harness)
        audio = harness.leg.audio
        audio.write(tone(1_000, audio.rate))
        assert await self.done(harness, audio.clear()) <= audio.written
        played = audio.played
        audio.write(tone(200, audio.rate))
        assert await self.done(harness, audio.wait_consumed(audio.written))
        assert audio.played - played == audio.rate // 5

    async def test_clearing_nothing_is_nothing(self, harness: LegHarness) -> None:
        await self.answered(harness)
        assert await self.done(harness, harness.leg.audio.clear()) == 0

    async def test_a_slow_reader_loses_the_oldest_audio_and_can_tell(
        self, harness: LegHarness
    ) -> None:
        await self.answered(harness)
        audio = harness.leg.audio
        audio.read()
        before = audio.received
        await harness.peer_sends(tone(4_000, audio.rate))
        await harness.advance(4_000)
        late = audio.read()
        assert audio.received - before == pytest.approx(4 * audio.rate, abs=audio.rate // 10)
        assert audio.rate < len(late) < 3 * audio.rate

    async def test_keys_arrive_once(self, harness: LegHarness) -> None:
        events = await self.answered(harness)
        for digit in "1*":
            await harness.peer_presses(digit)
            await harness.advance(300)
        keys = [event.digit for event in events if isinstance(event, LegDtmf)]
        assert keys == ["1", "*"]

    async def test_the_end_wakes_everybody(self, harness: LegHarness) -> None:
        await self.answered(harness)
        audio = harness.leg.audio
        audio.write(tone(1_000, audio.rate))
        reader = asyncio.ensure_future(self._read_to_the_end(harness))
        writer = asyncio.ensure_future(audio.wait_consumed(audio.written))
        await harness.advance(40)
        await harness.peer_hangs_up()
        assert await self.settle(harness, writer) is False
        await self.settle(harness, reader)

    async def test_an_ended_leg_does_nothing_and_complains_of_nothing(
        self, harness: LegHarness
    ) -> None:
        events = await self.answered(harness)
        leg, audio = harness.leg, harness.leg.audio
        await self.done(harness, leg.hangup())
        await harness.advance(100)
        saw, count = harness.peer_saw(), len(events)
        audio.read()
        assert audio.write(tone(20, audio.rate)) == 0
        assert await self.done(harness, audio.clear()) == 0
        assert await self.done(harness, audio.wait_readable()) is False
        assert await self.done(harness, audio.wait_consumed(audio.written + 1)) is False
        for work in (leg.ring(), leg.answer(), leg.reject(486), leg.send_dtmf("1")):
            await self.done(harness, work)
        assert (await self.done(harness, leg.transfer("front-desk"))).accepted is False
        assert harness.peer_saw() == saw
        assert len(events) == count

    @staticmethod
    async def _read_to_the_end(harness: LegHarness) -> None:
        while await harness.leg.audio.wait_readable():
            harness.leg.audio.read()
