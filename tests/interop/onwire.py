"""What a captured RTP stream sounds like: packets placed by their timestamps, SRTP undone."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pylibsrtp

from sipbot.rtp.g711 import decode

from .tone import Pcm

_HEADER = struct.Struct("!BBHII")
_PCMA = 8


@dataclass(frozen=True, slots=True)
class Heard:
    """One audio packet: wall clock (s), sequence number, timestamp, decoded samples."""

    at: float
    sequence: int
    timestamp: int
    samples: Pcm


def answered_keys(trace: str) -> set[bytes]:
    """Master keys with salts (30 bytes) of the server's answers in a phone's SIP trace."""
    keys: set[bytes] = set()
    for answer in trace.split("SIP/2.0 200 OK")[1:]:
        body = re.split(r"\n(?:UDP|TCP|TLS) [0-9.]+:", answer)[0]
        found = re.search(r"a=crypto:\S+ AES_CM_128_HMAC_SHA1_80 inline:([A-Za-z0-9+/=]+)", body)
        if found:
            keys.add(base64.b64decode(found[1]))
    return keys


def audio(datagrams: Iterable[tuple[float, bytes]], key: bytes | None = None) -> list[Heard]:
    """The PCMA packets among the datagrams, in order of capture."""
    session = None
    if key is not None:
        policy = pylibsrtp.Policy(key=key, ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND)
        session = pylibsrtp.Session(policy=policy)
    heard: list[Heard] = []
    for at, packet in datagrams:
        if len(packet) < _HEADER.size or packet[1] & 0x7F != _PCMA:
            continue
        clear = packet if session is None else session.unprotect(packet)
        _, _, sequence, timestamp, _ = _HEADER.unpack_from(clear)
        heard.append(Heard(at, sequence, timestamp, decode("PCMA", clear[_HEADER.size :])))
    return heard


def joined(packets: list[Heard]) -> Pcm:
    """Samples placed by timestamp; what never came is silence."""
    start = packets[0].timestamp
    places = [((p.timestamp - start) % 2**32, p.samples) for p in packets]
    out = np.zeros(max(at + len(samples) for at, samples in places), dtype=np.int16)
    for at, samples in places:
        out[at : at + len(samples)] = samples
    return out
