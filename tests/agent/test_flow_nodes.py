"""Nodes that do more than talk: hours, web services, other flows, languages, messages."""

from __future__ import annotations

import asyncio
import json
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from sipbot.agent.flow import FlowAgent, load_flow
from sipbot.agent.flow.hours import check_period, is_open
from sipbot.agent.flow.http_call import HttpFailed, ask
from sipbot.agent.flow.load import from_document
from sipbot.agent.flow.model import Http
from sipbot.call.leg import EndReason
from sipbot.errors import ConfigError
from sipbot.testing import simulate, tone, virtual_time
from sipbot.yamlmarks import loads
from tests.agent.flow_kit import ScriptedEar

INDIA = ZoneInfo("Asia/Kolkata")


def agent(text: str, folder: Path = Path()) -> FlowAgent:
    return FlowAgent(from_document(loads(text, "flow.yaml"), folder), ScriptedEar())


# Opening hours


@pytest.mark.parametrize(
    ("periods", "moment", "expected"),
    [
        (["mon-sat 09:00-19:00"], "2026-11-25 09:00", True),  # a Wednesday
        (["mon-sat 09:00-19:00"], "2026-11-25 08:59", False),
        (["mon-sat 09:00-19:00"], "2026-11-25 19:00", False),
        (["mon-sat 09:00-19:00"], "2026-11-29 12:00", False),  # a Sunday
        (["mon-fri 09:00-13:00", "mon-fri 14:00-18:00"], "2026-11-25 13:30", False),
        (["mon-fri 09:00-13:00", "mon-fri 14:00-18:00"], "2026-11-25 14:30", True),
        (["fri-mon 09:00-10:00"], "2026-11-29 09:30", True),
        (["tue,wed 09:00-10:00"], "2026-11-25 09:30", True),
        (["daily 00:00-24:00"], "2026-11-29 23:59", True),
        (["wed 22:00-02:00"], "2026-11-26 01:00", True),  # Thursday, still of Wednesday
        (["wed 22:00-02:00"], "2026-11-25 01:00", False),
    ],
)
def test_hours(periods: list[str], moment: str, expected: bool) -> None:
    now = datetime.fromisoformat(moment).replace(tzinfo=INDIA).timestamp()
    assert is_open(now, periods, "Asia/Kolkata") is expected
    assert not is_open(now, periods, "Asia/Kolkata", [moment[:10]])


@pytest.mark.parametrize("text", ["", "mon", "mon 9-17", "mond 09:00-10:00", "mon 09:00-25:00",
                                  "mon 09:00-09:00", "mon 09:61-10:00"])  # fmt: skip
def test_periods_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"period|times|days"):
        check_period(text)


@virtual_time
async def test_the_hours_decide_the_way() -> None:
    text = (
        "start: a\nnodes:\n  a: {hours: {open: HOURS, opened: b, closed: c}}\n"
        "  b: {hangup: Open now}\n  c: {hangup: Closed now}\n"
    )
    async with simulate(agent(text.replace("HOURS", "daily 00:00-24:00"))) as caller:
        await caller.hears("open now")
    closed = text.replace("HOURS", "daily 00:00-24:00, holidays: [HOLIDAY]")
    today = datetime.now(INDIA).date().isoformat()
    async with simulate(agent(closed.replace("HOLIDAY", today))) as caller:
        await caller.hears("closed now")


# Web services


@asynccontextmanager
async def service(
    status: int, body: bytes, slow: bool = False
) -> AsyncIterator[tuple[str, list[str]]]:
    """A web service that answers everything alike; its requests."""
    requests: list[str] = []
    released, done = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = [line for line in head.splitlines() if line.lower().startswith("content-length:")]
        content = await reader.readexactly(int(length[0].split(":")[1])) if length else b""
        requests.append(head.splitlines()[0] + content.decode())
        if slow:
            await released.wait()
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nLocation: /there\r\n"
            "Connection: close\r\n\r\n".encode()
            + body
        )
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        done.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests
        released.set()
        await done.wait()


