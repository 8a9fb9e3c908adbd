"""How sessions end and stay alive: BYE, the repeats of our 2xx, session timers."""

from __future__ import annotations

from sipbot.sip.core import Asked, Core, Purpose
from sipbot.sip.effects import EndedBy, Send
from sipbot.sip.requester import Requester
from sipbot.sip.session import Phase, Session, Step, Unacked
from sipbot.sip.session_timer import TimerChoice


class Closing:
    """Ends sessions, and watches over those whose peer may have gone."""

    def __init__(self, core: Core, requester: Requester) -> None:
        self._core = core
        self._requester = requester

    def hang_up(
        self, session: Session, by: EndedBy, reason: str, status: int = 0, *, header: str = ""
    ) -> None:
        """End a confirmed session with BYE, or an answered one as soon as its ACK has come.

        ``header`` is the value of a Reason header (RFC 3326).
        """
        if not session.allows(Step.HANG_UP):
            return
        self._core.tell_end(session, by, reason, status)
        if session.step(Step.HANG_UP) is Phase.ENDING:
            self.send_bye(session, header)

    def send_bye(self, session: Session, header: str = "") -> None:
        """Send our BYE; the session is forgotten once it is answered or given up."""
        core = self._core
        core.quiet(session)
        dialog = core.dialog_of(session)
        request = dialog.request("BYE", dialog.next_cseq())
        headers = request.headers.with_("User-Agent", core.config.user_agent)
        if header:
            headers = headers.with_("Reason", header)
        asked = Asked(
            Purpose.BYE,
            session,
            type(request)(request.method, request.uri, headers),
            dialog.paths(),
            dialog=dialog,
        )
        self._requester.start(asked)

    def bye_done(self, session: Session) -> None:
        """Our BYE got its final response, or none: the dialog is over in any case.

        Section 15.1.1: "The UAC MUST consider the session terminated ... as soon as the BYE request
        is passed to the client transaction. If the response for the BYE is a 481 or a 408 or no
        response at all is received ..., the UAC MUST consider the session and the dialog
        terminated."
        """
        session.step(Step.BYE_DONE)
        self._core.remove(session)

    # --- 2xx until ACK (section 13.3.1.4)

    def repeat_until_ack(
        self, session: Session, cseq: int, send: Send, *, carries_offer: bool, initial: bool
    ) -> None:
        """Repeat a 2xx to INVITE.

        "The 2xx response is passed to the transport with an interval that starts at T1 seconds and
        doubles for each retransmission until it reaches T2 seconds ... Response retransmissions
        cease when an ACK request for the response is received. This is independent of whatever
        transport protocols are used to send the response."
        """
        timers, now = self._core.config.timers, self._core.now
        session.unacked[cseq] = Unacked(
            cseq, send, timers.t1, now + timers.give_up, carries_offer, initial
        )
        self._core.alarm(session, f"2xx.{cseq}", now + timers.t1)

    def repeat_due(self, session: Session, cseq: int) -> None:
        """The alarm of a 2xx rang: repeat it, or give up after 64*T1.

        "If the server retransmits the 2xx response for 64*T1 seconds without receiving an ACK, the
        dialog is confirmed, but the session SHOULD be terminated. This is accomplished with a BYE".
        """
        core = self._core
        waiting = session.unacked.get(cseq)
        if waiting is None:
            return
        if core.now >= waiting.until:
            core.tell_end(session, EndedBy.NETWORK, "ack-timeout", 408)
            if session.allows(Step.ACK_TIMEOUT):
                session.step(Step.ACK_TIMEOUT)
                self.send_bye(session)
            return
        core.out.effect(waiting.send)
        waiting.interval = min(2 * waiting.interval, core.config.timers.t2)
        again = min(core.now + waiting.interval, waiting.until)
        core.alarm(session, f"2xx.{cseq}", again)

    def acknowledged(self, session: Session, cseq: int) -> Unacked | None:
        """An ACK came; returns the 2xx that it stops, None when it is a repeated ACK."""
        waiting = session.unacked.pop(cseq, None)
        if waiting is not None:
            self._core.alarm(session, f"2xx.{cseq}", None)
        return waiting

    # --- session timer (RFC 4028)

    def arm_timer(self, session: Session, choice: TimerChoice | None) -> None:
        """Start, restart or (None) stop the session timer; a refresh just happened."""
        core = self._core
        session.timer = choice
        if choice is None:
            core.alarm(session, "session", None)
            core.alarm(session, "refresh", None)
            return
        core.alarm(session, "session", core.now + choice.expire_after)
        refresh_at = core.now + choice.refresh_after if choice.we_refresh else None
        core.alarm(session, "refresh", refresh_at)

    def expired(self, session: Session) -> None:
        """No refresh came in time."""
        self.hang_up(session, EndedBy.LOCAL, "session-expired")
