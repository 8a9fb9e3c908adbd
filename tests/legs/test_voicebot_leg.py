"""The leg of Exotel's Voicebot applet keeps the contract of all legs, and tells the truth."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from sipbot.call.leg import EndReason, LegEnded, LegEvent
from sipbot.legs.voicebot import MAX_ERRORS, SEND_TIMEOUT_S, SESSION_LIMIT_S
from sipbot.legs.voicebot_line import MARK_WAIT_S
from sipbot.testing.clock import run, virtual_time
from tests.legs.contract import LegContract, loud_ms, tone
from tests.legs.voicebot_kit import VoicebotHarness

KINDS: dict[str, dict[str, Any]] = {
    "8kHz-20ms": {"rate": 8_000, "message_bytes": 320},
    "8kHz-40ms": {"rate": 8_000, "message_bytes": 640, "cadence_ms": 100},
    "16kHz-40ms": {"rate": 16_000, "message_bytes": 1_280},
    "24kHz-20ms": {"rate": 24_000, "message_bytes": 960, "cadence_ms": 100},
    "mu-law-40ms": {"rate": 8_000, "message_bytes": 320, "encoding": "audio/x-mulaw"},
}


PROMISES = [name for name in vars(LegContract) if name.startswith("test_")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("promise", PROMISES)
def test_contract(promise: str, kind: str) -> None:
    async def keep() -> None:
        harness = VoicebotHarness(**KINDS[kind])
        try:
            await getattr(LegContract(), promise)(harness)
        finally:
            await harness.close()

    run(keep())


class Kit:
    """An answered leg, and what it told."""

    def __init__(self, **settings: Any) -> None:
        self.harness = VoicebotHarness(**settings)
        self.leg, self.socket, self.audio = (
            self.harness.leg,
            self.harness.socket,
            self.harness.leg.audio,
        )
        self.events: list[LegEvent] = []
        self.leg.attach(self.events.append)

    @property
    def end(self) -> LegEnded:
        last = self.events[-1]
        assert isinstance(last, LegEnded)
        return last


def on_leg(**settings: Any) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Decorator: a test on virtual time whose first argument is the ``Kit`` of an answered leg."""

    def decorate(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        async def main(**parameters: Any) -> None:
            kit = Kit(**settings)
            await kit.leg.answer()
            try:
                await test(kit, **parameters)
            finally:
                await kit.harness.close()

        def plain(**parameters: Any) -> None:
            run(main(**parameters))

        arguments = list(inspect.signature(test).parameters.values())[1:]
        plain.__signature__ = inspect.Signature(arguments)  # type: ignore[attr-defined]  # for pytest
        return plain

    return decorate


@on_leg()
async def test_ringing_and_answering_send_nothing(kit: Kit) -> None:
    await kit.leg.ring()
    await asyncio.sleep(1)
    assert kit.socket.sent == []


@pytest.mark.parametrize("message_bytes", [320, 640, 3_200])
@virtual_time
async def test_audio_leaves_in_real_time_with_a_small_lead_and_without_a_burst(
    message_bytes: int,
) -> None:
    kit = Kit(message_bytes=message_bytes)
    await kit.leg.answer()
    kit.audio.write(tone(2_000, 8_000))
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(3)
    step = message_bytes / 16_000
    media = kit.socket.events("media")
    assert len(media) == 2 / step
    for number, (at, _) in enumerate(media):
        ahead = number * step - (at - began)
        assert ahead <= 0.1 + 1e-6  # of what is there when the next message leaves
    gaps = np.diff([at for at, _ in media])
    assert gaps.min() >= step / 2 - 1e-6
    heard = kit.socket.heard(began)
    assert loud_ms(heard[: 2 * 8_000], 8_000) == 2_000  # in one piece
    await kit.harness.close()


@on_leg()
async def test_the_tail_is_padded_and_not_counted(kit: Kit) -> None:
    assert kit.audio.write(tone(1_000, 8_000)[:700]) == 700
    assert await kit.audio.wait_consumed(700)
    sizes = [len(one.pcm) for one in kit.socket.played]
    assert sizes == [320, 320, 160]
    assert kit.audio.played == kit.audio.consumed == 700


@on_leg(message_bytes=3_200)
async def test_real_time_audio_is_gathered_into_whole_messages(slow: Kit) -> None:
    for _ in range(50):
        slow.audio.write(tone(20, 8_000))
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.5)
    assert [len(one.pcm) for one in slow.socket.played] == [1_600] * 5


