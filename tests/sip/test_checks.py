"""The checks before anything else, and the torture cases that the user agent must refuse."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from sipbot.sip.effects import Dropped, Refused
from sipbot.sip.user_agent import UserAgentConfig
from tests.fuzz.corpus import mutate
from tests.sip.kit import TCP, UDP, Bench, Callee, Peer, only, statuses
from tests.sip.samples import FIXTURES
from tests.sip.test_torture import REFUSED, UA_REFUSES

CASES = sorted(
    f"{path.parent.name}/{path.stem}"
    for folder in ("rfc4475", "rfc5118")
    for path in (Path(FIXTURES) / folder).glob("*.dat")
)


def case(name: str) -> bytes:
    return (Path(FIXTURES) / f"{name}.dat").read_bytes()


@pytest.mark.parametrize("name", CASES)
def test_every_torture_case_is_answered_or_dropped(name: str) -> None:
    bench = Bench()
    effects = bench.receive(case(name))
    assert effects, "neither answered nor dropped"
    bench.idle()


@pytest.mark.parametrize(("name", "status"), UA_REFUSES.items())
def test_torture_case_refused_by_the_user_agent(name: str, status: int) -> None:
    effects = Bench().receive(case(name))
    assert only(Refused, effects).status == status
    assert statuses(effects) == [status]


@pytest.mark.parametrize(
    ("name", "status"), [(name, status) for name, (_, status, _) in REFUSED.items()]
)
def test_torture_case_refused_by_the_parser(name: str, status: int) -> None:
    effects = Bench().receive(case(name))
    dropped = [effect for effect in effects if isinstance(effect, Dropped)]
    assert statuses(effects) == ([] if dropped else [status])


def test_zero_max_forwards_is_answered_normally() -> None:
    assert statuses(Bench().receive(case("rfc4475/zeromf"))) == [200]


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/sdp", 100),
        ("text/plain, application/SDP;level=1", 100),
        ("application/*", 100),
        ("*/*", 100),
        ("text/nobodyKnowsThis", 406),
        ("", 406),
    ],
)
def test_accept_of_an_invite(accept: str, status: int) -> None:
    assert statuses(Bench().receive(Peer().invite(("Accept", accept)))) == [status]


def test_allow_of_the_configuration_is_what_counts() -> None:
    bench = Bench(UserAgentConfig(allow=("INVITE", "ACK", "BYE")))
    effects = bench.receive(Peer().request("OPTIONS"))
    assert statuses(effects) == [405]


def test_allowed_method_that_nothing_acts_on() -> None:
    callee = Callee(config=UserAgentConfig(allow=("INVITE", "ACK", "BYE", "MESSAGE")))
    callee.confirm()
    assert statuses(callee.get(callee.peer.request("MESSAGE"))) == [405]


def test_mutated_messages_leave_nothing_behind() -> None:
    rng = random.Random(3261)
    callee = Callee()
    callee.confirm()
    seeds = [case(name) for name in CASES]
    seeds += [callee.peer.request(method) for method in ("INFO", "UPDATE", "OPTIONS", "INVITE")]
    for number in range(3000):
        data = mutate(rng.choice(seeds), rng)
        callee.receive(data, TCP if number % 2 else UDP)
        if number % 50 == 0:
            callee.now += 1.0
            callee.ua.handle_timer(callee.now)
    callee.ua.bye(callee.session, callee.now)
    callee.idle()
