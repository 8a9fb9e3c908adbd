"""The compiled beaten path, where there is one: packets in and out without the interpreter.

``_fast`` does to the same arrays what ``receiving`` and ``sending`` do with numpy, for packets that
are exactly the expected next ones of their streams, and gives back all others. It is optional: the
plane finds out at its start whether it could be compiled, and does without where it could not.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sipbot.media.rings import RingBlock
from sipbot.media.slots import RATE, Slots
from sipbot.rtp import g711
from sipbot.rtp.statistics import MAX_TRANSIT_STEP

PURE_PYTHON: Final = "SIPBOT_PURE_PYTHON"  # environment: do without the compiled path

_SLOTS: Final = (
    ("last_word", np.uint64),
    ("step", np.uint64),
    ("ssrc", np.uint32),
    ("width", np.int64),
    ("mulaw", np.bool_),
    ("loopback", np.bool_),
    ("secured", np.bool_),
    ("audio_at", np.float64),
    ("fed", np.int64),
    ("standing", np.int64),
    ("bytes_received", np.int64),
)
_STATISTICS: Final = ("extended_max", "received", "transit", "jitter16")
_SENDING: Final = (
    ("due", np.int64),
    ("period", np.int64),
    ("frame", np.int64),
    ("origin", np.int64),
    ("sequence", np.int64),
    ("packets_sent", np.int64),
    ("bytes_sent", np.int64),
    ("first_word", np.uint64),
    ("local_ssrc", np.uint32),
    ("marker", np.bool_),
    ("late_departures", np.int64),
)
_RING: Final = ("head", "tail", "overrun", "samples")


def compiled() -> Any:
    """The module ``_fast``, or None where it is not wanted, not there or of no use."""
    if sys.platform != "linux" or sys.byteorder != "little" or os.environ.get(PURE_PYTHON):
        return None
    try:
        return importlib.import_module("sipbot.media._fast")
    except ImportError:
        return None


class FastPath:
    """``_fast`` bound to the arrays of one plane.

    ``send_fds`` is the connected socket of each slot, negative where there is none.
    """

    def __init__(
        self,
        module: Any,
        slots: Slots,
        rx: RingBlock,
        tx: RingBlock,
        send_fds: NDArray[np.int64],
        most_echo: int,
        most_standing: int,
        samples_per_tick: int,
    ) -> None:
        arrays = [_typed(slots, name, kind) for name, kind in _SLOTS]
        arrays += [_typed(slots.statistics, name, np.int64) for name in _STATISTICS]
        arrays += [_typed(slots, name, kind) for name, kind in _SENDING]
        arrays += [send_fds]
        arrays += [getattr(ring, name) for ring in (rx, tx) for name in _RING]
        arrays += [g711.DECODE["PCMA"], g711.DECODE["PCMU"]]
        arrays += [g711.ENCODE["PCMA"], g711.ENCODE["PCMU"]]
        limits = (MAX_TRANSIT_STEP, most_echo, most_standing, samples_per_tick)
        rows = min(slots.count, rx.slots, tx.slots)
        self._module = module
        self._tables = module.bind(tuple(arrays), rows, rx.size, *limits)
        self._busy = np.zeros(slots.count, dtype=np.bool_)

    def receive(
        self,
        poller_fd: int,
        now: float,
        arena: NDArray[np.uint8],
        first: int,
        rows: tuple[NDArray[np.int64], NDArray[np.int64]],
        sockets: tuple[NDArray[np.uint8], NDArray[np.intp], NDArray[np.uint8]],
        again: bool,
        moved: NDArray[np.bool_],
    ) -> tuple[int, int, list[int], list[int], int]:
        """See ``_fast.receive``. ``rows`` are lengths and descriptors, ``sockets`` who is
        connected, whose slot it is, and who gave a packet the last time, by descriptor."""
        arrival = int(now * RATE) & 0xFFFF_FFFF
        row_bytes = arena.shape[1]
        result: tuple[int, int, list[int], list[int], int] = self._module.receive(
            self._tables, poller_fd, now, arrival, arena, row_bytes, first, *rows, *sockets,
            again, moved,
        )  # fmt: skip
        return result

    def send(
        self, tick: int, used: int, dialling: set[int], moved: NDArray[np.bool_]
    ) -> tuple[int, list[tuple[int, int]], list[tuple[int, int, bytes]]]:
        """See ``_fast.send``. Slots in ``dialling`` are left to the caller."""
        busy = self._busy
        if dialling:
            busy[list(dialling)] = True
        try:
            result: tuple[int, list[tuple[int, int]], list[tuple[int, int, bytes]]] = (
                self._module.send(self._tables, tick, used, busy, moved)
            )
        finally:
            if dialling:
                busy[:] = False
        return result


def _typed(owner: object, name: str, kind: type[np.generic]) -> NDArray[Any]:
    """A column whose type the C side relies on."""
    array: NDArray[Any] = getattr(owner, name)
    if array.dtype != kind:
        raise TypeError(f"the column {name} must be {np.dtype(kind)}")
    return array
