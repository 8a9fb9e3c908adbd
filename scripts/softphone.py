#!/usr/bin/env python3
"""A second opinion: call a SIP URI with pyVoIP, play a tone or a WAV, record what is heard.

    scripts/softphone.py sip:echo@127.0.0.1:5070 --tone 440 --record heard.wav --seconds 5 --json

`sipbot call` is the better test caller. This one exists because it shares no code with sipbot and
has habits that real peers have too: it speaks UDP and PCMU only, acknowledges an answer about one
second late, puts a wrong To tag into its ACK, uses the INVITE's branch for ACK and BYE, and sends
its packets a little slower than every 20 ms. It cannot press keys and hears 8 bits a sample.

Exit code: 0 the call was answered, 1 it was not, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import threading
import time
import wave
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyVoIP.VoIP import CallState, VoIPCall, VoIPPhone

RATE_HZ = 8000
RING_S = 30.0  # longest wait for an answer
POLL_S = 0.02
SETTLE_S = 0.3  # for the answer to our BYE
TONE_PEAK = 80  # of 127
RTP_PORTS = 200

Bytes = NDArray[np.uint8]  # 8-bit samples, 128 is silence


@dataclass(frozen=True, slots=True)
class Result:
    """What happened. Times in seconds unless the name says otherwise."""

    answered: bool
    status: int  # last final SIP status that was seen, 0 when none came
    setup_ms: float  # from INVITE until pyVoIP noticed the answer: at least a second
    talk_s: float
    heard_s: float
    ended_by: str  # "us", "peer" or "" when never answered


def parse_uri(text: str) -> tuple[str, str, int]:
    """Return user, host and port of a ``sip:user@host[:port]`` URI."""
    found = re.fullmatch(r"sip:([^@;]+)@([^:;]+)(?::(\d+))?(?:;transport=udp)?", text)
    if found is None:
        raise argparse.ArgumentTypeError("want sip:USER@HOST[:PORT], UDP only")
    return found[1], found[2], int(found[3] or 5060)


def tone(frequency_hz: float, seconds: float) -> Bytes:
    n = np.arange(round(seconds * RATE_HZ))
    wave_ = TONE_PEAK * np.sin(2 * np.pi * frequency_hz * n / RATE_HZ)
    return (wave_ + 128).astype(np.uint8)


def read_wav(path: Path) -> Bytes:
    """Read a mono 16-bit 8 kHz WAV as 8-bit samples; raises ValueError for another format."""
    with wave.open(str(path), "rb") as source:
        if (source.getnchannels(), source.getsampwidth(), source.getframerate()) != (1, 2, RATE_HZ):
            raise ValueError(f"{path}: want a mono 16-bit file at {RATE_HZ} Hz")
        pcm = np.frombuffer(source.readframes(source.getnframes()), dtype="<i2")
    return ((pcm >> 8) + 128).astype(np.uint8)


def write_wav(path: Path, samples: Bytes) -> None:
    """Write 8-bit samples as a 16-bit file. Bytes that never arrived (0) become silence."""
    filled = np.where(samples == 0, 128, samples).astype(np.int16)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(((filled - 128) << 8).astype("<i2").tobytes())


def local_address(host: str, port: int) -> str:
    """The address of this machine that packets to ``host`` leave from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        return str(probe.getsockname()[0])


def free_udp_port(address: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


class Softphone:
    """One pyVoIP phone that never registers."""

    def __init__(self, host: str, port: int, rtp_low: int) -> None:
        address = local_address(host, port)
        self.statuses: list[int] = []
        self.phone = VoIPPhone(
            host,
            port,
            "softphone",
            "",
            myIP=address,
            sipPort=free_udp_port(address),
            rtpPortLow=rtp_low,
            rtpPortHigh=rtp_low + RTP_PORTS,
        )
        sip = self.phone.sip
        # There is no registrar on the other side; final statuses are noted as they pass by.
        vars(sip).update(register=lambda: True, parse_message=self._noting(sip.parse_message))

    def _noting(self, parse: Callable[[Any], None]) -> Callable[[Any], None]:
        def noted(message: Any) -> None:
            status = getattr(message, "status", None)
            if status is not None and int(status) >= 200:
                self.statuses.append(int(status))
            parse(message)

        return noted

    def place(self, user: str, samples: Bytes, seconds: float) -> tuple[Result, Bytes]:
        """Call, talk for ``seconds``, hang up."""
        self.phone.start()
        started = time.monotonic()
        try:
            call = self.phone.call(user)
            if not self._wait(lambda: self._settled(call), RING_S):
                return self._failed(), np.zeros(0, np.uint8)
            if call.state is not CallState.ANSWERED:
                return self._failed(), np.zeros(0, np.uint8)
            answered = time.monotonic()
            call.write_audio(samples.tobytes())
            ended = self._wait(lambda: call.state is CallState.ENDED, seconds)
            talked = time.monotonic() - answered
            heard = self._heard(call)
            if not ended:
                call.hangup()
                self._wait(lambda: False, SETTLE_S)
        finally:
            self.phone.stop()
        result = Result(
            answered=True,
            status=200,
            setup_ms=round((answered - started) * 1000, 1),
            talk_s=round(talked, 3),
            heard_s=round(len(heard) / RATE_HZ, 3),
            ended_by="peer" if ended else "us",
        )
        return result, heard

    def _settled(self, call: VoIPCall) -> bool:
        refused = any(status >= 300 for status in self.statuses)
        return call.state in (CallState.ANSWERED, CallState.ENDED) or refused

    def _failed(self) -> Result:
        return Result(False, self.statuses[-1] if self.statuses else 0, 0.0, 0.0, 0.0, "")

    @staticmethod
    def _heard(call: VoIPCall) -> Bytes:
        """Everything received, placed by RTP timestamp: pyVoIP's own buffer."""
        buffer = call.RTPClients[0].pmin
        with buffer.bufferLock:
            return np.frombuffer(buffer.buffer.getvalue(), dtype=np.uint8)

    @staticmethod
    def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() >= deadline:
                return False
            threading.Event().wait(POLL_S)
        return True


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("uri", type=parse_uri, help="sip:USER@HOST[:PORT]")
    sound = parser.add_mutually_exclusive_group()
    sound.add_argument("--tone", type=float, metavar="HZ", help="play a tone (default 440 Hz)")
    sound.add_argument("--play", type=Path, metavar="WAV", help="play a mono 16-bit 8 kHz file")
    parser.add_argument("--record", type=Path, metavar="WAV", help="write what is heard here")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the call (5)")
    parser.add_argument("--rtp-port", type=int, default=0, help="first RTP port (default: free)")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    user, host, port = arguments.uri
    if arguments.play is not None:
        try:
            samples = read_wav(arguments.play)
        except (OSError, ValueError, wave.Error) as error:
            print(f"softphone: {error}", file=sys.stderr)
            return 2
    else:
        samples = tone(arguments.tone or 440.0, arguments.seconds + 1.0)
    softphone = Softphone(
        host, port, arguments.rtp_port or free_udp_port(local_address(host, port))
    )
    result, heard = softphone.place(user, samples, arguments.seconds)
    if arguments.record is not None:
        write_wav(arguments.record, heard)
    values = asdict(result)
    if arguments.json:
        print(json.dumps(values))
    else:
        print("\n".join(f"{name}: {value}" for name, value in values.items()))
    return 0 if result.answered else 1


if __name__ == "__main__":
    sys.exit(main())
