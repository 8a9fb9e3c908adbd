from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.errors import LocalProtocolError, RtpError
from sipbot.rtp import rtcp, srtp
from sipbot.rtp.packet import RtpPacket
from sipbot.rtp.srtp import SUITE_32, SUITE_80, Keying, SrtpPair

OURS: Keying = (SUITE_80, bytes(range(30)))
THEIRS: Keying = (SUITE_80, bytes(range(100, 130)))
OTHER: Keying = (SUITE_80, bytes(range(200, 230)))
RULES = {"srtp-auth", "srtp-replay", "srtp-short", "srtp-long", "srtp-invalid"}
REPORT = rtcp.serialize((rtcp.ReceiverReport(1), rtcp.cname_description(1, "a@b")))


def packet(sequence: int, ssrc: int = 1) -> bytes:
    return RtpPacket(
        8, sequence & 0xFFFF, 160 * sequence & 0xFFFF_FFFF, ssrc, b"\xd5" * 8
    ).serialize()


def peers(suite: str = SUITE_80) -> tuple[SrtpPair, SrtpPair]:
    ours, theirs = (suite, OURS[1]), (suite, THEIRS[1])
    return SrtpPair(ours, theirs), SrtpPair(theirs, ours)


def refusal(pair: SrtpPair, data: bytes, *, control: bool = False) -> str:
    with pytest.raises(RtpError) as caught:
        pair.unprotect_rtcp(data) if control else pair.unprotect(data)
    return caught.value.reason


@pytest.mark.parametrize(("suite", "tag"), [(SUITE_80, 10), (SUITE_32, 4)])
def test_both_directions(suite: str, tag: int) -> None:
    us, them = peers(suite)
    secret = us.protect(packet(1))
    assert len(secret) == len(packet(1)) + tag
    assert secret[12:20] != packet(1)[12:20]
    assert them.unprotect(secret) == packet(1)
    assert us.unprotect(them.protect(packet(9))) == packet(9)


@pytest.mark.parametrize("suite", [SUITE_80, SUITE_32])
def test_control_packets(suite: str) -> None:
    us, them = peers(suite)
    secret = us.protect_rtcp(REPORT)
    # RFC 3711 section 3.4 and RFC 4568 section 6.2: the SRTCP tag has 80 bits in both suites.
    assert len(secret) == len(REPORT) + 4 + 10
    assert them.unprotect_rtcp(secret) == REPORT
    assert refusal(them, secret, control=True) == "srtp-replay"
    assert refusal(us, secret, control=True) == "srtp-auth"


def test_suites_may_differ_by_direction() -> None:
    short: Keying = (SUITE_32, THEIRS[1])
    us, them = SrtpPair(OURS, short), SrtpPair(short, OURS)
    assert them.unprotect(us.protect(packet(1))) == packet(1)
    assert us.unprotect(them.protect(packet(1))) == packet(1)


def test_forged_plain_and_foreign_packets_are_refused() -> None:
    us, them = peers()
    secret = us.protect(packet(1))
    for place in range(len(secret)):
        forged = bytearray(secret)
        forged[place] ^= 1
        assert refusal(them, bytes(forged)) in {"srtp-auth", "srtp-invalid"}
    plain = RtpPacket(8, 1, 160, 1, b"\xd5" * 160).serialize()
    assert refusal(them, plain) == "srtp-auth"
    assert refusal(them, SrtpPair(OTHER, OURS).protect(packet(1))) == "srtp-auth"
    assert them.unprotect(secret) == packet(1)  # none of that disturbed the session


def test_replayed_packets_are_refused() -> None:
    us, them = peers()
    secrets = [us.protect(packet(number)) for number in range(300)]
    assert them.unprotect(secrets[1]) == packet(1)
    assert refusal(them, secrets[1]) == "srtp-replay"
    assert them.unprotect(secrets[0]) == packet(0)  # late, but new
    them.unprotect(secrets[299])
    assert them.unprotect(secrets[200]) == packet(200)
    assert refusal(them, secrets[100]) == "srtp-replay"  # beyond the window


