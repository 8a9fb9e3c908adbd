"""The state of all calls as arrays: what a tick needs of each, and nothing else.

Row i of every array belongs to call slot i. What is needed only off the beaten path lives in one
``Inbound`` and one ``StreamState`` object a call instead.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sipbot.rtp.statistics import StatisticsArrays

RATE: Final = 8_000  # samples a second, of audio and of RTP timestamps
NEVER: Final = np.iinfo(np.int64).max  # a tick that never comes
SEQUENCE_STEP: Final = 1 << 32  # one more in the sequence field of a header word
UNARMED: Final = -1_000  # as a width: no packet is that short, so each is looked at closely


class Slots:
    """Structure of arrays over ``count`` calls.

    A *header word* is the first 8 bytes of an RTP header read as one big-endian number: version
    and flags, marker and payload type, sequence, timestamp.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        # --- receiving: a packet is in order when its word is ``last_word + step``
        self.last_word = np.zeros(count, dtype=np.uint64)  # of the newest packet; 0: unarmed
        self.step = np.zeros(count, dtype=np.uint64)  # SEQUENCE_STEP + samples a packet
        self.ssrc = np.zeros(count, dtype=np.uint32)  # of the peer
        self.width = np.full(count, UNARMED, dtype=np.intp)  # samples (and bytes) of its packets
        self.mulaw = np.zeros(count, dtype=np.bool_)  # PCMU both ways; else PCMA
        self.loopback = np.zeros(count, dtype=np.bool_)
        self.kind = np.zeros(count, dtype=np.intp)  # the three above in one number
        self.receiving = np.zeros(count, dtype=np.bool_)
        self.audio_at = np.zeros(count, dtype=np.float64)  # seconds; last audio
        self.heard_at = np.zeros(count, dtype=np.float64)  # seconds; last packet of another kind
        self.fed = np.zeros(count, dtype=np.int64)  # samples of silence written since ``audio_at``
        self.standing = np.zeros(count, dtype=np.int64)  # echoed packets that found one waiting
        self.bytes_received = np.zeros(count, dtype=np.int64)  # payload
        self.statistics = StatisticsArrays(count)
        # --- sending
        self.due = np.full(count, NEVER, dtype=np.int64)  # tick of the next departure
        self.period = np.ones(count, dtype=np.int64)  # ticks between departures
        self.frame = np.zeros(count, dtype=np.intp)  # samples a packet
        self.origin = np.zeros(count, dtype=np.int64)  # timestamp of tick 0
        self.sequence = np.zeros(count, dtype=np.int64)  # of the next packet, without wrap
        self.packets_sent = np.zeros(count, dtype=np.int64)
        self.bytes_sent = np.zeros(count, dtype=np.int64)  # payload
        self.first_word = np.zeros(count, dtype=np.uint64)  # header word without its variables
        self.local_ssrc = np.zeros(count, dtype=np.uint32)
        self.marker = np.zeros(count, dtype=np.bool_)  # on the next packet
        self.secured = np.zeros(count, dtype=np.bool_)  # SRTP both ways
        self.secured_count = 0
        self.late_departures = np.zeros(count, dtype=np.int64)
        # --- reports
        self.report_at = np.full(count, np.inf, dtype=np.float64)  # seconds; next RTCP

    def reset(self, slot: int) -> None:
        """Make the row as new."""
        self.secure(slot, False)
        for name, array in vars(self).items():
            if isinstance(array, np.ndarray):
                array[slot] = _INITIAL.get(name, 0)
        self.statistics.reset(slot)

    def secure(self, slot: int, on: bool) -> None:
        """Say whether the slot uses SRTP."""
        self.secured[slot] = on
        self.secured_count = int(np.count_nonzero(self.secured))

    def arm(self, slot: int, word: int, width: int) -> None:
        """Take packets like ``word`` by the beaten path, ``width`` bytes of payload each."""
        self.last_word[slot], self.width[slot] = word, width
        self.step[slot] = SEQUENCE_STEP + width
        self.sort(slot)

    def disarm(self, slot: int) -> tuple[int, int] | None:
        """Let each packet be looked at closely; returns word and width if that is new."""
        word, width = int(self.last_word[slot]), int(self.width[slot])
        self.last_word[slot], self.width[slot] = 0, UNARMED
        return (word, width) if word else None

    def sort(self, slot: int) -> None:
        """Say by one number which packets can be processed together."""
        flags = int(self.mulaw[slot]) << 1 | int(self.loopback[slot])
        self.kind[slot] = int(self.width[slot]) << 2 | flags


_INITIAL: Final = {"due": NEVER, "period": 1, "report_at": np.inf, "width": UNARMED}


MARKER_BIT: Final = 1 << 55  # of a header word


def first_word(payload_type: int) -> int:
    """Header word of sequence 0 and timestamp 0, without marker, padding or extension."""
    return (2 << 62) | (payload_type << 48)


def header_words(arena: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Header words of packets, one a row of at least 8 bytes; shape (n,)."""
    return arena[:, :8].view(">u8")[:, 0].astype(np.uint64)


def header_ssrcs(arena: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """SSRC fields of packets, one a row of at least 12 bytes; shape (n,)."""
    return arena[:, 8:12].view(">u4")[:, 0].astype(np.uint32)
