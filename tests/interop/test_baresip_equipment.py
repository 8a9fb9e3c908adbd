"""The test phone itself: baresip calls a baresip that echoes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import require

from .baresip import Baresip, Transport
from .capture import Capture
from .certificates import self_signed
from .harness import pass_time
from .tone import level_db, measure_tone, sine, write_wav

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_tone_through_an_echo(tmp_path: Path, transport: Transport) -> None:
    require("baresip")
    tone = sine(440, 20)
    played = write_wav(tmp_path / "tone.wav", tone)
    pem = self_signed(tmp_path) if transport == "tls" else None
    srtp = transport == "tls"
    far = Baresip(tmp_path / "far", transport=transport, srtp=srtp, echo=True, certificate=pem)
    near = Baresip(tmp_path / "near", transport=transport, srtp=srtp, play=played)
    port = far.sip_port + (1 if transport == "tls" else 0)
    with far, near:
        near.dial(f"sip:phone@127.0.0.1:{port}")
        pass_time(2.0)
        near.hangup()
    report = measure_tone(near.heard(), 440)
    assert report.seconds > 1.5
    assert report.level_db == pytest.approx(level_db(tone), abs=1.0)
    assert report.longest_gap_ms <= 40


def test_keys_are_told_apart_on_the_wire(tmp_path: Path) -> None:
    require("baresip")
    require("tshark")
    far, near = Baresip(tmp_path / "far", echo=True), Baresip(tmp_path / "near")
    rtp = range(far.sip_port + 4, far.sip_port + 24)
    with Capture(tmp_path, [rtp, far.sip_port]) as capture, far, near:
        near.dial(f"sip:phone@127.0.0.1:{far.sip_port}")
        near.press("12#")
        near.hangup()
    events = capture.fields("rtpevent", "rtp.timestamp", "rtpevent.event_id")
    assert len({row[0] for row in events}) == 3
    assert [row[1] for row in sorted({(int(r[0]), r[1]) for r in events})] == ["1", "2", "11"]
    assert capture.malformed() == []
    assert all(stream.lost == 0 for stream in capture.streams())
