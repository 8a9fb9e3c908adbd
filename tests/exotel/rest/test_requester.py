"""What is repeated, how long it waits, and what never shows."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

import httpx
import pytest

from sipbot.exotel.rest.account import Account, Region
from sipbot.exotel.rest.client import ExotelClient
from sipbot.exotel.rest.errors import (
    AuthenticationFailed,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Refused,
    ServerFault,
    UnreadableAnswer,
)
from sipbot.exotel.rest.requester import MAX_ANSWER_BYTES, Answer, RetryPolicy, retry_after_s
from sipbot.exotel.rest.values import Mode
from sipbot.testing.exotel_api import FakeExotel, Fault
from tests.exotel.rest.kit import ACCOUNT, NUMBER, Cutting, Waits, client, served

BUSY = Fault(429, b"slow down", {"retry-after": "7"})


async def test_a_busy_exotel_is_asked_again_when_it_says() -> None:
    fake, waits = FakeExotel(), Waits()
    fake.faults.extend([BUSY, Fault(429), Fault(503)])
    async with client(fake, waits=waits) as exotel:
        assert await exotel.trunks.all() == ()
    assert waits == [7.0, 1.0, 2.0]
    assert len(fake.seen) == 4


async def test_a_busy_exotel_is_asked_again_for_a_post_too() -> None:
    fake, waits = FakeExotel(), Waits()
    fake.faults.append(BUSY)
    async with client(fake, waits=waits) as exotel:
        trunk = await exotel.trunks.create("front_desk")
    assert list(fake.trunks.trunks) == [trunk.sid]
    assert waits == [7.0]


async def test_attempts_are_bounded() -> None:
    fake, waits = FakeExotel(), Waits()
    fake.faults.extend([Fault(502)] * 10)
    async with client(fake, waits=waits) as exotel:
        with pytest.raises(ServerFault) as caught:
            await exotel.trunks.all()
    assert (len(fake.seen), caught.value.attempt, waits) == (4, 4, [0.5, 1.0, 2.0])


async def test_a_long_retry_after_is_told_instead_of_waited_for() -> None:
    fake, waits = FakeExotel(), Waits()
    fake.faults.append(Fault(429, b"", {"retry-after": "3600"}))
    async with client(fake, waits=waits) as exotel:
        with pytest.raises(RateLimited) as caught:
            await exotel.trunks.all()
    assert (caught.value.retry_after_s, waits) == (3600.0, [])


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_post_that_may_have_been_done_is_not_repeated(status: int) -> None:
    fake, waits = FakeExotel(), Waits()
    fake.faults.append(Fault(status, after=True))
    async with client(fake, waits=waits) as exotel:
        with pytest.raises(ServerFault):
            await exotel.calls.connect("+919812345610", "+919812345611", NUMBER)
    assert (len(fake.calls.calls), len(fake.seen), waits) == (1, 1, [])


async def test_a_call_without_an_answer_is_not_placed_twice() -> None:
    fake = FakeExotel()
    cutting = Cutting(fake, httpx.ReadError("reset"))
    async with client(fake, transport=cutting) as exotel:
        with pytest.raises(OutcomeUnknown, match="may have been done"):
            await exotel.calls.connect("+919812345610", "+919812345611", NUMBER)
    assert len(fake.calls.calls) == 1


async def test_what_was_never_sent_is_sent_again() -> None:
    fake = FakeExotel()
    cutting = Cutting(fake, httpx.ConnectError("refused"), httpx.ConnectTimeout("late"))
    async with client(fake, transport=cutting) as exotel:
        await exotel.calls.connect("+919812345610", "+919812345611", NUMBER)
    assert len(fake.calls.calls) == 1


async def test_a_removal_repeated_after_a_lost_answer_succeeds() -> None:
    fake = FakeExotel()
    cutting = Cutting(fake)
    async with client(fake, transport=cutting) as exotel:
        trunk = await exotel.trunks.create("front_desk")
        number = await exotel.trunks.add_number(trunk.sid, NUMBER, Mode.PSTN)
        cutting.script.append(httpx.ReadTimeout("late"))
        await exotel.trunks.remove_number(trunk.sid, number.id)
        assert await exotel.trunks.numbers(trunk.sid) == ()
    assert [one.method for one in fake.seen].count("DELETE") == 2


async def test_nobody_listens() -> None:
    account = Account("acme1", "key1", "token1", base_url="http://127.0.0.1:1")
    waits = Waits()
    async with ExotelClient(account, sleep=waits, chance=lambda: 0.0) as exotel:
        with pytest.raises(NotSent, match=r"no connection to 127\.0\.0\.1"):
            await exotel.trunks.all()
    assert waits == [0.25, 0.5, 1.0]


async def test_a_connection_cut_by_a_real_peer() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    account = Account("acme1", "key1", "token1", base_url=f"http://127.0.0.1:{port}")
    async with server, ExotelClient(account, sleep=Waits()) as exotel:
        with pytest.raises(OutcomeUnknown) as caught:
            await exotel.trunks.create("front_desk")
    assert caught.value.attempt == 1


async def test_over_a_real_connection() -> None:
    fake = FakeExotel()
    with served(fake) as base:
        account = Account("acme1", "key1", "token1", base_url=base + "/")
        async with ExotelClient(account) as exotel:
            trunk = await exotel.trunks.create("front_desk")
            assert [one.sid for one in await exotel.trunks.all()] == [trunk.sid]


async def test_redirects_are_not_followed() -> None:
    fake = FakeExotel()
    fake.faults.append(Fault(302, b"", {"location": "https://elsewhere.example.com/"}))
    async with client(fake) as exotel:
        with pytest.raises(Refused) as caught:
            await exotel.trunks.all()
    assert (caught.value.status, len(fake.seen)) == (302, 1)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(200, b"<html>not found</html>"),
        Fault(200, b"[]"),
        Fault(200, b"\xff\xfe"),
        Fault(200, b"[" * 100_000),
        Fault(200, b'{"response": [5]}'),
        Fault(200, b'{"a": "' + b"x" * MAX_ANSWER_BYTES + b'"}'),
        Fault(200, b"no gzip", {"content-encoding": "gzip"}),
    ],
    ids=["html", "list", "bytes", "deep", "number", "huge", "gzip"],
)
async def test_unreadable_answers(fault: Fault) -> None:
    fake = FakeExotel()
    fake.faults.append(fault)
    async with client(fake) as exotel:
        with pytest.raises(UnreadableAnswer):
            await exotel.trunks.all()


async def test_secrets_and_numbers_stay_out_of_everything(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    fake = FakeExotel()
    account = Account("acme1", "key1secret", "token1secret")
    fake.faults.append(Fault(401, b"bad token1secret for 919812345610 from key1secret"))
    async with client(fake, account=account) as exotel:
        with pytest.raises(AuthenticationFailed) as caught:
            await exotel.calls.list(filters={"To": "+919812345610"})
        fake.faults.append(Fault(503))
        with pytest.raises(AuthenticationFailed):
            await exotel.calls.list(filters={"To": "+919812345610"})
    out = capsys.readouterr()
    texts = [repr(account), str(account), str(caught.value), repr(caught.value), caplog.text]
    for text in (*texts, out.out, out.err):
        for secret in ("token1secret", "key1secret", "9812345610"):
            assert secret not in text
    assert caught.value.__cause__ is None


async def test_a_password_that_exotel_repeats_is_hidden() -> None:
    fake = FakeExotel()
    async with client(fake) as exotel:
        trunk = await exotel.trunks.create("front_desk")
        with pytest.raises(Refused, match=r"Invalid password \[redacted\]"):
            await exotel.trunks.add_credential(trunk.sid, "desk", "not-plain!")


def test_waits_double_are_cut_and_vary() -> None:
    policy = RetryPolicy(first_s=1, longest_s=10)
    error = NotSent("x", "y")
    assert [policy.wait_s(attempt, error, 1.0) for attempt in range(1, 7)] == [1, 2, 4, 8, 10, 10]
    assert policy.wait_s(1, error, 0.0) == 0.5


def test_retry_after_as_a_date() -> None:
    now = datetime(2026, 1, 23, 10, 0, tzinfo=UTC)
    header = {"retry-after": "Fri, 23 Jan 2026 10:00:12 GMT"}
    assert retry_after_s(Answer(429, header, b""), now) == 12.0
    past = {"retry-after": "Fri, 23 Jan 2026 09:00:00 GMT"}
    assert retry_after_s(Answer(429, past, b""), now) == 0.0
    for junk in ("", "soon", "-5", "1e9", "9" * 30):
        assert retry_after_s(Answer(429, {"retry-after": junk}, b""), now) is None


def test_regions() -> None:
    mumbai = Account("acme1", "k", "t")
    singapore = Account("acme1", "k", "t", Region.SINGAPORE)
    assert (mumbai.api, mumbai.cpaas) == (
        "https://api.in.exotel.com",
        "https://cpaas-api.in.exotel.com",
    )
    assert (singapore.api, singapore.cpaas) == (
        "https://api.exotel.com",
        "https://cpaas-api.exotel.com",
    )
    assert ACCOUNT.domain == "acme1.pstn.exotel.com"


@pytest.mark.parametrize(
    ("sid", "key", "token", "base_url"),
    [
        ("a/b", "k", "t", None),
        ("", "k", "t", None),
        ("acme1", "", "t", None),
        ("acme1", "a:b", "t", None),
        ("acme1", "k", "t t", None),
        ("acme1", "k", "t\n", None),
        ("acme1", "k", "t", "http://api.example.com"),
        ("acme1", "k", "t", "https://k:t@api.example.com"),
        ("acme1", "k", "t", "api.example.com"),
        ("acme1", "k", "t", "https://[::1"),
        ("acme1", "k", "t", "http://127.0.0.1:nine"),
    ],
)
def test_accounts_that_cannot_be_right(
    sid: str, key: str, token: str, base_url: str | None
) -> None:
    with pytest.raises(ValueError, match=r"must|has up to"):
        Account(sid, key, token, base_url=base_url)