def http(url: str, **more: object) -> Http:
    return Http.model_validate({"url": url, "next": "a", "failed": "b", **more})


async def test_a_service_is_asked_and_its_answer_taken() -> None:
    body = json.dumps({"order": {"state": "sent", "parts": [{"n": 2}], "paid": True}}).encode()
    async with service(200, body) as (base, requests):
        asked = http(
            base + "/orders/{number}?x=1",
            method="POST",
            body={"who": "{name}"},
            take={"state": "order.state", "n": "order.parts.0.n", "paid": "order.paid"},
        )
        found = await ask(asked, {"number": "4/2", "name": "Asha"})
    assert found == {"state": "sent", "n": "2", "paid": "true"}
    assert requests == ['POST /orders/4%2F2?x=1 HTTP/1.1{"who":"Asha"}']


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, b"{}", "status-404"),
        (302, b"{}", "status-302"),
        (200, b"no json", "no-json"),
        (200, b'{"b": 1}', "missing-value"),
        (200, b'{"a": {"b": 1}}', "missing-value"),
        (200, b'{"a": null}', "missing-value"),
        (200, b" " * 300_000, "too-long"),
    ],
)
async def test_answers_that_are_of_no_use(status: int, body: bytes, reason: str) -> None:
    async with service(status, body) as (base, _):
        with pytest.raises(HttpFailed, match=reason):
            await ask(http(base, take={"a": "a"}), {})


async def test_a_service_that_is_slow_or_away() -> None:
    async with service(200, b"{}", slow=True) as (base, _):
        with pytest.raises(HttpFailed, match="timeout"):
            await ask(http(base, timeout_s=0.05), {})
    with pytest.raises(HttpFailed, match="ConnectError"):
        await ask(http(base), {})


def test_the_host_of_a_service_is_fixed() -> None:
    with pytest.raises(ConfigError, match=r"http\.url"):
        agent("start: a\nnodes: {a: {http: {url: 'http://{caller}/', next: a, failed: a}}}\n")


# Other flows


SUB = """
start: ask
variables: {what: nothing}
nodes:
  ask: {gather: {prompt: "Type the {what}", into: typed, next: back, max_digits: 2}}
  back: {return: }
"""


@virtual_time
async def test_another_flow_is_gone_through_and_left(tmp_path: Path) -> None:
    (tmp_path / "sub.yaml").write_text(SUB)
    (tmp_path / "main.yaml").write_text(
        "start: a\nnodes:\n"
        "  a: {flow: {file: sub.yaml, give: {what: floor}, take: {floor: typed}, next: b}}\n"
        "  b: {hangup: 'Floor {floor}'}\n"
    )
    async with simulate(FlowAgent(load_flow(tmp_path / "main.yaml"), ScriptedEar())) as caller:
        await caller.hears("type the floor")
        await caller.press("42")
        await caller.hears("floor 42")


def test_flows_in_a_circle_and_variables_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "sub.yaml").write_text(SUB)
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.yaml").write_text(
            f"start: x\nnodes: {{x: {{flow: {{file: {other}.yaml, next: x}}}}}}\n"
        )
    with pytest.raises(ConfigError, match="in a circle"):
        load_flow(tmp_path / "a.yaml")
    with pytest.raises(ConfigError, match="no such variable"):
        agent(
            "start: a\nnodes:\n  a: {flow: {file: sub.yaml, give: {who: x}, next: b}}\n"
            "  b: {hangup: }\n",
            tmp_path,
        )


def test_circles_of_services_alone_are_mistakes() -> None:
    with pytest.raises(ConfigError, match="leads back to itself"):
        agent(
            "start: a\nnodes:\n  a: {http: {url: 'http://x.example/', next: b, failed: a}}\n"
            "  b: {hangup: }\n"
        )


