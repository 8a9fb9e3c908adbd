"""Two user agents joined by a link that loses, doubles and reorders by a script."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipbot.errors import LocalProtocolError
from sipbot.sip.effects import (
    Answered,
    Confirmed,
    Effects,
    EndedBy,
    Event,
    Flow,
    Hop,
    IncomingCall,
    Reanswer,
    Reoffer,
    Send,
    SessionEnded,
    Transport,
)
from sipbot.sip.headers import NameAddr
from sipbot.sip.ids import CountingIds
from sipbot.sip.uri import Uri
from sipbot.sip.user_agent import Counts, UserAgent, UserAgentConfig
from tests.sip.kit import OUR_SDP, SDP

DELAY = 0.01  # seconds one way
ALICE, BOB = ("192.0.2.1", 5060), ("192.0.2.2", 5070)
TALK = 5.0  # seconds
END = 400.0  # by then every timer has run out


@dataclass
class Fate:
    """What becomes of the datagrams, by their number."""

    lost: frozenset[int] = frozenset()
    doubled: frozenset[int] = frozenset()
    late: dict[int, float] = field(default_factory=dict)  # extra seconds


class Party:
    """A user agent with a small application that rings, answers and agrees to everything."""

    def __init__(self, link: Link, address: tuple[str, int], name: str) -> None:
        self.link = link
        self.address = address
        self.ua = UserAgent(UserAgentConfig(), CountingIds(name), self._local)
        self.session = ""
        self.heard: list[Event] = []

    def _local(self, _towards: Flow | Hop) -> tuple[str, int]:
        return self.address

    def has(self, kind: type[object]) -> bool:
        return any(isinstance(event, kind) for event in self.heard)

    def ends(self) -> list[SessionEnded]:
        return [event for event in self.heard if isinstance(event, SessionEnded)]

    def do(self, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.link.carry(self, effect)
            else:
                self.heard.append(effect)
                self._react(effect)

    def _react(self, event: Event) -> None:
        now = self.link.now
        if isinstance(event, IncomingCall):
            self.session = event.session
            self.do(self.ua.ring(event.session, now))
            self.link.later(1.0, lambda: self._answer(event.session))
        elif isinstance(event, Reoffer):
            self.do(self.ua.accept_offer(event.session, OUR_SDP, now))

    def _answer(self, session: str) -> None:
        if not self.ends():
            self.do(self.ua.answer(session, OUR_SDP, self.link.now))


class Link:
    """Carries what two parties send, in virtual time."""

    def __init__(self, transport: Transport, fate: Fate) -> None:
        self.now = 0.0
        self.transport = transport
        self.fate = fate
        self.sent = 0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self.alice = Party(self, ALICE, "a")
        self.bob = Party(self, BOB, "b")

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._queue, (self.now + seconds, self._order, action))

    def carry(self, source: Party, send: Send) -> None:
        wire, number = send.attempts[0].wire, self.sent
        self.sent += 1
        if number in self.fate.lost:
            return
        target = self.bob if source is self.alice else self.alice
        connection = None if self.transport == "udp" else 1
        flow = Flow(self.transport, target.address, source.address, connection)

        def arrive() -> None:
            target.do(target.ua.receive(wire, flow, self.now))

        self.later(DELAY + self.fate.late.get(number, 0.0), arrive)
        if number in self.fate.doubled:
            self.later(DELAY * 1.5, arrive)

    def run(self, until: float) -> None:
        while True:
            deadlines = [(party.ua.next_deadline(), party) for party in (self.alice, self.bob)]
            alarms = [(at, party) for at, party in deadlines if at is not None]
            at, party = min(alarms, key=lambda pair: pair[0], default=(until, None))
            if self._queue and self._queue[0][0] <= at and self._queue[0][0] < until:
                self.now, _, action = heapq.heappop(self._queue)
                action()
            elif party is not None and at < until:
                self.now = max(self.now, at)
                party.do(party.ua.handle_timer(self.now))
            else:
                self.now = until
                return

    def call(self) -> None:
        self.alice.session, effects = self.alice.ua.invite(
            to=Uri.parse(f"sip:bob@{BOB[0]}:{BOB[1]};transport={self.transport}"),
            from_=NameAddr.parse("<sip:alice@192.0.2.1>"),
            body=SDP,
            hop=None,
            now=self.now,
        )
        self.alice.do(effects)


def hold(party: Party) -> None:
    party.do(party.ua.reinvite(party.session, SDP, party.link.now))


def hang_up(party: Party) -> None:
    party.do(party.ua.bye(party.session, party.link.now))


def play(fate: Fate, *, transport: Transport = "udp", by_caller: bool = True) -> Link:
    """A whole call: set-up, 5 s of talk, a hold, 5 s, and BYE by one side."""
    link = Link(transport, fate)
    link.call()
    link.run(1.0 + TALK)
    first, second = (link.alice, link.bob) if by_caller else (link.bob, link.alice)
    hold(second)
    link.run(link.now + TALK)
    hang_up(first)
    link.run(END)
    return link


def check(link: Link, *, by_caller: bool) -> None:
    alice, bob = link.alice, link.bob
    assert alice.has(Answered)
    assert bob.has(Confirmed)
    holder = bob if by_caller else alice
    assert holder.has(Reanswer)
    first, second = (alice, bob) if by_caller else (bob, alice)
    assert [(end.by, end.reason) for end in first.ends()] == [(EndedBy.LOCAL, "bye")]
    assert [(end.by, end.reason) for end in second.ends()] == [(EndedBy.PEER, "bye")]
    assert alice.ua.counts() == bob.ua.counts() == Counts()


# INVITE 100 180 200 ACK, re-INVITE 100 200 ACK, BYE 200: eleven datagrams if nothing is lost.
DATAGRAMS = 11


@pytest.mark.parametrize("by_caller", [True, False])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_nothing_lost(transport: Transport, by_caller: bool) -> None:
    link = play(Fate(), transport=transport, by_caller=by_caller)
    check(link, by_caller=by_caller)
    assert link.sent == DATAGRAMS


@pytest.mark.parametrize("by_caller", [True, False])
@pytest.mark.parametrize("number", range(DATAGRAMS + 1))
def test_one_datagram_lost(number: int, by_caller: bool) -> None:
    check(play(Fate(lost=frozenset({number})), by_caller=by_caller), by_caller=by_caller)


@pytest.mark.parametrize("number", range(DATAGRAMS))
def test_two_datagrams_in_a_row_lost(number: int) -> None:
    check(play(Fate(lost=frozenset({number, number + 1}))), by_caller=True)


@pytest.mark.parametrize("by_caller", [True, False])
@pytest.mark.parametrize("number", range(DATAGRAMS))
def test_one_datagram_doubled(number: int, by_caller: bool) -> None:
    check(play(Fate(doubled=frozenset({number})), by_caller=by_caller), by_caller=by_caller)


def test_every_datagram_doubled() -> None:
    check(play(Fate(doubled=frozenset(range(100)))), by_caller=True)


@pytest.mark.parametrize("number", range(DATAGRAMS))
@pytest.mark.parametrize("seconds", [0.2, 0.7, 2.0])
def test_one_datagram_late(number: int, seconds: float) -> None:
    check(play(Fate(late={number: seconds})), by_caller=True)


@pytest.mark.parametrize("number", range(12))
def test_a_dead_link_from_some_point_on_ends_everything(number: int) -> None:
    link = Link("udp", Fate(lost=frozenset(range(number, 10_000))))
    link.call()
    link.run(100.0)
    if link.alice.has(Answered) and not link.alice.ends():
        hang_up(link.alice)
    if link.bob.has(Confirmed) and not link.bob.ends():
        hang_up(link.bob)
    link.run(1000.0)
    assert link.alice.ua.counts() == link.bob.ua.counts() == Counts()
    assert len(link.alice.ends()) == 1
    assert len(link.bob.ends()) == (1 if link.bob.has(IncomingCall) else 0)


def test_both_offer_at_once() -> None:
    link = Link("udp", Fate())
    link.call()
    link.run(3.0)
    hold(link.alice)
    hold(link.bob)
    link.run(5.0)
    hang_up(link.alice)
    link.run(END)
    assert link.alice.ua.counts() == link.bob.ua.counts() == Counts()
    assert link.bob.ends()[0].reason == "bye"


def test_both_hang_up_at_once() -> None:
    link = Link("udp", Fate())
    link.call()
    link.run(3.0)
    hang_up(link.alice)
    hang_up(link.bob)
    link.run(END)
    assert link.alice.ua.counts() == link.bob.ua.counts() == Counts()
    assert link.alice.ends()[0].by is link.bob.ends()[0].by is EndedBy.LOCAL


@pytest.mark.parametrize("after", [0.0, 0.005, 0.015, 0.5, 1.005, 1.015, 1.025])
def test_cancel_at_any_moment(after: float) -> None:
    link = Link("udp", Fate())
    link.call()
    link.run(after)
    hang_up(link.alice)
    link.run(END)
    assert link.alice.ua.counts() == link.bob.ua.counts() == Counts()
    assert len(link.alice.ends()) == len(link.bob.ends()) == 1


@settings(max_examples=60)
@given(
    lost=st.frozensets(st.integers(0, 40), max_size=8),
    doubled=st.frozensets(st.integers(0, 40), max_size=8),
    late=st.dictionaries(st.integers(0, 40), st.sampled_from([0.05, 0.6, 3.0]), max_size=6),
    plan=st.lists(
        st.tuples(st.floats(0.0, 6.0), st.sampled_from(["a-bye", "b-bye", "a-hold", "b-hold"])),
        max_size=6,
    ),
)
def test_whatever_happens_everything_ends(
    lost: frozenset[int],
    doubled: frozenset[int],
    late: dict[int, float],
    plan: Sequence[tuple[float, str]],
) -> None:
    link = Link("udp", Fate(lost, doubled, late))
    link.call()
    for pause, step in [*plan, (20.0, "a-bye"), (20.0, "b-bye")]:
        link.run(link.now + pause)
        party = link.alice if step.startswith("a") else link.bob
        if not party.session or party.ends():
            continue
        if step.endswith("bye"):
            hang_up(party)
        elif party.has(Answered) or party.has(Confirmed):
            try_hold(party)
    link.run(link.now + END)
    assert link.alice.ua.counts() == link.bob.ua.counts() == Counts()
    assert len(link.alice.ends()) == 1
    assert len(link.bob.ends()) == (1 if link.bob.has(IncomingCall) else 0)


def try_hold(party: Party) -> None:
    try:
        hold(party)
    except LocalProtocolError:
        assert party.ua.counts().sessions >= 1
