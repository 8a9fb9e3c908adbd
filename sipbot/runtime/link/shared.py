"""The rings of all calls in one piece of memory that edge and workers share.

The memory has no name anywhere: it is a memfd, handed on as a descriptor, and is gone with the last
process that maps it, however that process ends.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

from sipbot.media.rings import RingBlock

_PAGE: Final = mmap.PAGESIZE  # bytes


def make_memory(slots: int) -> int:
    """A new memfd for the rings of ``slots`` calls; returns its descriptor.

    It is zero, and a page costs memory only once it is touched.
    """
    descriptor = os.memfd_create("sipbot-rings", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, 2 * _block_bytes(slots))
    return descriptor


class SharedRings:
    """Both directions of all calls: ``rx`` towards the agents, ``tx`` towards the peers."""

    def __init__(self, descriptor: int, slots: int) -> None:
        block = _block_bytes(slots)
        memory = memoryview(mmap.mmap(descriptor, 2 * block))
        self.rx = RingBlock(slots, buffer=memory[:block])
        self.tx = RingBlock(slots, buffer=memory[block:])


def _block_bytes(slots: int) -> int:
    """Size of one direction, in whole pages."""
    return -(-RingBlock.bytes_needed(slots) // _PAGE) * _PAGE
