"""Everything that came in since the last tick, for all calls at once.

Packets that are exactly the next ones of their streams are checked, counted, decoded and written
to the rings as arrays. The others go one by one to their stream's ``Inbound``.
"""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sipbot.errors import RtpError
from sipbot.media.rings import RingBlock
from sipbot.media.slots import RATE, Slots, header_ssrcs, header_words
from sipbot.media.sockets import ROW_BYTES, MediaSockets
from sipbot.media.source import Address, Verdict
from sipbot.media.state import StreamState
from sipbot.rtp import g711
from sipbot.rtp.packet import HEADER_BYTES, RtpPacket
from sipbot.rtp.rtcp import looks_like_rtcp
from sipbot.rtp.statistics import MAX_TRANSIT_STEP

News: TypeAlias = deque[tuple[StreamState, str | None]]  # a key, or None: media time-out

LOOPBACK_SAMPLES: Final = 320  # echo that may wait to leave: 40 ms, more is dropped
SETTLING_S: Final = 0.5  # after the first packet, until arrivals can be trusted to be regular
SLACK_MS: Final = 5  # milliseconds by which departures may be later than arrivals ask for
STANDING: Final = 50  # packets in a row that found another one still waiting: a queue to shorten
_STUN: Final = range(4)  # first byte, RFC 7983 section 7
_DTLS: Final = range(20, 64)


