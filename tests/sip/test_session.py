from __future__ import annotations

import pytest

from sipbot.errors import LocalProtocolError
from sipbot.sip.routing import Contact
from sipbot.sip.session import _TABLE, Phase, Session, Step
from tests.sip.kit import Caller


def session(phase: Phase) -> Session:
    return Session("s", phase, Caller().call(), Contact(), "tag")


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("step", Step)
def test_every_pair_moves_or_raises(phase: Phase, step: Step) -> None:
    subject = session(phase)
    if subject.allows(step):
        assert subject.step(step) is subject.phase is _TABLE[phase, step]
    else:
        with pytest.raises(LocalProtocolError):
            subject.step(step)
        assert subject.phase is phase


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.ENDED])
def test_every_phase_can_end(phase: Phase) -> None:
    reached, grown = {phase}, set[Phase]()
    while reached != grown:
        grown = set(reached)
        reached |= {target for (source, _), target in _TABLE.items() if source in grown}
    assert Phase.ENDED in reached


def test_nothing_follows_the_end() -> None:
    assert not any(source is Phase.ENDED for source, _ in _TABLE)
