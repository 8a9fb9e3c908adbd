"""The calling side of the benchmarks: many calls over one UDP socket, times taken at the socket.

Made of plain strings, sharing no code with the server. Nothing is sent again: on loopback a lost
datagram counts as a failed call.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

ANSWER_S: Final = 5.0  # a call without an answer by then has failed
DIAL_RATE: Final = 100.0  # calls a second, when many are opened before a measurement
_BUFFER_BYTES: Final = 4 << 20
_HEADER: Final = re.compile(r"^([\w-]+):[ \t]*(.*?)\r?$", re.M)


@dataclass(slots=True, eq=False)
class Call:
    """One call. Times are seconds of ``time.perf_counter``; 0 means not yet."""

    number: int
    user: str
    caller: str
    call_id: str = field(default_factory=lambda: f"{secrets.token_hex(8)}@bench")
    tag: str = field(default_factory=lambda: secrets.token_hex(4))
    branch: str = field(default_factory=lambda: f"z9hG4bK{secrets.token_hex(6)}")
    invited: float = 0.0
    trying: float = 0.0
    answered: float = 0.0
    dropped: float = 0.0  # the server's BYE
    ended: float = 0.0  # either side's BYE was answered
    status: int = 0
    to: str = ""
    target: str = ""
    media_port: int = 0
    final: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Peer(asyncio.DatagramProtocol):
    """One caller of many calls. ``async with Peer(address) as peer``."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server, self._host = server, server[0]
        self._calls: dict[str, Call] = {}
        self._numbers = 0
        self._transport: asyncio.DatagramTransport | None = None
        # What the offers name and nobody reads: no ICMP error comes back from there.
        self._sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sink.bind((self._host, 0))

    async def __aenter__(self) -> Self:
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        line.bind((self._host, 0))
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=line)
        self._port = line.getsockname()[1]
        return self

    async def __aexit__(self, *problem: object) -> None:
        if self._transport is not None:
            self._transport.close()
        self._sink.close()

    # --- calling --------------------------------------------------------------------------------

    async def dial(self, user: str, *, caller: str = "bench", media_port: int = 0) -> Call:
        """INVITE, and ACK of what comes back. ``status`` is 0 when nothing did in time."""
        call = Call(self._numbers, user, caller)
        self._numbers += 1
        self._calls[call.call_id] = call
        port = media_port or self._sink.getsockname()[1]
        offer = (
            f"v=0\r\no=- {call.number} 1 IN IP4 {self._host}\r\ns=-\r\nc=IN IP4 {self._host}\r\n"
            f"t=0 0\r\nm=audio {port} RTP/AVP 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\n"
        )
        wire = self._request("INVITE", call, 1, offer)
        call.invited = time.perf_counter()
        self._send(wire)
        try:
            async with asyncio.timeout(ANSWER_S):
                await call.final.wait()
        except TimeoutError:
            pass
        return call

    async def dial_all(self, users: Sequence[str], rate: float = DIAL_RATE) -> list[Call]:
        """Open one call to each of ``users`` at a gentle pace. Ends the program when one fails."""
        dialling = []
        for user in users:
            caller = f"bench{self._numbers + 1}"
            dialling.append(asyncio.ensure_future(self.dial(user, caller=caller)))
            await asyncio.sleep(1 / rate)
        calls = list(await asyncio.gather(*dialling))
        failed = [call.status for call in calls if call.status != 200]
        if failed:
            raise SystemExit(f"{len(failed)} of {len(calls)} calls not answered: {set(failed)}")
        return calls

    async def hang_up(self, call: Call) -> None:
        """BYE, unless the server was first. The call is forgotten."""
        if not call.over.is_set():
            self._send(self._request("BYE", call, 2))
            try:
                async with asyncio.timeout(ANSWER_S):
                    await call.over.wait()
            except TimeoutError:
                pass
        self._calls.pop(call.call_id, None)

    async def hang_up_all(self, calls: Sequence[Call], rate: float = 2 * DIAL_RATE) -> None:
        """End them at a gentle pace."""
        ending = []
        for call in calls:
            ending.append(asyncio.ensure_future(self.hang_up(call)))
            await asyncio.sleep(1 / rate)
        await asyncio.gather(*ending)

    # --- on the wire ----------------------------------------------------------------------------

    def datagram_received(self, data: bytes, addr: object) -> None:
        now = time.perf_counter()
        head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
        headers = {name.lower(): value for name, value in _HEADER.findall(head)}
        call = self._calls.get(headers.get("call-id", ""))
        if call is None:
            return
        if not head.startswith("SIP/2.0 "):
            self._asked(call, head, now)
            return
        status, method = int(head.split(maxsplit=2)[1]), headers["cseq"].split()[1]
        if method == "BYE":
            call.ended = call.ended or now
            call.over.set()
        elif status < 200:
            call.trying = call.trying or now
        elif method == "INVITE":
            self._final(call, status, headers, body, now)

    def _asked(self, call: Call, head: str, now: float) -> None:
        """A request of the server: only BYE needs more than an OK."""
        first, *lines = head.split("\r\n")
        kept = ("via", "from", "to", "call-id", "cseq")
        echoed = [line for line in lines if line.partition(":")[0].lower() in kept]
        self._send("\r\n".join(["SIP/2.0 200 OK", *echoed, "Content-Length: 0", "", ""]).encode())
        if first.startswith("BYE "):
            call.dropped = call.dropped or now
            call.ended = call.ended or now
            call.over.set()

    def _final(
        self, call: Call, status: int, headers: dict[str, str], body: str, now: float
    ) -> None:
        call.to = headers["to"]
        if status < 300:
            found = re.search(r"<([^>]+)>", headers.get("contact", ""))
            call.target = found[1] if found else self._uri(call)
        self._send(self._request("ACK", call, 1))
        if call.final.is_set():
            return
        call.status = status
        if status < 300:
            call.answered = now
            port = re.search(r"^m=audio (\d+)", body, re.M)
            call.media_port = int(port[1]) if port else 0
        else:
            call.over.set()
        call.final.set()

    def _request(self, method: str, call: Call, cseq: int, body: str = "") -> bytes:
        """Of the INVITE's own transaction (the ACK of a refusal) until there is a target."""
        branch = f"z9hG4bK{secrets.token_hex(6)}" if call.target else call.branch
        lines = [
            f"{method} {call.target or self._uri(call)} SIP/2.0",
            f"Via: SIP/2.0/UDP {self._host}:{self._port};branch={branch};rport",
            f"From: <sip:{call.caller}@{self._host}>;tag={call.tag}",
            f"To: {call.to or f'<sip:{call.user}@{self._host}>'}",
            f"Call-ID: {call.call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:bench@{self._host}:{self._port}>",
            "Max-Forwards: 70",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join([*lines, "", body]).encode()

    def _uri(self, call: Call) -> str:
        return f"sip:{call.user}@{self._server[0]}:{self._server[1]}"

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, self._server)
