"""Sample rings: bounded queues of PCM for many calls in one block of memory.

One block holds one ring a call slot. A ring has exactly one writer and one reader, each of which
moves only its own counters, so that the two may live in different processes over shared memory.
Counters are samples since the slot was opened and never wrap; the place in memory is the counter
modulo the ring size.

A writer cannot take back what it wrote: it asks for that by ``request_flush``, and the reader
obeys by ``flush`` the next time that it looks.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from sipbot.errors import LocalProtocolError

FRAME_MULTIPLE: Final = 480  # samples: packets of 10, 20, 30 and 60 ms divide it
RING_SAMPLES: Final = 34 * FRAME_MULTIPLE  # samples a slot: 2.04 s at 8 kHz
_COUNTERS: Final = 5  # int64 counters a slot


class RingBlock:
    """``slots`` rings of ``size`` samples each; ``size`` must be a multiple of 480.

    So a stream of equal packets never meets the end of its ring in the middle of a packet.

    ``samples`` has shape (slots, size), int16; the counters have shape (slots,), int64:

    - ``head``: samples ever written (moved by the writer);
    - ``overrun``: samples that did not fit and are lost (writer);
    - ``flush_to``: position up to which the writer wants nothing played (writer);
    - ``tail``: samples ever taken or flushed (reader);
    - ``flushed``: samples of ``tail`` that were flushed (reader).

    ``buffer`` places the block in memory of the caller, for example shared memory, of at least
    ``bytes_needed`` bytes. Memory is zero at first and touched only by slots in use.
    """

    def __init__(
        self, slots: int, size: int = RING_SAMPLES, buffer: memoryview | bytearray | None = None
    ) -> None:
        if size < FRAME_MULTIPLE or size % FRAME_MULTIPLE:
            raise LocalProtocolError("ring size must be a multiple of 480")
        self.slots, self.size = slots, size
        needed = self.bytes_needed(slots, size)
        # numpy asks the kernel for zero pages, so rings that are never used cost no memory.
        memory = np.zeros(needed, dtype=np.uint8) if buffer is None else buffer
        counters = np.frombuffer(memory, dtype=np.int64, count=_COUNTERS * slots)
        self.head: NDArray[np.int64] = counters[:slots]
        self.tail: NDArray[np.int64] = counters[slots : 2 * slots]
        self.overrun: NDArray[np.int64] = counters[2 * slots : 3 * slots]
        self.flush_to: NDArray[np.int64] = counters[3 * slots : 4 * slots]
        self.flushed: NDArray[np.int64] = counters[4 * slots :]
        self.samples: NDArray[np.int16] = np.frombuffer(
            memory, dtype=np.int16, count=slots * size, offset=8 * _COUNTERS * slots
        ).reshape(slots, size)
        self._windows: dict[int, NDArray[np.int16]] = {}
        # The same counters for those who look at one ring: plain numbers in a third of the time.
        self.heads, self.tails = self.head.data, self.tail.data

    @staticmethod
    def bytes_needed(slots: int, size: int = RING_SAMPLES) -> int:
        """Size in bytes of the memory behind a block."""
        return 8 * _COUNTERS * slots + 2 * slots * size

    def reset(self, slot: int) -> None:
        """Empty the ring of ``slot`` and start its counters at 0."""
        for counter in (self.head, self.tail, self.overrun, self.flush_to, self.flushed):
            counter[slot] = 0

    # --- one ring -------------------------------------------------------------------------------

    def write(self, slot: int, pcm: NDArray[np.int16]) -> int:
        """Append samples; returns how many fitted."""
        head = int(self.head[slot])
        count = min(len(pcm), self.size - (head - int(self.tail[slot])))
        if count <= 0:
            return 0
        start = head % self.size
        first = min(count, self.size - start)
        ring = self.samples[slot]
        ring[start : start + first] = pcm[:first]
        if first < count:
            ring[: count - first] = pcm[first:count]
        self.head[slot] = head + count
        return count

    def push(self, slot: int, pcm: NDArray[np.int16]) -> None:
        """Append samples that cannot wait; what does not fit is lost and counted as overrun."""
        missing = len(pcm) - self.write(slot, pcm)
        if missing:
            self.overrun[slot] += missing

    def read(self, slot: int, most: int | None = None) -> NDArray[np.int16]:
        """Take up to ``most`` samples (all by default) as a copy."""
        tail = int(self.tail[slot])
        count = int(self.head[slot]) - tail
        if most is not None:
            count = min(count, most)
        taken = self._copy(slot, tail, count)
        self.tail[slot] = tail + count
        return taken

    def backlog(self, slot: int) -> int:
        """Samples written and not yet taken."""
        return int(self.head[slot]) - int(self.tail[slot])

    def recent(self, slot: int, most: int) -> NDArray[np.int16]:
        """A copy of up to ``most`` samples last written, whether or not they were read since."""
        head = int(self.head[slot])
        count = min(most, head, self.size)
        return self._copy(slot, head - count, count)

    def request_flush(self, slot: int) -> int:
        """As writer: let nothing be played that was written so far; returns that position."""
        self.flush_to[slot] = position = int(self.head[slot])
        return position

    def flush(self, slot: int, position: int) -> None:
        """As reader: pass over what was written before ``position``."""
        count = position - int(self.tail[slot])
        if count > 0:
            self.flushed[slot] += count  # first, so that "played" is never too high in between
            self.tail[slot] = position

    def _copy(self, slot: int, position: int, count: int) -> NDArray[np.int16]:
        start = position % self.size
        first = min(count, self.size - start)
        ring: NDArray[np.int16] = self.samples[slot]
        if first == count:
            return ring[start : start + count].copy()
        return np.concatenate((ring[start:], ring[: count - first]))

    # --- many rings at once ---------------------------------------------------------------------

    def waiting(self, slots: NDArray[np.intp]) -> NDArray[np.int64]:
        """Samples that each of ``slots`` holds."""
        return self.head[slots] - self.tail[slots]

    def push_many(self, slots: NDArray[np.intp], pcm: NDArray[np.int16]) -> None:
        """``push`` row i of ``pcm``, shape (n, width), to ring ``slots[i]``; slots are distinct."""
        width = pcm.shape[1]
        head = self.head[slots]
        start = head % self.size
        plain = (start <= self.size - width) & (head - self.tail[slots] <= self.size - width)
        if plain.all():
            self._window(width)[slots, start] = pcm
            self.head[slots] = head + width
            return
        rows = np.flatnonzero(plain)
        self._window(width)[slots[rows], start[rows]] = pcm[rows]
        self.head[slots[rows]] = head[rows] + width
        for row in np.flatnonzero(~plain).tolist():
            self.push(slots[row], pcm[row])

    def take_many(
        self, slots: NDArray[np.intp], width: int
    ) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
        """Take up to ``width`` samples of each of the distinct ``slots``.

        Returns samples of shape (n, width), filled up with zeros, and how many each ring gave.
        """
        tail = self.tail[slots]
        waiting = self.head[slots] - tail
        start = tail % self.size
        plain = (waiting >= width) & (start <= self.size - width)
        if plain.all():
            self.tail[slots] = tail + width
            return self._window(width)[slots, start], np.full(len(slots), width, dtype=np.int64)
        count = np.minimum(waiting, width)
        # A window that would run over the end is read elsewhere and then put right row by row.
        pcm = self._window(width)[slots, np.minimum(start, self.size - width)]
        pcm[count == 0] = 0
        for row in np.flatnonzero(~plain & (count > 0)).tolist():
            given = int(count[row])
            pcm[row, :given] = self._copy(int(slots[row]), int(tail[row]), given)
            pcm[row, given:] = 0
        self.tail[slots] = tail + count
        return pcm, count

    def _window(self, width: int) -> NDArray[np.int16]:
        """All runs of ``width`` samples without a wrap: shape (slots, size - width + 1, width)."""
        window = self._windows.get(width)
        if window is None:
            shape = (self.slots, self.size - width + 1, width)
            window = as_strided(self.samples, shape, (2 * self.size, 2, 2))
            self._windows[width] = window
        return window
