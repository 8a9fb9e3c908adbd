from __future__ import annotations

import ipaddress
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.errors import LocalProtocolError, SdpError
from sipbot.sdp.crypto import SUITES, CryptoKey
from sipbot.sdp.negotiate import (
    Direction,
    KeySource,
    LocalMedia,
    Negotiated,
    Srtp,
    accept_answer,
    answer,
    offer,
    reanswer,
    reoffer,
)
from sipbot.sdp.session import SessionDescription, parse

S80, S32 = SUITES
THEIR_KEY = bytes(range(30))
INLINE = "inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"
LOCAL = LocalMedia(address="192.0.2.1", port=10_000, session_id=77, session_version=3)
HEAD = "v=0\r\no=root 1821 1821 IN IP4 198.51.100.7\r\ns=call\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n"


def _keys() -> KeySource:
    numbers = count(1)
    return lambda: bytes([next(numbers)] * 30)


def _offer(*lines: str, head: str = HEAD) -> SessionDescription:
    return parse((head + "".join(line + "\r\n" for line in lines)).encode())


def _media_text(description: SessionDescription) -> list[str]:
    """The m= sections as lines."""
    lines = description.serialize().decode().split("\r\n")[:-1]
    first = next(number for number, line in enumerate(lines) if line.startswith("m="))
    return lines[first:]


def _reason(*lines: str, local: LocalMedia = LOCAL, head: str = HEAD) -> str:
    with pytest.raises(SdpError) as caught:
        answer(_offer(*lines, head=head), local, _keys())
    assert caught.value.status == 488
    return caught.value.reason


EXOTEL = (
    "m=audio 14000 RTP/AVP 8 0 96",
    "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:96 telephone-event/8000",
    "a=fmtp:96 0-15",
    "a=ptime:20",
    "a=rtcp:14001",
    "a=sendrecv",
)


def test_a_trunk_s_plain_offer_and_our_answer_as_bytes() -> None:
    agreed, ours = answer(_offer(*EXOTEL), LOCAL, _keys())
    assert agreed == Negotiated(
        codec="PCMA",
        payload_type=8,
        dtmf_payload_type=96,
        remote=("198.51.100.7", 14_000),
        remote_rtcp=("198.51.100.7", 14_001),
        ptime_ms=20,
        send=True,
        receive=True,
        remote_crypto=None,
        local_crypto=None,
        profile="RTP/AVP",
        held=False,
    )
    assert ours.serialize() == (
        b"v=0\r\n"
        b"o=- 77 3 IN IP4 192.0.2.1\r\n"
        b"s=-\r\n"
        b"c=IN IP4 192.0.2.1\r\n"
        b"t=0 0\r\n"
        b"m=audio 10000 RTP/AVP 8 96\r\n"
        b"a=rtpmap:8 PCMA/8000\r\n"
        b"a=rtpmap:96 telephone-event/8000\r\n"
        b"a=fmtp:96 0-15\r\n"
        b"a=ptime:20\r\n"
        b"a=sendrecv\r\n"
    )


def test_a_customer_sample_with_another_event_type_and_maxptime() -> None:
    agreed, ours = answer(
        _offer(
            "m=audio 14000 RTP/AVP 0 8 101",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-16",
            "a=maxptime:150",
        ),
        LOCAL,
        _keys(),
    )
    assert (agreed.codec, agreed.dtmf_payload_type, agreed.ptime_ms) == ("PCMA", 101, 20)
    assert "a=fmtp:101 0-15" in _media_text(ours)


@pytest.mark.parametrize(
    ("formats", "rtpmaps", "preferred", "codec", "payload_type"),
    [
        ("0 8", [], ("PCMA", "PCMU"), "PCMA", 8),
        ("8 0", [], ("PCMU", "PCMA"), "PCMU", 0),
        ("8 0", [], ("PCMU",), "PCMU", 0),
        ("18 0", ["a=rtpmap:18 G729/8000"], ("PCMA", "PCMU"), "PCMU", 0),
        ("97", ["a=rtpmap:97 pcma/8000"], ("PCMA", "PCMU"), "PCMA", 97),
        ("0 97", ["a=rtpmap:97 PCMA/8000"], ("PCMA", "PCMU"), "PCMA", 97),
    ],
)
def test_our_preference_and_their_numbers(
    formats: str, rtpmaps: list[str], preferred: tuple[str, ...], codec: str, payload_type: int
) -> None:
    local = replace(LOCAL, codecs=preferred)
    agreed, ours = answer(_offer(f"m=audio 4000 RTP/AVP {formats}", *rtpmaps), local, _keys())
    assert (agreed.codec, agreed.payload_type, agreed.dtmf_payload_type) == (
        codec,
        payload_type,
        None,
    )
    assert ours.media[0].formats == (str(payload_type),)
    assert ours.media[0].value("rtpmap") == f"{payload_type} {codec}/8000"


