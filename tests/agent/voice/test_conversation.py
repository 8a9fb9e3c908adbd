"""Whole conversations on virtual time: turns, interruptions, silence, failures."""

from __future__ import annotations

import asyncio

import pytest

from sipbot.agent.ports import ToolCall
from sipbot.agent.tools.builtin import hang_up_tool, transfer_tool
from sipbot.agent.tools.functions import function_tool
from sipbot.agent.voice.settings import BargeIn, Phrases
from sipbot.call.leg import EndReason, TransferResult
from sipbot.errors import ProviderError
from sipbot.testing.clock import virtual_time
from sipbot.testing.providers import ScriptedLlm, ScriptedStt, ScriptedTts
from sipbot.testing.simulate import simulate
from sipbot.testing.speech import tone
from tests.agent.voice.kit import LONG, Bot, loud_ms, now, says, texts

BROKEN = ProviderError("scripted", "unreachable")


@virtual_time
async def test_question_and_answer() -> None:
    llm = ScriptedLlm(["We open at nine."])
    bot = Bot(stt=ScriptedStt(["when do you open"]), llm=llm)
    async with bot.call() as caller:
        await says(caller)
        await caller.hears("open at nine", to_the_end=True)
    assert texts(llm.asked[0]) == [("user", "when do you open")]


@virtual_time
async def test_a_turn_takes_the_hold_and_the_services_and_no_more() -> None:
    bot = Bot(stt=ScriptedStt(["I would like to know"], delay_s=0.15))
    async with bot.call() as caller:
        await says(caller)
        await caller.hears("all right", to_the_end=True)
    stats = caller.record.stats
    # Hold 500 ms, of which the recogniser is a part; model 200 ms, speech 100 ms, one frame.
    assert stats["turns"] == 1
    assert bot.counts.values["voice_turns",] == 1
    assert bot.counts.values["voice_turn_ms",] == stats["turn_p50_ms"]
    assert 800 <= int(stats["turn_p50_ms"] or 0) <= 500 + 200 + 100 + 60 + 60


@virtual_time
async def test_the_turn_is_told_step_by_step() -> None:
    bot = Bot(stt=ScriptedStt(["I would like to know"]))
    lines: list[dict[str, object]] = []
    async with bot.call() as caller:
        caller.call.log = Log(lines)
        await says(caller)
        await caller.hears("all right", to_the_end=True)
        await caller.waits(0.5)
    [turn] = [line for line in lines if line["event"] == "turn"]
    steps = ["vad_end_ms", "stt_final_ms", "taken_ms", "llm_first_ms", "tts_first_ms", "played_ms"]
    moments = [int(str(turn[step])) for step in steps]
    assert moments == sorted(moments)
    assert 90 <= moments[0] <= 160
    assert moments[1] - moments[0] == pytest.approx(150, abs=2)


class Log:
    """Keeps what is logged."""

    def __init__(self, lines: list[dict[str, object]]) -> None:
        self._lines = lines

    def debug(self, event: str, **fields: object) -> None:
        self._lines.append({"event": event, **fields})

    info = warning = error = debug


@virtual_time
async def test_speech_begins_with_the_first_clause_while_the_model_still_writes() -> None:
    llm = ScriptedLlm(["Yes, certainly, " + LONG * 3], pace_s=0.2)
    bot = Bot(stt=ScriptedStt(["tell me"]), llm=llm)
    async with bot.call() as caller:
        await says(caller)
        await caller.hears("yes, certainly")
        assert len(caller.transcript) == 1
        await caller.waits(2.0)
        assert loud_ms(caller) > 500
        assert llm.cancelled == 0  # it still writes


@virtual_time
async def test_the_greeting_is_made_and_providers_are_warm_before_the_answer() -> None:
    tts = ScriptedTts(delay_s=1.0)
    bot = Bot(tts=tts, phrases=Phrases(greeting="Welcome to the clinic."))
    async with bot.call() as caller:
        await caller.hears("welcome", to_the_end=True)
        frames = caller.leg.audio.heard
        assert any(frame.any() for frame in frames[:3])  # at once, in spite of a slow service
    assert isinstance(bot.llm, ScriptedLlm)
    assert bot.llm.warmed == 1


