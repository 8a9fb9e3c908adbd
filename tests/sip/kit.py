"""A peer made of text, and a user agent on virtual time, for the tests of the core."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from sipbot.sip.effects import Effects, Event, Flow, Hop, IncomingCall, Send, Transport
from sipbot.sip.headers import NameAddr
from sipbot.sip.ids import CountingIds
from sipbot.sip.message import Message, Request, Response, parse_message
from sipbot.sip.uri import Uri
from sipbot.sip.user_agent import UserAgent, UserAgentConfig

US = ("192.0.2.10", 5070)
PEER = ("192.0.2.20", 5060)
SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.20\r\ns=-\r\n"
OUR_SDP = b"v=0\r\no=- 7 7 IN IP4 192.0.2.10\r\ns=-\r\n"

E = TypeVar("E")


def flow(
    transport: Transport = "udp",
    remote: tuple[str, int] = PEER,
    connection: int | None = None,
) -> Flow:
    if transport != "udp" and connection is None:
        connection = 1
    return Flow(transport, US, remote, connection)


UDP = flow()
TCP = flow("tcp", (PEER[0], 40_000))


class Peer:
    """Writes the messages of one call from the peer's side. We are the callee."""

    def __init__(
        self,
        *,
        call_id: str = "call-1",
        transport: str = "UDP",
        contact: str = "<sip:caller@192.0.2.20:5060>",
    ) -> None:
        self.call_id = call_id
        self.transport = transport
        self.contact = contact
        self.from_tag = "peer-tag"
        self.to_tag = ""
        self.cseq = 101
        self.branches = 0

    def request(
        self,
        method: str,
        *headers: tuple[str, str],
        body: bytes = b"",
        content_type: str = "application/sdp",
        branch: str = "",
        cseq: int | None = None,
        uri: str = "sip:echo@192.0.2.10:5070",
        via: str = "",
        contact: bool = True,
        to: str = "",
    ) -> bytes:
        if not branch:
            self.branches += 1
            branch = f"z9hG4bK-{self.call_id}-{self.branches}"
        if cseq is None:
            if method not in ("ACK", "CANCEL"):
                self.cseq += 1
            cseq = self.cseq
        tag = f";tag={self.to_tag}" if self.to_tag else ""
        via = via or f"SIP/2.0/{self.transport} 192.0.2.20:5060;rport;branch={branch}"
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: {via}",
            "Max-Forwards: 70",
            f"From: <sip:caller@192.0.2.20>;tag={self.from_tag}",
            to or f"To: <sip:echo@192.0.2.10>{tag}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq} {method}",
        ]
        if contact and method in ("INVITE", "UPDATE"):
            lines.append(f"Contact: {self.contact}")
        lines += [f"{name}: {value}" for name, value in headers]
        if body:
            lines.append(f"Content-Type: {content_type}")
        lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    def invite(self, *headers: tuple[str, str], body: bytes = SDP, branch: str = "") -> bytes:
        return self.request("INVITE", *headers, body=body, branch=branch)

    def response(self, request: Request, status: int, *headers: tuple[str, str]) -> bytes:
        """An answer to one of our requests inside the call."""
        return answer_to(request, status, *headers)


def answer_to(
    request: Request,
    status: int,
    *headers: tuple[str, str],
    tag: str = "",
    body: bytes = b"",
    reason: str = "Reason",
) -> bytes:
    """A response to one of our requests."""
    to = request.headers.get("To") or ""
    if tag and request.to.tag is None:
        to = f"{to};tag={tag}"
    lines = [f"SIP/2.0 {status} {reason}"]
    lines += [f"Via: {value}" for value in request.headers.all("Via")]
    lines += [
        f"From: {request.headers.get('From')}",
        f"To: {to}",
        f"Call-ID: {request.call_id}",
        f"CSeq: {request.headers.get('CSeq')}",
    ]
    lines += [f"{name}: {value}" for name, value in headers]
    if body:
        lines.append("Content-Type: application/sdp")
    lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def sends(effects: Effects) -> list[Send]:
    return [effect for effect in effects if isinstance(effect, Send)]


def sent(effects: Effects) -> list[Message]:
    """What is sent, each by its first attempt."""
    return [parse_message(send.attempts[0].wire) for send in sends(effects)]


def statuses(effects: Effects) -> list[int]:
    return [message.status for message in sent(effects) if isinstance(message, Response)]


def methods(effects: Effects) -> list[str]:
    return [message.method for message in sent(effects) if isinstance(message, Request)]


def events(effects: Effects) -> list[Event]:
    return [effect for effect in effects if not isinstance(effect, Send)]


