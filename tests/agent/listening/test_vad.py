"""Voice activity with the real model: speech, noise, silence, and many lines at once."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from sipbot.agent.listening.batch import GROWTH, VadBatch
from sipbot.agent.listening.endpointing import Endpointer, SpeechPaused, SpeechStarted
from sipbot.agent.listening.silero import WINDOW_MS, Floats, window_size
from sipbot.agent.listening.vad import FEW_LINES, MAX_BACKLOG, VadService, VadWindow
from sipbot.call.leg import Pcm
from sipbot.testing.clock import virtual_time
from sipbot.testing.speech import tone
from tests.agent.listening.sounds import SECOND, crowd, level, model, noisy, silence, spoken


def events(pcm: Pcm) -> list[tuple[str, float]]:
    """Start and pauses of speech in seconds, as a call would hear them."""
    batch, ends = VadBatch(8_000, model()), Endpointer()
    slot, found = batch.add(), []
    for number in range(len(pcm) // batch.size):
        window = pcm[number * batch.size : (number + 1) * batch.size]
        [one] = batch.run([slot], window[None])
        now = (number + 1) * WINDOW_MS / 1000
        for event in (ends.push(*one, now), ends.handle_timer(now)):
            match event:
                case SpeechStarted():
                    found.append(("start", now))
                case SpeechPaused(at=at):
                    found.append(("pause", at))
    return found


@pytest.mark.parametrize("text", ["hello", "yes please", "appointments", "stop", "no"])
@pytest.mark.parametrize("noise", [0.0, 100.0, 300.0])
def test_speech_is_noticed_within_100_ms_of_its_first_sound(text: str, noise: float) -> None:
    speech = spoken(text)
    pcm = noisy(np.concatenate((silence(1.5), speech, silence(1))), noise)
    found = events(pcm)
    assert [kind for kind, _ in found] == ["start", "pause"]
    # The first sound that is above the noise: soft beginnings drown in it.
    heard = np.flatnonzero(np.abs(speech) > max(1_000, 4 * noise))[0] / SECOND
    assert 1.5 <= found[0][1] <= 1.5 + heard + 0.1
    end = 1.5 + len(speech) / SECOND
    assert end - 0.25 <= found[1][1] <= end + 0.1


@pytest.mark.parametrize("noise", [0.0, 30.0, 300.0, 1_000.0])
def test_noise_of_any_level_is_no_speech(noise: float) -> None:
    assert events(noisy(silence(6), noise)) == []


def test_babble_10_db_below_the_caller_is_no_speech_once_the_line_is_known() -> None:
    babble = crowd(10 * SECOND)
    speech = spoken("I would like to book an appointment")
    babble = (babble * (level(speech) / level(babble)) * 10 ** (-10 / 20)).astype(np.int16)
    at = 4 * SECOND
    pcm = babble[: at + len(speech) + SECOND].copy()
    pcm[at : at + len(speech)] += speech
    starts = [now for kind, now in events(pcm) if kind == "start" and now > 4.0]
    assert starts
    assert starts[0] < 4.3


def test_silence_costs_no_model_run() -> None:
    batch = VadBatch(8_000, model())
    slot = batch.add()
    for _ in range(100):
        batch.run([slot], np.zeros((1, batch.size), np.int16))
    assert batch.judged <= 10
    assert batch.judged + batch.skipped == 100


def test_a_batch_judges_as_one_line_alone_does() -> None:
    speech = np.concatenate((silence(0.5), spoken("good morning"), silence(0.3)))
    others = noisy(np.tile(tone(500), 10)[: len(speech)], 50)
    alone, together = VadBatch(8_000, model()), VadBatch(8_000, model())
    one, two, three = alone.add(), together.add(), together.add()
    for number in range(len(speech) // alone.size):
        part = slice(number * alone.size, (number + 1) * alone.size)
        [lone] = alone.run([one], speech[part][None])
        both = together.run([two, three], np.stack((others[part], speech[part])))
        assert both[1].probability == pytest.approx(lone.probability, abs=1e-3)
        assert both[1].level == lone.level


def test_a_slot_that_is_used_again_knows_nothing_of_the_line_before() -> None:
    batch = VadBatch(8_000, model())
    first = batch.add()
    for _ in range(64):
        batch.run([first], noisy(np.zeros(batch.size, np.int16), 2_000)[None])
    assert batch.run([first], np.zeros((1, batch.size), np.int16))[0].floor > -30
    batch.remove(first)
    again = batch.add()
    assert again == first
    assert batch.run([again], np.zeros((1, batch.size), np.int16))[0].floor == -60


def test_more_lines_than_at_first_keep_what_was_learned() -> None:
    batch = VadBatch(8_000, model())
    first = batch.add()
    for _ in range(64):
        batch.run([first], noisy(np.zeros(batch.size, np.int16), 2_000)[None])
    before = batch.run([first], np.zeros((1, batch.size), np.int16))[0].floor
    slots = {batch.add() for _ in range(GROWTH + 1)}
    assert len(slots | {first}) == GROWTH + 2
    assert batch.run([first], np.zeros((1, batch.size), np.int16))[0].floor == before


def test_without_a_model_levels_decide() -> None:
    batch = VadBatch(8_000, None)
    slot = batch.add()
    quiet = batch.run([slot], np.zeros((1, batch.size), np.int16))[0]
    loud = batch.run([slot], tone(WINDOW_MS)[None])[0]
    assert (quiet.probability, loud.probability > 0.5) == (0.0, True)


class CountingModel:
    """Says 0.5 for everything; ``sizes`` are the rows of its runs."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def run(self, windows: Floats, states: Floats) -> tuple[Floats, Floats]:
        self.sizes.append(len(windows))
        return np.full(len(windows), 0.5, np.float32), states


@virtual_time
async def test_the_service_judges_all_lines_of_a_moment_in_one_run() -> None:
    fake = CountingModel()
    service = VadService(model=fake)
    heard: list[VadWindow] = []
    lines = [service.open(heard.append) for _ in range(FEW_LINES + 2)]
    for line in lines:
        line.push(tone(20))
    await asyncio.sleep(0.02)
    assert fake.sizes == []  # 20 ms make no window
    for line in lines:
        line.push(tone(20))
    await asyncio.sleep(0.02)
    assert fake.sizes == [len(lines)]
    assert {one.end for one in heard} == {window_size(8_000)}
    for line in lines:
        line.close()


@virtual_time
async def test_a_closed_line_hears_nothing_more() -> None:
    service = VadService(model=CountingModel())
    heard: list[VadWindow] = []
    line = service.open(heard.append)
    line.push(tone(40))
    line.close()
    line.close()
    await asyncio.sleep(0.1)
    assert heard == []


@virtual_time
async def test_a_backlog_is_bounded_and_counted() -> None:
    service = VadService(model=CountingModel())
    heard: list[VadWindow] = []
    line = service.open(heard.append)
    line.push(np.zeros((MAX_BACKLOG + 10) * service.batch.size, np.int16))
    await asyncio.sleep(0.1)
    assert line.dropped == 10 * service.batch.size
    assert len(heard) == MAX_BACKLOG
    assert heard[-1].end == (MAX_BACKLOG + 10) * service.batch.size
    line.close()