@virtual_time
async def test_an_interruption_stops_the_bot_and_history_has_what_was_heard() -> None:
    llm = ScriptedLlm([LONG])
    bot = Bot(stt=ScriptedStt(["tell me", "stop that please"]), llm=llm)
    async with bot.call() as caller:
        await says(caller)
        spoken = await caller.hears("quite a long")
        await caller.waits(1.5)
        began = now()
        await says(caller, 0.8)
        assert loud_ms(caller, began + 0.15, began + 0.8) == 0
        await caller.hears("all right", to_the_end=True)
        assert spoken.said is not None
        assert spoken.said.interrupted
    history = texts(llm.asked[1])
    assert [role for role, _ in history] == ["user", "assistant", "user"]
    heard = history[1][1]
    assert 0 < len(heard) < len(LONG) / 2
    assert LONG.startswith(heard)
    assert history[2][1] == "stop that please"
    stats = caller.record.stats
    assert stats["interruptions"] == 1
    assert int(stats["barge_in_max_ms"] or 0) <= 150


@pytest.mark.parametrize("heard", ["", "haan", "ok", "Hmm.", "achha ji", "अच्छा"])
@virtual_time
async def test_a_cough_or_a_back_channel_goes_on_with_the_very_next_sample(heard: str) -> None:
    llm = ScriptedLlm([LONG])
    bot = Bot(stt=ScriptedStt(["tell me", heard]), llm=llm)
    async with bot.call() as caller:
        await says(caller)
        spoken = await caller.hears("quite a long")
        await caller.waits(1.5)
        began = now()
        await says(caller, 0.3)
        ended = now()
        assert loud_ms(caller, began + 0.15, ended) == 0
        await caller.waits(0.4)
        assert loud_ms(caller, ended, ended + 0.42) > 0  # within 400 ms
        while spoken.said is None:
            await caller.waits(0.1)
        assert not spoken.said.interrupted
        assert spoken.said.heard_ms == spoken.said.total_ms
    assert len(llm.asked) == 1
    assert caller.record.stats["resumed"] == 1


@virtual_time
async def test_yes_into_the_last_words_is_an_answer() -> None:
    llm = ScriptedLlm(["Shall I book it for you at nine?"])
    bot = Bot(stt=ScriptedStt(["book it", "yes"]), llm=llm)
    async with bot.call() as caller:
        await says(caller)
        await caller.hears("shall I book")
        await caller.waits(1.6)  # of 1.9 seconds
        await says(caller, 0.3)
        await caller.hears("all right")
    assert texts(llm.asked[1])[-1] == ("user", "yes")


@virtual_time
async def test_going_on_while_the_bot_thinks_is_one_question() -> None:
    llm = ScriptedLlm(delay_s=1.0)
    bot = Bot(stt=ScriptedStt(["I want to book", "for tomorrow please"]), llm=llm)
    async with bot.call() as caller:
        await says(caller)
        await caller.waits(0.9)  # the hold is over, the model is busy
        await says(caller)
        await caller.hears("all right", to_the_end=True)
    assert texts(llm.asked[-1]) == [("user", "I want to book for tomorrow please")]
    assert llm.cancelled == 1


@virtual_time
async def test_policy_off_lets_nobody_interrupt() -> None:
    llm = ScriptedLlm([LONG])
    bot = Bot(stt=ScriptedStt(["tell me", "stop it now"]), llm=llm, barge_in=BargeIn.OFF)
    async with bot.call() as caller:
        await says(caller)
        spoken = await caller.hears("quite a long")
        await caller.waits(1.0)
        await says(caller)
        while spoken.said is None:
            await caller.waits(0.1)
        assert not spoken.said.interrupted
    assert len(llm.asked) == 1


@virtual_time
async def test_policy_after_ms_ignores_short_sounds_and_stops_for_long_ones() -> None:
    llm = ScriptedLlm([LONG * 2])
    stt = ScriptedStt(["tell me", "", "no that is wrong"])
    bot = Bot(stt=stt, llm=llm, barge_in=BargeIn.AFTER_MS, barge_in_ms=500)
    async with bot.call() as caller:
        await says(caller)
        await caller.hears("quite a long")
        await caller.waits(0.5)
        began = now()
        await says(caller, 0.2)
        await caller.waits(0.5)
        assert loud_ms(caller, began, now()) >= 640  # nothing happened
        began = now()
        await says(caller, 1.0)
        assert loud_ms(caller, began, began + 0.5) >= 440
        assert loud_ms(caller, began + 0.65, began + 1.0) == 0
        await caller.hears("all right")


