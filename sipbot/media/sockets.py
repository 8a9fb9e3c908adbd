"""The datagrams of all calls: the one place where the media plane meets the kernel.

The plane sees arrays: ``receive`` fills rows of an arena with what came in, ``send`` lets rows of
another arena go out. Another way to take packets in and out replaces this module alone.

A stream whose source is known has its RTP socket connected to it: the kernel then refuses other
sources by itself, and finds the route and the socket faster (about 0.5 us of 3 us less a packet,
each way). So that refused packets are still seen, a second socket, the guard, is bound to the same
port without being connected, and receives what the first one does not. It is bound from the start,
because Linux gives a packet to the socket bound last when several would do: so all packets from
before the connection are in the guard's queue, and their order is known.

Where there is a compiled path (``fast``), it reads the connected sockets and takes at once what it
can; what it leaves, and all other sockets, come through here.
"""

from __future__ import annotations

import select
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sipbot.media.fast import FastPath
from sipbot.media.ports import PortPair
from sipbot.media.source import Address

BATCH: Final = 2_048  # packets taken in or sent out in one pass
ROW_BYTES: Final = 640  # of a packet: 60 ms of G.711, header extensions and SRTP tag fit
CONTROL_BYTES: Final = 1_500  # of an RTCP packet
MAX_CONTROL: Final = 1_024  # RTCP packets kept for one tick
MAX_HELD: Final = 64  # packets that may wait in a socket while its source becomes known
CAN_CONNECT: Final = sys.platform == "linux"  # needs Linux's rules for bound and connected UDP

_FOREIGN: Final = 1 << 16  # flag beside a length: the kernel did not check the source
_DONE: Final = -1  # instead of a length: the datagram is not a row

_NO_FD: Final = -1  # of a slot whose socket is not connected
_FD_ROOM: Final = 256  # descriptors that the tables grow by, at least

_Receive: TypeAlias = Callable[[memoryview], int]
_Send: TypeAlias = Callable[[memoryview | bytes], object]


@dataclass(slots=True)
class _Port:
    pair: PortPair
    guard: socket.socket | None = None

    def rtp_sockets(self) -> tuple[socket.socket, ...]:
        return (self.pair.rtp,) if self.guard is None else (self.pair.rtp, self.guard)