@on_leg()
async def test_sequence_chunks_and_timestamps_run_on(kit: Kit) -> None:
    kit.audio.write(tone(200, 8_000))
    await asyncio.sleep(1)
    numbers = [int(message["sequence_number"]) for _, message in kit.socket.sent]
    assert numbers == list(range(1, len(numbers) + 1))
    media = [message["media"] for _, message in kit.socket.events("media")]
    assert [one["chunk"] for one in media] == ["1", "2", "3", "4", "5"]
    assert [one["timestamp"] for one in media] == ["0", "40", "80", "120", "160"]


# --- marks and positions --------------------------------------------------------------------------


@on_leg()
async def test_the_end_of_speech_is_heard_when_its_mark_is_back(kit: Kit) -> None:
    kit.socket.delay_s = 0.3
    kit.audio.write(tone(400, 8_000))
    began = asyncio.get_running_loop().time()
    assert await kit.audio.wait_consumed(3_200)
    assert asyncio.get_running_loop().time() - began == pytest.approx(0.7, abs=0.002)
    stats = kit.leg.facts()
    assert stats["marks_returned"] == stats["marks_sent"] == 2
    assert stats["mark_delay_ms"] == 300.0


@on_leg()
async def test_marks_shift_the_played_position(kit: Kit) -> None:
    kit.socket.delay_s = 0.2
    kit.audio.write(tone(2_000, 8_000))
    await asyncio.sleep(1.0)
    assert kit.audio.played == pytest.approx(0.8 * 8_000, abs=160)


@on_leg()
async def test_without_marks_the_clock_decides(kit: Kit) -> None:
    kit.socket.marks = False
    kit.audio.write(tone(400, 8_000))
    began = asyncio.get_running_loop().time()
    assert await kit.audio.wait_consumed(3_200)
    took = asyncio.get_running_loop().time() - began
    assert took == pytest.approx(0.04 + MARK_WAIT_S, abs=0.01)  # the mark of the first message
    kit.audio.write(tone(400, 8_000))  # the second time nothing is waited for
    began = asyncio.get_running_loop().time()
    assert await kit.audio.wait_consumed(6_400)
    assert asyncio.get_running_loop().time() - began == pytest.approx(0.4, abs=0.05)
    assert kit.leg.facts()["marks_lost"] == 2


@on_leg()
async def test_marks_nobody_asked_for_are_nothing(kit: Kit) -> None:
    kit.audio.write(tone(400, 8_000))
    await asyncio.sleep(0.1)
    kit.socket.says(event="mark", mark={"name": "m99"})
    await asyncio.sleep(0.1)
    assert kit.audio.played == pytest.approx(0.2 * 8_000, abs=160)


# --- barge-in -------------------------------------------------------------------------------------


@on_leg(message_bytes=3_200)
async def test_clear_leaves_at_once_and_the_running_message_counts_as_heard(slow: Kit) -> None:
    slow.audio.write(tone(1_000, 8_000))
    await asyncio.sleep(0.25)  # within the second message
    unheard = await slow.audio.clear()
    assert slow.audio.played == 2 * 1_600
    assert unheard == 3 * 1_600
    await asyncio.sleep(0)
    cleared = slow.socket.events("clear")
    assert [at for at, _ in cleared] == [pytest.approx(0.25)]
    assert cleared[0][1] == {"event": "clear", "stream_sid": "s1"}
    await asyncio.sleep(1)
    assert loud_ms(slow.socket.heard(0.0), 8_000) == 400


