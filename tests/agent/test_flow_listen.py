"""Questions that are answered by speaking or by keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipbot.agent.flow import FlowAgent
from sipbot.agent.flow.load import from_document
from sipbot.call.leg import EndReason
from sipbot.errors import ConfigError, ProviderError
from sipbot.testing import simulate, tone, virtual_time
from sipbot.yamlmarks import loads
from tests.agent.flow_kit import ScriptedEar

ASK = """
start: ask
interrupt: {interrupt}
nodes:
  ask:
    listen:
      prompt: How may I help you today my dear caller
      answers:
        book: {{phrases: [i want an appointment, appointments], key: 1, next: booked}}
        hours: {{keywords: [open, hours], next: open}}
      timeout_s: 5
      retries: 1
      on_timeout: Nothing heard
      on_invalid: Not understood
      otherwise: lost
  booked: {{hangup: You are booked}}
  open: {{hangup: We are open}}
  lost: {{hangup: Lost}}
"""

PIN = """
start: pin
nodes:
  pin:
    listen:
      prompt: Your pin please
      digits: {into: pin, min: 4, max: 6, next: done, valid: "[1-9].*"}
      answers: {back: {phrases: go back, key: "*", next: gone}}
      confirm: "Is it {pin:digits}"
      on_invalid: No pin
      otherwise: gone
  done: {hangup: "Pin {pin}"}
  gone: {hangup: Gone}
