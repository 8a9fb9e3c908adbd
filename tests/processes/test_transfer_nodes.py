"""Two nodes and one database: a call is transferred on one, Exotel asks the other."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.databases import Postgres
from tests.http.stream_kit import WAIT_S, Exotel
from tests.interop.ports import HOST, free_port
from tests.interop.wire import Caller, Line

from .kit import Server, until

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

NUMBERS = ["+918012345678", "+918012345679"]
NOBODY: list[str] = []
AGENTS = ("sends", "ends")


class Node:
    """One server of two, and how Exotel asks it."""

    def __init__(self, directory: Path, store: str, workers: int) -> None:
        directory.mkdir()
        self.port = free_port()
        self.server = Server(
            directory,
            workers=workers,
            http={"listen": f"http://{HOST}:{self.port}"},
            store={"url": store},
            trunks={"exotel": {"profile": "exotel", "allow": ["127.0.0.0/8"]}},
            exotel={"flows": {"agentstream": {"transfer": 302, "end": 200}}},
            transfers={"front-desk": {"numbers": NUMBERS, "one_by_one": True}},
            agents={
                name: {
                    "type": "python",
                    "entry": f"tests.processes.transfer_agents:{name.capitalize()}",
                }
                for name in AGENTS
            },
            routes=[{"to": name, "agent": name} for name in AGENTS],
        )

    def ask(self, path: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        url = f"http://{HOST}:{self.port}{path}"
        opener = urllib.request.build_opener(_NoRedirects)
        try:
            with opener.open(url, timeout=WAIT_S) as answer:
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, body = error.code, error.read()
        return status, json.loads(body) if body else None

    def passthru(self, sid: str, flow: str = "") -> int:
        return self.ask(f"/exotel/passthru{flow}?CallSid={sid}")[0]

    def dialled(self, sid: str, last: str = "") -> Any:
        path = f"/exotel/connect?CallSid={sid}&DialWhomNumber={last.replace('+', '%2B')}"
        return self.ask(path)[1]["destination"]["numbers"]

    def record(self, sid: str) -> dict[str, Any]:
        """What is kept of a call, once it is there."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            status, call = self.ask(f"/api/calls/{sid}")
            found[:] = [call] if status == 200 else []
            return bool(found)

        until(there, WAIT_S, f"a record of {sid}")
        return found[0]

    def call(self, user: str, sid: str) -> None:
        """A call of Exotel by SIP, until the bot ends it."""
        with Line(self.server.config.sip_port, "tcp") as line, _media() as media:
            caller = Caller(line, user, self.server.config.sip_port)
            headers = (f"X-Exotel-CallSid: {sid}", "X-Exotel-TrunkSid: trmum1a")
            caller.invite(media.getsockname()[1], headers=headers)
            assert caller.answer().status == 200
            caller.ack()
            caller.incoming("BYE")

    async def stream(self, agent: str, sid: str) -> None:
        """The same by WebSocket."""
        exotel = await Exotel.dial(f"ws://{HOST}:{self.port}/exotel/voicebot/{agent}")
        exotel.start(call_sid=sid)
        async with asyncio.timeout(WAIT_S):
            code, _ = await exotel.closed
        assert code == 1000


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _media() -> socket.socket:
    media = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    media.bind((HOST, 0))
    return media


@pytest.fixture(scope="module")
def nodes(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Node, Node]]:
    """One with workers, one of a single process. Both begin with an empty database."""
    store, folder = postgres.database(), tmp_path_factory.mktemp("nodes")
    one, two = Node(folder / "one", store, workers=2), Node(folder / "two", store, workers=0)
    with one.server, two.server:
        yield one, two


def test_a_sip_call_is_transferred_on_one_node_and_connected_by_the_other(
    nodes: tuple[Node, Node],
) -> None:
    for number, (here, there) in enumerate((nodes, nodes[::-1])):
        sid = f"sip-{number}"
        here.call("sends", sid)
        assert (there.passthru(sid), here.passthru(sid)) == (200, 200)
        assert there.passthru(sid, "/agentstream") == 302
        assert there.dialled(sid) == NUMBERS[:1]
        assert here.dialled(sid) == NUMBERS[:1]
        assert here.dialled(sid, NUMBERS[0]) == NUMBERS[1:]
        assert there.dialled(sid, NUMBERS[0]) == NUMBERS[1:]
        assert here.dialled(sid, NUMBERS[1]) == NOBODY
        assert there.passthru(sid) == 302
        assert there.record(sid)["reason"] == "transferred"


def test_a_stream_is_transferred_by_the_same_agent(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    asyncio.run(here.stream("sends", "stream-1"))
    assert there.passthru("stream-1", "/agentstream") == 302
    assert there.dialled("stream-1") == NUMBERS[:1]
    there.ask("/exotel/passthru?CallSid=stream-1&stage=call-end&Stream[DisconnectedBy]=bot")
    record = here.record("stream-1")
    assert (record["reason"], record["transport"]) == ("transferred", "voicebot")
    until(
        lambda: here.record("stream-1")["exotel"].get("disconnected_by") == "bot",
        WAIT_S,
        "what Exotel reported on the other node",
    )


def test_a_call_that_ends_goes_the_other_branch(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    here.call("ends", "ended-1")
    assert there.passthru("ended-1") == 302
    assert there.passthru("ended-1", "/agentstream") == 200
    assert there.dialled("ended-1") == NOBODY
    assert there.record("ended-1")["reason"] == "bot-hung-up"
