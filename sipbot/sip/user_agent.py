"""The user agent: bytes, timers and commands in, effects out.

The driver calls ``receive``, ``transport_failed`` and ``handle_timer``; after each call it carries
out the effects in order and arms one alarm for ``next_deadline()``. The application's commands
return effects too. ``now`` is seconds on a clock that never goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sipbot.errors import LocalProtocolError, SipSyntaxError
from sipbot.sip.auth import Credentials
from sipbot.sip.capabilities import ACCEPT, UserAgentConfig
from sipbot.sip.checks import Refusal, check_request
from sipbot.sip.closing import Closing
from sipbot.sip.core import Core
from sipbot.sip.effects import Effects, EndedBy, Flow, Hop
from sipbot.sip.headers import NameAddr
from sipbot.sip.ids import IdSource
from sipbot.sip.in_dialog import InDialog, options_headers
from sipbot.sip.incoming import Incoming
from sipbot.sip.message import BadRequest, Request, Response, parse_message
from sipbot.sip.outgoing import Outgoing
from sipbot.sip.requester import Requester
from sipbot.sip.routing import Local, stamp_via
from sipbot.sip.session import Phase, Session
from sipbot.sip.transactions.layer import Arrival
from sipbot.sip.uri import Uri

__all__ = ["Counts", "Credentials", "UserAgent", "UserAgentConfig"]


@dataclass(frozen=True, slots=True)
class Counts:
    """What a user agent holds. All zero once everything has ended."""

    sessions: int = 0
    dialogs: int = 0
    server_transactions: int = 0
    client_transactions: int = 0
    alarms: int = 0


class UserAgent:
    """A SIP user agent, both server and client (RFC 3261 section 8), without I/O.

    ``local(flow_or_hop)`` gives host and port for Via and Contact of traffic that way.
    Methods for the application take the session's id. ``answer``, ``accept_offer``,
    ``refuse_offer``, ``reinvite`` and ``refer`` raise ``LocalProtocolError`` when the session is
    over or its state forbids them; ``ring``, ``reject``, ``bye`` and ``cancel`` then do nothing.
    """

    def __init__(self, config: UserAgentConfig, ids: IdSource, local: Local) -> None:
        self._core = core = Core(config, ids, local)
        self._requester = Requester(core)
        self._closing = Closing(core, self._requester)
        self._incoming = Incoming(core, self._closing)
        self._in_dialog = InDialog(core, self._closing, self._incoming)
        self._outgoing = Outgoing(core, self._requester, self._closing)
        self._alarms: dict[str, Callable[[Session], None]] = {
            "ring": self._incoming.repeat_provisional,
            "limit": self._incoming.nobody_answered,
            "expires": self._incoming.invite_expired,
            "session": self._closing.expired,
            "refresh": self._outgoing.refresh,
            "invite": self._outgoing.unanswered,
            "gone": self._outgoing.cancel_ignored,
            "offer": self._outgoing.offer_ignored,
        }

    # --- for the driver

    def receive(self, data: bytes, flow: Flow, now: float) -> Effects:
        """Handle one message as the transport framed it."""
        core = self._core
        core.now = now
        try:
            message = parse_message(data)
        except BadRequest as error:
            self._bad_request(error, flow)
        except SipSyntaxError:
            core.drop("syntax", flow)
        else:
            if isinstance(message, Response):
                self._response(message, flow)
            else:
                self._request(stamp_via(message, flow), flow)
        return core.out.drain()

    def transport_failed(self, key: str, now: float) -> Effects:
        """None of the attempts of the ``Send`` with this key worked."""
        core = self._core
        core.now = now
        lost = core.layer.transport_failed(key, now)
        if lost is not None:
            self._outgoing.lost(lost.record.context, timed_out=lost.timed_out)
        return core.out.drain()

    def next_deadline(self) -> float | None:
        """When ``handle_timer`` wants to be called next (seconds); None for never."""
        return self._core.out.alarms.next_deadline()

    def handle_timer(self, now: float) -> Effects:
        """Do all that is due at ``now``."""
        core = self._core
        core.now = now
        while (key := core.out.alarms.pop_due(now)) is not None:
            if key.startswith("t|"):
                self._session_alarm(key)
                continue
            if key.startswith("x|"):
                core.layer.abandon(key[2:])
                continue
            lost = core.layer.handle_timer(key, now)
            if lost is not None:
                self._outgoing.lost(lost.record.context, timed_out=lost.timed_out)
        return core.out.drain()

    # --- for the application

    def ring(self, session: str, now: float, *, status: int = 180, body: bytes = b"") -> Effects:
        """Send a provisional response; a ``body`` (session description) makes early media."""
        found = self._enter(session, now)
        if found is not None:
            self._incoming.ring(found, status, body)
        return self._core.out.drain()

    def answer(self, session: str, body: bytes, now: float, content_type: str = ACCEPT) -> Effects:
        """Take the call: 200 with our description, repeated until the ACK comes."""
        self._core.now = now
        self._incoming.answer(self._core.session(session), body, content_type)
        return self._core.out.drain()

    def reject(
        self,
        session: str,
        status: int,
        now: float,
        *,
        reason: str = "",
        retry_after_s: int | None = None,
        warning: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Effects:
        """Refuse the call with ``status`` (300 to 699). ``warning`` is the text of a Warning."""
        found = self._enter(session, now)
        if found is not None:
            self._incoming.reject(
                found,
                status,
                reason=reason,
                retry_after_s=retry_after_s,
                warning_text=warning,
                headers=headers,
            )
        return self._core.out.drain()

    def accept_offer(self, session: str, body: bytes, now: float) -> Effects:
        """Answer a ``Reoffer`` with 200; for an offerless one ``body`` is our offer."""
        self._core.now = now
        self._in_dialog.accept_offer(self._core.session(session), body)
        return self._core.out.drain()

    def refuse_offer(
        self, session: str, status: int, now: float, *, warning: str | None = None
    ) -> Effects:
        """Refuse a ``Reoffer`` without harm to the call.

        ``warning`` is a constant text for a Warning header; it names the rule of ``Refused``.
        """
        self._core.now = now
        self._in_dialog.refuse_offer(self._core.session(session), status, warning)
        return self._core.out.drain()

    def bye(self, session: str, now: float, *, reason_header: str = "") -> Effects:
        """End the session in whatever state it is.

        An incoming call that has no answer yet is refused with 480; an answered one gets its BYE
        once the ACK has come; an outgoing one that is not answered is cancelled. ``SessionEnded``
        is among the effects, but for a cancelled call, where it comes with the final response.
        ``reason_header`` is the value of a Reason header (RFC 3326) for the BYE; a line end in it
        raises ``LocalProtocolError``.
        """
        if "\r" in reason_header or "\n" in reason_header:
            raise LocalProtocolError("line end in a Reason header")
        found = self._enter(session, now)
        if found is None:
            return ()
        if found.phase is Phase.INCOMING:
            return self.reject(session, 480, now)
        if found.phase in (Phase.CALLING, Phase.RINGING):
            return self.cancel(session, now)
        if found.phase in (Phase.ANSWERED, Phase.CONFIRMED):
            self._closing.hang_up(found, EndedBy.LOCAL, "bye", header=reason_header)
        return self._core.out.drain()

    def invite(
        self,
        *,
        to: Uri,
        from_: NameAddr,
        body: bytes,
        hop: Hop | None,
        now: float,
        headers: Sequence[tuple[str, str]] = (),
        credentials: Credentials | None = None,
    ) -> tuple[str, Effects]:
        """Call ``to`` over ``hop`` (None: where the URI leads), offering ``body``.

        ``headers`` are added; one with the name of a header of our own stands in its place (``To``,
        ``Call-ID``, ``CSeq``, ``Allow``...). A Record-Route among them never becomes a route.
        Returns the session's id and the effects. Raises ``LocalProtocolError`` for a URI that is
        no SIP URI, an empty body, or when the configured number of sessions is reached.
        """
        self._core.now = now
        session = self._outgoing.invite(
            to=to, from_=from_, body=body, hop=hop, headers=headers, credentials=credentials
        )
        return session, self._core.out.drain()

    def cancel(self, session: str, now: float) -> Effects:
        """Give up an outgoing call that is not answered yet."""
        found = self._enter(session, now)
        if found is not None:
            self._outgoing.cancel(found)
        return self._core.out.drain()

    def reinvite(self, session: str, body: bytes, now: float) -> Effects:
        """Make a new offer; its outcome is a ``Reanswer`` or an ``OfferRefused``."""
        self._core.now = now
        self._outgoing.reinvite(self._core.session(session), body)
        return self._core.out.drain()

    def refer(self, session: str, target: Uri, now: float) -> Effects:
        """Ask the peer to call ``target``; ``TransferProgress`` tells how it goes."""
        self._core.now = now
        self._outgoing.refer(self._core.session(session), target)
        return self._core.out.drain()

    def call_id(self, session: str) -> str:
        """The Call-ID of a session; empty when it is over."""
        found = self._core.sessions.get(session)
        return "" if found is None else found.request.call_id

    def set_overload(self, retry_after_s: int | None) -> None:
        """OPTIONS outside of dialogs answers 503 with Retry-After from now on; None: 200."""
        self._core.retry_after_s = retry_after_s

    def counts(self) -> Counts:
        """What is held at the moment."""
        core = self._core
        return Counts(
            sessions=len(core.sessions),
            dialogs=len(core.dialogs),
            server_transactions=core.layer.server_count,
            client_transactions=core.layer.client_count,
            alarms=len(core.out.alarms),
        )

    # --- requests

    def _bad_request(self, error: BadRequest, flow: Flow) -> None:
        """What could not be read, but can be answered."""
        core, request = self._core, error.request
        if request.method == "ACK":
            core.drop("ack-syntax", flow)
            return
        refusal = Refusal("syntax", error.status, error.reason if error.status == 400 else "")
        core.refuse_stateless(stamp_via(request, flow), refusal, flow)

    def _request(self, request: Request, flow: Flow) -> None:
        core = self._core
        arrival, key = core.layer.receive_request(request, flow, core.now)
        match arrival:
            case Arrival.REPEATED:
                return
            case Arrival.ACK_FOR_2XX | Arrival.NO_MATCH:
                self._ack(request, key, flow)
            case Arrival.FULL:
                retry_after = ("Retry-After", str(core.config.retry_after_s))
                refusal = Refusal("transactions-limit", 503, headers=(retry_after,))
                core.refuse_stateless(request, refusal, flow)
            case Arrival.MERGED:
                core.refuse(key, Refusal("merged", 482))
            case Arrival.NEW:
                self._new_request(request, key, flow)

    def _ack(self, request: Request, key: str, flow: Flow) -> None:
        """An ACK for a 2xx. Its dialog finds it, or the branch if it repeats the INVITE's."""
        core = self._core
        session = core.find(request)
        if session is None:
            record = core.layer.server(key)
            session = core.sessions.get(record.session) if record is not None else None
        if session is None:
            core.drop("ack-unknown", flow)
        else:
            self._incoming.ack(session, request)

    def _new_request(self, request: Request, key: str, flow: Flow) -> None:
        core = self._core
        if request.method == "CANCEL":
            self._incoming.cancel(key, request)
            return
        refusal = check_request(request, core.config)
        if refusal is not None:
            core.refuse(key, refusal)
        elif request.to.tag is None:
            self._outside(request, key, flow)
        elif (session := core.find(request)) is not None:
            self._in_dialog.request(session, key, request, flow)
        else:
            # Section 12.2.2: "If the UAS wishes to reject the request because it does not wish to
            # recreate the dialog, it MUST respond to the request with a 481".
            core.refuse(key, Refusal("dialog-unknown", 481))

    def _outside(self, request: Request, key: str, flow: Flow) -> None:
        """A request outside of any dialog."""
        core = self._core
        if request.method == "INVITE":
            self._incoming.invite(key, request, flow)
        elif request.method != "OPTIONS":
            core.refuse(key, Refusal("dialog-unknown", 481))
        elif core.retry_after_s is None:
            core.reply(key, 200, headers=options_headers(core))
        else:
            retry_after = ("Retry-After", str(core.retry_after_s))
            core.refuse(key, Refusal("overload", 503, headers=(retry_after,)))

    # --- responses and alarms

    def _response(self, response: Response, flow: Flow) -> None:
        core = self._core
        # Section 8.1.3.3: "If more than one Via header field value is present in a response, the
        # UAC SHOULD discard the message."
        if len(response.vias) > 1:
            core.drop("response-vias", flow)
            return
        match = core.layer.receive_response(response, core.now)
        if match is None:
            core.drop("response-unknown", flow)
            return
        asked = match.record.context
        if match.acknowledge:
            self._requester.acknowledge_failure(asked, response, flow)
        if match.tell:
            self._outgoing.response(asked, response, flow)

    def _session_alarm(self, key: str) -> None:
        _, name, session = key.split("|")
        found = self._core.sessions.get(session)
        if found is None:
            return
        if name.startswith("2xx."):
            self._closing.repeat_due(found, int(name[4:]))
        else:
            self._alarms[name](found)

    def _enter(self, session: str, now: float) -> Session | None:
        self._core.now = now
        return self._core.sessions.get(session)
