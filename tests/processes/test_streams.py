"""Streams of a real server with workers: shared limits, drain, reload, a worker that is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picows import WSHandshakeError

from tests.http.stream_kit import FRAME, WAIT_S, Exotel
from tests.interop.ports import HOST, free_port
from tests.interop.wire import Caller, Line

from .kit import Server, kill, serving

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

LOUD = np.full(FRAME, 5_000, np.int16)


class Streams:
    """Exotel at the door of a server."""

    def __init__(self) -> None:
        self.port = free_port()
        self.http = {"listen": f"http://{HOST}:{self.port}"}

    async def dial(self, agent: str = "echo") -> Exotel:
        exotel = await Exotel.dial(f"ws://{HOST}:{self.port}/exotel/voicebot/{agent}")
        return exotel.start()

    async def refusal(self) -> str:
        with pytest.raises(WSHandshakeError) as caught:
            await self.dial()
        assert caught.value.raw_body is not None
        return caught.value.raw_body.decode().strip()

    def get(self, path: str) -> str:
        url = f"http://{HOST}:{self.port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()

    def figure(self, name: str) -> float:
        """A value of the metrics page."""
        lines = self.get("/metrics").splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


async def until(condition: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    """Wait on real processes, while sockets here go on."""
    try:
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"not within {seconds} s: {what}")


async def logged(server: Server, event: str, count: int) -> None:
    """Wait until the log has so many lines of this event: they come a little after the fact."""
    await until(lambda: server.count(event) >= count, f"{count} times {event}")


async def echoes(exotel: Exotel) -> bool:
    """Whether it gives back what is said; False when it closes meanwhile."""
    before = len(exotel.heard)
    async with asyncio.timeout(WAIT_S):
        while len(exotel.heard) <= before:
            if exotel.closed.done():
                return False
            exotel.speaks(LOUD)
            await asyncio.wait({exotel.closed}, timeout=0.02)
    return True


def sip_status(server: Server) -> int:
    """What a SIP call gets now."""
    with Line(server.config.sip_port) as line:
        call = Caller(line, "echo", server.config.sip_port)
        call.invite(40_000)
        answer = call.answer()
        call.ack(failure=answer.status >= 300)
        if answer.status < 300:
            call.hangup()
    return answer.status


def workers_of(server: Server) -> dict[int, int]:
    """Process ids by number of the worker."""
    return {one["worker"]: one["pid"] for one in server.of("worker started")}


@pytest.mark.parametrize("workers", [0, 1])
async def test_limits_and_drain_are_one_with_sip(tmp_path: Path, workers: int) -> None:
    streams = Streams()
    limits, call = {"max_calls": 2}, {"drain_s": 20}
    with serving(tmp_path, workers=workers, http=streams.http, limits=limits, call=call) as (
        server,
        phones,
    ):
        await asyncio.to_thread(phones.dial, "echo")
        exotel = await streams.dial()
        assert await echoes(exotel)
        await until(lambda: '"max-calls"' in streams.get("/ready"), "the house is full")
        assert await streams.refusal() == "max-calls"
        assert await asyncio.to_thread(sip_status, server) == 503
        answered = 'sipbot_active_calls{state="answered"}'
        await until(lambda: streams.figure(answered) == 2, "both calls are shown")
        assert await asyncio.to_thread(streams.figure, "sipbot_calls_total") == 2
        server.may_end = True
        os.kill(server.pid, signal.SIGTERM)
        await until(lambda: "shutting-down" in streams.get("/ready"), "it says that it ends")
        assert await streams.refusal() == "shutting-down"
        phones._open[0][0].hangup()
        assert await echoes(exotel)
        exotel.stops()
        assert await exotel.end() == (1000, "caller-hung-up")
        assert await asyncio.to_thread(server.wait_exit, 10.0) == 0


async def test_at_the_deadline_streams_are_closed(tmp_path: Path) -> None:
    streams = Streams()
    with serving(tmp_path, workers=1, http=streams.http, call={"drain_s": 1}) as (server, _):
        exotel = await streams.dial()
        assert await echoes(exotel)
        server.may_end = True
        os.kill(server.pid, signal.SIGTERM)
        assert await exotel.end() == (1001, "shutdown")
        assert await asyncio.to_thread(server.wait_exit, 10.0) == 0
    (ended,) = server.of("call ended")
    assert (ended["reason"], ended["rule"]) == ("shutdown", "path")


async def test_a_killed_worker_takes_its_own_streams_only(tmp_path: Path) -> None:
    streams = Streams()
    with serving(tmp_path, workers=2, http=streams.http) as (server, _):
        server.troubles_expected = True
        held: dict[int, Exotel] = {}  # by worker
        for dialled in range(60):  # whichever worker is quicker takes a connection
            exotel = await streams.dial()
            assert await echoes(exotel)
            await logged(server, "call received", dialled + 1)
            number = server.of("call received")[-1]["worker"]
            held.setdefault(number, exotel)
            if len(held) == 2:
                break
        else:
            pytest.skip("one worker was quicker all the time")
        (victim, lost), (_, other) = held.items()
        kill(workers_of(server)[victim])
        assert (await lost.end())[0] == 1006
        assert await echoes(other)
        await until(lambda: len(server.of("worker started")) == 3, "a new worker")
        assert await echoes(await streams.dial())
        assert await echoes(other)


async def test_a_reload_keeps_streams_and_serves_new_ones(tmp_path: Path) -> None:
    streams = Streams()
    with serving(tmp_path, workers=1, http=streams.http) as (server, _):
        early = await streams.dial()
        assert await echoes(early)
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: server.count("reloaded") == 1, "reloaded")
        late = await streams.dial()
        assert await echoes(late)
        assert await echoes(early)
        await logged(server, "call received", 2)
        numbers = [one["worker"] for one in server.of("call received")]
        assert len(set(numbers)) == 2
        ended: Any = "sipbot_calls_ended_total"
        early.stops()
        await early.end()
        await until(lambda: server.count("worker retired") == 1, "the old worker goes")
        late.stops()
        await late.end()
        await until(lambda: streams.figure(ended) == 2, "what the old worker counted stays")


async def test_streams_outlive_the_edge(tmp_path: Path) -> None:
    streams = Streams()
    with serving(tmp_path, workers=1, http=streams.http) as (server, phones):
        server.troubles_expected = True
        early = await streams.dial()
        assert await echoes(early)
        await asyncio.to_thread(phones.dial, "echo")
        kill(server.child("edge_main")[0])
        await until(lambda: server.count("edge restarted") == 1, "a new edge")
        assert await echoes(early)
        late = await streams.dial()
        assert await echoes(late)
        early.stops()
        assert await early.end() == (1000, "caller-hung-up")
        assert await echoes(late)
        await logged(server, "call ended", 2)
        reasons = sorted(one["reason"] for one in server.of("call ended"))
        assert reasons == ["caller-hung-up", "network"]