class Receiving:
    """The inbound half of the plane. ``states[slot]`` is None for a slot that is not started."""

    def __init__(
        self,
        sockets: MediaSockets,
        slots: Slots,
        states: list[StreamState | None],
        rx: RingBlock,
        tx: RingBlock,
        news: News,
    ) -> None:
        self.packets = 0  # taken from the kernel, refused ones included
        self.waiting: dict[int, float] = {}  # slots whose gap runs out of time, and when
        # Slots whose departures should follow arrivals anew -> by how many ms they may miss.
        self.to_align: dict[int, int] = {}
        self._settling: dict[int, float] = {}  # slots whose alignment is to be looked at, and when
        self._sockets, self._slots, self._states = sockets, slots, states
        self._rx, self._tx, self._news = rx, tx, news

    def run(self, now: float, passes: int, grown: NDArray[np.bool_]) -> None:
        """Take what is there, up to ``passes`` packets a call; marks slots that got audio."""
        self.to_align.clear()
        for count in range(passes):
            sockets = self._sockets
            rows = sockets.receive(now, grown, again=count > 0)
            if not rows and not sockets.taken:
                break
            self.packets += rows + sockets.taken
            if rows:
                self._batch(rows, now, grown)
            for slot in sockets.trims:
                self._trim_echo(slot)
        for slot, deadline in tuple(self.waiting.items()):
            if deadline <= now:
                self._expire(slot, now, grown)
        if self._settling:
            self._settle(now)

    def forget(self, slot: int) -> None:
        """The slot was closed."""
        self.waiting.pop(slot, None)
        self._settling.pop(slot, None)

    def _settle(self, now: float) -> None:
        """Look again at streams that began a while ago, in a tick in which they had a packet.

        The first packets of a call may have waited for its set-up, and tell little about when
        the others will come.
        """
        for slot, at in tuple(self._settling.items()):
            if at <= now and self._slots.audio_at[slot] == now:
                del self._settling[slot]
                self.to_align[slot] = SLACK_MS

    def _batch(self, rows: int, now: float, grown: NDArray[np.bool_]) -> None:
        sockets = self._sockets
        arena, owners, lengths = sockets.arena[:rows], sockets.slots, sockets.lengths
        slots = self._slots
        done: NDArray[np.bool_] | None = None
        if sockets.sources or slots.secured_count:
            done = self._screen(rows, now, grown)
        words = header_words(arena)
        smooth = words == slots.last_word[owners] + slots.step[owners]
        smooth &= lengths == slots.width[owners] + HEADER_BYTES
        smooth &= header_ssrcs(arena) == slots.ssrc[owners]
        if done is None and smooth.all():
            self._in_order(owners, arena, words, now, grown)
            return
        left = np.ones(rows, dtype=np.bool_) if done is None else ~done
        fine = np.flatnonzero(smooth & left)
        if len(fine):
            self._in_order(owners[fine], arena[fine], words[fine], now, grown)
        for row in np.flatnonzero(~smooth & left).tolist():
            self._one(int(owners[row]), arena[row, : lengths[row]].tobytes(), now, grown)

    # --- the beaten path ------------------------------------------------------------------------

    def _in_order(
        self,
        owners: NDArray[np.intp],
        packets: NDArray[np.uint8],
        words: NDArray[np.uint64],
        now: float,
        grown: NDArray[np.bool_],
    ) -> None:
        """Packets of distinct slots, each exactly the one expected."""
        slots = self._slots
        slots.last_word[owners] = words
        slots.audio_at[owners] = now
        slots.fed[owners] = 0
        grown[owners] = True
        self._count(owners, words, now)
        kinds = slots.kind[owners]
        kind = int(kinds[0])
        if (kinds == kind).all():
            self._decode(kind, owners, packets)
            return
        for kind in np.unique(kinds).tolist():
            rows = np.flatnonzero(kinds == kind)
            self._decode(kind, owners[rows], packets[rows])

    def _count(self, owners: NDArray[np.intp], words: NDArray[np.uint64], now: float) -> None:
        """RFC 3550 A.3 and A.8, reduced to what packets in order need."""
        slots, statistics = self._slots, self._slots.statistics
        statistics.extended_max[owners] += 1
        statistics.received[owners] += 1
        slots.bytes_received[owners] += slots.width[owners]
        arrival = int(now * RATE) & 0xFFFF_FFFF
        transit = (np.uint32(arrival) - words.astype(np.uint32)).view(np.int32).astype(np.int64)
        step = np.abs(transit - statistics.transit[owners])
        jitter = statistics.jitter16[owners]
        step -= (jitter + 8) >> 4
        jitter += np.where(step > MAX_TRANSIT_STEP, 0, step)
        statistics.jitter16[owners] = jitter
        statistics.transit[owners] = transit

    def _decode(self, kind: int, owners: NDArray[np.intp], packets: NDArray[np.uint8]) -> None:
        payload = packets[:, HEADER_BYTES : HEADER_BYTES + (kind >> 2)]
        pcm = g711.decode("PCMU" if kind & 2 else "PCMA", payload)
        if not kind & 1:
            self._rx.push_many(owners, pcm)
            return
        self._echo(owners, pcm)

    def _echo(self, owners: NDArray[np.intp], pcm: NDArray[np.int16]) -> None:
        """Queue what came in to go out again, and keep that queue from staying long."""
        slots, tx = self._slots, self._tx
        before = tx.waiting(owners)
        tx.push_many(owners, pcm)
        standing = np.where(before >= pcm.shape[1], slots.standing[owners] + 1, 0)
        slots.standing[owners] = standing
        for row in np.flatnonzero((before > LOOPBACK_SAMPLES) | (standing > STANDING)).tolist():
            self._trim_echo(int(owners[row]))

    # --- one by one -----------------------------------------------------------------------------

    def _screen(self, rows: int, now: float, grown: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Look at rows before the beaten path does: SRTP, or a source to be judged.

        Plain packets of known sources replace the secured ones in the arena. Returns which rows
        are done with, because they were refused or taken here.
        """
        sockets = self._sockets
        done = np.zeros(rows, dtype=np.bool_)
        secured = np.flatnonzero(self._slots.secured[sockets.slots]).tolist()
        for row in sorted({*secured, *sockets.sources}):
            slot, length = int(sockets.slots[row]), int(sockets.lengths[row])
            state = self._states[slot]
            data = sockets.arena[row, :length].tobytes()
            source = sockets.sources.get(row)
            done[row] = True
            if state is None:
                continue
            plain = self._unprotect(state, data, source)
            if plain is None:
                continue
            if source is not None:
                self._judge(state, plain, source, now, grown)
                continue
            sockets.arena[row, : len(plain)] = np.frombuffer(plain, dtype=np.uint8)
            sockets.lengths[row] = len(plain)
            done[row] = False
        return done

    def _unprotect(self, state: StreamState, data: bytes, source: Address | None) -> bytes | None:
        """The plain packet, or None when it is refused or is RTCP."""
        if source is not None and not state.source.may_be(source):
            state.drops[Verdict.REFUSE.value] += 1
            return None
        if looks_like_rtcp(data):
            self._sockets.control.append((state.slot, data, source or state.source.target))
            return None
        if state.srtp is None:
            return data
        try:
            return state.srtp.unprotect(data)
        except RtpError as error:
            state.drops[_name_rule(data, error.reason)] += 1
            return None

    def _judge(
        self,
        state: StreamState,
        data: bytes,
        source: Address,
        now: float,
        grown: NDArray[np.bool_],
    ) -> None:
        packet = self._parse(state, data)
        if packet is None:
            return
        if not state.inbound.knows(packet.payload_type):
            state.drops["payload-type"] += 1
            return
        verdict = state.source.judge(source, packet.ssrc, packet.sequence, now)
        if verdict is Verdict.LOCK:
            self._sockets.lock(state.slot, source)
        if verdict in (Verdict.ACCEPT, Verdict.LOCK):
            self._take(state, packet, now, grown)
        else:
            state.drops[verdict.value] += 1

    def _one(self, slot: int, data: bytes, now: float, grown: NDArray[np.bool_]) -> None:
        """A packet of the right source, already plain."""
        state = self._states[slot]
        if state is None:
            return
        if looks_like_rtcp(data):
            if state.srtp is None:
                self._sockets.control.append((slot, data, state.source.target))
            return
        packet = self._parse(state, data)
        if packet is not None:
            self._take(state, packet, now, grown)

    def _parse(self, state: StreamState, data: bytes) -> RtpPacket | None:
        if len(data) >= ROW_BYTES:
            state.drops["rtp-long"] += 1
            return None
        try:
            return RtpPacket.parse(data)
        except RtpError as error:
            state.drops[_name_rule(data, error.reason)] += 1
            return None

    def _take(
        self, state: StreamState, packet: RtpPacket, now: float, grown: NDArray[np.bool_]
    ) -> None:
        slot = state.slot
        if not self._slots.receiving[slot]:
            state.drops["not-receiving"] += 1
            return
        if not self._slots.statistics.row(slot).begun:
            self.to_align[slot] = 0
            self._settling[slot] = now + SETTLING_S
        for digit in state.inbound.packet(packet, now):
            self._news.append((state, digit))
        self._after(state, grown)

    def _expire(self, slot: int, now: float, grown: NDArray[np.bool_]) -> None:
        state = self._states[slot]
        self.waiting.pop(slot, None)
        if state is not None:
            state.inbound.expire(now)
            self._after(state, grown)

    def _after(self, state: StreamState, grown: NDArray[np.bool_]) -> None:
        slot = state.slot
        grown[slot] = True
        deadline = state.inbound.deadline
        if deadline is None:
            self.waiting.pop(slot, None)
        else:
            self.waiting[slot] = deadline
        if self._slots.loopback[slot] and self._tx.backlog(slot) > LOOPBACK_SAMPLES:
            self._trim_echo(slot)

    def _trim_echo(self, slot: int) -> None:
        """Drop the oldest echo where too much waits, or a packet's worth has waited for long.

        The latter happens when arrivals and departures fall together, so that now the one and now
        the other comes first: then they are moved apart. The plane is the reader of the outbound
        ring, so it may pass over samples.
        """
        tx, slots = self._tx, self._slots
        keep = LOOPBACK_SAMPLES
        if slots.standing[slot] > STANDING:
            slots.standing[slot] = 0
            self.to_align[slot] = 0
            keep = tx.backlog(slot) - int(slots.width[slot])
        tx.flush(slot, int(tx.head[slot]) - keep)


def _name_rule(data: bytes, reason: str) -> str:
    """What a datagram that is no RTP really is (RFC 7983 section 7), else ``reason``."""
    first = data[0] if data else -1
    if first in _STUN:
        return "stun"
    return "dtls" if first in _DTLS else reason
