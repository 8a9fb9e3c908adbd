"""The pool of RTP port pairs: even port for RTP, the next one for RTCP (RFC 3550 section 11).

A freed pair is not given to the next call at once. Its sockets stay bound for the quarantine, so
that packets of the old call meet neither a new call nor another program, and so that the peer gets
no port-unreachable answer for packets that were under way. They are closed only after they stayed
quiet: while something still comes in, quarantine is extended, a bounded number of times. A bound
socket costs a few kilobytes and no CPU, for nobody polls it and its kernel buffer is made small.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sipbot.errors import LocalProtocolError, MediaError, PortsExhausted

QUARANTINE_S: Final = 5.0  # seconds that a freed pair stays bound and unused
QUARANTINE_EXTENSIONS: Final = 3  # times that stray packets may prolong it
RECEIVE_BUFFER_BYTES: Final = 131_072  # kernel buffer of a port: the packets of about 1.5 s
_QUARANTINE_BUFFER_BYTES: Final = 2_048  # the kernel rounds up to its minimum
_DRAIN_PACKETS: Final = 16  # read per socket when quarantine ends
_DSCP_EF: Final = 46  # RFC 3246, the class for voice
_SCRATCH_BYTES: Final = 2_048
_PORT_TAKEN: Final = frozenset({errno.EADDRINUSE, errno.EACCES})


@dataclass(frozen=True, slots=True)
class PortPair:
    """Two bound, non-blocking UDP sockets: ``port`` for RTP and ``port + 1`` for RTCP."""

    local_ip: str
    port: int
    rtp: socket.socket
    rtcp: socket.socket

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()


@dataclass(slots=True)
class _Quarantined:
    pair: PortPair
    until: float
    extensions: int = 0


class PortPool:
    """Port pairs within ``first`` .. ``last`` (both included), on any local address.

    ``entropy`` returns that many random bytes: the search starts at a random port, so that ports
    of coming calls are hard to guess (RFC 3550 section 9.1 spirit). Ports held by other programs
    are passed over.
    """

    def __init__(
        self,
        first: int,
        last: int,
        *,
        entropy: Callable[[int], bytes],
        quarantine_s: float = QUARANTINE_S,
        dscp: int = _DSCP_EF,
    ) -> None:
        first += first % 2
        if not (0 < first < last <= 65_535):
            raise LocalProtocolError("the RTP port range holds no pair")
        self._first, self._pairs = first, (last - first + 1) // 2
        self._quarantine_s, self._dscp = quarantine_s, dscp
        self._used: set[tuple[str, int]] = set()
        self._resting: deque[_Quarantined] = deque()
        self._next = int.from_bytes(entropy(4), "big") % self._pairs

    @property
    def capacity(self) -> int:
        """Pairs in the range."""
        return self._pairs

    @property
    def in_use(self) -> int:
        """Pairs of calls; those in quarantine do not count."""
        return len(self._used) - len(self._resting)

    @property
    def quarantined(self) -> int:
        return len(self._resting)

    def acquire(self, local_ip: str, now: float) -> PortPair:
        """Bind a pair on ``local_ip`` (an IP literal).

        Raises PortsExhausted when no pair is free, MediaError when the address is not ours or
        the process has no file descriptors left.
        """
        self.sweep(now)
        for _ in range(self._pairs):
            port = self._first + 2 * self._next
            self._next = (self._next + 1) % self._pairs
            if (local_ip, port) in self._used:
                continue
            pair = self._bind(local_ip, port)
            if pair is not None:
                self._used.add((local_ip, port))
                return pair
        raise PortsExhausted("no RTP port pair is free")

    def release(self, pair: PortPair, now: float) -> None:
        """Give a pair back; it can be acquired again after its quarantine."""
        for sock in (pair.rtp, pair.rtcp):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUARANTINE_BUFFER_BYTES)
            _drain(sock)
        self._resting.append(_Quarantined(pair, now + self._quarantine_s))

    def sweep(self, now: float) -> None:
        """Close the pairs whose quarantine is over."""
        resting = self._resting
        while resting and resting[0].until <= now:
            entry = resting.popleft()
            strays = _drain(entry.pair.rtp) + _drain(entry.pair.rtcp)
            if strays and entry.extensions < QUARANTINE_EXTENSIONS:
                entry.extensions += 1
                entry.until = now + self._quarantine_s
                resting.append(entry)
                continue
            self._forget(entry.pair)

    def close(self) -> None:
        """Close all sockets in quarantine; pairs of calls are their owners' to release."""
        while self._resting:
            self._forget(self._resting.popleft().pair)

    def _forget(self, pair: PortPair) -> None:
        pair.close()
        self._used.discard((pair.local_ip, pair.port))

    def _bind(self, local_ip: str, port: int) -> PortPair | None:
        """Both sockets of a pair, or None when another program holds one of the ports."""
        rtp = self._bind_one(local_ip, port)
        if rtp is None:
            return None
        try:
            rtcp = self._bind_one(local_ip, port + 1)
        except MediaError:
            rtp.close()
            raise
        if rtcp is None:
            rtp.close()
            return None
        return PortPair(local_ip, port, rtp, rtcp)

    def _bind_one(self, local_ip: str, port: int) -> socket.socket | None:
        family = socket.AF_INET6 if ":" in local_ip else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM)
        except OSError as error:
            raise MediaError(f"cannot open a media socket: {error.strerror}") from error
        try:
            sock.setblocking(False)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            sock.bind((local_ip, port))
            self._mark(sock, family)
        except OSError as error:
            sock.close()
            if error.errno in _PORT_TAKEN:
                return None
            raise MediaError(f"cannot bind a media socket: {error.strerror}") from error
        return sock

    def _mark(self, sock: socket.socket, family: int) -> None:
        """Ask for voice treatment on the way; a system that refuses is no reason to fail."""
        with contextlib.suppress(OSError):
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, self._dscp << 2)
            else:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, self._dscp << 2)


