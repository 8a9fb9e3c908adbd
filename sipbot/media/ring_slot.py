"""One call's audio as the agent's side of the rings sees it, in whichever process that is."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sipbot.media.rings import RingBlock
from sipbot.media.slots import RATE


class RingSlot:
    """Reads what the plane wrote to ``rx`` and writes what the plane takes from ``tx``.

    Has what an agent's audio needs of a ``MediaStream``, without the plane. Positions count samples
    since the slot was allocated.

    Every frame of every call passes here alone: what is done for each counts.
    """

    __slots__ = (
        "_heard",
        "_rx",
        "_rx_head",
        "_rx_tail",
        "_said",
        "_size",
        "_tx",
        "_tx_head",
        "_tx_tail",
        "slot",
    )
    rate: Final = RATE

    def __init__(self, slot: int, rx: RingBlock, tx: RingBlock) -> None:
        self.slot: Final = slot
        self._size = rx.size
        self._rx, self._tx = rx, tx
        self._heard, self._said = rx.samples[slot], tx.samples[slot].data
        self._rx_head, self._rx_tail = rx.heads, rx.tails
        self._tx_head, self._tx_tail = tx.heads, tx.tails

    @property
    def readable(self) -> bool:
        """Whether ``read`` has something."""
        slot = self.slot
        return self._rx_head[slot] > self._rx_tail[slot]

    def read(self) -> NDArray[np.int16]:
        """All samples that arrived since the last read, as a copy."""
        slot = self.slot
        tail, head = self._rx_tail[slot], self._rx_head[slot]
        start = tail % self._size
        end = start + head - tail
        if end > self._size:  # it goes on at the beginning of the ring
            return self._rx.read(slot)
        taken: NDArray[np.int16] = self._heard[start:end].copy()
        self._rx_tail[slot] = head
        return taken

    def write(self, pcm: NDArray[np.int16]) -> int:
        """Queue samples to be played; returns how many fitted."""
        slot, count = self.slot, len(pcm)
        head = self._tx_head[slot]
        start = head % self._size
        end = start + count
        if end > self._size or head + count - self._tx_tail[slot] > self._size:
            return self._tx.write(slot, pcm)
        self._said[start:end] = pcm
        self._tx_head[slot] = head + count
        return count

    def clear(self) -> None:
        """Let nothing be played that was written so far; done when ``consumed`` reaches it."""
        self._tx.request_flush(self.slot)

    @property
    def received(self) -> int:
        """Samples that ever arrived, made-up ones and those lost to a slow reader included."""
        return self._rx_head[self.slot] + int(self._rx.overrun[self.slot])

    @property
    def written(self) -> int:
        """Samples that ``write`` ever accepted."""
        return self._tx_head[self.slot]

    @property
    def consumed(self) -> int:
        """Samples of ``written`` that were played or cleared."""
        return self._tx_tail[self.slot]

    @property
    def played(self) -> int:
        """Samples of ``written`` that left towards the peer."""
        return self._tx_tail[self.slot] - int(self._tx.flushed[self.slot])
