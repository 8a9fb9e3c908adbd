"""Samples and bytes: what services send and want is 16-bit little-endian."""

from __future__ import annotations

import io
import wave
from typing import Final

import numpy as np

from sipbot.call.leg import Pcm

MAX_HEADER: Final = 4_096  # bytes of a WAV header
_RIFF: Final = b"RIFF"


class NotPcmError(Exception):
    """The bytes are packed sound, or no sound at all."""


def to_bytes(pcm: Pcm) -> bytes:
    return pcm.astype("<i2", copy=False).tobytes()


def to_wav(pcm: Pcm, rate: int) -> bytes:
    """A mono WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(to_bytes(pcm))
    return file.getvalue()


class PcmReader:
    """Bytes of a stream to samples; pieces may end in the middle of a sample.

    A WAV header at the beginning is taken off and tells ``rate``, since some services send one
    with raw audio.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._rest = b""
        self._begun = False

    def feed(self, data: bytes) -> Pcm:
        """The samples that are complete. Raises ``NotPcmError``."""
        data = self._rest + data
        if not self._begun:
            if len(data) < len(_RIFF) and _RIFF.startswith(data):
                self._rest = data
                return np.zeros(0, np.int16)
            if data.startswith(_RIFF):
                start = self._header(data)
                if start < 0:
                    self._rest = data
                    return np.zeros(0, np.int16)
                data = data[start:]
            elif data.startswith((b"ID3", b"OggS", b"fLaC", b"{", b"<")):
                raise NotPcmError
            self._begun = True
        whole = len(data) - len(data) % 2
        self._rest = data[whole:]
        return np.frombuffer(data[:whole], "<i2").astype(np.int16, copy=False)

    def _header(self, data: bytes) -> int:
        """Where the samples begin, -1 while that has not come."""
        place = 12
        while place + 8 <= len(data):
            name, size = (
                data[place : place + 4],
                int.from_bytes(data[place + 4 : place + 8], "little"),
            )
            if name == b"data":
                return place + 8
            if name == b"fmt " and place + 24 <= len(data):
                kind, channels, rate = (
                    int.from_bytes(data[place + 8 : place + 10], "little"),
                    int.from_bytes(data[place + 10 : place + 12], "little"),
                    int.from_bytes(data[place + 12 : place + 16], "little"),
                )
                bits = int.from_bytes(data[place + 22 : place + 24], "little")
                if (kind, channels, bits) != (1, 1, 16):
                    raise NotPcmError
                self.rate = rate
            place += 8 + size + size % 2
        if place > MAX_HEADER:
            raise NotPcmError
        return -1