def _drain(sock: socket.socket) -> int:
    """Read away up to ``_DRAIN_PACKETS`` datagrams; returns how many there were."""
    for count in range(_DRAIN_PACKETS):
        try:
            sock.recv(_SCRATCH_BYTES)
        except ConnectionError:
            continue  # An ICMP answer to something we sent: it takes the place of a packet.
        except OSError:
            return count
    return _DRAIN_PACKETS


# --- what `sipbot check` says about the machine --------------------------------------------------

FDS_PER_CALL: Final = 3  # RTP, RTCP, and the guard of the RTP port
FDS_RESERVED: Final = 256  # listeners, connections, logs, libraries
_EPHEMERAL_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def read_ephemeral_range(path: Path = _EPHEMERAL_RANGE) -> tuple[int, int] | None:
    """Ports that the kernel gives to sockets without a port, or None when it does not say."""
    try:
        low, high = path.read_text(encoding="ascii").split()
        return int(low), int(high)
    except (OSError, ValueError):
        return None


def check_port_range(
    first: int, last: int, ephemeral: tuple[int, int] | None, *, max_calls: int
) -> tuple[str, ...]:
    """Findings about the RTP port range, one sentence each; empty when all is well."""
    findings = []
    if ephemeral is not None and first <= ephemeral[1] and ephemeral[0] <= last:
        findings.append(
            f"RTP ports {first}-{last} overlap the kernel's ephemeral ports "
            f"{ephemeral[0]}-{ephemeral[1]} (net.ipv4.ip_local_port_range): "
            "other programs may take single ports of the range"
        )
    pairs = (last - (first + first % 2) + 1) // 2
    if pairs < max_calls:
        findings.append(
            f"RTP ports {first}-{last} hold {pairs} pairs, fewer than {max_calls} calls"
        )
    return tuple(findings)


def check_file_descriptors(max_calls: int, *, soft: int, hard: int) -> tuple[str, ...]:
    """Findings about RLIMIT_NOFILE (``soft`` and ``hard``; negative means unlimited)."""
    needed = FDS_PER_CALL * max_calls + FDS_RESERVED
    if soft < 0 or soft >= needed:
        return ()
    advice = "raise the soft limit" if hard < 0 or hard >= needed else "raise the hard limit"
    return (
        f"{max_calls} calls need about {needed} file descriptors and the limit is {soft}: {advice}",
    )