"""


def agent(text: str, ear: ScriptedEar) -> FlowAgent:
    return FlowAgent(from_document(loads(text, "flow.yaml"), Path()), ear)


def asks(ear: ScriptedEar, interrupt: str = "keys") -> FlowAgent:
    return agent(ASK.format(interrupt=interrupt), ear)


@virtual_time
async def test_what_is_said_after_the_question_is_understood() -> None:
    ear = ScriptedEar("Appointments, please!")
    async with simulate(asks(ear)) as caller:
        await caller.hears("help you", to_the_end=True)
        await caller.waits(1.0)
        caller.says(tone(700))
        await caller.hears("booked", to_the_end=True)
        await caller.ended()
    assert caller.record.reason is EndReason.BOT_HUNG_UP
    assert ear.samples[0] >= 8 * 700  # all of it, and a little before
    assert "i want an appointment" in ear.asked[0].phrases
    assert ear.asked[0].rate == 8_000


@virtual_time
async def test_keywords_may_stand_anywhere() -> None:
    async with simulate(asks(ScriptedEar("so tell me when are you open"))) as caller:
        await caller.hears("help you", to_the_end=True)
        caller.says(tone(700))
        await caller.hears("we are open")


@virtual_time
async def test_a_key_answers_too_and_cuts_the_question() -> None:
    async with simulate(asks(ScriptedEar())) as caller:
        spoken = await caller.hears("help you")
        await caller.press("1")
        await caller.hears("booked")
    assert spoken.said is not None
    assert spoken.said.interrupted


@virtual_time
async def test_a_key_typed_ahead_answers_before_the_question() -> None:
    text = ASK.format(interrupt="keys").replace(
        "nodes:", "nodes:\n  first: {say: Welcome to us, next: ask}"
    )
    async with simulate(agent(text.replace("start: ask", "start: first"), ScriptedEar())) as caller:
        await caller.hears("welcome")
        await caller.press("1")
        await caller.hears("booked")
    assert [one.text for one in caller.spoken] == ["Welcome to us", "You are booked"]


@virtual_time
async def test_speech_cuts_the_question_where_the_flow_says_so() -> None:
    async with simulate(asks(ScriptedEar("appointments"), "speech")) as caller:
        spoken = await caller.hears("help you")
        await caller.waits(0.5)
        caller.says(tone(700))
        await caller.hears("booked")
    assert spoken.said is not None
    assert spoken.said.interrupted
    assert spoken.said.heard_ms < 1_000


@virtual_time
async def test_noise_that_cut_the_question_does_not_cut_it_again() -> None:
    ear = ScriptedEar("", "appointments")
    async with simulate(asks(ear, "speech")) as caller:
        await caller.hears("help you")
        caller.says(tone(300))
        await caller.hears("not understood", to_the_end=True)
        second = await caller.hears("help you")
        caller.says(tone(300))
        await caller.waits(4.0)
        caller.says(tone(500))
        await caller.hears("booked")
    assert second.said is not None
    assert not second.said.interrupted


@virtual_time
async def test_speech_during_the_question_is_passed_over_where_only_keys_interrupt() -> None:
    ear = ScriptedEar("appointments")
    async with simulate(asks(ear)) as caller:
        spoken = await caller.hears("help you")
        caller.says(tone(300))
        await caller.hears("nothing heard")
    assert spoken.said is not None
    assert not spoken.said.interrupted
    assert ear.samples == []


@virtual_time
async def test_what_is_not_understood_and_silence_are_asked_again_and_then_given_up() -> None:
    async with simulate(asks(ScriptedEar("", ""))) as caller:
        await caller.hears("help you", to_the_end=True)
        caller.says(tone(400))
        await caller.hears("not understood", to_the_end=True)
        await caller.hears("help you", to_the_end=True)
        await caller.hears("lost")
    async with simulate(asks(ScriptedEar())) as caller:
        await caller.hears("nothing heard", to_the_end=True)
        await caller.hears("lost")


@virtual_time
async def test_who_begins_to_speak_at_the_last_moment_may_finish() -> None:
    async with simulate(asks(ScriptedEar("appointments"))) as caller:
        await caller.hears("help you", to_the_end=True)
        await caller.waits(4.7)
        caller.says(tone(2_000))
        await caller.hears("booked")
    assert "Nothing heard" not in caller.transcript


@virtual_time
async def test_a_recogniser_that_fails_leaves_the_keys() -> None:
    broken = ProviderError("scripted", "unreachable")
    async with simulate(asks(ScriptedEar(broken))) as caller:
        await caller.hears("help you", to_the_end=True)
        caller.says(tone(400))
        await caller.hears("not understood", to_the_end=True)
        await caller.hears("help you")
        await caller.press("1")
        await caller.hears("booked")


@virtual_time
async def test_a_recogniser_that_hangs_is_not_waited_for() -> None:
    async with simulate(asks(ScriptedEar("appointments", delay_s=60))) as caller:
        await caller.hears("help you", to_the_end=True)
        caller.says(tone(400))
        await caller.hears("not understood", to_the_end=True)


@virtual_time
async def test_digits_are_spoken_and_confirmed() -> None:
    ear = ScriptedEar("one two double five", "yes that is right")
    async with simulate(agent(PIN, ear)) as caller:
        await caller.hears("your pin", to_the_end=True)
        caller.says(tone(900))
        await caller.hears("is it 1 2 5 5", to_the_end=True)
        caller.says(tone(300))
        await caller.hears("pin 1255")
    assert "<digits:4-6>" in ear.asked[0].phrases[-1]


@virtual_time
async def test_digits_are_typed_and_corrected() -> None:
    async with simulate(agent(PIN, ScriptedEar())) as caller:
        await caller.hears("your pin")
        await caller.press("1234#")
        await caller.hears("is it 1 2 3 4")
        await caller.press("2")
        await caller.hears("your pin")
        await caller.press("99887")
        await caller.hears("is it 9 9 8 8 7")
        await caller.press("1")
        await caller.hears("pin 99887")


@virtual_time
async def test_digits_that_are_not_valid_are_asked_again() -> None:
    async with simulate(agent(PIN, ScriptedEar("oh one two three"))) as caller:
        await caller.hears("your pin", to_the_end=True)
        caller.says(tone(900))
        await caller.hears("no pin", to_the_end=True)
        await caller.hears("your pin")
        await caller.press("12")
        await caller.hears("no pin", to_the_end=True)
        await caller.hears("your pin")
        await caller.press("*")
        await caller.hears("gone")


@virtual_time
async def test_a_confirmation_that_nobody_answers_is_a_no() -> None:
    async with simulate(agent(PIN, ScriptedEar("one two three four", "", "", ""))) as caller:
        await caller.hears("your pin", to_the_end=True)
        caller.says(tone(900))
        for _ in range(3):
            await caller.hears("is it", to_the_end=True)
        await caller.hears("your pin")


@virtual_time
async def test_a_caller_who_leaves_while_listened_to_ends_the_call() -> None:
    async with simulate(asks(ScriptedEar())) as caller:
        await caller.hears("help you", to_the_end=True)
        caller.says(tone(400))
        await caller.waits(0.2)
        caller.hangs_up()
        record = await caller.ended()
    assert record.reason is EndReason.CALLER_HUNG_UP


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        ("{prompt: x}", "needs answers or digits"),
        ("{prompt: x, answers: {a: {next: a}}}", "needs phrases, keywords or key"),
        ("{prompt: x, answers: {a: {phrases: xyzzyq, next: a}}}", "does not know: xyzzyq"),
        ("{prompt: x, answers: {a: {phrases: '(b', next: a}}}", "')' is missing"),
        ("{prompt: x, answers: {a: {key: 1, next: b}}}", "there is no such node"),
        ("{prompt: x, answers: {a: {key: 1, next: a}, b: {key: 1, next: a}}}", "the same key"),
        (
            "{prompt: x, answers: {a: {key: 1, next: a}}, digits: {into: v, next: a}}",
            "only * and #",
        ),
        ("{prompt: x, digits: {into: v, next: a, valid: '['}}", "no regular expression"),
        ("{prompt: x, digits: {into: v, next: a, min: 3, max: 2}}", "min must not be greater"),
    ],
)
def test_mistakes_of_questions_are_found(listen: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        agent(f"start: a\nnodes:\n  a: {{listen: {listen}}}\n", ScriptedEar())
    assert any(message in str(problem) for problem in error.value.problems), error.value


def test_words_may_be_given_a_pronunciation() -> None:
    text = (
        "start: a\npronounce: {xyzzyq: Z IH Z IY}\n"
        "nodes: {a: {listen: {prompt: x, answers: {a: {phrases: xyzzyq, next: a}}}}}\n"
    )
    assert agent(text, ScriptedEar()).flow.warnings == ()
    with pytest.raises(ConfigError, match="no phones of ARPABET: QQ"):
        agent(text.replace("Z IH", "QQ IH"), ScriptedEar())