class MediaSockets:
    """Sockets of ``slots`` calls, polled by one epoll object."""

    def __init__(self, slots: int) -> None:
        self.fast: FastPath | None = None  # set by the owner, before any packet
        self.taken = 0  # packets that the compiled path took in the last pass
        self.trims: list[int] = []  # slots whose echo it found too long
        self.arena: NDArray[np.uint8] = np.zeros((BATCH, ROW_BYTES), dtype=np.uint8)
        self.lengths: NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # of the rows received
        self.slots: NDArray[np.intp] = np.zeros(0, dtype=np.intp)  # of the rows received
        self.sources: dict[int, Address] = {}  # row -> source that the caller must judge
        self.control: deque[tuple[int, bytes, Address]] = deque(maxlen=MAX_CONTROL)  # RTCP
        self.send_errors: NDArray[np.int64] = np.zeros(slots, dtype=np.int64)
        self.icmp_errors = 0  # "port unreachable" and the like, told by the kernel
        self._views = [memoryview(row) for row in self.arena]
        self._ports: dict[int, _Port] = {}
        self._senders: list[_Send] = [_send_nowhere] * slots
        self._receivers: list[_Receive] = []  # by file descriptor
        self._slot_of_fd: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._connected: NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)  # 1 by file descriptor
        self.send_fds: NDArray[np.int64] = np.full(slots, _NO_FD, dtype=np.int64)  # connected
        self._lengths: NDArray[np.int64] = np.zeros(BATCH, dtype=np.int64)
        self._fds: NDArray[np.int64] = np.zeros(BATCH, dtype=np.int64)
        self._gave: NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)  # by descriptor, last pass
        self._found: list[Address] = []  # sources of the rows that carry _FOREIGN
        self._held: deque[tuple[int, bytes, Address]] = deque()
        self._poller: select.epoll | select.poll
        self._poll: Callable[[], list[tuple[int, int]]]
        if CAN_CONNECT:
            self._poller = epoll = select.epoll()
            self._poll = lambda: epoll.poll(0, BATCH)
        else:
            self._poller = poll = select.poll()
            self._poll = lambda: poll.poll(0)

    # --- life of a port -------------------------------------------------------------------------

    def open(self, slot: int, pair: PortPair, remote: Address) -> None:
        """Poll a pair for ``slot``; nobody is locked yet. What came before is thrown away."""
        port = self._ports[slot] = _Port(pair, _bind_guard(pair) if CAN_CONNECT else None)
        for _ in range(MAX_HELD):
            if self._take_stray(pair.rtp) is None:
                break
        for sock in port.rtp_sockets():
            self._watch(sock, slot, self._learner(sock))
        self._watch(pair.rtcp, slot, self._control_receiver(pair.rtcp, slot))
        self.aim(slot, remote)

    def aim(self, slot: int, remote: Address) -> None:
        """Send to ``remote`` from now on, and report the source of each packet received."""
        port = self._ports[slot]
        sendto = port.pair.rtp.sendto
        self._senders[slot] = lambda data: sendto(data, remote)
        self.send_fds[slot] = _NO_FD
        for sock in port.rtp_sockets():
            self._receivers[sock.fileno()] = self._learner(sock)
            self._connected[sock.fileno()] = 0

    def mute(self, slot: int) -> None:
        """Send nowhere."""
        self._senders[slot] = _send_nowhere
        self.send_fds[slot] = _NO_FD

    def lock(self, slot: int, source: Address) -> None:
        """Exchange packets with ``source`` alone."""
        if not CAN_CONNECT:
            self.aim(slot, source)
            return
        port = self._ports[slot]
        rtp = port.pair.rtp
        try:
            rtp.connect(source)
        except OSError:
            self.aim(slot, source)
            return
        # What is queued now was let in by the kernel before it knew the source; what comes from
        # here on is checked by it.
        for sock in reversed(port.rtp_sockets()):
            for _ in range(MAX_HELD):
                stray = self._take_stray(sock)
                if stray is None:
                    break
                self._held.append((slot, *stray))
        self._receivers[rtp.fileno()] = rtp.recv_into
        self._connected[rtp.fileno()] = 1
        self._senders[slot] = rtp.send
        self.send_fds[slot] = rtp.fileno()

    def close(self, slot: int) -> PortPair:
        """Stop polling; returns the pair for quarantine."""
        port = self._ports.pop(slot)
        for sock in (*port.rtp_sockets(), port.pair.rtcp):
            self._poller.unregister(sock.fileno())
            self._receivers[sock.fileno()] = _receive_nothing
            self._connected[sock.fileno()] = 0
        if port.guard is not None:
            port.guard.close()
        self.mute(slot)
        self._held = deque(entry for entry in self._held if entry[0] != slot)
        return port.pair

    def shut(self) -> None:
        """Close the poller; all slots must be closed before."""
        if isinstance(self._poller, select.epoll):
            self._poller.close()

    # --- packets --------------------------------------------------------------------------------

    def receive(self, now: float, moved: NDArray[np.bool_], *, again: bool = False) -> int:
        """Take at most one packet from each socket that has one; returns how many rows.

        Fills ``arena``, ``lengths`` and ``slots``, and ``sources`` for those rows whose source
        the kernel did not check. RTCP goes to ``control``. What the compiled path takes makes no
        row, it is counted in ``taken`` and marked in ``moved``. With ``again`` only sockets are
        read that gave a packet the last time: what others got meanwhile is not worth a pass of its
        own. ``now`` in seconds.
        """
        self._found.clear()
        self.sources.clear()
        slots = self._replay()
        replayed = len(slots)
        row, others = self._poll_once(replayed, now, moved, again)
        row = self._receive_each(others, row)
        if not row:
            return 0
        fds = self._fds[replayed:row]
        self.slots = self._slot_of_fd[fds]
        if replayed:
            self.slots = np.concatenate((np.array(slots, dtype=np.intp), self.slots))
        self.lengths = self._lengths[:row]
        if self._found:
            foreign = np.flatnonzero(self.lengths & _FOREIGN).tolist()
            self.sources.update(zip(foreign, self._found, strict=True))
            self.lengths &= _FOREIGN - 1
        return row

    def _poll_once(
        self, row: int, now: float, moved: NDArray[np.bool_], again: bool
    ) -> tuple[int, list[int]]:
        """Fill rows from ``row`` on; the next free one, and descriptors that are still to be read.

        The compiled path reads all connected sockets; without it none is read here.
        """
        if self.fast is None or not isinstance(self._poller, select.epoll):
            polled = [fd for fd, _ in self._poll()]
            if again:
                polled = [fd for fd in polled if self._gave[fd]]
            self._gave[:] = 0
            return row, polled
        row, self.taken, others, self.trims, errors = self.fast.receive(
            self._poller.fileno(),
            now,
            self.arena,
            row,
            (self._lengths, self._fds),
            (self._connected, self._slot_of_fd, self._gave),
            again,
            moved,
        )
        self.icmp_errors += errors
        return row, others

    def _receive_each(self, fds: Sequence[int], row: int) -> int:
        """Read one packet of each into rows from ``row`` on; returns the next free one."""
        views, receivers = self._views, self._receivers
        for fd in fds:
            if row == BATCH:
                break
            try:
                length = receivers[fd](views[row])
            except BlockingIOError:
                continue
            except OSError:
                self.icmp_errors += 1
                continue
            if length >= 0:
                self._fds[row], self._lengths[row], self._gave[fd] = fd, length, 1
                row += 1
        return row

    def send(self, slots: Sequence[int], packets: Sequence[memoryview | bytes]) -> None:
        """Send one packet for each of ``slots``; failures are counted, never raised."""
        senders = self._senders
        for slot, packet in zip(slots, packets, strict=False):
            try:
                senders[slot](packet)
            except ConnectionRefusedError:
                self.send_again(slot, packet)
            except OSError:
                self.send_errors[slot] += 1

    def send_control(self, slot: int, packet: bytes, remote: Address) -> None:
        """Send one RTCP packet from the port for it."""
        try:
            self._ports[slot].pair.rtcp.sendto(packet, remote)
        except OSError:
            self.send_errors[slot] += 1

    # --- inside ---------------------------------------------------------------------------------

    def send_again(self, slot: int, packet: memoryview | bytes) -> None:
        """The error was the ICMP answer to an earlier packet, and this one was not sent."""
        self.icmp_errors += 1
        try:
            self._senders[slot](packet)
        except OSError:
            self.send_errors[slot] += 1

    def _watch(self, sock: socket.socket, slot: int, receive: _Receive) -> None:
        fd = sock.fileno()
        missing = fd + 1 - len(self._receivers)
        if missing > 0:
            missing = max(missing, _FD_ROOM)
            self._receivers += [_receive_nothing] * missing
            self._slot_of_fd = np.append(self._slot_of_fd, np.zeros(missing, dtype=np.intp))
            flags = np.zeros(missing, dtype=np.uint8)
            self._connected = np.append(self._connected, flags)
            self._gave = np.append(self._gave, flags)
        self._receivers[fd] = receive
        self._slot_of_fd[fd] = slot
        self._poller.register(fd, select.POLLIN)

    def _learner(self, sock: socket.socket) -> _Receive:
        """Receive with the source, for a socket that the kernel lets everybody send to."""
        receive_from, found = sock.recvfrom_into, self._found

        def receive(view: memoryview) -> int:
            length, address = receive_from(view)
            found.append(address[:2])
            return length | _FOREIGN

        return receive

    def _control_receiver(self, sock: socket.socket, slot: int) -> _Receive:
        receive_from, control = sock.recvfrom, self.control

        def receive(_: memoryview) -> int:
            data, address = receive_from(CONTROL_BYTES)
            control.append((slot, data, address[:2]))
            return _DONE

        return receive

    def _take_stray(self, sock: socket.socket) -> tuple[bytes, Address] | None:
        try:
            data, address = sock.recvfrom(ROW_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            self.icmp_errors += 1
            return b"", ("", 0)
        return data, address[:2]

    def _replay(self) -> list[int]:
        """Put what was held while a source became known into the first rows, oldest first.

        Returns their slots. They precede anything that is still in a socket, and as their source
        is yet to be judged they are taken one by one, so a slot may have several of them.
        """
        slots: list[int] = []
        while self._held and len(slots) < BATCH // 2:
            slot, data, source = self._held.popleft()
            if not data:
                continue
            row = len(slots)
            self._views[row][: len(data)] = data
            self._lengths[row] = len(data) | _FOREIGN
            slots.append(slot)
            self._found.append(source)
        return slots


def _send_nowhere(_: memoryview | bytes) -> None:
    return None


def _receive_nothing(_: memoryview) -> int:
    return _DONE


def _bind_guard(pair: PortPair) -> socket.socket | None:
    """A second socket on the RTP port of ``pair``, or None if the kernel refuses.

    Both must allow sharing while the second is bound, and not before or after, so that the pool
    still notices ports that other programs hold, and they ours.
    """
    guard = socket.socket(pair.rtp.family, socket.SOCK_DGRAM)
    try:
        guard.setblocking(False)
        if pair.rtp.family == socket.AF_INET6:
            guard.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for sock in (pair.rtp, guard):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        guard.bind((pair.local_ip, pair.port))
    except OSError:
        guard.close()
        return None
    finally:
        pair.rtp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return guard