@on_leg(message_bytes=3_200)
async def test_after_a_clear_new_speech_follows_the_running_message(slow: Kit) -> None:
    slow.audio.write(tone(1_000, 8_000))
    await asyncio.sleep(0.25)
    await slow.audio.clear()
    slow.audio.write(tone(400, 8_000))
    assert await slow.audio.wait_consumed(slow.audio.written)
    assert asyncio.get_running_loop().time() == pytest.approx(0.8, abs=0.01)
    assert slow.audio.played == 800 * 8
    assert loud_ms(slow.socket.heard(0.0), 8_000) == 800


@on_leg()
async def test_clearing_a_quiet_line_sends_nothing(kit: Kit) -> None:
    assert await kit.audio.clear() == 0
    kit.audio.write(tone(100, 8_000))
    await asyncio.sleep(5)
    assert await kit.audio.clear() == 0
    await asyncio.sleep(0.1)
    assert kit.socket.events("clear") == []


# --- keys, loopback, transfer ---------------------------------------------------------------------


@on_leg()
async def test_keys_towards_the_peer_are_tones(kit: Kit) -> None:
    began = asyncio.get_running_loop().time()
    await kit.leg.send_dtmf("15", 100, 60)
    assert asyncio.get_running_loop().time() - began == pytest.approx(0.32, abs=0.05)
    heard = kit.socket.heard(began)[:800].astype(float)
    spectrum = np.abs(np.fft.rfft(heard))
    peaks = sorted(int(at) * 10 for at in np.argsort(spectrum)[-2:])
    assert peaks == [pytest.approx(697, abs=10), pytest.approx(1_209, abs=10)]


@on_leg()
async def test_loopback_gives_the_peers_audio_back(kit: Kit) -> None:
    kit.leg.loopback(True)
    await kit.harness.peer_sends(tone(500, 8_000))
    await asyncio.sleep(1)
    assert loud_ms(kit.socket.heard(0.0), 8_000) == pytest.approx(500, abs=10)
    assert len(kit.audio.read()) == 0


@on_leg()
async def test_there_is_no_way_to_transfer_yet(kit: Kit) -> None:
    result = await kit.leg.transfer("front-desk")
    assert (result.accepted, result.detail) == (False, "no-transfer-route")


# --- a stream that only listens -------------------------------------------------------------------


@on_leg(listen_only=True)
async def test_a_listener_hears_and_sends_nothing(kit: Kit) -> None:
    await kit.harness.peer_sends(tone(500, 8_000))
    kit.audio.write(tone(400, 8_000))
    began = asyncio.get_running_loop().time()
    assert await kit.audio.wait_consumed(3_200)  # as on a line where nobody listens
    assert asyncio.get_running_loop().time() - began == pytest.approx(0.4, abs=0.05)
    await asyncio.sleep(0.2)
    assert loud_ms(kit.audio.read(), 8_000) == 500
    kit.audio.write(tone(1_000, 8_000))
    await asyncio.sleep(0.5)
    assert await kit.audio.clear() == pytest.approx(4_000, abs=640)
    await kit.leg.send_dtmf("12")
    assert kit.socket.sent == []
    assert kit.leg.facts()["messages_sent"] == 0


# --- endings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        ("callended", "stop-callended"),
        ("stopped", "stop-stopped"),
        ("caller_hangup", "stop-caller_hangup"),
        ("stopped or callended", "stop-other"),
        (None, "stop-other"),
    ],
)
@on_leg()
async def test_stop_is_the_caller_leaving(kit: Kit, said: str | None, detail: str) -> None:
    kit.socket.says(event="stop", stop={} if said is None else {"reason": said})
    await asyncio.sleep(0.1)
    assert kit.end == LegEnded(EndReason.CALLER_HUNG_UP, detail)
    assert kit.socket.closed == (1000, "caller-hung-up")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1000, LegEnded(EndReason.CALLER_HUNG_UP, "closed")),
        (1005, LegEnded(EndReason.CALLER_HUNG_UP, "closed")),
        (1006, LegEnded(EndReason.NETWORK, "socket-lost")),
        (1009, LegEnded(EndReason.NETWORK, "closed-by-error")),
    ],
)
@on_leg()
async def test_a_socket_closed_without_stop(kit: Kit, code: int, expected: LegEnded) -> None:
    kit.socket.queue.put_nowait(code)
    await asyncio.sleep(0.1)
    assert kit.end == expected
    names = {1000: "normal", 1005: "no-code", 1006: "lost", 1009: "too-big"}
    facts = kit.leg.facts()
    assert (facts["close_code"], facts["close"]) == (code, names[code])


