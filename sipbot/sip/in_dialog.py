"""Requests of the peer inside a dialog (RFC 3261 sections 12.2.2, 14.2 and 15.1.2, RFC 3311)."""

from __future__ import annotations

from collections.abc import Callable

from sipbot.errors import LocalProtocolError, SipSyntaxError
from sipbot.sip.capabilities import ACCEPT, ACCEPT_INFO
from sipbot.sip.checks import Refusal
from sipbot.sip.closing import Closing
from sipbot.sip.core import Core
from sipbot.sip.effects import EndedBy, Flow, InfoDigit, Reoffer, TransferProgress
from sipbot.sip.incoming import (
    Incoming,
    allowed_by,
    contact_header,
    final_headers,
    interval_refusal,
    timer_headers,
)
from sipbot.sip.info import INFO_TYPES, parse_digit, parse_sipfrag_status
from sipbot.sip.message import Request, sdp_body
from sipbot.sip.responses import warning
from sipbot.sip.session import PendingOffer, Phase, Session, Step
from sipbot.sip.session_timer import IntervalTooSmall, choose

_GONE = (Phase.HANGING_UP, Phase.ENDING, Phase.ENDED)


class InDialog:
    """The server side of everything that happens in a dialog after its INVITE."""

    def __init__(self, core: Core, closing: Closing, incoming: Incoming) -> None:
        self._core = core
        self._closing = closing
        self._incoming = incoming
        self._handlers: dict[str, Callable[[Session, str, Request], None]] = {
            "BYE": self._bye,
            "INVITE": self._offer,
            "UPDATE": self._update,
            "INFO": self._info,
            "OPTIONS": self._options,
            "NOTIFY": self._notify,
        }

    def request(self, session: Session, key: str, request: Request, flow: Flow) -> None:
        """A request whose dialog is known and that passed the general checks."""
        core = self._core
        dialog = core.dialog_of(session)
        number = request.cseq.number
        last = dialog.remote_cseq
        # Section 12.2.2: "If the remote sequence number was not empty, but the sequence number of
        # the request is lower than the remote sequence number, the request is out of order and
        # MUST be rejected with a 500". An equal one is let through for BYE alone: hanging up must
        # work even with a peer that forgets to count.
        if last is not None and (number < last or (number == last and request.method != "BYE")):
            self._refuse(key, Refusal("cseq-order", 500, headers=(core.retry_after(),)))
            return
        dialog.remote_cseq = number
        dialog.flow = flow
        if "Allow" in request.headers:
            session.peer_allow = allowed_by(request)
        if session.phase in _GONE and request.method != "BYE":
            self._refuse(key, Refusal("dialog-ending", 481))
            return
        handler = self._handlers.get(request.method)
        if handler is None:
            # A method of the configuration's own, that nothing here acts on.
            self._refuse(key, Refusal("method-not-allowed", 405, headers=self._allow()))
            return
        handler(session, key, request)

    # --- answers of the application

    def accept_offer(self, session: Session, body: bytes) -> None:
        """Answer the pending re-INVITE or UPDATE with 200 and ``body``."""
        self._accept(session, self._take_pending(session), body)

    def refuse_offer(self, session: Session, status: int, warning_text: str | None) -> None:
        """Refuse the pending re-INVITE or UPDATE; the session goes on unchanged (14.2)."""
        core = self._core
        if not 300 <= status <= 699:
            raise LocalProtocolError("a refusing status is 300 to 699")
        pending = self._take_pending(session)
        headers = []
        if warning_text:
            host = core.local(core.record(pending.key).flow)[0]
            headers.append(warning(status, host, warning_text))
        rule = warning_text or "offer-refused"
        core.refuse(pending.key, Refusal(rule, status, headers=tuple(headers)))

    def _take_pending(self, session: Session) -> PendingOffer:
        pending, session.pending = session.pending, None
        if pending is None:
            raise LocalProtocolError("no offer waits for an answer")
        return pending

    def _accept(self, session: Session, pending: PendingOffer, body: bytes) -> None:
        core, request = self._core, pending.request
        record = core.record(pending.key)
        headers = [contact_header(core, session, record.flow), *final_headers(core)]
        headers += timer_headers(pending.timer)
        if body:
            headers.append(("Content-Type", ACCEPT))
            session.local_sdp = body
        send = core.reply(pending.key, 200, headers=headers, body=body)
        core.dialog_of(session).refresh_target(request)
        if session.phase is not Phase.INCOMING:
            # Before the 2xx to the INVITE no session timer runs.
            self._closing.arm_timer(session, pending.timer)
        if request.method == "INVITE":
            offered = bool(body) and not _description(request)
            self._closing.repeat_until_ack(
                session, request.cseq.number, send, carries_offer=offered, initial=False
            )

    # --- methods

    def _bye(self, session: Session, key: str, _request: Request) -> None:
        core = self._core
        core.reply(key, 200)
        if session.phase is Phase.INCOMING:
            self._incoming.ended_by_bye(session)
            return
        core.tell_end(session, EndedBy.PEER, "bye")
        if session.allows(Step.BYE_RECEIVED) and session.step(Step.BYE_RECEIVED) is Phase.ENDED:
            core.remove(session)

    def _offer(self, session: Session, key: str, request: Request) -> None:
        """A re-INVITE (section 14.2)."""
        core = self._core
        refusal = self._check_invite(session)
        if refusal is not None:
            self._refuse(key, refusal)
            return
        try:
            timer = choose(request, core.config.timer_policy)
        except IntervalTooSmall:
            self._refuse(key, interval_refusal(core))
            return
        core.reply(key, 100)
        core.record(key).session = session.id
        session.pending = PendingOffer(key, request, timer)
        core.out.effect(Reoffer(session.id, "INVITE", _description(request)))

    def _check_invite(self, session: Session) -> Refusal | None:
        if session.phase is Phase.INCOMING or session.pending is not None:
            # "A UAS that receives a second INVITE before it sends the final response to a first
            # INVITE with a lower CSeq sequence number on the same dialog MUST return a 500 ... and
            # MUST include a Retry-After header field with a randomly chosen value of between 0 and
            # 10 seconds."
            return Refusal("invite-pending", 500, headers=(self._core.retry_after(),))
        if session.offer_out:
            # "A UAS that receives an INVITE on a dialog while an INVITE it had sent on that dialog
            # is in progress MUST return a 491 (Request Pending) response to the received INVITE."
            return Refusal("offer-glare", 491)
        return None

    def _update(self, session: Session, key: str, request: Request) -> None:
        """An UPDATE (RFC 3311 section 5.2): a refresh, or an offer."""
        core = self._core
        offer = _description(request)
        refusal = self._check_update(session) if offer else None
        if refusal is not None:
            self._refuse(key, refusal)
            return
        try:
            timer = choose(request, core.config.timer_policy)
        except IntervalTooSmall:
            self._refuse(key, interval_refusal(core))
            return
        pending = PendingOffer(key, request, timer)
        if not offer:
            self._accept(session, pending, b"")
            return
        session.pending = pending
        core.out.effect(Reoffer(session.id, "UPDATE", offer))

    def _check_update(self, session: Session) -> Refusal | None:
        if session.offer_out:
            # "If an UPDATE is received that contains an offer, and the UAS has generated an offer
            # ... to which it has not yet received an answer, the UAS MUST reject the UPDATE with a
            # 491 response."
            return Refusal("offer-glare", 491)
        if session.phase is Phase.INCOMING or session.pending is not None:
            # "... and the UAS has received an offer to which it has not yet generated an answer,
            # the UAS MUST reject the UPDATE with a 500 response" with a Retry-After.
            return Refusal("offer-pending", 500, headers=(self._core.retry_after(),))
        return None

    def _info(self, session: Session, key: str, request: Request) -> None:
        core = self._core
        if not request.body:
            # RFC 6086 section 4.2.2: an INFO without body is answered 200; some peers ping so.
            core.reply(key, 200)
            return
        if request.content_type not in INFO_TYPES:
            self._refuse(key, Refusal("info-type", 415, headers=(("Accept", ACCEPT_INFO),)))
            return
        try:
            digit, duration_ms = parse_digit(request.content_type, request.body)
        except SipSyntaxError as error:
            self._refuse(key, Refusal("info-body", 400, error.reason))
            return
        core.reply(key, 200)
        core.out.effect(InfoDigit(session.id, digit, duration_ms))

    def _options(self, _session: Session, key: str, _request: Request) -> None:
        self._core.reply(key, 200, headers=options_headers(self._core))

    def _notify(self, session: Session, key: str, request: Request) -> None:
        """Progress of our REFER (RFC 3515 section 2.4.4)."""
        core = self._core
        event = (request.headers.get("Event") or "").partition(";")[0].strip().lower()
        if event != "refer":
            self._refuse(key, Refusal("event-unknown", 489, headers=(("Allow-Events", "refer"),)))
            return
        if not session.referring:
            self._refuse(key, Refusal("subscription-unknown", 481))
            return
        try:
            status = parse_sipfrag_status(request.body)
        except SipSyntaxError as error:
            self._refuse(key, Refusal("notify-body", 400, error.reason))
            return
        core.reply(key, 200)
        state = (request.headers.get("Subscription-State") or "").strip().lower()
        final = status >= 200 or state.startswith("terminated")
        session.referring = not final
        core.out.effect(TransferProgress(session.id, status, final))

    def _refuse(self, key: str, refusal: Refusal) -> None:
        self._core.refuse(key, refusal)

    def _allow(self) -> tuple[tuple[str, str], ...]:
        return (("Allow", ", ".join(self._core.config.allow)),)


def options_headers(core: Core) -> list[tuple[str, str]]:
    """What a 200 to OPTIONS tells (section 11.2)."""
    return [
        ("Accept", ACCEPT),
        ("Accept-Encoding", "identity"),
        ("Accept-Language", "en"),
        *final_headers(core),
    ]


def _description(request: Request) -> bytes:
    try:
        return sdp_body(request) or b""
    except SipSyntaxError:
        return b""