@virtual_time
async def test_policy_after_words_waits_for_words() -> None:
    llm = ScriptedLlm([LONG * 2])
    stt = ScriptedStt(["tell me", "wait a moment please"])
    bot = Bot(stt=stt, llm=llm, barge_in=BargeIn.AFTER_WORDS, barge_in_words=2)
    async with bot.call() as caller:
        await says(caller)
        await caller.hears("quite a long")
        await caller.waits(0.5)
        caller.says(tone(1500, hz=300))
        await caller.waits(0.5)
        stt.lines[0].partial("haan ok")
        stt.lines[0].partial("wait")
        before = now()
        await caller.waits(0.3)
        assert loud_ms(caller, before, now()) >= 260
        stt.lines[0].partial("wait a")
        before = now()
        await caller.waits(0.3)
        assert loud_ms(caller, before + 0.06, now()) == 0
        await caller.hears("all right")


@virtual_time
async def test_keys_interrupt_and_reach_the_model() -> None:
    llm = ScriptedLlm([LONG])
    bot = Bot(stt=ScriptedStt(["tell me"]), llm=llm, barge_in=BargeIn.OFF)
    async with bot.call() as caller:
        await says(caller)
        await caller.hears("quite a long")
        await caller.waits(0.5)
        await caller.press("12#")
        await caller.hears("all right")
    assert "1 2" in texts(llm.asked[1])[-1][1]


@virtual_time
async def test_a_silent_caller_is_asked_and_then_let_go() -> None:
    bot = Bot(phrases=Phrases(greeting="Hello there."), follow_up_s=5.0, max_follow_ups=2)
    async with bot.call() as caller:
        await caller.hears("hello")
        await caller.hears("still there")
        await caller.hears("still there")
        await caller.hears("goodbye", to_the_end=True)
        await caller.waits(1.0)
    assert caller.record.reason is EndReason.BOT_HUNG_UP


@virtual_time
async def test_the_longest_call() -> None:
    bot = Bot(phrases=Phrases(greeting="Hello there."), max_call_s=3.0)
    async with bot.call() as caller:
        await caller.hears("goodbye", to_the_end=True)
        await caller.waits(1.0)
    assert caller.record.reason is EndReason.BOT_HUNG_UP
    assert caller.record.talk_ms < 5_000


# --- tools ----------------------------------------------------------------------------------------


@virtual_time
async def test_hang_up_after_the_last_words() -> None:
    llm = ScriptedLlm([("Thank you and goodbye.", ToolCall("1", "hang_up", "{}"))])
    bot = Bot(stt=ScriptedStt(["that is all"]), llm=llm, tools=[hang_up_tool()])
    async with bot.call() as caller:
        await says(caller)
        spoken = await caller.hears("thank you")
        await caller.waits(4.0)
    assert spoken.said is not None
    assert not spoken.said.interrupted
    assert caller.record.reason is EndReason.BOT_HUNG_UP


@virtual_time
async def test_transfer_says_so_first_and_is_not_interrupted() -> None:
    llm = ScriptedLlm([("I will connect you.", ToolCall("1", "transfer_call", '{"to": "desk"}'))])
    tools = [transfer_tool({"desk": "front-desk"})]
    bot = Bot(stt=ScriptedStt(["a person please", "hello hello"]), llm=llm, tools=tools)
    async with bot.call() as caller:
        await says(caller)
        spoken = await caller.hears("connect you")
        await caller.waits(0.3)
        await says(caller, 0.5)
        await caller.waits(3.0)
        assert "transfer front-desk" in caller.leg.steps
    assert spoken.said is not None
    assert not spoken.said.interrupted
    assert caller.record.reason is EndReason.TRANSFERRED


@virtual_time
async def test_a_refused_transfer_goes_back_to_the_model() -> None:
    wanted = ToolCall("1", "transfer_call", '{"to": "desk"}')
    llm = ScriptedLlm([("Connecting you.", wanted), "Nobody is there, sorry."])
    tools = [transfer_tool({"desk": "front-desk"})]
    bot = Bot(stt=ScriptedStt(["a person please"]), llm=llm, tools=tools)
    async with bot.call(TransferResult(False, "busy")) as caller:
        await says(caller)
        await caller.hears("nobody is there", to_the_end=True)
    last = llm.asked[1][-1]
    assert (last.role, last.tool_call_id) == ("tool", "1")
    assert "refused" in last.text


@virtual_time
async def test_a_slow_tool_is_bridged_and_its_result_used() -> None:
    async def slots(day: str) -> dict[str, str]:
        """Free slots of a day."""
        await asyncio.sleep(3.0)
        return {"free": f"nine on {day}"}

    llm = ScriptedLlm([ToolCall("7", "slots", '{"day": "Monday"}'), "Nine is free."])
    bot = Bot(stt=ScriptedStt(["Monday"]), llm=llm, tools=[function_tool(slots)])
    async with bot.call() as caller:
        await says(caller)
        await caller.hears("one moment")
        await caller.hears("nine is free", to_the_end=True)
    assert "nine on Monday" in llm.asked[1][-1].text


