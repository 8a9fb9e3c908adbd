"""``MediaStream``: one call's handle on the media plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from sipbot.media.slots import RATE
from sipbot.media.stream import StreamListener, StreamSpec, StreamStats

if TYPE_CHECKING:
    from sipbot.media.plane import MediaPlane
    from sipbot.media.ports import PortPair

_NOTHING: Final = np.empty(0, dtype=np.int16)


class MediaStream:
    """One slot of the plane, from ``MediaPlane.allocate`` until ``close``.

    Audio is one-dimensional ``numpy.int16`` at ``rate``; positions count samples since the slot
    was allocated. Nothing here blocks. On a closed stream everything is a no-op and the counters
    keep their last values.
    """

    rate: Final = RATE

    def __init__(self, plane: MediaPlane, slot: int, pair: PortPair) -> None:
        self.slot: Final = slot
        self.local_ip: Final = pair.local_ip
        self.local_port: Final = pair.port
        self._plane, self._pair = plane, pair
        self._rx, self._tx = plane.rx, plane.tx
        self._closed: StreamStats | None = None
        self._last = (0, 0, 0, 0)

    def start(self, spec: StreamSpec, listener: StreamListener) -> None:
        """Begin to send and receive. Packets that came before are thrown away.

        Raises MediaError for a remote that is no IP literal, or half a pair of SRTP keys.
        """
        if self._closed is None:
            self._plane.start_slot(self.slot, self._pair, spec, listener)

    def update(self, spec: StreamSpec) -> None:
        """Take a renegotiated description; SSRC, sequence and timestamps go on. Raises as start."""
        if self._closed is None:
            self._plane.update_slot(self.slot, spec)

    def send_dtmf(self, digits: str, duration_ms: int = 100, gap_ms: int = 60) -> float:
        """Queue keys; returns the seconds until the last of them is done.

        While a key is sent no audio leaves; it waits in its queue. Raises MediaError when
        telephone-event was not negotiated or too many keys wait, LocalProtocolError for
        characters that are no keys and for times out of range.
        """
        if self._closed is not None:
            return 0.0
        return self._plane.dial(self.slot, digits, duration_ms, gap_ms)

    def loopback(self, on: bool) -> None:
        """Echo what comes in, inside the plane; the reader hears nothing meanwhile."""
        if self._closed is None:
            self._plane.set_loopback(self.slot, on)

    @property
    def readable(self) -> bool:
        """Whether ``read`` has something."""
        if self._closed is not None:
            return False
        return bool(self._rx.head[self.slot] > self._rx.tail[self.slot])

    def read(self) -> NDArray[np.int16]:
        """All samples that arrived since the last read, as a copy."""
        return _NOTHING if self._closed is not None else self._rx.read(self.slot)

    def write(self, pcm: NDArray[np.int16]) -> int:
        """Queue samples to be played; returns how many fitted."""
        return 0 if self._closed is not None else self._tx.write(self.slot, pcm)

    def clear(self) -> None:
        """Let nothing be played that was written so far; done when ``consumed`` reaches it.

        The plane, which alone takes samples out, obeys at its next tick.
        """
        if self._closed is None:
            self._tx.request_flush(self.slot)

    @property
    def received(self) -> int:
        """Samples that ever arrived, made-up ones and those lost to a slow reader included."""
        if self._closed is not None:
            return self._last[0]
        return int(self._rx.head[self.slot]) + int(self._rx.overrun[self.slot])

    @property
    def written(self) -> int:
        """Samples that ``write`` ever accepted."""
        return self._last[1] if self._closed is not None else int(self._tx.head[self.slot])

    @property
    def consumed(self) -> int:
        """Samples of ``written`` that were played or cleared."""
        return self._last[2] if self._closed is not None else int(self._tx.tail[self.slot])

    @property
    def played(self) -> int:
        """Samples of ``written`` that left towards the peer."""
        if self._closed is not None:
            return self._last[3]
        return int(self._tx.tail[self.slot]) - int(self._tx.flushed[self.slot])

    def stats(self) -> StreamStats:
        """What the stream did so far."""
        return self._plane.stats_of(self.slot) if self._closed is None else self._closed

    def close(self) -> StreamStats:
        """Say goodbye by RTCP and give back slot and ports; returns the final statistics."""
        if self._closed is None:
            self._last = (self.received, self.written, self.consumed, self.played)
            self._closed = self._plane.close_slot(self.slot, self._pair)
        return self._closed
