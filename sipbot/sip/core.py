"""What the parts of the user agent share: sessions, transactions, and how to answer a request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from sipbot.errors import LocalProtocolError
from sipbot.sip.capabilities import UserAgentConfig
from sipbot.sip.checks import Refusal
from sipbot.sip.dialog import Dialog, DialogId
from sipbot.sip.effects import Dropped, EndedBy, Flow, Refused, Send, SessionEnded
from sipbot.sip.ids import IdSource
from sipbot.sip.message import Request, Response
from sipbot.sip.outbox import Outbox
from sipbot.sip.responses import respond_to, stateless_tag
from sipbot.sip.routing import Contact, Local, Path, response_attempts
from sipbot.sip.session import Phase, Session
from sipbot.sip.transactions.layer import ServerRecord, TransactionLayer


class Purpose(Enum):
    """Why we sent a request."""

    INVITE = "invite"
    REINVITE = "reinvite"  # an offer of the application
    REFRESH = "refresh"  # of the session timer, by UPDATE or INVITE
    BYE = "bye"
    CANCEL = "cancel"
    REFER = "refer"


@dataclass(slots=True)
class Asked:
    """A request of ours, as its client transaction remembers it.

    ``request`` has neither Via nor Contact nor credentials: those are added a path, and a try.
    """

    purpose: Purpose
    session: Session
    request: Request
    paths: list[Path]
    dialog: Dialog | None = None  # that the request is sent in
    contact: Contact | None = None
    branch: str = ""
    heard: tuple[Response, Flow] | None = None  # the latest response
    answered: set[tuple[str, str]] = field(default_factory=set)  # challenges
    challenges: int = 0
    acks: dict[str, Send] = field(default_factory=dict)  # remote tag -> our ACK for its 2xx
    credentials: list[tuple[str, str]] = field(default_factory=list)  # headers of the last try


class Core:
    """State that outlives one input, and the primitives to answer with."""

    def __init__(self, config: UserAgentConfig, ids: IdSource, local: Local) -> None:
        self.config = config
        self.ids = ids
        self.local = local
        self.now = 0.0  # seconds, of the input being handled
        self.out = Outbox()
        self.layer: TransactionLayer[Asked] = TransactionLayer(
            config.timers, config.max_transactions, self.out
        )
        self.sessions: dict[str, Session] = {}
        self.dialogs: dict[DialogId, Session] = {}
        self.retry_after_s: int | None = None  # set while overloaded

    # --- sessions

    def session(self, session: str) -> Session:
        """The session of that id. Raises ``LocalProtocolError`` when there is none (any more)."""
        found = self.sessions.get(session)
        if found is None:
            raise LocalProtocolError("no such session")
        return found

    def dialog_of(self, session: Session) -> Dialog:
        """The dialog of a session. Raises ``LocalProtocolError`` when it has none yet."""
        if session.dialog is None:
            raise LocalProtocolError("the session has no dialog yet")
        return session.dialog

    def adopt(self, session: Session, dialog: Dialog) -> None:
        """Let requests of ``dialog`` find ``session``."""
        session.dialog = dialog
        self.dialogs[dialog.id] = session

    def find(self, request: Request) -> Session | None:
        """The session whose dialog a request belongs to (section 12.2.2): by id alone."""
        key = (request.call_id, request.to.tag or "", request.from_.tag or "")
        return self.dialogs.get(key)

    def tell_end(
        self,
        session: Session,
        by: EndedBy,
        reason: str,
        status: int = 0,
        response: Response | None = None,
    ) -> None:
        """Tell the application that the session is over, once."""
        if not session.told_end:
            session.told_end = True
            self.out.effect(SessionEnded(session.id, by, reason, status, response))

    def quiet(self, session: Session) -> None:
        """Disarm everything that waits for this session, and answer what it still owes.

        Section 15.1.2: "The UAS MUST still respond to any pending requests received for that
        dialog. It is RECOMMENDED that a 487 (Request Terminated) response be generated".
        """
        for waiting in session.unacked.values():
            self.alarm(session, f"2xx.{waiting.cseq}", None)
        session.unacked.clear()
        for name in ("ring", "limit", "expires", "session", "refresh", "invite", "gone", "offer"):
            self.alarm(session, name, None)
        if session.pending is not None:
            self.reply(session.pending.key, 487)
            session.pending = None
        if session.invite_out:
            # The peer owes our re-INVITE an answer, which its transaction acknowledges; but not
            # for ever.
            self.out.alarm(f"x|{session.offer_key}", self.now + self.config.timers.give_up)
            session.invite_out = False

    def remove(self, session: Session) -> None:
        """Forget an ended session."""
        session.phase = Phase.ENDED
        self.quiet(session)
        self.sessions.pop(session.id, None)
        if session.dialog is not None:
            self.dialogs.pop(session.dialog.id, None)

    def alarm(self, session: Session, name: str, at: float | None) -> None:
        """Arm or disarm (None) one of a session's alarms; ``at`` in seconds."""
        self.out.alarm(f"t|{name}|{session.id}", at)

    # --- answers

    def record(self, key: str) -> ServerRecord:
        """The server transaction ``key``. Raises ``LocalProtocolError`` when it is over."""
        record = self.layer.server(key)
        if record is None:
            raise LocalProtocolError("the transaction is over")
        return record

    def reply(
        self,
        key: str,
        status: int,
        *,
        tag: str = "",
        reason: str = "",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> Send:
        """Answer the request of the server transaction ``key``; returns what was sent."""
        record = self.record(key)
        items = [*headers, ("Server", self.config.user_agent)]
        if status > 100 and not tag and record.request.to.tag is None:
            tag = self.ids.token()
        response = respond_to(
            record.request, status, tag=tag, reason=reason, headers=items, body=body
        )
        send = Send(key, response_attempts(record.request, response, record.flow))
        self.layer.respond(key, response, send, self.now)
        return send

    def refuse(self, key: str, refusal: Refusal, *, tag: str = "") -> None:
        """Answer with a refusal of the core's own, and tell its rule."""
        record = self.record(key)
        self.reply(key, refusal.status, tag=tag, reason=refusal.reason, headers=refusal.headers)
        self._tell_refused(refusal.rule, refusal.status, record.request, record.flow)

    def refuse_stateless(self, request: Request, refusal: Refusal, flow: Flow) -> None:
        """Answer without a transaction (section 8.2.7)."""
        headers = [*refusal.headers, ("Server", self.config.user_agent)]
        response = respond_to(
            request,
            refusal.status,
            tag=stateless_tag(request),
            reason=refusal.reason,
            headers=headers,
        )
        self.out.effect(Send("stateless", response_attempts(request, response, flow)))
        self._tell_refused(refusal.rule, refusal.status, request, flow)

    def drop(self, rule: str, flow: Flow) -> None:
        """Tell that something was dropped without an answer."""
        self.out.effect(Dropped(rule, flow))

    def retry_after(self) -> tuple[str, str]:
        """Retry-After of a 500 that asks for a little patience (section 14.2): 0 to 10 s."""
        return "Retry-After", str(self.ids.number() % 11)

    def _tell_refused(self, rule: str, status: int, request: Request, flow: Flow) -> None:
        self.out.effect(Refused(rule, status, request.method, flow, request.call_id))
