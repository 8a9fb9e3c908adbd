"""Sending requests: transactions, credentials, and the requests that follow an INVITE's way."""

from __future__ import annotations

from dataclasses import replace

from sipbot.sip.auth import MAX_CHALLENGES
from sipbot.sip.core import Asked, Core, Purpose
from sipbot.sip.dialog import MAX_FORWARDS
from sipbot.sip.effects import Attempt, Flow, Send
from sipbot.sip.headers import CSeq, Headers, Via
from sipbot.sip.ids import MAGIC_COOKIE
from sipbot.sip.message import Request, Response
from sipbot.sip.routing import attempts, is_address, is_reliable
from sipbot.sip.transactions.keys import client_key


class Requester:
    """Makes client transactions."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def start(self, asked: Asked) -> str:
        """Send ``asked.request`` in a new client transaction; returns its key."""
        core = self._core
        request, auth = asked.request, asked.session.auth
        asked.credentials = []
        if auth is not None:
            asked.credentials = auth.headers(request.method, request.uri, request.body)
        headers = request.headers
        for name, value in asked.credentials:
            headers = headers.with_(name, value)
        asked.branch = self.branch()
        sent = replace(request, headers=headers)
        ways = attempts(sent, asked.paths, asked.branch, core.local, asked.contact)
        key = client_key(asked.branch, request.method)
        reliable = is_reliable(asked.paths)
        core.layer.start(key, Send(key, ways), asked, reliable=reliable, now=core.now)
        return key

    def retry(self, asked: Asked, response: Response) -> str | None:
        """Answer a 401 or 407 with the same request and credentials; None when that is no use.

        RFC 3261 section 22.2: the new try has the same Call-ID, From and To, a new CSeq and branch.
        """
        auth = asked.session.auth
        asked.challenges += 1
        if auth is None or asked.challenges > MAX_CHALLENGES:
            return None
        if not auth.challenged(response, asked.answered):
            return None
        old = asked.request.cseq.number
        number = asked.dialog.next_cseq() if asked.dialog is not None else old + 1
        cseq = str(CSeq(number, asked.request.method))
        headers = asked.request.headers.replace("CSeq", cseq)
        again = replace(
            asked,
            request=replace(asked.request, headers=headers),
            heard=None,
            acks={},
        )
        return self.start(again)

    def acknowledge_failure(self, asked: Asked, response: Response, flow: Flow) -> None:
        """The ACK for a non-2xx, part of the INVITE's transaction (section 17.1.1.3).

        "The ACK request constructed by the client transaction MUST contain values for the Call-ID,
        From, and Request-URI that are equal to the values of those header fields in the request
        passed to the transport ... The To header field in the ACK MUST equal the To header field in
        the response being acknowledged".
        """
        source = asked.request.headers
        to = response.headers.get("To") or source.get("To") or ""
        ack = _follow_up(asked.request, "ACK", to)
        key = client_key(asked.branch, "INVITE")
        asked.heard = (response, flow)
        self._core.out.effect(Send(key, self._same_way(asked, ack)))

    def cancel(self, asked: Asked) -> None:
        """Send the CANCEL for the INVITE ``asked`` (section 9.1).

        "The Request-URI, Call-ID, To, the numeric part of CSeq, and From header fields in the
        CANCEL request MUST be identical to those in the request being cancelled, including tags."
        """
        core = self._core
        request = _follow_up(asked.request, "CANCEL", asked.request.headers.get("To") or "")
        cancel = Asked(Purpose.CANCEL, asked.session, request, asked.paths, branch=asked.branch)
        key = client_key(asked.branch, "CANCEL")
        ways = self._same_way(asked, request)
        core.layer.start(
            key, Send(key, ways), cancel, reliable=is_reliable(asked.paths), now=core.now
        )

    def branch(self) -> str:
        """A fresh branch."""
        return MAGIC_COOKIE + self._core.ids.token()

    def _same_way(self, asked: Asked, request: Request) -> tuple[Attempt, ...]:
        """Attempts that go where the INVITE went, with the same top Via.

        Once a response came it is known which attempt worked: its Via says so. The way it came by
        is tried first, on datagrams only where a name might be resolved to another address now.
        """
        ways = attempts(request, asked.paths, asked.branch, self._core.local, None)
        if asked.heard is None:
            return ways
        response, flow = asked.heard
        named = any(path.hop and not is_address(path.hop.host) for path in asked.paths)
        if flow.transport == "udp" and not named:
            return ways
        top = response.top_via
        via = Via(top.transport, top.host, top.port, (("rport", None), ("branch", asked.branch)))
        headers = request.headers.with_("Via", str(via), prepend=True)
        wire = replace(request, headers=headers).serialize()
        return Attempt(wire, flow=flow), *ways


def _follow_up(invite: Request, method: str, to: str) -> Request:
    """A request that follows an INVITE hop by hop: ACK for a non-2xx, CANCEL."""
    headers = invite.headers
    items = [("Max-Forwards", MAX_FORWARDS)]
    # "If the INVITE request whose response is being acknowledged had Route header fields, those
    # header fields MUST appear in the ACK."
    items += [("Route", value) for value in headers.all("Route")]
    items += [
        ("From", headers.get("From") or ""),
        ("To", to),
        ("Call-ID", invite.call_id),
        ("CSeq", str(CSeq(invite.cseq.number, method))),
    ]
    return Request(method, invite.uri, Headers(items))
