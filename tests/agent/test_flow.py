"""Flows: what a file may hold, what is wrong with it, and how callers are led."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from sipbot.agent.flow import FlowAgent, load_flow
from sipbot.agent.flow.load import from_document
from sipbot.agent.flow.player import load_flow_agent
from sipbot.agent.flow.text import fill, names_in
from sipbot.call.leg import EndReason, TransferResult
from sipbot.errors import ConfigError
from sipbot.testing import ScriptedSynthesizer, simulate, tone, virtual_time
from sipbot.yamlmarks import loads
from tests.agent.flow_kit import ScriptedEar

RECEPTION = Path(__file__).resolve().parents[2] / "config" / "flows" / "reception.yaml"


def agent(text: str, folder: Path = Path()) -> FlowAgent:
    return FlowAgent(from_document(loads(text, "flow.yaml"), folder), ScriptedEar())


def problems(text: str, folder: Path = Path()) -> list[str]:
    with pytest.raises(ConfigError) as error:
        agent(text, folder)
    return [str(problem) for problem in error.value.problems]


def write_wav(path: Path, channels: int = 1, width: int = 2, rate: int = 8_000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(tone(500).tobytes())


# The file


def test_the_reception_has_no_mistake_and_no_doubt() -> None:
    flow = load_flow(RECEPTION)
    assert flow.warnings == ()
    assert flow.file.start == "reception"


@pytest.mark.parametrize(
    ("nodes", "line", "message"),
    [
        ("a: {say: x}", 3, "nodes.a: is a dead end"),
        ("a: {say: x, next: b}", 3, "nodes.a.next = b: there is no such node (nodes: a)"),
        ("a: {hangup: 'bye {nobody}'}", 3, "nothing sets the variable 'nobody'"),
        ("a: {goto: a}", 3, "leads back to itself"),
        ("a: {set: {x: y}, next: a}", 3, "leads back to itself"),
        ("a: {hangup: , play: x.wav}", 3, "needs exactly one of say, play"),
        ("a: {nonsense: 1}", 3, "needs exactly one of say, play"),
        ("a: 3", 3, "needs exactly one of say, play"),
        ("a: {say: [], next: a, nxt: b}", 3, "did you mean 'next'?"),
        ("a: {menu: {prompt: x, options: {1: a}, retrys: 1}}", 3, "did you mean 'retries'?"),
        ("a: {menu: {prompt: x, options: {12: a}}}", 3, "nodes.a.menu.options.12"),
        ("a: {menu: {prompt: x, options: {1: b}}}", 3, "nodes.a.menu.options.1 = b: there is no"),
        ("a: {menu: {prompt: x, options: {}}}", 3, "nodes.a.menu.options"),
        ("a: {menu: {prompt: x, options: {1: a}, timeout_s: 0}}", 3, "greater than 0"),
        ("a: {gather: {prompt: x, into: v}}", 3, "nodes.a.gather.next: this key is required"),
        (
            "a: {gather: {prompt: x, into: v, next: a, min_digits: 5, max_digits: 4}}",
            3,
            "min_digits must not be greater than max_digits",
        ),
        ("a: {branch: {variable: v, cases: {1: a}, otherwise: a}}", 3, "nothing sets this"),
        ("a: {play: none.wav, next: a}", 3, "none.wav: cannot be read"),
    ],
)
def test_mistakes_have_a_line_and_a_sentence(nodes: str, line: int, message: str) -> None:
    found = problems(f"start: a\nnodes:\n  {nodes}\n")
    assert any(one.startswith(f"flow.yaml:{line}: ") and message in one for one in found), found


def test_an_unknown_start_is_found() -> None:
    found = problems("start: b\nnodes: {a: {hangup: }}\n")
    assert found == ["flow.yaml:1: start = b: there is no such node (nodes: a)"]


def test_nodes_that_nobody_reaches_are_doubtful_only() -> None:
    flow = from_document(loads("start: a\nnodes:\n  a: {hangup: }\n  b: {goto: a}\n", "f"), Path())
    assert [(one.line, one.key) for one in flow.warnings] == [(4, "nodes.b")]


def test_files_to_play_must_be_playable(tmp_path: Path) -> None:
    write_wav(tmp_path / "fast.wav", rate=96_000)
    (tmp_path / "text.wav").write_text("hello")
    for name, message in (("fast", "48000 Hz"), ("text", "no PCM WAV")):
        found = problems(f"start: a\nnodes: {{a: {{play: {name}.wav, next: a}}}}\n", tmp_path)
        assert message in found[0]


def test_texts_take_variables() -> None:
    assert names_in("a {b} {c:digits} {D} {} {{e}}") == {"b", "c", "e"}
    assert (
        fill("on {day:digits}, {who}{none}", {"day": "0210", "who": "Asha"}) == "on 0 2 1 0, Asha"
    )


# The conversation


@virtual_time
async def test_the_reception_books_an_appointment() -> None:
    async with simulate(load_flow_agent(RECEPTION, ScriptedEar())) as caller:
        await caller.hears("Namaste")
        await caller.press("1")
        await caller.hears("on which day")
        await caller.press("0210")
        await caller.hears("That is 0 2 1 0")
        await caller.press("2")
        await caller.hears("four in the afternoon, on 0 2 1 0", to_the_end=True)
        await caller.hears("call you back", to_the_end=True)
        await caller.hears("go back to the beginning", to_the_end=True)
        await caller.hears("Thank you for calling", to_the_end=True)
        record = await caller.ended()
    assert record.reason is EndReason.BOT_HUNG_UP


@virtual_time
async def test_the_reception_hears_a_practised_caller_who_types_ahead() -> None:
    async with simulate(load_flow_agent(RECEPTION, ScriptedEar())) as caller:
        await caller.waits(0.5)
        for key in "102102":
            caller.leg.press(key)
        await caller.hears("Thank you. We have noted four in the afternoon, on 0 2 1 0")
    assert len(caller.transcript) == 2


@virtual_time
async def test_the_reception_tells_its_hours_and_goes_back() -> None:
    async with simulate(load_flow_agent(RECEPTION, ScriptedEar())) as caller:
        await caller.hears("press 1")
        await caller.press("2")
        await caller.hears("nine in the morning", to_the_end=True)
        await caller.hears("Temple Road", to_the_end=True)
        await caller.hears("press 9")
        await caller.press("9")
        await caller.hears("For appointments")
        await caller.press("9")
        await caller.hears("For appointments")


@virtual_time
async def test_the_reception_transfers_to_a_person() -> None:
    async with simulate(load_flow_agent(RECEPTION, ScriptedEar())) as caller:
        await caller.hears("press 0")
        await caller.press("0")
        await caller.hears("One moment", to_the_end=True)
        record = await caller.ended()
    assert "transfer front-desk" in caller.leg.steps
    assert record.reason is EndReason.TRANSFERRED


@virtual_time
async def test_the_reception_says_when_nobody_can_be_reached() -> None:
    refused = TransferResult(False, "not-supported")
    async with simulate(
        load_flow_agent(RECEPTION, ScriptedEar()), transfer_result=refused
    ) as caller:
        await caller.hears("press 0")
        await caller.press("0")
        await caller.hears("nobody is free", to_the_end=True)
        await caller.hears("Goodbye", to_the_end=True)
        await caller.ended()
    assert caller.record.reason is EndReason.BOT_HUNG_UP


@virtual_time
async def test_the_reception_is_patient_with_the_silent_and_then_says_goodbye() -> None:
    async with simulate(load_flow_agent(RECEPTION, ScriptedEar())) as caller:
        await caller.ended()
    assert caller.transcript.count("Sorry, I did not hear you.") == 2
    assert caller.transcript[-1].endswith("Goodbye.")
    assert len([text for text in caller.transcript if "For appointments" in text]) == 3


@virtual_time
async def test_a_wrong_key_is_explained_and_what_follows_it_is_dropped() -> None:
    async with simulate(load_flow_agent(RECEPTION, ScriptedEar())) as caller:
        await caller.hears("press 1")
        caller.leg.press("5")
        caller.leg.press("0")
        await caller.hears("did not understand", to_the_end=True)
        await caller.hears("press 1", to_the_end=True)
    assert "transfer front-desk" not in caller.leg.steps


@virtual_time
async def test_too_few_digits_are_asked_for_again() -> None:
    async with simulate(load_flow_agent(RECEPTION, ScriptedEar())) as caller:
        await caller.hears("press 1")
        await caller.press("1")
        await caller.hears("on which day")
        await caller.press("02")
        await caller.hears("I need four digits", to_the_end=True)
        await caller.hears("on which day", to_the_end=True)


@virtual_time
async def test_a_key_cuts_speech_and_the_menu_gets_it() -> None:
    flow = agent(
        "start: a\nnodes:\n"
        "  a: {say: [one, two], next: m}\n"
        "  m: {menu: {prompt: which, options: {1: b}}}\n"
        "  b: {hangup: chosen}\n"
    )
    speech = ScriptedSynthesizer(lengths_ms={"one": 5_000})
    async with simulate(flow, synthesizer=speech) as caller:
        await caller.hears("one")
        await caller.waits(1.0)
        await caller.press("1")
        await caller.hears("chosen", to_the_end=True)
        await caller.ended()
    assert caller.transcript == ["one", "chosen"]
    assert caller.spoken[0].said is not None
    assert caller.spoken[0].said.heard_ms == pytest.approx(1_000, abs=41)


@virtual_time
async def test_speech_that_must_be_heard_is_not_cut() -> None:
    flow = agent(
        "start: a\nnodes:\n"
        "  a: {say: notice, interruptible: false, next: m}\n"
        "  m: {menu: {prompt: which, options: {1: b}}}\n"
        "  b: {hangup: }\n"
    )
    async with simulate(flow) as caller:
        await caller.hears("notice")
        caller.leg.press("1")
        await caller.ended()
    said = caller.spoken[0].said
    assert said is not None
    assert not said.interrupted
    assert caller.transcript == ["notice"]


@virtual_time
async def test_variables_branch() -> None:
    flow = agent(
        "start: ask\nvariables: {city: Pune}\nnodes:\n"
        "  ask: {gather: {prompt: pin, into: pin, next: look, max_digits: 6}}\n"
        "  look: {branch: {variable: pin, cases: {'0042': known}, otherwise: unknown}}\n"
        "  known: {set: {who: 'you of {city}'}, next: hello}\n"
        "  hello: {say: 'hello {who} from {caller}', next: end}\n"
        "  unknown: {hangup: sorry}\n"
        "  end: {hangup: }\n"
    )
    async with simulate(flow, caller="asha") as caller:
        await caller.hears("pin")
        await caller.press("0042#")
        await caller.ended()
    assert caller.transcript == ["pin", "hello you of Pune from asha"]
    async with simulate(flow) as caller:
        await caller.hears("pin")
        await caller.press("1#")
        await caller.ended()
    assert caller.transcript == ["pin", "sorry"]


@virtual_time
async def test_files_are_played_until_a_key(tmp_path: Path) -> None:
    write_wav(tmp_path / "ding.wav")
    flow = agent(
        "start: a\nnodes:\n  a: {play: ding.wav, next: b}\n"
        "  b: {menu: {prompt: which, options: {1: c}, retries: 0}}\n  c: {hangup: }\n",
        tmp_path,
    )
    async with simulate(flow) as caller:
        await caller.hears("which")
        assert np.array_equal(caller.leg.heard[:4_000], tone(500))
    async with simulate(flow) as caller:
        await caller.waits(0.2)
        await caller.press("1")
        await caller.ended()
    assert caller.call.played_ms == pytest.approx(200, abs=21)


@virtual_time
async def test_the_first_words_are_ready_before_the_answer() -> None:
    speech = ScriptedSynthesizer(delay_s=0.5)
    flow = agent("start: a\nnodes: {a: {say: hello, next: b}, b: {hangup: }}\n")
    async with simulate(flow, synthesizer=speech) as caller:
        record = await caller.ended()
    assert speech.asked == ["hello"]
    assert record.setup_ms == 1_500
    assert record.talk_ms == pytest.approx(400, abs=21)


@virtual_time
async def test_a_flow_in_circles_ends_some_time() -> None:
    flow = agent("start: a\nnodes: {a: {say: '{caller}', next: a}}\n")
    async with simulate(flow, caller="") as caller:
        record = await caller.ended()
    assert record.reason is EndReason.BOT_HUNG_UP


# Interruption by speech

PATIENT = """
start: a
interrupt: {interrupt}
nodes:
  a: {{say: [A long sentence that goes on for a while, And another one], next: b}}
  b: {{menu: {{prompt: Press one now, options: {{1: c}}, retries: 0, otherwise: c}}}}
  c: {{hangup: Bye}}