@on_leg()
async def test_the_limit_of_a_session_has_its_name(kit: Kit) -> None:
    await asyncio.sleep(SESSION_LIMIT_S + 5)
    kit.socket.queue.put_nowait(1000)
    await asyncio.sleep(0.1)
    assert kit.end == LegEnded(EndReason.CALLER_HUNG_UP, "session-limit")


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (EndReason.BOT_HUNG_UP, 1000),
        (EndReason.SHUTDOWN, 1001),
        (EndReason.AGENT_FAILED, 1011),
    ],
)
@on_leg()
async def test_our_close_has_code_and_reason(kit: Kit, reason: EndReason, code: int) -> None:
    await kit.leg.hangup(reason)
    await asyncio.sleep(0.1)
    assert kit.socket.closed == (code, reason.value)
    assert not kit.socket.aborted


@virtual_time
async def test_a_half_open_socket_is_found() -> None:
    kit = Kit(timeout_s=10.0)
    await kit.leg.answer()
    kit.harness.silent = True
    await asyncio.sleep(9)
    assert not kit.leg.ended
    await asyncio.sleep(3)
    assert kit.end == LegEnded(EndReason.MEDIA_TIMEOUT, "no-messages")
    await kit.harness.close()


@on_leg()
async def test_a_peer_that_takes_nothing_is_left(kit: Kit) -> None:
    kit.socket.stuck = True
    kit.audio.write(tone(1_000, 8_000))
    await asyncio.sleep(SEND_TIMEOUT_S + 2)
    assert kit.end == LegEnded(EndReason.NETWORK, "send-timeout")
    await asyncio.sleep(3)
    assert kit.socket.aborted


@on_leg()
async def test_what_cannot_be_read_is_borne_for_a_while(kit: Kit) -> None:
    for _ in range(MAX_ERRORS):
        kit.socket.queue.put_nowait("{garbage")
    kit.socket.says(event="new-invention", more={"x": 1})
    kit.socket.says(event="clear", stream_sid="s1")
    await asyncio.sleep(0.1)
    assert not kit.leg.ended
    received = str(kit.leg.facts()["messages_received"])
    assert {"not-json:20", "unknown:1", "clear:1"} <= set(received.split(","))
    kit.socket.queue.put_nowait("{garbage")
    await asyncio.sleep(0.1)
    assert kit.end == LegEnded(EndReason.NETWORK, "too-many-errors")
    assert kit.socket.closed == (1002, "network")


@on_leg()
async def test_odd_bytes_are_left_out(kit: Kit) -> None:
    kit.harness.silent = True
    kit.socket.says(event="media", media={"payload": "AAAA"})  # three bytes
    await asyncio.sleep(0.1)
    assert len(kit.audio.read()) == kit.audio.received == 1


@on_leg()
async def test_a_cancelled_carrier_ends_the_leg(kit: Kit) -> None:
    await asyncio.sleep(0.1)
    await kit.harness.close()
    assert kit.end == LegEnded(EndReason.SHUTDOWN, "cancelled")


@virtual_time
async def test_what_was_told_before_the_answer_is_not_heard() -> None:
    kit = Kit()
    await asyncio.sleep(1)
    assert json.dumps(kit.leg.audio.read().tolist()) == "[]"
    assert kit.leg.audio.received == 0
    await kit.harness.close()
