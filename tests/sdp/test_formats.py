from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.sdp.formats import AudioFormats, audio_formats, ptime_ms
from sipbot.sdp.session import MediaDescription, SessionDescription, parse

HEAD = "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\n"


def _audio(
    formats: str, *lines: str, head: str = ""
) -> tuple[SessionDescription, MediaDescription]:
    text = "\n".join([HEAD + head + f"m=audio 4000 RTP/AVP {formats}", *lines])
    description = parse(text.encode())
    return description, description.media[0]


@pytest.mark.parametrize(
    ("formats", "lines", "expected"),
    [
        ("8 0", [], AudioFormats({"PCMA": 8, "PCMU": 0}, None)),
        ("0 8", ["a=rtpmap:8 pcma/8000"], AudioFormats({"PCMU": 0, "PCMA": 8}, None)),
        ("97", ["a=rtpmap:97 PcMa/8000/1"], AudioFormats({"PCMA": 97}, None)),
        ("97 8", ["a=rtpmap:97 PCMA/8000"], AudioFormats({"PCMA": 97}, None)),
        ("97", ["a=rtpmap:97 PCMA/8000/2"], AudioFormats({}, None)),
        ("97", ["a=rtpmap:97 PCMA/16000"], AudioFormats({}, None)),
        ("97", ["a=rtpmap:98 PCMA/8000"], AudioFormats({}, None)),
        ("8", ["a=rtpmap:8 PCMA/16000"], AudioFormats({}, None)),
        ("8", ["a=rtpmap:8 PCMU/8000"], AudioFormats({}, None)),
        ("18", ["a=rtpmap:18 PCMA/8000"], AudioFormats({}, None)),
        ("73", ["a=rtpmap:73 PCMA/8000"], AudioFormats({}, None)),
        ("128 300 x -1 \u0668", [], AudioFormats({}, None)),
        ("8", ["a=rtpmap:nonsense"], AudioFormats({"PCMA": 8}, None)),
    ],
)
def test_codecs(formats: str, lines: list[str], expected: AudioFormats) -> None:
    found = audio_formats(_audio(formats, *lines)[1])
    wanted = {name: number for name, number in found.codecs.items() if name.startswith("PCM")}
    assert AudioFormats(wanted, found.dtmf_payload_type) == expected


@pytest.mark.parametrize(
    ("formats", "lines", "payload_type", "events"),
    [
        ("8 96", ["a=rtpmap:96 telephone-event/8000", "a=fmtp:96 0-15"], 96, "0-15"),
        ("8 101", ["a=rtpmap:101 Telephone-Event/8000", "a=fmtp:101 0-16"], 101, "0-15"),
        ("8 101", ["a=rtpmap:101 telephone-event/8000"], 101, "0-15"),
        ("8 101", ["a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-11"], 101, "0-11"),
        ("8 101", ["a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-9,11"], 101, "0-9,11"),
        ("8 101", ["a=rtpmap:101 telephone-event/8000", "a=fmtp:101 9-0"], 101, "0-15"),
        ("8 101", ["a=rtpmap:101 telephone-event/8000", "a=fmtp:101 x"], 101, "0-15"),
        ("8 101", ["a=rtpmap:101 telephone-event/8000", "a=fmtp:96 0-3"], 101, "0-15"),
        ("8 101", ["a=rtpmap:101 telephone-event/16000"], None, "0-15"),
        ("8", ["a=rtpmap:101 telephone-event/8000"], None, "0-15"),
        (
            "8 100 101",
            ["a=rtpmap:100 telephone-event/48000", "a=rtpmap:101 telephone-event/8000"],
            101,
            "0-15",
        ),
    ],
)
def test_telephone_event(
    formats: str, lines: list[str], payload_type: int | None, events: str
) -> None:
    found = audio_formats(_audio(formats, *lines)[1])
    assert (found.dtmf_payload_type, found.dtmf_events) == (payload_type, events)


@pytest.mark.parametrize(
    ("lines", "head", "expected"),
    [
        ([], "", 20),
        (["a=ptime:10"], "", 10),
        (["a=ptime:30"], "", 30),
        (["a=ptime:60"], "", 60),
        (["a=ptime:20.0"], "", 20),
        (["a=ptime:5"], "", 10),
        (["a=ptime:200"], "", 60),
        (["a=ptime:0"], "", 20),
        (["a=ptime:often"], "", 20),
        (["a=ptime:25"], "", 20),
        (["a=maxptime:150"], "", 20),
        (["a=maxptime:10"], "", 10),
        (["a=ptime:40", "a=maxptime:30"], "", 30),
        (["a=maxptime:1"], "", 10),
        ([], "a=ptime:30\n", 30),
        (["a=ptime:40"], "a=ptime:30\n", 40),
    ],
)
def test_packet_time(lines: list[str], head: str, expected: int) -> None:
    session, media = _audio("8", *lines, head=head)
    assert ptime_ms(session, media, 20) == expected


@given(
    st.text(alphabet="0123456789 x", max_size=12),
    st.text(alphabet="0123456789/ aPCMU.", max_size=30),
    st.text(alphabet="0123456789.-", max_size=8),
)
def test_random_text_never_raises(formats: str, rtpmap: str, ptime: str) -> None:
    session, media = _audio(f"{formats} 8", f"a=rtpmap:{rtpmap}", f"a=ptime:{ptime}")
    assert ptime_ms(session, media, 20) in range(10, 61, 10)
    assert all(0 <= number <= 127 for number in audio_formats(media).codecs.values())