# --- failures -------------------------------------------------------------------------------------


@virtual_time
async def test_a_model_that_hangs_never_leaves_long_silence() -> None:
    llm = ScriptedLlm(hangs=True)
    bot = Bot(stt=ScriptedStt(["hello", "hello", "hello"]), llm=llm, max_silence_s=3.0)
    async with bot.call() as caller:
        for words in ("did not get that", "did not get that", "technical problem"):
            ended = await says(caller)
            await caller.hears(words)
            assert now() - ended <= 3.0
            await caller.waits(4.0)
        await caller.waits(3.0)
    assert caller.record.reason is EndReason.BOT_HUNG_UP
    assert caller.record.stats["gave_up"] == "silence"


@virtual_time
async def test_a_model_that_fails_apologises_then_transfers() -> None:
    llm = ScriptedLlm([BROKEN, BROKEN])
    bot = Bot(stt=ScriptedStt(["a", "b"]), llm=llm, max_failures=1, give_up_transfer="desk")
    async with bot.call() as caller:
        await says(caller)
        await caller.hears("did not get that", to_the_end=True)
        await says(caller)
        await caller.hears("technical problem", to_the_end=True)
        await caller.waits(1.0)
        assert "transfer desk" in caller.leg.steps
    assert caller.record.reason is EndReason.TRANSFERRED


@virtual_time
async def test_a_model_that_recovers_is_retried_unheard() -> None:
    llm = ScriptedLlm([ProviderError("scripted", "rate-limited", retry=True), "Here I am."])
    bot = Bot(stt=ScriptedStt(["hello"]), llm=llm)
    async with bot.call() as caller:
        await says(caller)
        await caller.hears("here I am", to_the_end=True)
    assert caller.transcript == ["Here I am."]


@pytest.mark.parametrize("tts", [ScriptedTts(failing=True), ScriptedTts(hangs=True)])
@virtual_time
async def test_a_voice_that_fails_is_replaced(tts: ScriptedTts) -> None:
    bot = Bot(stt=ScriptedStt(["hello"]), tts=tts, tts_timeout_s=1.0)
    async with bot.call() as caller:
        await says(caller)
        spoken = await caller.hears("all right", to_the_end=True)
        assert spoken.said is not None
        assert spoken.said.heard_ms > 0


@virtual_time
async def test_a_recogniser_that_breaks_is_opened_again() -> None:
    stt = ScriptedStt([BROKEN, "hello again"])
    bot = Bot(stt=stt)
    async with bot.call() as caller:
        await says(caller)
        await caller.hears("did not get that", to_the_end=True)
        await caller.waits(1.0)
        await says(caller)
        await caller.hears("all right")
    assert stt.opened == 2
    assert stt.open_now == 0


@virtual_time
async def test_a_recogniser_that_never_opens_ends_in_an_apology() -> None:
    bot = Bot(stt=ScriptedStt(failing=99))
    async with bot.call() as caller:
        await caller.hears("technical problem", to_the_end=True)
        await caller.waits(1.0)
    assert caller.record.stats["gave_up"] == "recogniser-lost"


@virtual_time
async def test_a_recogniser_that_never_answers_is_noticed() -> None:
    bot = Bot(stt=ScriptedStt(otherwise=None))
    async with bot.call() as caller:
        ended = await says(caller)
        await caller.hears("did not get that")
        assert now() - ended <= 3.0


@pytest.mark.parametrize("after_s", [0.1, 1.4, 2.2, 3.0])
@virtual_time
async def test_a_caller_who_hangs_up_leaves_nothing_open(after_s: float) -> None:
    stt = ScriptedStt(["tell me"])
    bot = Bot(stt=stt, llm=ScriptedLlm([LONG]))
    async with bot.call() as caller:
        caller.says(tone(1500, hz=300))
        await caller.waits(after_s)
        caller.hangs_up()
        await caller.waits(0.5)
        assert stt.open_now == 0
    assert caller.record.reason is EndReason.CALLER_HUNG_UP
    assert caller.record.failure == ""


@virtual_time
async def test_a_caller_who_gives_up_while_it_rings_leaves_nothing_open() -> None:
    stt = ScriptedStt()
    bot = Bot(stt=stt)
    async with simulate(bot.agent) as caller:
        await caller.waits(0.05)
        assert (stt.open_now, caller.call.answered) == (1, False)
        caller.hangs_up()
        await caller.waits(0.5)
        assert stt.open_now == 0