@pytest.mark.parametrize(
    ("session", "media", "expected", "send", "receive"),
    [
        ("", "", "sendrecv", True, True),
        ("", "a=sendonly", "recvonly", False, True),
        ("", "a=recvonly", "sendonly", True, False),
        ("", "a=inactive", "inactive", False, False),
        ("a=sendonly", "", "recvonly", False, True),
        ("a=inactive", "a=sendrecv", "sendrecv", True, True),
    ],
)
def test_directions_are_mirrored(
    session: str, media: str, expected: str, send: bool, receive: bool
) -> None:
    lines = [line for line in (session, "m=audio 4000 RTP/AVP 8", media) if line]
    agreed, ours = answer(_offer(*lines), LOCAL, _keys())
    assert ours.media[0].has(expected)
    assert (agreed.send, agreed.receive, agreed.held) == (send, receive, not send)


@pytest.mark.parametrize(
    ("direction", "expected", "receive"),
    [("", "recvonly", True), ("a=sendonly", "recvonly", True), ("a=inactive", "inactive", False)],
)
def test_hold_in_the_way_of_rfc_2543(direction: str, expected: str, receive: bool) -> None:
    lines = ["m=audio 4000 RTP/AVP 8", "c=IN IP4 0.0.0.0", *([direction] if direction else [])]
    agreed, ours = answer(_offer(*lines), LOCAL, _keys())
    assert (agreed.held, agreed.send, agreed.receive) == (True, False, receive)
    assert ours.media[0].has(expected)


def test_refused_lines_keep_their_place() -> None:
    agreed, ours = answer(
        _offer(
            "m=video 4002 RTP/AVP 31 34",
            "m=audio 0 RTP/AVP 8",
            "m=audio 4000 RTP/AVP 8",
            "m=audio 4004 RTP/AVP 8",
            "m=application 4006 UDP/BFCP *",
        ),
        LOCAL,
        _keys(),
    )
    assert agreed.remote == ("198.51.100.7", 4_000)
    assert [line for line in _media_text(ours) if line.startswith("m=")] == [
        "m=video 0 RTP/AVP 31 34",
        "m=audio 0 RTP/AVP 8",
        "m=audio 10000 RTP/AVP 8",
        "m=audio 0 RTP/AVP 8",
        "m=application 0 UDP/BFCP *",
    ]


def test_the_time_line_is_repeated_and_a_special_rtcp_port_told() -> None:
    head = HEAD.replace("t=0 0", "t=3034423619 3042462419\r\nr=7d 1h 0")
    offered = _offer("m=audio 4000 RTP/AVP 8", head=head)
    _, ours = answer(offered, replace(LOCAL, rtcp_port=20_000), _keys())
    assert [line.value for line in ours.timing] == ["3034423619 3042462419"]
    assert ours.media[0].value("rtcp") == "20000"
    _, plain = answer(offered, replace(LOCAL, rtcp_port=10_001), _keys())
    assert plain.media[0].value("rtcp") is None


def test_ipv6_and_rtcp_mux_is_not_taken() -> None:
    local = replace(LOCAL, address="2001:db8::1")
    head = HEAD.replace("IP4 198.51.100.7", "IP6 2001:db8::7")
    offered = _offer("m=audio 4000 RTP/AVP 8", "a=rtcp-mux", head=head)
    agreed, ours = answer(offered, local, _keys())
    assert agreed.remote_rtcp == ("2001:db8::7", 4_001)
    assert b"o=- 77 3 IN IP6 2001:db8::1\r\n" in ours.serialize()
    assert not ours.media[0].has("rtcp-mux")