"""


@virtual_time
async def test_a_caller_who_speaks_cuts_the_speech() -> None:
    async with simulate(agent(PATIENT.format(interrupt="speech"))) as caller:
        await caller.hears("long sentence")
        await caller.waits(0.5)
        caller.says(tone(400))
        await caller.hears("press one", to_the_end=True)
        await caller.press("1")
        await caller.hears("bye")
    first = caller.spoken[0]
    assert first.said is not None
    assert first.said.interrupted
    assert 500 <= first.said.heard_ms < 800
    assert caller.transcript == [
        "A long sentence that goes on for a while",
        "Press one now",
        "Bye",
    ]


@virtual_time
async def test_speech_is_passed_over_where_only_keys_count() -> None:
    async with simulate(agent(PATIENT.format(interrupt="keys"))) as caller:
        await caller.hears("long sentence")
        caller.says(tone(400))
        await caller.hears("another one", to_the_end=True)
    assert not any(one.said and one.said.interrupted for one in caller.spoken)


@virtual_time
async def test_a_goodbye_cannot_be_cut_by_speech() -> None:
    async with simulate(agent(PATIENT.format(interrupt="speech"))) as caller:
        await caller.hears("press one")
        await caller.press("1")
        spoken = await caller.hears("bye")
        caller.says(tone(400))
        await caller.ended()
    assert spoken.said is not None
    assert not spoken.said.interrupted
