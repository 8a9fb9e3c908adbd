"""One stream's packets off the beaten path: gaps, reordering, pauses, keys, a new source.

The beaten path (``receiving``) takes packets that are exactly the expected next one, for all calls
at once. Every other packet comes here, and whatever state the beaten path needs is handed back by
``_arm`` as soon as the stream runs smoothly again.

Stream time: the samples written to the ring follow the peer's RTP timestamps. What is missing
between two packets is filled: concealed if packets were lost, silent if the peer paused. While
nothing comes at all, the plane writes silence as time passes (``Slots.fed``), and that is later
taken off what a gap needs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sipbot.errors import RtpError
from sipbot.media.rings import RingBlock
from sipbot.media.slots import RATE, Slots, first_word
from sipbot.media.stream import StreamSpec
from sipbot.rtp import g711
from sipbot.rtp.conceal import HISTORY, SILENT_AFTER, Concealer
from sipbot.rtp.dtmf import DtmfReceiver
from sipbot.rtp.packet import RtpPacket
from sipbot.rtp.reorder import Delivery, Drop, Frame, Gap, ReorderBuffer, Resync
from sipbot.rtp.sequence import diff32

COMFORT_NOISE: Final = 13  # static payload type, RFC 3389
MAX_FILL: Final = 2 * RATE  # samples of pause that are filled; a longer jump is a new time line
MAX_ORDINARY: Final = 480  # samples a packet (60 ms) that the beaten path takes
_WORD_TIMESTAMP: Final = 0xFFFF_FFFF


@dataclass(slots=True)
class InboundCounts:
    """Packets, but ``concealed``: gaps' frames for which audio was made up.

    ``received`` and ``lost`` are those of former SSRCs.
    """

    concealed: int = 0
    duplicates: int = 0
    reordered: int = 0
    late: int = 0
    ssrc_changes: int = 0
    received: int = 0
    lost: int = 0


class Inbound:
    """The receiving half of one stream. ``now`` is in seconds.

    ``rx`` is the ring of the agent, ``tx`` the one towards the peer, which takes its place in
    loopback. ``drops`` counts refused packets by rule.
    """

    def __init__(
        self, slot: int, slots: Slots, rx: RingBlock, tx: RingBlock, drops: Counter[str]
    ) -> None:
        self.counts = InboundCounts()
        self._slot, self._slots, self._rx, self._tx = slot, slots, rx, tx
        self._drops = drops
        self._statistics = slots.statistics.row(slot)
        self._order = ReorderBuffer()
        self._dtmf = DtmfReceiver()
        self._concealer = Concealer()
        self._digits: list[str] = []
        self._codec, self._types = "PCMA", (0, -1)
        self._next_sequence: int | None = None  # None: nothing to compare with yet
        self._next_timestamp: int | None = None
        self._gap = 0  # packets lost just before the next frame
        self._highest: int | None = None  # newest sequence number seen

    def configure(self, spec: StreamSpec) -> None:
        """Take what was negotiated. A change of codec or types does not break the stream."""
        self.disarm()
        self._codec = spec.codec.value
        dtmf = -1 if spec.dtmf_payload_type is None else spec.dtmf_payload_type
        self._types = (spec.payload_type, dtmf)

    def knows(self, payload_type: int) -> bool:
        """Whether such packets were negotiated, or are comfort noise."""
        return payload_type in self._types or payload_type == COMFORT_NOISE

    @property
    def received(self) -> int:
        """Packets received, of all SSRCs."""
        return self.counts.received + self._statistics.received

    @property
    def lost(self) -> int:
        """Packets that never came, of all SSRCs (RFC 3550 A.3)."""
        return self.counts.lost + max(self._statistics.lost, 0)

    @property
    def jitter_ms(self) -> float:
        return self._statistics.jitter * 1000 / RATE

    @property
    def deadline(self) -> float | None:
        """When ``expire`` must be called, because packets are held back; else None."""
        return self._order.next_deadline()

    def restart(self) -> None:
        """The next packet begins a new time line, as after hold or for a new source address."""
        self.disarm()
        self._order.reset()
        self._dtmf.reset()
        self._concealer.reset()
        self._next_sequence = self._next_timestamp = self._highest = None
        self._gap = 0

    def disarm(self) -> None:
        """Take the stream off the beaten path; its packets come here until ``_arm``."""
        armed = self._slots.disarm(self._slot)
        if armed is not None:
            word, width = armed
            self._highest = (word >> 32) & 0xFFFF
            self._next_sequence = (self._highest + 1) & 0xFFFF
            self._next_timestamp = (word + width) & _WORD_TIMESTAMP

    def packet(self, packet: RtpPacket, now: float) -> list[str]:
        """Take one packet of the right source; returns keys pressed."""
        if not self.knows(packet.payload_type):
            self._drops["payload-type"] += 1
            return []
        self.disarm()
        slots, slot = self._slots, self._slot
        if self._next_sequence is None or packet.ssrc != int(slots.ssrc[slot]):
            self._begin(packet)
        audio = packet.payload_type == self._types[0]
        self._statistics.update(
            packet.sequence, packet.timestamp, int(now * RATE) & _WORD_TIMESTAMP, jitter=audio
        )
        slots.heard_at[slot] = now
        slots.bytes_received[slot] += len(packet.payload)
        if packet.payload_type == self._types[1]:
            self._key(packet, now)
        self._insert(packet, packet.payload if audio else b"", now)
        return self._take_digits()

    def expire(self, now: float) -> None:
        """Give up on gaps that waited too long."""
        self._deliver(self._order.expire(now), now)
        self._arm()

    # --- inside ---------------------------------------------------------------------------------

    def _begin(self, packet: RtpPacket) -> None:
        """First packet, or the peer took a new SSRC: nothing before it says anything about it."""
        slots, slot = self._slots, self._slot
        if self._next_sequence is not None:
            self.counts.ssrc_changes += 1
        if packet.ssrc != int(slots.ssrc[slot]) or not self._statistics.begun:
            self.counts.received += self._statistics.received
            self.counts.lost += max(self._statistics.lost, 0)
            slots.statistics.reset(slot)
        self.restart()
        slots.ssrc[slot] = packet.ssrc
        self._next_sequence = packet.sequence

    def _key(self, packet: RtpPacket, now: float) -> None:
        try:
            digit = self._dtmf.receive(packet.payload, packet.timestamp, packet.marker, now)
        except RtpError as error:
            self._drops[error.reason] += 1
            return
        if digit is not None:
            self._digits.append(digit)

    def _take_digits(self) -> list[str]:
        digits, self._digits = self._digits, []
        return digits

    def _insert(self, packet: RtpPacket, payload: bytes, now: float) -> None:
        if self._order.idle and self._next_sequence is not None:
            self._order.start(self._next_sequence)
        behind = self._highest is not None and 0 < (self._highest - packet.sequence) & 0xFFFF < 100
        deliveries = self._order.insert(packet.sequence, packet.timestamp, payload, now)
        useless = any(
            isinstance(entry, Drop) and entry.sequence == packet.sequence for entry in deliveries
        )
        if behind and not useless:
            self.counts.reordered += 1
        elif not behind:
            self._highest = packet.sequence
        self._deliver(deliveries, now)
        self._arm(packet if payload and deliveries else None)

    def _deliver(self, deliveries: list[Delivery], now: float) -> None:
        for entry in deliveries:
            match entry:
                case Frame() if entry.payload:
                    self._play(entry.timestamp, entry.payload, now)
                case Gap():
                    self._gap += entry.frames
                case Drop():
                    self._count_drop(entry.rule)
                case Resync():
                    self._next_timestamp, self._gap = None, 0
                    self._dtmf.reset()
                case _:
                    pass
        following = self._order.next_sequence
        if following is not None:
            self._next_sequence = following

    def _count_drop(self, rule: str) -> None:
        if rule == "duplicate":
            self.counts.duplicates += 1
        elif rule == "late":
            self.counts.late += 1
        self._drops[rule] += 1

    def _play(self, timestamp: int, payload: bytes, now: float) -> None:
        self._fill(timestamp)
        pcm = g711.decode(self._codec, payload)
        self._write(self._concealer.push(pcm) if self._concealer.active else pcm)
        self._next_timestamp = (timestamp + len(pcm)) & _WORD_TIMESTAMP
        self._gap = 0
        self._slots.audio_at[self._slot], self._slots.fed[self._slot] = now, 0

    def _fill(self, timestamp: int) -> None:
        """Put something in the place of what is missing before ``timestamp``."""
        if self._next_timestamp is None:
            return
        jump = diff32(timestamp, self._next_timestamp)
        fed = int(self._slots.fed[self._slot])
        missing = jump - fed
        if jump > MAX_FILL:
            self._drops["timestamp-jump"] += 1
        elif missing > 0:
            made_up = 0
            if self._gap and not fed:
                made_up = min(missing, SILENT_AFTER)
                self.counts.concealed += min(self._gap, -(-made_up * self._gap // missing))
                self._concealer.seed(self._ring.recent(self._slot, HISTORY))
                self._write(self._concealer.conceal(made_up))
            self._write(np.zeros(missing - made_up, dtype=np.int16))

    @property
    def _ring(self) -> RingBlock:
        return self._tx if self._slots.loopback[self._slot] else self._rx

    def _write(self, pcm: NDArray[np.int16]) -> None:
        self._ring.push(self._slot, pcm)

    def _arm(self, packet: RtpPacket | None = None) -> None:
        """Back to the beaten path, if ``packet`` was the newest and nothing is pending."""
        if packet is None or not self._order.idle or self._gap:
            return
        width = len(packet.payload)
        follows = (packet.sequence + 1) & 0xFFFF == self._next_sequence
        in_time = self._next_timestamp == (packet.timestamp + width) & _WORD_TIMESTAMP
        if not follows or not in_time or width > MAX_ORDINARY:
            return
        word = first_word(packet.payload_type) | (packet.sequence << 32) | packet.timestamp
        self._slots.arm(self._slot, word, width)
