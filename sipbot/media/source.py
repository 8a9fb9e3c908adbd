"""Which source address a stream listens to: the negotiated one, or one learnt early, then locked.

A peer behind a NAT announces an address that its packets do not come from. So for a short window
after the stream was opened (or was given a new address) one other source may take its place. After
that, and as soon as the announced source was heard, nobody else is listened to: else anyone who
guesses the port could put words into the call. The announced source itself always wins, even over
one that was learnt before it spoke.
"""

from __future__ import annotations

import ipaddress
from enum import Enum
from typing import Final, TypeAlias

from sipbot.errors import MediaError

Address: TypeAlias = tuple[str, int]

MIN_SEQUENTIAL: Final = 2  # packets in sequence before a source is believed, RFC 3550 A.1


class Verdict(Enum):
    """What to do with a packet of some source. The value names the drop where it is one."""

    ACCEPT = "accept"
    LOCK = "lock"  # accept, and listen to this source alone from now on
    PROBATION = "source-probation"
    REFUSE = "wrong-source"


def literal_address(address: Address) -> Address:
    """The address in the spelling that the kernel reports. Raises MediaError if it is no IP."""
    host, port = address
    try:
        return str(ipaddress.ip_address(host)), port
    except ValueError as error:
        raise MediaError("the remote media address is no IP literal") from error


def is_sendable(address: Address) -> bool:
    """Whether there is somebody at this address: not 0.0.0.0 (old style hold), not port 0."""
    host = ipaddress.ip_address(address[0])
    return bool(address[1]) and not host.is_unspecified and not host.is_multicast


class SourceLock:
    """The rule for one stream. ``now`` and ``window_s`` are in seconds."""

    def __init__(self, expected: Address, now: float, window_s: float) -> None:
        self.expected = expected
        self.locked: Address | None = None
        self._left: Address | None = None  # announced before, and given up by the peer itself
        self._window_s, self._opened_at = window_s, now
        self._candidate: tuple[Address, int, int] | None = None  # source, SSRC, next sequence
        self._in_sequence = 0

    @property
    def latched(self) -> bool:
        """Whether the source was learnt from a packet and is not the negotiated one."""
        return self.locked is not None and self.locked != self.expected

    @property
    def target(self) -> Address:
        """Where to send: to the source that we listen to (symmetric RTP, RFC 4961)."""
        return self.locked or self.expected

    def expect(self, expected: Address, now: float) -> bool:
        """A new description of the peer; returns whether the address changed, which unlocks."""
        if expected == self.expected:
            return False
        # What is still under way from the old address must not bring the stream back to it. A
        # source behind a NAT is another matter: nothing was said about the address that we see.
        self._left = None if self.latched else self.expected
        self.expected, self.locked, self._opened_at = expected, None, now
        self._candidate, self._in_sequence = None, 0
        return True

    def may_be(self, source: Address) -> bool:
        """Whether a packet of ``source`` is worth looking at."""
        if source in (self.locked, self.expected):
            return True
        return self.locked is None and source != self._left

    def judge(self, source: Address, ssrc: int, sequence: int, now: float) -> Verdict:
        """Rule on one packet that is well-formed RTP of a negotiated payload type."""
        if source == self.locked:
            return Verdict.ACCEPT
        if source == self.expected:
            self.locked = source
            return Verdict.LOCK
        if not self.may_be(source) or now - self._opened_at > self._window_s:
            return Verdict.REFUSE
        follows = self._candidate == (source, ssrc, sequence)
        self._in_sequence = self._in_sequence + 1 if follows else 1
        self._candidate = (source, ssrc, (sequence + 1) & 0xFFFF)
        if self._in_sequence < MIN_SEQUENTIAL:
            return Verdict.PROBATION
        self.locked = source
        return Verdict.LOCK