def only(kind: type[E], effects: Iterable[object]) -> E:
    """The one effect of that kind."""
    found = [effect for effect in effects if isinstance(effect, kind)]
    assert len(found) == 1, found
    return found[0]


def request_in(effects: Effects, method: str) -> Request:
    found = [message for message in sent(effects) if isinstance(message, Request)]
    found = [message for message in found if message.method == method]
    assert len(found) == 1, methods(effects)
    return found[0]


def response_in(effects: Effects, status: int) -> Response:
    found = [message for message in sent(effects) if isinstance(message, Response)]
    found = [message for message in found if message.status == status]
    assert len(found) == 1, statuses(effects)
    return found[0]


class Bench:
    """A user agent with a clock that the test moves."""

    def __init__(self, config: UserAgentConfig | None = None) -> None:
        self.now = 1000.0
        self.ua = UserAgent(config or UserAgentConfig(), CountingIds("id"), self._local)

    @staticmethod
    def _local(_towards: Flow | Hop) -> tuple[str, int]:
        return US

    def receive(self, data: bytes, by: Flow = UDP) -> Effects:
        return self.ua.receive(data, by, self.now)

    def fire(self) -> Effects:
        """Jump to the next deadline."""
        at = self.ua.next_deadline()
        assert at is not None
        self.now = max(self.now, at)
        return self.ua.handle_timer(self.now)

    def advance(self, seconds: float) -> list[tuple[float, Effects]]:
        """Let time pass; returns what happened when, in seconds from now."""
        start, end = self.now, self.now + seconds
        seen = []
        while (at := self.ua.next_deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            effects = self.ua.handle_timer(self.now)
            if effects:
                seen.append((self.now - start, effects))
        self.now = end
        return seen

    def idle(self) -> None:
        """Let all timers run out and check that nothing is left."""
        self.advance(4000.0)
        counts = self.ua.counts()
        assert counts.sessions == counts.dialogs == counts.alarms == 0, counts
        assert counts.server_transactions == counts.client_transactions == 0, counts


class Callee(Bench):
    """A bench with one call from ``Peer`` in the state a test needs."""

    def __init__(
        self,
        *,
        config: UserAgentConfig | None = None,
        peer: Peer | None = None,
        by: Flow = UDP,
    ) -> None:
        super().__init__(config)
        self.peer = peer or Peer()
        self.by = by
        self.session = ""

    def get(self, data: bytes) -> Effects:
        return self.receive(data, self.by)

    def ring_in(self, *headers: tuple[str, str], body: bytes = SDP) -> Effects:
        effects = self.get(self.peer.invite(*headers, body=body))
        self.session = only(IncomingCall, effects).session
        return effects

    def answer(self) -> Effects:
        effects = self.ua.answer(self.session, OUR_SDP, self.now)
        self.peer.to_tag = response_in(effects, 200).to.tag or ""
        return effects

    def confirm(self, *headers: tuple[str, str], body: bytes = SDP) -> Response:
        """Bring the call up; returns our 200."""
        self.ring_in(*headers, body=body)
        ok = response_in(self.answer(), 200)
        self.get(self.peer.request("ACK", body=b"" if body else SDP))
        return ok

    def hang_up_by_peer(self) -> Effects:
        return self.get(self.peer.request("BYE"))


class Caller(Bench):
    """A bench that calls out."""

    def __init__(self, *, config: UserAgentConfig | None = None, by: Flow = UDP) -> None:
        super().__init__(config)
        self.by = by
        self.session = ""

    def call(self, **options: object) -> Request:
        settings: dict[str, object] = {
            "to": Uri.parse(f"sip:bob@192.0.2.20:5060;transport={self.by.transport}"),
            "from_": NameAddr.parse("<sip:us@192.0.2.10>"),
            "body": OUR_SDP,
            "hop": None,
            "now": self.now,
        }
        settings.update(options)
        self.session, effects = self.ua.invite(**settings)  # type: ignore[arg-type]
        return request_in(effects, "INVITE")

    def get(self, data: bytes) -> Effects:
        return self.receive(data, self.by)

    def accepted(self, invite: Request, *headers: tuple[str, str], tag: str = "bob") -> bytes:
        contact = ("Contact", "<sip:bob@192.0.2.20:5060>")
        return answer_to(invite, 200, contact, *headers, tag=tag, body=SDP)

    def confirm(self, *headers: tuple[str, str]) -> Request:
        """Bring the call up; returns our INVITE."""
        invite = self.call()
        self.get(self.accepted(invite, *headers))
        return invite