def test_each_truncation_is_refused() -> None:
    us, them = peers()
    secret, report = us.protect(packet(1)), us.protect_rtcp(REPORT)
    for length in range(len(secret)):
        assert refusal(them, secret[:length]) in RULES
    for length in range(len(report)):
        assert refusal(them, report[:length], control=True) in RULES
    assert refusal(them, secret[:11]) == "srtp-short"
    assert refusal(them, bytes(1501)) == "srtp-long"


@given(st.one_of(st.binary(max_size=100), st.binary(max_size=100).map(lambda b: b"\xbf\x08" + b)))
def test_any_bytes_are_refused_by_a_named_rule(data: bytes) -> None:
    _, them = peers()
    assert refusal(them, data) in RULES
    assert refusal(them, data, control=True) in RULES


def test_any_source_is_taken() -> None:
    us, them = peers()
    for ssrc in (1, 2, 0xFFFF_FFFF):
        assert them.unprotect(us.protect(packet(5, ssrc))) == packet(5, ssrc)


def test_sequence_wrap_moves_the_roll_over_counter() -> None:
    us, them = peers()
    for number in range(65_530, 65_545):
        assert them.unprotect(us.protect(packet(number))) == packet(number)


def test_the_same_keys_keep_the_session_over_a_new_offer() -> None:
    us, them = peers()
    for number in range(65_530, 65_540):
        them.unprotect(us.protect(packet(number)))
    last = us.protect(packet(65_540))
    us.rekey(OURS, THEIRS)
    them.rekey(THEIRS, OURS)
    assert them.unprotect(last) == packet(65_540)
    assert refusal(them, last) == "srtp-replay"
    assert them.unprotect(us.protect(packet(65_541))) == packet(65_541)


def test_a_new_key_replaces_the_old_once_it_is_heard() -> None:
    us, them = peers()
    them.unprotect(us.protect(packet(100)))
    in_flight, later = us.protect(packet(101)), us.protect(packet(102))
    them.rekey(THEIRS, OTHER)
    assert them.unprotect(in_flight) == packet(101)
    us.rekey(OTHER, THEIRS)
    assert them.unprotect(us.protect(packet(103))) == packet(103)
    assert refusal(them, later) == "srtp-auth"
    assert us.unprotect(them.protect(packet(1))) == packet(1)  # the other way went on


def test_a_new_key_with_a_new_suite() -> None:
    us, them = peers()
    them.unprotect(us.protect(packet(1)))
    them.rekey(THEIRS, (SUITE_32, OTHER[1]))
    us.rekey((SUITE_32, OTHER[1]), THEIRS)
    assert them.unprotect(us.protect(packet(2))) == packet(2)


def test_wrong_keys_are_our_own_mistake() -> None:
    for keying in ((SUITE_80, bytes(29)), (SUITE_80, bytes(31)), ("NULL", bytes(30))):
        with pytest.raises(LocalProtocolError):
            SrtpPair(keying, THEIRS)
    us, them = peers()
    with pytest.raises(LocalProtocolError):
        us.rekey(OTHER, ("NULL", bytes(30)))
    assert them.unprotect(us.protect(packet(1))) == packet(1)  # nothing was changed half-way
    assert srtp.make_key(OURS[1]) == OURS[1]
    with pytest.raises(LocalProtocolError):
        srtp.make_key(b"")


def test_what_cannot_be_protected_is_our_own_mistake() -> None:
    us, _ = peers()
    us.protect(packet(1))
    for data in (b"", b"\x80", packet(1), packet(2) + bytes(1500)):
        with pytest.raises(LocalProtocolError):
            us.protect(data)  # empty, cut, sent before, too long
    with pytest.raises(LocalProtocolError):
        us.protect_rtcp(b"\x80\xc9")


def test_errors_show_no_key() -> None:
    us, them = peers()
    shown = repr(us) + refusal(them, packet(1))
    assert OURS[1].hex() not in shown
    assert str(OURS[1]) not in shown
