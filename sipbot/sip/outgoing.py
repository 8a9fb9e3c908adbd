"""Calls and requests that we make: INVITE, CANCEL, re-INVITE, refresh, REFER, and their responses.

RFC 3261 sections 9.1, 13.2 and 14.1, RFC 3311, RFC 3515, RFC 4028 section 7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from sipbot.errors import LocalProtocolError, SipSyntaxError
from sipbot.sip.auth import Authenticator, Credentials
from sipbot.sip.capabilities import ACCEPT, SUPPORTED
from sipbot.sip.closing import Closing
from sipbot.sip.core import Asked, Core, Purpose
from sipbot.sip.dialog import MAX_FORWARDS, Dialog
from sipbot.sip.effects import (
    Answered,
    EndedBy,
    Flow,
    Hop,
    OfferRefused,
    Progress,
    Reanswer,
    Send,
    TransferProgress,
)
from sipbot.sip.headers import CSeq, Headers, NameAddr
from sipbot.sip.incoming import final_headers
from sipbot.sip.message import Request, Response, sdp_body
from sipbot.sip.requester import Requester
from sipbot.sip.routing import Contact, attempts, first_paths, hop_of
from sipbot.sip.session import Phase, Session, Step
from sipbot.sip.session_timer import SessionExpires, accept, min_se
from sipbot.sip.transactions.keys import client_key
from sipbot.sip.uri import Uri

_GONE_STATUSES: Final = frozenset({408, 481})  # section 12.2.1.2: the dialog is over
_MAX_FORKS: Final = 8  # 2xx of different branches that are acknowledged and hung up
_VIA_SIZE: Final = 150  # bytes that Via and Contact will add to a request, about


class Outgoing:
    """The UAC side."""

    def __init__(self, core: Core, requester: Requester, closing: Closing) -> None:
        self._core = core
        self._requester = requester
        self._closing = closing
        self._finals: dict[Purpose, Callable[[Asked, Response, Flow], None]] = {
            Purpose.INVITE: self._invite_failed,
            Purpose.REINVITE: self._reinvite_done,
            Purpose.REFRESH: self._refresh_done,
            Purpose.BYE: self._bye_done,
            Purpose.CANCEL: self._nothing,
            Purpose.REFER: self._refer_done,
        }

    # --- from the application

    def invite(
        self,
        *,
        to: Uri,
        from_: NameAddr,
        body: bytes,
        hop: Hop | None,
        headers: Sequence[tuple[str, str]],
        credentials: Credentials | None,
    ) -> str:
        """Call ``to``; returns the session. Raises ``LocalProtocolError`` if that cannot be."""
        core = self._core
        if len(core.sessions) >= core.config.max_dialogs:
            raise LocalProtocolError("too many sessions")
        if not body:
            raise LocalProtocolError("an outgoing call needs an offer")
        towards = hop or hop_of(to)
        tag = core.ids.token()
        request = self._first_request(to, from_.with_tag(tag), body, headers)
        # A request that turns out longer than a datagram should be prefers a stream (18.1.1).
        paths = first_paths(towards, len(request.serialize()) + _VIA_SIZE)
        session = Session(
            id=core.ids.token(),
            phase=Phase.CALLING,
            request=request,
            contact=Contact(from_.uri.user, secure=to.scheme == "sips"),
            local_tag=tag,
            local_sdp=body,
            auth=Authenticator(credentials, core.ids.token) if credentials else None,
        )
        asked = Asked(Purpose.INVITE, session, request, paths, contact=session.contact)
        session.invite_key = self._requester.start(asked)
        core.sessions[session.id] = session
        core.alarm(session, "invite", core.now + core.config.max_invite_s)
        return session.id

    def cancel(self, session: Session) -> None:
        """Give an unanswered outgoing call up (section 9.1)."""
        if session.phase not in (Phase.CALLING, Phase.RINGING):
            return
        if session.step(Step.HANG_UP) is Phase.CANCELLING:
            self._send_cancel(session)

    def unanswered(self, session: Session) -> None:
        """Nobody took the call in time: as if the application had cancelled it."""
        self.cancel(session)

    def cancel_ignored(self, session: Session) -> None:
        """64*T1 passed after CANCEL without a final response (section 9.1).

        "the client SHOULD then consider the original transaction cancelled and SHOULD destroy the
        client transaction handling the original request."
        """
        core = self._core
        core.layer.abandon(session.invite_key)
        session.step(Step.FAILURE)
        core.tell_end(session, EndedBy.LOCAL, "cancelled", 487)
        core.remove(session)

    def reinvite(self, session: Session, body: bytes) -> None:
        """Make a new offer. Raises ``LocalProtocolError`` when another one is under way."""
        if not body:
            raise LocalProtocolError("a re-INVITE of ours needs an offer")
        # Section 14.1: "a UAC MUST NOT initiate a new INVITE transaction within a dialog while
        # another INVITE transaction is in progress in either direction."
        if session.phase is not Phase.CONFIRMED or session.invite_out:
            raise LocalProtocolError("no re-INVITE is possible now")
        if session.unacked or session.pending is not None:
            raise LocalProtocolError("an offer of the peer is under way")
        self._send_reinvite(session, Purpose.REINVITE, body)

    def refer(self, session: Session, target: Uri) -> None:
        """Ask the peer to call ``target`` (RFC 3515)."""
        core = self._core
        if session.phase is not Phase.CONFIRMED or session.referring:
            raise LocalProtocolError("no transfer is possible now")
        dialog = core.dialog_of(session)
        request = dialog.request("REFER", dialog.next_cseq())
        headers = request.headers.with_("Refer-To", f"<{target}>")
        headers = headers.with_("Referred-By", f"<{dialog.local.uri}>")
        headers = headers.with_("User-Agent", core.config.user_agent)
        session.referring = True
        # Section 2.2: REFER sets up a subscription, so it carries a Contact.
        self._start_in_dialog(session, Purpose.REFER, replace(request, headers=headers))

    def offer_ignored(self, session: Session) -> None:
        """Our re-INVITE rang for ever: the peer is not of this world any more."""
        self._closing.hang_up(session, EndedBy.NETWORK, "timeout", 408)

    # --- session timer

    def refresh(self, session: Session) -> None:
        """Refresh the session: by UPDATE if the peer takes it, else by the last offer again."""
        choice = session.timer
        if session.phase is not Phase.CONFIRMED or choice is None:
            return
        if session.invite_out or session.update_out or session.unacked or session.pending:
            # Something that refreshes as well is under way; look again soon.
            self._core.alarm(session, "refresh", self._core.now + self._core.config.timers.t4)
        elif "UPDATE" in session.peer_allow and not session.refresh_by_invite:
            self._send_update(session)
        elif session.local_sdp:
            self._send_reinvite(session, Purpose.REFRESH, session.local_sdp)

    def _send_update(self, session: Session) -> None:
        dialog = self._core.dialog_of(session)
        request = dialog.request("UPDATE", dialog.next_cseq())
        headers = Headers([*request.headers.items(), *self._refresh_headers(session)])
        session.update_out = True
        self._start_in_dialog(session, Purpose.REFRESH, replace(request, headers=headers))

    def _send_reinvite(self, session: Session, purpose: Purpose, body: bytes) -> None:
        dialog = self._core.dialog_of(session)
        request = dialog.request("INVITE", dialog.next_cseq())
        headers = Headers(
            [
                *request.headers.items(),
                *self._refresh_headers(session),
                ("Allow", ", ".join(self._core.config.allow)),
                ("Content-Type", ACCEPT),
            ]
        )
        session.invite_out = True
        session.local_sdp = body
        full = replace(request, headers=headers, body=body)
        session.offer_key = self._start_in_dialog(session, purpose, full)
        self._core.alarm(session, "offer", self._core.now + self._core.config.max_invite_s)

    def _refresh_headers(self, session: Session) -> list[tuple[str, str]]:
        headers = [
            ("Supported", ", ".join(SUPPORTED)),
            ("User-Agent", self._core.config.user_agent),
        ]
        choice = session.timer
        if choice is not None:
            # Of this transaction we are the UAC, whoever called whom (RFC 4028 section 7.4).
            refresher = "uac" if choice.we_refresh else "uas"
            headers.append(("Session-Expires", str(SessionExpires(choice.seconds, refresher))))
        return headers

    # --- responses

    def response(self, asked: Asked, response: Response, flow: Flow) -> None:
        """A response that the transaction layer passes up."""
        asked.heard = (response, flow)
        session, status = asked.session, response.status
        if asked.dialog is not None and session.phase is not Phase.ENDED:
            asked.dialog.flow = flow
        if status < 200:
            self._provisional(asked, response)
        elif asked.request.method == "INVITE" and status < 300:
            self._invite_succeeded(asked, response, flow)
        elif status in (401, 407) and self._tried_again(asked, response):
            return
        else:
            self._finals[asked.purpose](asked, response, flow)

    def lost(self, asked: Asked, *, timed_out: bool) -> None:
        """No final response will come: as if it were 408, or 503 (section 8.1.3.1)."""
        core, session = self._core, asked.session
        status = 408 if timed_out else 503
        reason = "timeout" if timed_out else "transport-failed"
        match asked.purpose:
            case Purpose.INVITE:
                if session.invite_key == client_key(asked.branch, "INVITE"):
                    self._failed(session, EndedBy.NETWORK, reason, status, None)
            case Purpose.BYE:
                if session.phase is Phase.ENDING:
                    self._closing.bye_done(session)
            case Purpose.REFER:
                session.referring = False
                core.out.effect(TransferProgress(session.id, status, final=True))
            case Purpose.REINVITE | Purpose.REFRESH:
                self._offer_over(session)
                if timed_out:
                    self._closing.hang_up(session, EndedBy.NETWORK, reason, status)
                elif asked.purpose is Purpose.REINVITE and not session.told_end:
                    core.out.effect(OfferRefused(session.id, 0))
            case Purpose.CANCEL:
                pass  # the alarm "gone" ends the session

    def _provisional(self, asked: Asked, response: Response) -> None:
        session = asked.session
        if asked.purpose is not Purpose.INVITE or not session.allows(Step.PROVISIONAL):
            return
        before = session.phase
        if session.step(Step.PROVISIONAL) is Phase.CANCELLING and before is Phase.CANCEL_WANTED:
            self._send_cancel(session)
        elif response.status > 100 and session.phase is Phase.RINGING:
            self._core.out.effect(Progress(session.id, response))

    def _invite_succeeded(self, asked: Asked, response: Response, flow: Flow) -> None:
        """A 2xx: "the UAC core MUST generate an ACK request for each 2xx received" (13.2.2.4)."""
        known = asked.acks.get(response.to.tag or "")
        if known is not None:
            self._core.out.effect(known)
            return
        if len(asked.acks) >= _MAX_FORKS:
            return
        if asked.dialog is not None:
            asked.dialog.refresh_target(response)
            self._acknowledge(asked, asked.dialog, response)
            self._reinvite_accepted(asked, response)
            return
        dialog = Dialog.of_response(asked.request, response, flow)
        first = not asked.acks
        self._acknowledge(asked, dialog, response)
        if first and asked.session.allows(Step.SUCCESS):
            self._established(asked.session, dialog, response)
        else:
            self._hang_up_fork(asked.session, dialog)

    def _acknowledge(self, asked: Asked, dialog: Dialog, response: Response) -> None:
        core = self._core
        # "The sequence number of the CSeq header field MUST be the same as the INVITE being
        # acknowledged, but the CSeq method MUST be ACK. The ACK MUST contain the same credentials
        # as the INVITE."
        request = dialog.request("ACK", asked.request.cseq.number)
        headers = Headers([*request.headers.items(), *asked.credentials])
        branch = self._requester.branch()
        ways = attempts(replace(request, headers=headers), dialog.paths(), branch, core.local, None)
        send = Send(client_key(branch, "ACK"), ways)
        asked.acks[response.to.tag or ""] = send
        core.out.effect(send)

    def _established(self, session: Session, dialog: Dialog, response: Response) -> None:
        core = self._core
        core.adopt(session, dialog)
        session.peer_allow = frozenset(response.headers.values("Allow"))
        for name in ("invite", "gone"):
            core.alarm(session, name, None)
        if session.step(Step.SUCCESS) is Phase.ENDING:
            core.tell_end(session, EndedBy.LOCAL, "cancelled", 487)
            self._closing.send_bye(session)
            return
        self._closing.arm_timer(session, accept(response))
        core.out.effect(Answered(session.id, response))

    def _hang_up_fork(self, session: Session, dialog: Dialog) -> None:
        """Another branch answered too: "the UAC core ... send a BYE" to what it does not want."""
        fork = Session(
            id=self._core.ids.token(),
            phase=Phase.CONFIRMED,
            request=session.request,
            contact=session.contact,
            local_tag=session.local_tag,
            told_end=True,
            auth=session.auth,
        )
        self._core.sessions[fork.id] = fork
        self._core.adopt(fork, dialog)
        self._closing.hang_up(fork, EndedBy.LOCAL, "bye")

    def _reinvite_accepted(self, asked: Asked, response: Response) -> None:
        session = asked.session
        self._offer_over(session)
        if session.phase is not Phase.CONFIRMED:
            return
        self._closing.arm_timer(session, accept(response))
        try:
            answer = sdp_body(response) or b""
        except SipSyntaxError:
            answer = b""
        self._core.out.effect(Reanswer(session.id, answer))

    def _tried_again(self, asked: Asked, response: Response) -> bool:
        session = asked.session
        if asked.purpose is Purpose.CANCEL:
            # Section 22.1: "a UAS MUST NOT challenge" ACK or CANCEL: there is no second try.
            return False
        if asked.purpose is Purpose.INVITE and session.phase not in (Phase.CALLING, Phase.RINGING):
            return False
        if asked.purpose is not Purpose.BYE and session.phase is Phase.ENDING:
            return False
        key = self._requester.retry(asked, response)
        if key is None:
            return False
        if asked.purpose is Purpose.INVITE:
            session.invite_key = key
        elif asked.request.method == "INVITE":
            session.offer_key = key
        return True

    # --- final responses

    def _invite_failed(self, asked: Asked, response: Response, _flow: Flow) -> None:
        self._failed(asked.session, EndedBy.PEER, "rejected", response.status, response)

    def _failed(
        self, session: Session, by: EndedBy, reason: str, status: int, response: Response | None
    ) -> None:
        if not session.allows(Step.FAILURE):
            return
        if session.phase in (Phase.CANCEL_WANTED, Phase.CANCELLING):
            by, reason, status = EndedBy.LOCAL, "cancelled", 487
        session.step(Step.FAILURE)
        self._core.tell_end(session, by, reason, status, response)
        self._core.remove(session)

    def _reinvite_done(self, asked: Asked, response: Response, _flow: Flow) -> None:
        """Our re-INVITE was refused: the session goes on as before (section 14.1)."""
        session = asked.session
        self._offer_over(session)
        if not self._gone(session, response) and not session.told_end:
            self._core.out.effect(OfferRefused(session.id, response.status))

    def _refresh_done(self, asked: Asked, response: Response, _flow: Flow) -> None:
        """The final response to a refresh by UPDATE, or a failure of one by INVITE."""
        session = asked.session
        self._offer_over(session)
        if session.phase is not Phase.CONFIRMED or self._gone(session, response):
            return
        core, status = self._core, response.status
        if status < 300:
            core.dialog_of(session).refresh_target(response)
            self._closing.arm_timer(session, accept(response))
        elif status == 422:
            self._lengthen(session, response)
        elif status == 491:
            core.alarm(session, "refresh", core.now + self._glare_pause(session))
        elif asked.request.method == "UPDATE" and not session.refresh_by_invite:
            session.refresh_by_invite = True
            self.refresh(session)
        # Any other failure leaves the session to its expiry.

    def _lengthen(self, session: Session, response: Response) -> None:
        """RFC 4028 section 7.3: after 422 try again with the peer's Min-SE."""
        choice = session.timer
        try:
            wanted = min_se(response)
        except SipSyntaxError:
            return
        if choice is not None and wanted > choice.seconds:
            session.timer = replace(choice, seconds=wanted)
            self.refresh(session)

    def _glare_pause(self, session: Session) -> float:
        """Seconds to wait after 491 (section 14.1): the owner of the Call-ID waits longer."""
        fraction = (self._core.ids.number() % 200) / 100  # 0 to 1.99 s in steps of 10 ms
        return fraction + 2.1 if session.flow is None else fraction

    def _gone(self, session: Session, response: Response) -> bool:
        """Section 12.2.1.2: 481 and 408 end the dialog."""
        if response.status not in _GONE_STATUSES:
            return False
        self._closing.hang_up(session, EndedBy.NETWORK, "dialog-gone", response.status)
        return True

    def _bye_done(self, asked: Asked, _response: Response, _flow: Flow) -> None:
        if asked.session.phase is Phase.ENDING:
            self._closing.bye_done(asked.session)

    def _refer_done(self, asked: Asked, response: Response, _flow: Flow) -> None:
        session = asked.session
        accepted = response.status < 300
        session.referring = session.referring and accepted
        if session.told_end or self._gone(session, response):
            return
        status = 202 if accepted else response.status
        self._core.out.effect(TransferProgress(session.id, status, final=not accepted))

    def _nothing(self, asked: Asked, response: Response, flow: Flow) -> None:
        """A response that changes nothing."""

    # --- helpers

    def _offer_over(self, session: Session) -> None:
        session.invite_out = session.update_out = False
        self._core.alarm(session, "offer", None)

    def _send_cancel(self, session: Session) -> None:
        core = self._core
        record = core.layer.client(session.invite_key)
        core.alarm(session, "invite", None)
        core.alarm(session, "gone", core.now + core.config.timers.give_up)
        if record is not None:
            self._requester.cancel(record.context)

    def _start_in_dialog(self, session: Session, purpose: Purpose, request: Request) -> str:
        dialog = self._core.dialog_of(session)
        asked = Asked(
            purpose, session, request, dialog.paths(), dialog=dialog, contact=session.contact
        )
        return self._requester.start(asked)

    def _first_request(
        self, to: Uri, from_: NameAddr, body: bytes, headers: Sequence[tuple[str, str]]
    ) -> Request:
        core = self._core
        cseq = CSeq(core.ids.number() % (2**30) + 1, "INVITE")
        given = {name.lower() for name, _ in headers}
        ours = [
            ("Max-Forwards", MAX_FORWARDS),
            ("From", str(from_)),
            ("To", str(NameAddr("", to))),
            ("Call-ID", core.ids.token()),
            ("CSeq", str(cseq)),
            *final_headers(core),
            ("User-Agent", core.config.user_agent),
        ]
        items = [
            *(item for item in ours if item[0].lower() not in given),
            *headers,
            ("Content-Type", ACCEPT),
        ]
        return Request("INVITE", replace(to, headers=""), Headers(items), body)
