"""Puts one stream's packets back into order, waiting briefly for the missing ones.

Meant for the odd packet: while packets come in order the media plane need not ask, and only keeps
the sequence number it expects. When another one comes it starts a buffer with ``start`` and uses
it until ``idle``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from sipbot.rtp.sequence import extend16

MAX_WAIT_MS: Final = 40  # how long a gap may hold up what came after it
MAX_PACKETS: Final = 8  # how many packets a gap may hold up
MAX_DROPOUT: Final = 3000  # packets, RFC 3550 appendix A.1
MAX_MISORDER: Final = 100  # packets, RFC 3550 appendix A.1


@dataclass(frozen=True, slots=True)
class Frame:
    """A packet whose turn it is."""

    sequence: int
    timestamp: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """``frames`` packets, the first of them ``sequence``, did not come in time."""

    sequence: int
    frames: int


@dataclass(frozen=True, slots=True)
class Drop:
    """A packet that is of no use: rule "late", "duplicate" or "sequence-jump"."""

    rule: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Resync:
    """The sender started over: what follows has no relation to what came before."""

    sequence: int


Delivery: TypeAlias = Frame | Gap | Drop | Resync


class ReorderBuffer:
    """One stream's reorder buffer. ``now`` is in seconds on any monotonic clock."""

    def __init__(self, *, max_wait_ms: int = MAX_WAIT_MS, max_packets: int = MAX_PACKETS) -> None:
        self._max_wait, self._max_packets = max_wait_ms / 1000, max_packets
        self._next: int | None = None  # extended number of the packet whose turn it is
        self._held: dict[int, tuple[Frame, float]] = {}  # extended number -> packet, arrival
        self._missing: set[int] = set()  # extended numbers reported in a Gap, not too old
        self._suspect: Frame | None = None  # first packet after a jump too wide to believe

    @property
    def next_sequence(self) -> int | None:
        """Sequence number of the packet whose turn it is; None before the first packet."""
        return None if self._next is None else self._next & 0xFFFF

    @property
    def idle(self) -> bool:
        """Whether nothing is held back, so that packets in order need not come through here."""
        return not self._held and self._suspect is None

    def start(self, next_sequence: int) -> None:
        """Packets up to ``next_sequence`` were delivered without this buffer."""
        base = self._next
        self._next = next_sequence if base is None else extend16(base, next_sequence)
        self._prune()

    def reset(self) -> None:
        """Forget everything, as on a new SSRC; what is held is lost."""
        self._next = None
        self._held.clear()
        self._missing.clear()
        self._suspect = None

    def insert(self, sequence: int, timestamp: int, payload: bytes, now: float) -> list[Delivery]:
        """Take one packet; returns what may be delivered now, in order."""
        frame = Frame(sequence, timestamp, payload)
        if self._next is None:
            self._next = sequence
        number = extend16(self._next, sequence)
        ahead = number - self._next
        deliveries: list[Delivery] = []
        if ahead >= MAX_DROPOUT or ahead < -MAX_MISORDER:
            return self._jump(frame)
        if self._suspect is not None:
            deliveries.append(Drop("sequence-jump", self._suspect.sequence))
            self._suspect = None
        if ahead < 0 or number in self._held:
            deliveries.append(self._refuse(number))
        else:
            self._held[number] = (frame, now)
            self._release(deliveries)
        deliveries += self.expire(now)
        return deliveries

    def next_deadline(self) -> float | None:
        """When ``expire`` must be called at the latest; None when nothing waits."""
        if not self._held:
            return None
        return min(arrival for _, arrival in self._held.values()) + self._max_wait

    def expire(self, now: float) -> list[Delivery]:
        """Give up gaps that waited too long; returns what that sets free, in order."""
        deliveries: list[Delivery] = []
        while (deadline := self.next_deadline()) is not None and (
            deadline <= now or len(self._held) > self._max_packets
        ):
            self._give_up_gap(deliveries)
        return deliveries

    def _release(self, deliveries: list[Delivery]) -> None:
        """Deliver from the front as far as there is no gap."""
        number = self._next
        while number is not None and number in self._held:
            deliveries.append(self._held.pop(number)[0])
            number += 1
        self._next = number

    def _give_up_gap(self, deliveries: list[Delivery]) -> None:
        first, following = self._next or 0, min(self._held)
        deliveries.append(Gap(first & 0xFFFF, following - first))
        self._missing.update(range(max(first, following - MAX_MISORDER), following))
        self._next = following
        self._release(deliveries)
        self._prune()

    def _refuse(self, number: int) -> Drop:
        if number in self._missing:
            self._missing.discard(number)  # a second copy is a duplicate
            return Drop("late", number & 0xFFFF)
        return Drop("duplicate", number & 0xFFFF)

    def _prune(self) -> None:
        oldest = (self._next or 0) - MAX_MISORDER
        self._missing = {number for number in self._missing if number >= oldest}

    def _jump(self, frame: Frame) -> list[Delivery]:
        """RFC 3550 A.1: "Two sequential packets -- assume that the other side restarted"."""
        suspect, self._suspect = self._suspect, frame
        if suspect is None:
            return []
        if frame.sequence != (suspect.sequence + 1) & 0xFFFF:
            return [Drop("sequence-jump", suspect.sequence)]
        deliveries: list[Delivery] = []
        while self._held:
            self._give_up_gap(deliveries)
        self.reset()
        self._next = (frame.sequence + 1) & 0xFFFF
        return [*deliveries, Resync(suspect.sequence), suspect, frame]
