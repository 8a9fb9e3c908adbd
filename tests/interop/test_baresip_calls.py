"""baresip calls the server: every transport, both codecs, plain and SDES, hold, keys."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Literal

import pytest

from tests.peers import require

from .baresip import Baresip, Transport
from .capture import Capture
from .harness import BotProcess, pass_time
from .onwire import answered_keys, audio, joined
from .ports import HOST
from .tone import level_db, measure_tone, sine, write_wav

pytestmark = pytest.mark.interop

TONE_HZ = 440.0
TALK_S = 3.0
SETTLE_S = 0.2  # after a resume, for what still waited when the hold began
TONE = sine(TONE_HZ, 30.0)
MAX_GAP_MS = 40.0
LEVEL_DB = 1.0
_PATHS = [("udp", False), ("udp", True), ("tcp", False), ("tls", False), ("tls", True)]


@pytest.fixture(autouse=True)
def _needs_baresip() -> None:
    require("baresip")


def target(bot: BotProcess, user: str, transport: Transport) -> str:
    """baresip itself adds the transport parameter of its account."""
    port = bot.config.tls_port if transport == "tls" else bot.config.sip_port
    return f"sip:{user}@{HOST}:{port}"


def phone(
    directory: Path, transport: Transport, codec: str = "pcma", srtp: bool = False
) -> Baresip:
    played = write_wav(directory / "tone.wav", TONE)
    chosen: Literal["pcma", "pcmu"] = "pcmu" if codec == "pcmu" else "pcma"
    return Baresip(directory / "phone", transport=transport, codec=chosen, srtp=srtp, play=played)


@pytest.mark.parametrize("codec", ["pcma", "pcmu"])
@pytest.mark.parametrize(("transport", "srtp"), _PATHS)
def test_echo_holds_the_tone(
    bot: BotProcess, tmp_path: Path, transport: Transport, srtp: bool, codec: str
) -> None:
    with phone(tmp_path, transport, codec, srtp) as caller:
        caller.dial(target(bot, "echo", transport))
        pass_time(TALK_S)
        caller.hangup()
        wire = caller.output()
    heard = measure_tone(caller.heard(), TONE_HZ)
    assert heard.seconds > TALK_S - 0.6
    assert heard.level_db == pytest.approx(level_db(TONE), abs=LEVEL_DB)
    assert heard.frequency_hz == pytest.approx(TONE_HZ, abs=1.0)
    assert heard.longest_gap_ms <= MAX_GAP_MS
    assert ("SRTP is Enabled" in wire) == srtp


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_hold_and_resume(bot: BotProcess, tmp_path: Path, transport: Transport) -> None:
    """Measured on the wire: the recorder of baresip 1.0 stops for good at the first hold."""
    require("tshark")
    srtp, ports = transport == "tls", bot.config.rtp_ports
    caller = phone(tmp_path, transport, srtp=srtp)
    capture = Capture(tmp_path, [caller.rtp_ports])
    with capture, caller:
        caller.dial(target(bot, "echo", transport))
        pass_time(TALK_S)
        held = time.time()
        caller.hold()
        pass_time(1.0)
        resumed = time.time()
        caller.resume()
        pass_time(TALK_S)
        caller.hangup()
        keys = answered_keys(caller.output())
    assert len(keys) == int(srtp)  # the key stays the same over hold and resume
    packets = audio(capture.datagrams(ports, caller.rtp_ports), next(iter(keys), None))
    numbers = [packet.sequence for packet in packets]
    assert [(b - a) % 2**16 for a, b in itertools.pairwise(numbers)] == [1] * (len(numbers) - 1)
    before = [packet for packet in packets if packet.at < held]
    during = [packet for packet in packets if held + 0.2 < packet.at < resumed]
    after = [packet for packet in packets if packet.at > resumed + SETTLE_S]
    assert during == []
    for part in (before, after):
        heard = measure_tone(joined(part), TONE_HZ)
        assert heard.seconds > TALK_S - 0.6
        assert heard.level_db == pytest.approx(level_db(TONE), abs=LEVEL_DB)
        assert heard.longest_gap_ms <= MAX_GAP_MS


@pytest.mark.parametrize("transport", ["udp", "tls"])
def test_keys_arrive_once_each(
    bot: BotProcess, tmp_path: Path, keys_file: Path, transport: Transport
) -> None:
    keys_file.write_text("")
    with phone(tmp_path, transport, srtp=transport == "tls") as caller:
        caller.dial(target(bot, "keys", transport))
        pass_time(0.5)
        caller.press("1590*#11")
        caller.hangup()
    assert keys_file.read_text().split() == list("1590*#11")


def test_unknown_number_is_told(bot: BotProcess, tmp_path: Path) -> None:
    with phone(tmp_path, "tcp") as caller:
        caller.command("dial", target(bot, "nobody", "tcp"))
        closed = caller.wait_event("CALL_CLOSED", 10.0)
    assert "404" in str(closed.get("param"))


def test_two_calls_at_once_do_not_mix(bot: BotProcess, tmp_path: Path) -> None:
    other_hz = 1000.0
    other_tone = write_wav(tmp_path / "other.wav", sine(other_hz, 30.0))
    one = phone(tmp_path, "udp")
    two = Baresip(tmp_path / "second", transport="tcp", codec="pcmu", play=other_tone)
    with one, two:
        one.dial(target(bot, "echo", "udp"))
        two.dial(target(bot, "echo", "tcp"))
        pass_time(TALK_S)
        one.hangup()
        two.hangup()
    assert measure_tone(one.heard(), TONE_HZ).frequency_hz == pytest.approx(TONE_HZ, abs=1.0)
    assert measure_tone(two.heard(), other_hz).frequency_hz == pytest.approx(other_hz, abs=1.0)


def test_wireshark_finds_nothing_wrong(bot: BotProcess, tmp_path: Path) -> None:
    """A second opinion on both protocols: no malformed message, no lost or late RTP packet."""
    require("tshark")
    ports = bot.config.rtp_ports
    caller = phone(tmp_path, "tcp")
    capture = Capture(tmp_path, [bot.config.sip_port, caller.rtp_ports])
    with capture, caller:
        caller.dial(target(bot, "echo", "tcp"))
        pass_time(TALK_S)
        caller.hold()
        caller.resume()
        pass_time(1.0)
        caller.hangup()
    assert capture.malformed() == []
    statuses = [row[0] for row in capture.fields("sip.Status-Code", "sip.Status-Code")]
    assert statuses[-1] == "200"
    streams = capture.streams()
    mine = [stream for stream in streams if stream.destination_port in caller.rtp_ports]
    assert len(mine) == 1
    assert mine[0].source_port in ports
    assert mine[0].lost == 0
    assert mine[0].payload_types == "g711A"
    assert mine[0].packets > (TALK_S + 1.0 - 0.6) * 50
    packets = audio(capture.datagrams(ports, caller.rtp_ports))
    steps = [
        (later.at - earlier.at) * 1000.0  # milliseconds
        for earlier, later in itertools.pairwise(packets)
        if (later.timestamp - earlier.timestamp) % 2**32 == len(earlier.samples)
    ]
    assert max(steps) < 40.0