SAVP = ("m=audio 4000 RTP/SAVP 8", f"a=crypto:5 {S32} {INLINE}", f"a=crypto:6 {S80} {INLINE}")


@pytest.mark.parametrize("srtp", ["optional", "required"])
def test_secure_offer_is_answered_with_its_first_usable_line(srtp: Srtp) -> None:
    agreed, ours = answer(_offer(*SAVP), replace(LOCAL, srtp=srtp), _keys())
    assert agreed.profile == "RTP/SAVP"
    assert agreed.remote_crypto == CryptoKey(S32, THEIR_KEY, 5)
    assert agreed.local_crypto == CryptoKey(S32, b"\x01" * 30, 5)
    assert list(ours.media[0].values("crypto")) == [agreed.local_crypto.attribute_value()]
    assert ours.media[0].profile == "RTP/SAVP"


def test_unusable_crypto_lines_are_passed_over() -> None:
    lines = [SAVP[0], f"a=crypto:1 AES_256_CM_HMAC_SHA1_80 {INLINE}", SAVP[2]]
    agreed, _ = answer(_offer(*lines), LOCAL, _keys())
    assert agreed.remote_crypto == CryptoKey(S80, THEIR_KEY, 6)


def test_plain_profile_with_keys_is_plain() -> None:
    agreed, ours = answer(_offer("m=audio 4000 RTP/AVP 8", SAVP[1]), LOCAL, _keys())
    assert (agreed.profile, agreed.local_crypto, agreed.remote_crypto) == ("RTP/AVP", None, None)
    assert ours.media[0].value("crypto") is None


@pytest.mark.parametrize(
    ("srtp", "ports"),
    [("off", [10_000, 0]), ("optional", [0, 10_000]), ("required", [0, 10_000])],
)
def test_plain_and_secure_side_by_side(srtp: Srtp, ports: list[int]) -> None:
    offered = _offer("m=audio 4002 RTP/AVP 8", *SAVP)
    _, ours = answer(offered, replace(LOCAL, srtp=srtp), _keys())
    assert [line.port for line in ours.media] == ports


@pytest.mark.parametrize(
    ("lines", "srtp", "rule"),
    [
        ([], "optional", "no-audio-stream"),
        (["m=video 4000 RTP/AVP 31"], "optional", "no-audio-stream"),
        (["m=audio 0 RTP/AVP 8"], "optional", "audio-stream-disabled"),
        (["m=audio 4000 RTP/AVP 18 9"], "optional", "no-common-codec"),
        (["m=audio 4000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"], "optional",
         "no-common-codec"),
        (["m=audio 4000 RTP/AVPF 8"], "optional", "profile-not-supported"),
        (["m=audio 4000 RTP/SAVPF 8", SAVP[1]], "optional", "profile-not-supported"),
        (["m=audio 4000 UDP/TLS/RTP/SAVP 8"], "optional", "profile-not-supported"),
        (["m=audio 4000 RTP/AVP 8"], "required", "srtp-required"),
        (list(SAVP), "off", "srtp-not-allowed"),
        ([SAVP[0]], "optional", "no-usable-crypto"),
        ([SAVP[0], f"a=crypto:1 {S80} inline:short"], "optional", "no-usable-crypto"),
        ([SAVP[0], f"a=crypto:1 {S80} {INLINE}|2^20|1:4"], "optional", "no-usable-crypto"),
        (["m=audio 53 RTP/AVP 8"], "optional", "media-port-privileged"),
        (["m=audio 4000 RTP/AVP 8", "c=IN IP4 224.2.1.1/127"], "optional",
         "media-address-not-unicast"),
    ],
)  # fmt: skip
def test_what_cannot_be_agreed(lines: list[str], srtp: Srtp, rule: str) -> None:
    assert _reason(*lines, local=replace(LOCAL, srtp=srtp)) == rule


def test_no_address_at_all() -> None:
    head = HEAD.replace("c=IN IP4 198.51.100.7\r\n", "")
    assert _reason("m=audio 4000 RTP/AVP 8", head=head) == "media-address-missing"


# RFC 4317 in spirit: section 2.1 (two codecs), 2.4 (two audio streams), 3.1 (hold and resume).


