"""Calls that come in: the INVITE, its answers, CANCEL and ACK (RFC 3261 sections 9.2, 13.3)."""

from __future__ import annotations

from collections.abc import Sequence

from sipbot.errors import LocalProtocolError, SipSyntaxError
from sipbot.sip.capabilities import ACCEPT, SUPPORTED
from sipbot.sip.checks import Refusal, check_invite
from sipbot.sip.closing import Closing
from sipbot.sip.core import Core
from sipbot.sip.dialog import Dialog
from sipbot.sip.effects import Confirmed, EndedBy, Flow, IncomingCall, Reanswer
from sipbot.sip.message import Request, sdp_body
from sipbot.sip.responses import copied_record_route, warning
from sipbot.sip.routing import Contact
from sipbot.sip.session import Phase, Session, Step
from sipbot.sip.session_timer import IntervalTooSmall, TimerChoice, choose


class Incoming:
    """The UAS side of setting up a session."""

    def __init__(self, core: Core, closing: Closing) -> None:
        self._core = core
        self._closing = closing

    # --- from the network

    def invite(self, key: str, request: Request, flow: Flow) -> None:
        """A new INVITE outside of any dialog."""
        core = self._core
        refusal = check_invite(request) or self._check_room()
        if refusal is not None:
            core.refuse(key, refusal)
            return
        try:
            timer = choose(request, core.config.timer_policy)
        except IntervalTooSmall:
            core.refuse(key, interval_refusal(core))
            return
        # Section 8.2.6.1: 100 at once; the application may take its time.
        core.reply(key, 100)
        session = self._open(key, request, flow, timer)
        core.alarm(session, "limit", core.now + core.config.max_ring_s)
        expires = _expires(request)
        if expires is not None:
            core.alarm(session, "expires", core.now + expires)
        core.out.effect(IncomingCall(session.id, request, flow))

    def cancel(self, key: str, request: Request) -> None:
        """A CANCEL (section 9.2)."""
        core = self._core
        record = core.layer.find_invite(request)
        if record is None:
            core.refuse(key, Refusal("cancel-unknown", 481))
            return
        session = core.sessions.get(record.session)
        # "the To tag of the response to the CANCEL and the To tag in the response to the original
        # request SHOULD be the same."
        core.reply(key, 200, tag=session.local_tag if session else "")
        if session is None:
            return
        if session.invite_key == record.key and session.phase is Phase.INCOMING:
            self._refuse_unanswered(session, 487, EndedBy.PEER, "cancelled")
        elif session.pending is not None and session.pending.key == record.key:
            core.reply(record.key, 487)
            session.pending = None
        # "If it has already sent a final response, the CANCEL ... has no effect".

    def ack(self, session: Session, request: Request) -> None:
        """An ACK for a 2xx of ours. A repeated one changes nothing."""
        waiting = self._closing.acknowledged(session, request.cseq.number)
        if waiting is None:
            return
        body = _description(request)
        if not waiting.initial:
            if waiting.carries_offer:
                self._core.out.effect(Reanswer(session.id, body))
            return
        if session.step(Step.ACK) is Phase.CONFIRMED:
            content_type = request.content_type if body else ""
            self._core.out.effect(Confirmed(session.id, body, content_type))
        else:
            self._closing.send_bye(session)

    # --- from the application

    def ring(self, session: Session, status: int, body: bytes) -> None:
        """Send a provisional response above 100, that makes an early dialog."""
        if not 101 <= status <= 199:
            raise LocalProtocolError("a provisional status is 101 to 199")
        if session.phase is not Phase.INCOMING:
            return
        session.provisional = (status, body)
        if body:
            session.local_sdp = body
        self.repeat_provisional(session)

    def repeat_provisional(self, session: Session) -> None:
        """Send the latest provisional response, and again each minute (section 13.3.1.1)."""
        core = self._core
        if session.provisional is None or session.phase is not Phase.INCOMING:
            return
        status, body = session.provisional
        headers = [*self._dialog_headers(session), *_body_headers(body, ACCEPT)]
        core.reply(session.invite_key, status, tag=session.local_tag, headers=headers, body=body)
        core.alarm(session, "ring", core.now + core.config.provisional_interval_s)

    def answer(self, session: Session, body: bytes, content_type: str) -> None:
        """Take the call with 200, repeated until its ACK comes."""
        core = self._core
        if session.phase is not Phase.INCOMING:
            raise LocalProtocolError(f"cannot answer while {session.phase.value}")
        headers = [
            *self._dialog_headers(session),
            *final_headers(core),
            *timer_headers(session.timer),
            *_body_headers(body, content_type),
        ]
        tag = session.local_tag
        send = core.reply(session.invite_key, 200, tag=tag, headers=headers, body=body)
        session.step(Step.ANSWER)
        session.local_sdp = body
        for name in ("ring", "limit", "expires"):
            core.alarm(session, name, None)
        self._closing.repeat_until_ack(
            session,
            session.request.cseq.number,
            send,
            carries_offer=not _description(session.request),
            initial=True,
        )
        self._closing.arm_timer(session, session.timer)

    def reject(
        self,
        session: Session,
        status: int,
        *,
        reason: str,
        retry_after_s: int | None,
        warning_text: str | None,
        headers: Sequence[tuple[str, str]],
    ) -> None:
        """Refuse the call with a final non-2xx."""
        if not 300 <= status <= 699:
            raise LocalProtocolError("a rejecting status is 300 to 699")
        if session.phase is not Phase.INCOMING:
            return
        items = list(headers)
        if retry_after_s is not None:
            items.append(("Retry-After", str(retry_after_s)))
        if warning_text is not None and session.flow is not None:
            items.append(warning(status, self._core.local(session.flow)[0], warning_text))
        self._refuse_unanswered(
            session, status, EndedBy.LOCAL, "rejected", phrase=reason, headers=items
        )

    def nobody_answered(self, session: Session) -> None:
        """The application let the call ring for too long."""
        if session.phase is Phase.INCOMING:
            self._refuse_unanswered(session, 480, EndedBy.LOCAL, "no-answer")

    def invite_expired(self, session: Session) -> None:
        """Section 13.3.1: the INVITE's own Expires passed before a final response."""
        if session.phase is Phase.INCOMING:
            self._refuse_unanswered(session, 487, EndedBy.PEER, "expired")

    def ended_by_bye(self, session: Session) -> None:
        """BYE in the early dialog: the INVITE still wants its final response."""
        self._refuse_unanswered(session, 487, EndedBy.PEER, "bye")

    def _refuse_unanswered(
        self,
        session: Session,
        status: int,
        by: EndedBy,
        rule: str,
        *,
        phrase: str = "",
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        core = self._core
        core.reply(
            session.invite_key, status, tag=session.local_tag, reason=phrase, headers=headers
        )
        session.step(Step.REFUSE)
        core.tell_end(session, by, rule, status)
        core.remove(session)

    def _check_room(self) -> Refusal | None:
        core = self._core
        if len(core.sessions) < core.config.max_dialogs:
            return None
        retry_after = ("Retry-After", str(core.config.retry_after_s))
        return Refusal("dialogs-limit", 503, headers=(retry_after,))

    def _open(self, key: str, request: Request, flow: Flow, timer: TimerChoice | None) -> Session:
        core = self._core
        tag = core.ids.token()
        session = Session(
            id=core.ids.token(),
            phase=Phase.INCOMING,
            request=request,
            # Section 12.1.1: "If the request that initiated the dialog contained a SIPS URI in the
            # Request-URI ..., the Contact header field in the response MUST be a SIPS URI."
            contact=Contact(request.uri.user, secure=request.uri.scheme == "sips"),
            local_tag=tag,
            invite_key=key,
            flow=flow,
            peer_allow=allowed_by(request),
            timer=timer,
        )
        core.sessions[session.id] = session
        core.record(key).session = session.id
        core.adopt(session, Dialog.of_request(request, tag, core.ids.number(), flow))
        return session

    def _dialog_headers(self, session: Session) -> list[tuple[str, str]]:
        headers = copied_record_route(session.request)
        if session.flow is not None:
            headers.append(contact_header(self._core, session, session.flow))
        return headers


def contact_header(core: Core, session: Session, flow: Flow) -> tuple[str, str]:
    """Our Contact as the peer on ``flow`` shall see it."""
    host, port = core.local(flow)
    return "Contact", f"<{session.contact.uri(flow.transport, host, port)}>"


def final_headers(core: Core) -> list[tuple[str, str]]:
    """Allow and Supported of a 2xx (section 13.3.1.4)."""
    return [("Allow", ", ".join(core.config.allow)), ("Supported", ", ".join(SUPPORTED))]


def timer_headers(choice: TimerChoice | None) -> list[tuple[str, str]]:
    """Session-Expires and Require of a 2xx to INVITE or UPDATE."""
    if choice is None or choice.header is None:
        return []
    headers = [("Session-Expires", str(choice.header))]
    return [*headers, ("Require", "timer")] if choice.require else headers


def interval_refusal(core: Core) -> Refusal:
    """422 with the shortest interval that we take."""
    return Refusal(
        "session-interval", 422, headers=(("Min-SE", str(core.config.timer_policy.min_se_s)),)
    )


def allowed_by(request: Request) -> frozenset[str]:
    """The methods of the peer's Allow."""
    return frozenset(request.headers.values("Allow"))


def _body_headers(body: bytes, content_type: str) -> list[tuple[str, str]]:
    return [("Content-Type", content_type)] if body else []


def _description(request: Request) -> bytes:
    """The session description of a request, empty when it has none that can be read."""
    try:
        return sdp_body(request) or b""
    except SipSyntaxError:
        return b""


def _expires(request: Request) -> int | None:
    """The INVITE's Expires in seconds; one that cannot be read counts as none."""
    text = (request.headers.get("Expires") or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None