@virtual_time
async def test_flows_within_flows_share_one_limit(tmp_path: Path) -> None:
    (tmp_path / "sub.yaml").write_text(
        "start: a\nnodes: {a: {say: '{caller}', next: b}, b: {return: }}\n"
    )
    text = (
        "start: a\nnodes:\n  a: {flow: {file: sub.yaml, next: b}}\n"
        "  b: {say: '{caller}', next: a}\n"
    )
    async with simulate(agent(text, tmp_path), caller="") as caller:
        record = await caller.ended()
    assert record.reason is EndReason.BOT_HUNG_UP


# Languages

TWO = """
start: ask
language: en
languages: {en: {voice: en-gb}, hi: {voice: hi}}
nodes:
  ask:
    menu:
      prompt: {en: For Hindi press 2, hi: "हिंदी के लिए 2"}
      options: {2: hindi}
      retries: 0
  hindi: {language: hi, next: hello}
  hello: {hangup: {en: Hello, hi: "नमस्ते"}}
"""


@virtual_time
async def test_the_language_changes_in_the_middle() -> None:
    async with simulate(agent(TWO)) as caller:
        await caller.hears("for hindi")
        await caller.press("2")
        await caller.hears("नमस्ते")


def test_missing_translations_are_doubts() -> None:
    text = TWO.replace('{en: Hello, hi: "नमस्ते"}', "Hello")
    warnings = from_document(loads(text, "f"), Path()).warnings
    assert [str(one.message) for one in warnings] == ["has no text in 'hi'"]
    with pytest.raises(ConfigError, match="none of languages"):
        agent(TWO.replace("language: hi,", "language: ta,"))


def test_the_shipped_flow_of_two_languages_lacks_nothing() -> None:
    flow = load_flow(
        Path(__file__).resolve().parents[2] / "config" / "flows" / "two_languages.yaml"
    )
    assert flow.warnings == ()
    assert set(flow.file.languages) == {"en", "hi"}


def test_a_wrong_text_is_one_mistake() -> None:
    with pytest.raises(ConfigError) as error:
        agent("start: a\nnodes: {a: {hangup: [x]}}\n")
    assert len(error.value.problems) == 1
    with pytest.raises(ConfigError) as error:
        agent("start: a\nnodes: {a: {hangup: {en: x, Hindi: y}}}\n")
    assert len(error.value.problems) == 1


# Messages

MAIL = """
start: a
nodes:
  a:
    voicemail:
      {prompt: Speak after the tone, folder: mail, into: file, max_s: 20, silence_s: 2, keep: 1,
       next: b, nothing: c}
  b: {hangup: Thank you}
  c: {hangup: Nothing kept}
"""


@virtual_time
async def test_a_message_is_recorded(tmp_path: Path) -> None:
    async with simulate(agent(MAIL, tmp_path)) as caller:
        await caller.hears("after the tone", to_the_end=True)
        await caller.waits(1.0)
        caller.says(tone(3_000))
        await caller.hears("thank you", to_the_end=True)
    files = list((tmp_path / "mail").glob("*.wav"))
    assert len(files) == 1
    with wave.open(str(files[0])) as file:
        assert file.getframerate() == 8_000
        assert 3.0 <= file.getnframes() / 8_000 <= 4.6
    async with simulate(agent(MAIL, tmp_path)) as caller:  # there is one already
        await caller.hears("after the tone", to_the_end=True)
        await caller.waits(1.0)
        caller.says(tone(500))
        await caller.hears("nothing kept")


@virtual_time
async def test_no_message_is_kept_of_silence(tmp_path: Path) -> None:
    async with simulate(agent(MAIL, tmp_path)) as caller:
        await caller.hears("nothing kept")
    assert not (tmp_path / "mail").exists()


@virtual_time
async def test_a_key_ends_the_message(tmp_path: Path) -> None:
    async with simulate(agent(MAIL, tmp_path)) as caller:
        await caller.hears("after the tone", to_the_end=True)
        await caller.waits(0.5)
        caller.says(tone(1_000))
        await caller.waits(1.2)
        await caller.press("#")
        await caller.hears("thank you")