def test_hold_and_resume_bump_the_version_only_on_change() -> None:
    keys = _keys()
    _, first = answer(_offer(*EXOTEL), LOCAL, keys)
    agreed, same = reanswer(first, _offer(*EXOTEL), LOCAL, keys)
    assert same == first
    assert agreed.send
    held = _offer(*EXOTEL[:-1], "a=sendonly")
    agreed, second = reanswer(same, held, LOCAL, keys)
    assert (agreed.held, agreed.send, agreed.receive) == (True, False, True)
    assert (second.origin.session_id, second.origin.session_version) == ("77", "4")
    agreed, third = reanswer(second, _offer(*EXOTEL), LOCAL, keys)
    assert (agreed.held, third.origin.session_version) == (False, "5")
    assert third.media == first.media


def test_a_new_address_of_the_peer_needs_no_new_version_of_ours() -> None:
    _, first = answer(_offer(*EXOTEL), LOCAL, _keys())
    moved = _offer("m=audio 15000 RTP/AVP 8 0 96", "c=IN IP4 198.51.100.9", *EXOTEL[1:])
    agreed, second = reanswer(first, moved, LOCAL, _keys())
    assert agreed.remote == ("198.51.100.9", 15_000)
    assert second == first


def test_a_later_offer_finds_our_key_again() -> None:
    keys = _keys()
    before, first = answer(_offer(*SAVP), LOCAL, keys)
    again, second = reanswer(first, _offer(SAVP[0], f"a=crypto:9 {S32} {INLINE}"), LOCAL, keys)
    assert before.local_crypto is not None
    assert again.local_crypto == replace(before.local_crypto, tag=9)
    assert second.origin.session_version == "4"
    other, _ = reanswer(second, _offer(SAVP[0], SAVP[2]), LOCAL, keys)
    assert other.local_crypto == CryptoKey(S80, b"\x02" * 30, 6)


def test_a_bad_later_offer_is_refused() -> None:
    _, first = answer(_offer(*EXOTEL), LOCAL, _keys())
    with pytest.raises(SdpError, match="no-common-codec"):
        reanswer(first, _offer("m=audio 4000 RTP/AVP 18"), LOCAL, _keys())


def test_our_offer_as_bytes() -> None:
    assert _media_text(offer(LOCAL, _keys())) == [
        "m=audio 10000 RTP/AVP 8 0 101",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
    ]


def test_our_secure_offer_has_a_key_for_each_suite() -> None:
    made = offer(replace(LOCAL, srtp="required"), _keys(), "sendonly")
    assert made.media[0].profile == "RTP/SAVP"
    assert made.media[0].has("sendonly")
    assert list(made.media[0].values("crypto")) == [
        CryptoKey(S80, b"\x01" * 30, 1).attribute_value(),
        CryptoKey(S32, b"\x02" * 30, 2).attribute_value(),
    ]


PEER = LocalMedia(address="198.51.100.7", port=14_000, session_id=5, session_version=5)


@pytest.mark.parametrize("srtp", ["off", "required"])
@pytest.mark.parametrize("direction", ["sendrecv", "sendonly", "recvonly", "inactive"])
@pytest.mark.parametrize("codecs", [("PCMA", "PCMU"), ("PCMU",)])
def test_both_sides_see_the_same(srtp: Srtp, direction: Direction, codecs: tuple[str, ...]) -> None:
    local = replace(LOCAL, srtp=srtp)
    offered = offer(local, _keys(), direction)
    theirs, reply = answer(parse(offered.serialize()), replace(PEER, codecs=codecs), _keys())
    ours = accept_answer(offered, parse(reply.serialize()), local)
    assert (ours.codec, ours.payload_type) == (codecs[0], theirs.payload_type)
    assert ours.dtmf_payload_type == theirs.dtmf_payload_type == 101
    assert (ours.send, ours.receive) == (theirs.receive, theirs.send)
    assert (ours.local_crypto, ours.remote_crypto) == (theirs.remote_crypto, theirs.local_crypto)
    assert ours.remote == (PEER.address, PEER.port)
    assert not ours.held  # what we did not offer to send cannot be put on hold


def test_an_answer_can_put_us_on_hold() -> None:
    offered = offer(LOCAL, _keys())
    agreed = accept_answer(offered, _offer("m=audio 4000 RTP/AVP 8", "a=inactive"), LOCAL)
    assert (agreed.held, agreed.send, agreed.receive) == (True, False, False)
    assert agreed.dtmf_payload_type is None


