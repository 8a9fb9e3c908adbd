"""Any order of messages, commands and time: nothing but LocalProtocolError, and all ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sipbot.errors import LocalProtocolError
from sipbot.sip.effects import Effects, Flow, IncomingCall, Send, SessionEnded
from sipbot.sip.headers import NameAddr
from sipbot.sip.message import Request, parse_message
from sipbot.sip.uri import Uri
from sipbot.sip.user_agent import Counts, Credentials, UserAgentConfig
from tests.sip.kit import OUR_SDP, SDP, TCP, UDP, Bench, Callee, Peer, answer_to, only

CONFIG = UserAgentConfig(session_expires_s=200, session_timer_always=True, max_dialogs=6)
METHODS = ["INVITE", "ACK", "CANCEL", "BYE", "UPDATE", "INFO", "OPTIONS", "NOTIFY", "REFER"]
STATUSES = [100, 180, 200, 202, 302, 401, 407, 408, 422, 481, 486, 487, 491, 500, 603]
EXTRAS = [
    (),
    (("Supported", "timer"), ("Session-Expires", "90")),
    (("Require", "100rel"),),
    (("Event", "refer"),),
    (("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"'), ("Min-SE", "300")),
    (("Record-Route", "<sip:192.0.2.30;lr>"), ("Allow", "UPDATE"), ("Expires", "3")),
]


class Chaos(RuleBasedStateMachine):
    """A peer and an application that follow no rules."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(CONFIG)
        self.peers = [Peer(call_id=f"call-{number}") for number in range(3)]
        self.branches = ["z9hG4bKone", "z9hG4bKtwo"]
        self.sessions = ["nobody"]
        self.ended: list[str] = []
        self.asked: list[Request] = []
        self.tags = [""]

    def take(self, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, IncomingCall):
                self.sessions.append(effect.session)
            elif isinstance(effect, SessionEnded):
                assert effect.session not in self.ended, "ended twice"
                self.ended.append(effect.session)
            elif isinstance(effect, Send):
                message = parse_message(effect.attempts[0].wire)
                if isinstance(message, Request):
                    self.asked = [*self.asked[-9:], message]
                elif message.to.tag and message.to.tag not in self.tags:
                    self.tags = [*self.tags[-9:], message.to.tag]

    def command(self, call: Callable[[], Effects]) -> None:
        with suppress(LocalProtocolError):
            self.take(call())

    @rule(data=st.data())
    def request(self, data: st.DataObject) -> None:
        peer = data.draw(st.sampled_from(self.peers))
        peer.to_tag = data.draw(st.sampled_from(self.tags))
        method = data.draw(st.sampled_from(METHODS))
        body, kind = data.draw(
            st.sampled_from([(b"", ""), (SDP, "application/sdp"), (b"SIP/2.0 200 OK", "a/b")])
        )
        wire = peer.request(
            method,
            *data.draw(st.sampled_from(EXTRAS)),
            body=body,
            content_type=kind,
            branch=data.draw(st.sampled_from(["", *self.branches])),
            cseq=data.draw(st.sampled_from([None, 101, 102, peer.cseq])),
        )
        flow: Flow = data.draw(st.sampled_from([UDP, TCP]))
        self.take(self.bench.receive(wire, flow))

    @rule(data=st.data(), status=st.sampled_from(STATUSES), extra=st.sampled_from(EXTRAS))
    def response(
        self, data: st.DataObject, status: int, extra: tuple[tuple[str, str], ...]
    ) -> None:
        if not self.asked:
            return
        request = data.draw(st.sampled_from(self.asked))
        tag = data.draw(st.sampled_from(["", "bob", "carol"]))
        body = data.draw(st.sampled_from([b"", SDP]))
        self.take(self.bench.receive(answer_to(request, status, *extra, tag=tag, body=body)))

    @rule(data=st.data(), status=st.sampled_from([100, 180, 183, 200, 480, 487, 603]))
    def application(self, data: st.DataObject, status: int) -> None:
        session = data.draw(st.sampled_from(self.sessions))
        ua, now = self.bench.ua, self.bench.now
        commands: list[Callable[[], Effects]] = [
            lambda: ua.ring(session, now, status=status),
            lambda: ua.answer(session, OUR_SDP, now),
            lambda: ua.answer(session, b"", now),
            lambda: ua.reject(session, status, now, warning="w", retry_after_s=1),
            lambda: ua.accept_offer(session, OUR_SDP, now),
            lambda: ua.refuse_offer(session, status, now),
            lambda: ua.reinvite(session, OUR_SDP, now),
            lambda: ua.refer(session, Uri.parse("sip:x@y"), now),
            lambda: ua.cancel(session, now),
            lambda: ua.bye(session, now),
        ]
        self.command(data.draw(st.sampled_from(commands)))

    @rule(secret=st.booleans(), where=st.sampled_from(["sip:a@b.example", "sip:a@192.0.2.20"]))
    def call(self, secret: bool, where: str) -> None:
        def invite() -> Effects:
            session, effects = self.bench.ua.invite(
                to=Uri.parse(where),
                from_=NameAddr.parse("<sip:us@here>"),
                body=OUR_SDP,
                hop=None,
                now=self.bench.now,
                credentials=Credentials("a", "b") if secret else None,
            )
            self.sessions.append(session)
            return effects

        self.command(invite)

    @rule(data=st.data())
    def transport_fails(self, data: st.DataObject) -> None:
        if self.asked:
            request = data.draw(st.sampled_from(self.asked))
            key = f"c|{request.top_via.branch}|{request.method}"
            self.take(self.bench.ua.transport_failed(key, self.bench.now))

    @rule(seconds=st.sampled_from([0.0, 0.5, 4.0, 33.0, 70.0, 200.0]))
    def wait(self, seconds: float) -> None:
        for _, effects in self.bench.advance(seconds):
            self.take(effects)

    @invariant()
    def bounded(self) -> None:
        counts = self.bench.ua.counts()
        # Branches that were forked are hung up on beyond the limit of calls.
        assert counts.sessions <= CONFIG.max_dialogs * 3
        assert counts.dialogs <= counts.sessions

    def teardown(self) -> None:
        for session in self.sessions:
            self.command(lambda session=session: self.bench.ua.bye(session, self.bench.now))  # type: ignore[misc]
        for _, effects in self.bench.advance(4000.0):
            self.take(effects)
        assert self.bench.ua.counts() == Counts()
        assert sorted(self.ended) == sorted(set(self.sessions) - {"nobody"})


TestChaos = Chaos.TestCase
TestChaos.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_session_ends_are_told_once() -> None:
    callee = Callee()
    callee.confirm()
    first = callee.ua.bye(callee.session, callee.now)
    assert only(SessionEnded, first).session == callee.session
    assert callee.ua.bye(callee.session, callee.now) == ()
    callee.idle()


def test_answer_to_a_session_that_never_was() -> None:
    callee = Callee()
    with pytest.raises(LocalProtocolError):
        callee.ua.answer("nobody", OUR_SDP, callee.now)
    assert callee.ua.counts() == Counts()
