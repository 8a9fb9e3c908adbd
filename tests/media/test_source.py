"""Which source is listened to."""

from __future__ import annotations

import pytest

from sipbot.errors import MediaError
from sipbot.media.source import SourceLock, Verdict, is_sendable, literal_address

HERE, THERE, ELSEWHERE = ("192.0.2.1", 4000), ("198.51.100.7", 4000), ("198.51.100.8", 4000)


def test_expected_source_locks_at_once() -> None:
    lock = SourceLock(HERE, 0.0, 5.0)
    assert lock.target == HERE
    assert lock.judge(HERE, 1, 10, 99.0) is Verdict.LOCK
    assert lock.judge(HERE, 1, 11, 99.0) is Verdict.ACCEPT
    assert lock.judge(THERE, 1, 12, 99.0) is Verdict.REFUSE
    assert not lock.latched


def test_another_source_needs_two_packets_in_sequence() -> None:
    lock = SourceLock(HERE, 0.0, 5.0)
    assert lock.judge(THERE, 1, 65_535, 1.0) is Verdict.PROBATION
    assert lock.judge(THERE, 1, 0, 1.0) is Verdict.LOCK
    assert lock.latched
    assert lock.target == THERE
    assert lock.judge(ELSEWHERE, 1, 1, 1.0) is Verdict.REFUSE


def test_the_announced_source_wins_over_a_learnt_one() -> None:
    lock = SourceLock(HERE, 0.0, 5.0)
    lock.judge(THERE, 1, 10, 1.0)
    assert lock.judge(THERE, 1, 11, 1.0) is Verdict.LOCK
    assert lock.judge(HERE, 2, 50, 90.0) is Verdict.LOCK
    assert not lock.latched
    assert lock.judge(THERE, 1, 12, 90.0) is Verdict.REFUSE


def test_an_address_that_the_peer_gave_up_does_not_come_back() -> None:
    lock = SourceLock(HERE, 0.0, 5.0)
    lock.judge(HERE, 1, 10, 1.0)
    assert lock.expect(THERE, 50.0)
    for sequence in range(11, 15):
        assert lock.judge(HERE, 1, sequence, 50.1) is Verdict.REFUSE
    assert lock.judge(THERE, 2, 1, 50.2) is Verdict.LOCK


@pytest.mark.parametrize(
    ("source", "ssrc", "sequence"), [(ELSEWHERE, 1, 11), (THERE, 2, 11), (THERE, 1, 13)]
)
def test_what_is_not_in_sequence_starts_over(
    source: tuple[str, int], ssrc: int, sequence: int
) -> None:
    lock = SourceLock(HERE, 0.0, 5.0)
    lock.judge(THERE, 1, 10, 1.0)
    assert lock.judge(source, ssrc, sequence, 1.0) is Verdict.PROBATION
    assert lock.judge(source, ssrc, sequence + 1, 1.0) is Verdict.LOCK


def test_window_closes_for_others_only() -> None:
    lock = SourceLock(HERE, 0.0, 5.0)
    assert lock.judge(THERE, 1, 10, 5.1) is Verdict.REFUSE
    assert lock.judge(HERE, 1, 10, 60.0) is Verdict.LOCK


def test_new_description_unlocks_only_with_a_new_address() -> None:
    lock = SourceLock(HERE, 0.0, 5.0)
    lock.judge(THERE, 1, 10, 1.0)
    lock.judge(THERE, 1, 11, 1.0)
    assert not lock.expect(HERE, 100.0)
    assert lock.target == THERE
    assert lock.expect(ELSEWHERE, 100.0)
    assert lock.target == ELSEWHERE
    assert lock.judge(THERE, 1, 12, 104.0) is Verdict.PROBATION
    assert lock.judge(THERE, 1, 13, 104.0) is Verdict.LOCK


def test_addresses() -> None:
    assert literal_address(("2001:DB8::0001", 5)) == ("2001:db8::1", 5)
    with pytest.raises(MediaError):
        literal_address(("host.example", 5))
    assert is_sendable(HERE)
    for nowhere in (("0.0.0.0", 5), ("::", 5), ("192.0.2.1", 0), ("224.0.0.1", 5)):
        assert not is_sendable(nowhere)