def test_the_answerer_s_first_codec_counts() -> None:
    agreed = accept_answer(offer(LOCAL, _keys()), _offer("m=audio 4000 RTP/AVP 0 8"), LOCAL)
    assert agreed.codec == "PCMU"


@pytest.mark.parametrize(
    ("srtp", "lines", "rule"),
    [
        ("off", [], "answer-misses-media-line"),
        ("off", ["m=audio 0 RTP/AVP 8"], "answer-refuses-audio"),
        ("off", ["m=video 4000 RTP/AVP 8"], "answer-changes-media-line"),
        ("off", list(SAVP), "answer-changes-media-line"),
        ("off", ["m=audio 4000 RTP/AVP 18"], "no-common-codec"),
        ("required", [SAVP[0]], "no-usable-crypto"),
        ("required", [SAVP[0], f"a=crypto:1 {S32} {INLINE}"], "answer-changes-crypto"),
        ("required", [SAVP[0], f"a=crypto:7 {S80} {INLINE}"], "answer-changes-crypto"),
    ],
)
def test_answers_that_do_not_fit(srtp: Srtp, lines: list[str], rule: str) -> None:
    local = replace(LOCAL, srtp=srtp)
    with pytest.raises(SdpError, match=rule):
        accept_answer(offer(local, _keys()), _offer(*lines), local)


def test_our_later_offer_keeps_lines_numbers_and_keys() -> None:
    offered = _offer(
        "m=video 4002 RTP/AVP 31",
        "m=audio 4000 RTP/SAVP 8 96",
        "a=rtpmap:96 telephone-event/8000",
        f"a=crypto:4 {S80} {INLINE}",
    )
    agreed, first = answer(offered, LOCAL, _keys())
    second = reoffer(first, LOCAL, _keys(), "sendonly")
    assert [line.port for line in second.media] == [0, 10_000]
    assert second.media[1].formats == ("8", "0", "96")
    assert second.media[1].value("crypto") == first.media[1].value("crypto")
    assert second.media[1].has("sendonly")
    assert second.origin.session_version == "4"
    assert reoffer(second, LOCAL, _keys(), "sendonly") == second
    reply = _offer("m=video 0 RTP/AVP 31", "m=audio 4000 RTP/SAVP 8", f"a=crypto:4 {S80} {INLINE}")
    assert accept_answer(second, reply, LOCAL).local_crypto == agreed.local_crypto


def test_our_own_mistakes_are_ours() -> None:
    with pytest.raises(LocalProtocolError):
        replace(LOCAL, codecs=("G729",))
    with pytest.raises(LocalProtocolError):
        replace(LOCAL, codecs=())
    with pytest.raises(LocalProtocolError):
        reoffer(_offer("m=audio 0 RTP/AVP 8"), LOCAL, _keys())


LINES = st.sampled_from(
    [
        *EXOTEL,
        *SAVP,
        "m=video 4002 RTP/AVP 31",
        "m=audio 0 RTP/AVP 0",
        "m=audio 5000 RTP/AVPF 8",
        "c=IN IP4 0.0.0.0",
        "c=IN IP6 ::1",
        "a=inactive",
        "a=recvonly",
        "a=ptime:60",
        "a=rtcp:99999",
        "a=rtpmap:8 telephone-event/8000",
        "y=odd",
    ]
)


@given(st.lists(LINES, max_size=14), st.sampled_from(["off", "optional", "required"]))
def test_any_offer_is_answered_in_full_or_refused_with_488(lines: list[str], srtp: Srtp) -> None:
    offered = _offer(*lines)
    try:
        agreed, ours = answer(offered, replace(LOCAL, srtp=srtp), _keys())
    except SdpError as error:
        status = error.status
    else:
        status = 488
        assert [line.media for line in ours.media] == [line.media for line in offered.media]
        assert [line.port for line in ours.media if line.port] == [LOCAL.port]
        assert parse(ours.serialize()) == ours
        assert agreed.held is not agreed.send
        assert (agreed.profile == "RTP/SAVP") is (agreed.local_crypto is not None)
        assert ipaddress.ip_address(agreed.remote[0]).version == 4
    assert status == 488
