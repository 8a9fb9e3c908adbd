"""The transaction layer: matching, the messages of each transaction, and their alarms."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeVar

from sipbot.errors import LocalProtocolError
from sipbot.sip.effects import Flow, Send
from sipbot.sip.message import Request, Response
from sipbot.sip.outbox import Outbox
from sipbot.sip.timing import Timers
from sipbot.sip.transactions.client import Client
from sipbot.sip.transactions.invite_client import InviteClient
from sipbot.sip.transactions.invite_server import InviteServer
from sipbot.sip.transactions.keys import merge_key, response_key, server_key
from sipbot.sip.transactions.machine import Do, Input, Machine, State, input_of_status
from sipbot.sip.transactions.server import Server

C = TypeVar("C")


class Arrival(Enum):
    """What a request is to the transaction layer."""

    NEW = auto()  # a server transaction was made for it
    MERGED = auto()  # as NEW, but another transaction has this request already: 482
    REPEATED = auto()  # absorbed
    ACK_FOR_2XX = auto()  # matches an accepted INVITE: for the dialog
    NO_MATCH = auto()  # an ACK without a transaction: for the dialog, else dropped
    FULL = auto()  # no transaction could be made: answer statelessly


@dataclass(slots=True)
class ServerRecord:
    """A server transaction with its messages."""

    key: str
    machine: Machine
    request: Request
    flow: Flow
    merge: tuple[str, str, int, str] | None
    response: Response | None = None
    send: Send | None = None  # the latest response on its way
    session: str = ""  # of an INVITE: the session it set up or changes


@dataclass(slots=True)
class ClientRecord(Generic[C]):
    """A client transaction; ``context`` is what its user wants to know when it is told."""

    key: str
    machine: Machine
    send: Send
    context: C


@dataclass(frozen=True, slots=True)
class Match(Generic[C]):
    """A response found its transaction."""

    record: ClientRecord[C]
    tell: bool  # the response is news for the transaction's user
    acknowledge: bool  # a non-2xx to an INVITE: the transaction's ACK is due (section 17.1.1.3)


@dataclass(frozen=True, slots=True)
class Lost(Generic[C]):
    """A client transaction ended without a final response."""

    record: ClientRecord[C]
    timed_out: bool  # else the transport failed


class TransactionLayer(Generic[C]):
    """All transactions of one user agent.

    What must be sent goes to the outbox given at construction, as do the alarms, by the keys of
    the transactions: ``handle_timer(key)`` wants to be called when one rings.
    """

    def __init__(self, timers: Timers, limit: int, out: Outbox) -> None:
        self._timers = timers
        self._limit = limit  # server transactions at once; sessions bound those of clients
        self._out = out
        self._servers: dict[str, ServerRecord] = {}
        self._clients: dict[str, ClientRecord[C]] = {}
        self._merges: dict[tuple[str, str, int, str], str] = {}

    # --- server side

    @property
    def server_count(self) -> int:
        return len(self._servers)

    @property
    def client_count(self) -> int:
        return len(self._clients)

    def server(self, key: str) -> ServerRecord | None:
        """The server transaction with that key, if it still exists."""
        return self._servers.get(key)

    def receive_request(self, request: Request, flow: Flow, now: float) -> tuple[Arrival, str]:
        """Match a request; returns what it is and the key of its transaction."""
        key = server_key(request)
        record = self._servers.get(key)
        if request.method == "ACK":
            if record is None or not isinstance(record.machine, InviteServer):
                return Arrival.NO_MATCH, key
            tell = Do.TELL in self._step_server(record, Input.ACK, now)
            return (Arrival.ACK_FOR_2XX if tell else Arrival.REPEATED), key
        if record is not None:
            self._step_server(record, Input.REQUEST, now)
            return Arrival.REPEATED, key
        if len(self._servers) >= self._limit:
            return Arrival.FULL, key
        return self._open(key, request, flow, now), key

    def find_invite(self, cancel: Request) -> ServerRecord | None:
        """The INVITE transaction that a CANCEL means (RFC 3261 section 9.2)."""
        return self._servers.get(server_key(cancel, "INVITE"))

    def respond(self, key: str, response: Response, send: Send, now: float) -> None:
        """Send ``response`` in the server transaction ``key``.

        Raises ``LocalProtocolError`` if it is gone or its state forbids this response.
        """
        record = self._servers.get(key)
        if record is None:
            raise LocalProtocolError("the transaction is over")
        kept = record.response, record.send
        record.response, record.send = response, send
        try:
            actions = self._step_server(record, input_of_status(response.status), now)
        except LocalProtocolError:
            record.response, record.send = kept
            raise
        if Do.SEND not in actions:
            record.response, record.send = kept

    # --- client side

    def start(self, key: str, send: Send, context: C, *, reliable: bool, now: float) -> None:
        """Send a request in a new client transaction."""
        invite = key.endswith("|INVITE")
        kind = InviteClient if invite else Client
        record = ClientRecord(key, kind(self._timers, reliable=reliable, now=now), send, context)
        self._clients[key] = record
        self._out.effect(send)
        self._out.alarm(key, record.machine.next_deadline())

    def client(self, key: str) -> ClientRecord[C] | None:
        """The client transaction with that key, if it still exists."""
        return self._clients.get(key)

    def receive_response(self, response: Response, now: float) -> Match[C] | None:
        """Match a response; None when no transaction waits for it."""
        record = self._clients.get(response_key(response))
        if record is None:
            return None
        actions = self._step_client(record, input_of_status(response.status), now)
        return Match(record, Do.TELL in actions, Do.SEND_ACK in actions)

    def abandon(self, key: str) -> None:
        """Forget a client transaction whose outcome no longer matters (section 9.1)."""
        if self._clients.pop(key, None) is not None:
            self._out.alarm(key, None)

    # --- both

    def transport_failed(self, key: str, now: float) -> Lost[C] | None:
        """The driver could not send for ``key``."""
        server = self._servers.get(key)
        if server is not None:
            self._step_server(server, Input.TRANSPORT_ERROR, now)
            return None
        record = self._clients.get(key)
        if record is None:
            return None
        failed = Do.TELL_FAILURE in self._step_client(record, Input.TRANSPORT_ERROR, now)
        return Lost(record, timed_out=False) if failed else None

    def handle_timer(self, key: str, now: float) -> Lost[C] | None:
        """The alarm of ``key`` rang."""
        server = self._servers.get(key)
        if server is not None:
            self._run_server(server, server.machine.handle_timer(now))
            return None
        record = self._clients.get(key)
        if record is None:
            return None
        timed_out = Do.TELL_TIMEOUT in self._run_client(record, record.machine.handle_timer(now))
        return Lost(record, timed_out=True) if timed_out else None

    def _open(self, key: str, request: Request, flow: Flow, now: float) -> Arrival:
        reliable = flow.transport != "udp"
        kind = InviteServer if request.method == "INVITE" else Server
        machine = kind(self._timers, reliable=reliable, now=now)
        # Section 8.2.2.2: "If the request has no tag in the To header field, the UAS core MUST
        # check the request against ongoing transactions."
        merge = None if request.to.tag or request.method == "CANCEL" else merge_key(request)
        merged = merge is not None and merge in self._merges
        record = ServerRecord(key, machine, request, flow, None if merged else merge)
        self._servers[key] = record
        if record.merge is not None:
            self._merges[record.merge] = key
        return Arrival.MERGED if merged else Arrival.NEW

    def _step_server(self, record: ServerRecord, what: Input, now: float) -> tuple[Do, ...]:
        return self._run_server(record, record.machine.step(what, now))

    def _run_server(self, record: ServerRecord, actions: tuple[Do, ...]) -> tuple[Do, ...]:
        if Do.SEND in actions and record.send is not None:
            self._out.effect(record.send)
        if record.machine.state is State.TERMINATED:
            self._servers.pop(record.key, None)
            if record.merge is not None:
                self._merges.pop(record.merge, None)
        self._out.alarm(record.key, record.machine.next_deadline())
        return actions

    def _step_client(self, record: ClientRecord[C], what: Input, now: float) -> tuple[Do, ...]:
        return self._run_client(record, record.machine.step(what, now))

    def _run_client(self, record: ClientRecord[C], actions: tuple[Do, ...]) -> tuple[Do, ...]:
        if Do.SEND in actions:
            self._out.effect(record.send)
        if record.machine.state is State.TERMINATED:
            self._clients.pop(record.key, None)
        self._out.alarm(record.key, record.machine.next_deadline())
        return actions
