"""Every packet that is due, for all calls at once.

Departures lie on the plane's tick grid, so their spacing and their timestamps are exact by
construction: the timestamp of a packet is the time of the tick it was planned for. What a stall
of the process made impossible is left out, never sent in a burst.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sipbot.media.rings import RingBlock
from sipbot.media.slots import MARKER_BIT, NEVER, RATE, Slots
from sipbot.media.sockets import BATCH, MediaSockets
from sipbot.media.state import Dialling, StreamState
from sipbot.rtp import g711
from sipbot.rtp.packet import HEADER_BYTES, RtpPacket

ANSWER_MS: Final = 8  # from the tick that takes a packet to the next departure, at least
_MASK16: Final = 0xFFFF
_MASK32: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """Room for ``BATCH`` packets of one size: views of their fields, and of each packet whole."""

    word: NDArray[np.uint64]  # big-endian, shape (BATCH,)
    ssrc: NDArray[np.uint32]  # big-endian, shape (BATCH,)
    payload: NDArray[np.uint8]  # shape (BATCH, width)
    packets: list[memoryview]

    @classmethod
    def make(cls, width: int) -> _Outgoing:
        rows = np.zeros((BATCH, HEADER_BYTES + width), dtype=np.uint8)
        word, ssrc = rows[:, :8].view(">u8")[:, 0], rows[:, 8:12].view(">u4")[:, 0]
        return cls(word, ssrc, rows[:, HEADER_BYTES:], [row.data for row in rows])


class Sending:
    """The outbound half of the plane.

    ``tick_ms`` is the length of a tick. ``states[slot]`` is None for a slot
    that is not started.
    """

    def __init__(
        self,
        sockets: MediaSockets,
        slots: Slots,
        states: list[StreamState | None],
        tx: RingBlock,
        tick_ms: int,
    ) -> None:
        self.packets = 0
        self.dialling: set[int] = set()  # slots with keys to send
        self._sockets, self._slots, self._states, self._tx = sockets, slots, states, tx
        self._samples_per_tick = RATE * tick_ms // 1000
        self._tick_ms, self._answer_ticks = tick_ms, -(-ANSWER_MS // tick_ms)
        self._outs: dict[int, _Outgoing] = {}  # by samples a packet

    def run(self, tick: int, used: int, moved: NDArray[np.bool_]) -> None:
        """Send what is due in ``tick`` of slots below ``used``; marks slots that gave audio."""
        due, timestamps = self._due(tick, used, moved)
        if not len(due):
            return
        if self.dialling:
            due, timestamps = self._dial(due, timestamps)
        for start in range(0, len(due), BATCH):
            part = slice(start, start + BATCH)
            self._by_width(due[part], timestamps[part], moved)

    def _due(
        self, tick: int, used: int, moved: NDArray[np.bool_]
    ) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Slots that are to be sent here, and their RTP timestamps.

        The compiled path sends what needs no decision at once.
        """
        fast, sockets = self._sockets.fast, self._sockets
        if fast is None:
            due = np.flatnonzero(self._slots.due[:used] <= tick)
            return due, self._schedule(due, tick)
        sent, left, failed = fast.send(tick, used, self.dialling, moved)
        self.packets += sent
        for slot, error, packet in failed:
            if error == errno.ECONNREFUSED:
                sockets.send_again(slot, packet)
            else:
                sockets.send_errors[slot] += 1
        slots = np.array([slot for slot, _ in left], dtype=np.intp)
        return slots, np.array([timestamp for _, timestamp in left], dtype=np.int64)

    def align(self, slot: int, tick: int, slack_ms: int) -> None:
        """Move the departures of a slot to just after what arrived in ``tick``.

        Then an answer that is ready at once leaves after ``ANSWER_MS``. Departures that are up to
        ``slack_ms`` later than that stay. The shift is shorter than a packet time and timestamps
        follow it.
        """
        slots = self._slots
        if slots.due[slot] == NEVER:
            return
        period, due = int(slots.period[slot]), int(slots.due[slot])
        slack = slack_ms // self._tick_ms
        shift = (tick + self._answer_ticks - due) % period
        if 0 < shift < period - slack:
            slots.due[slot] = due + shift

    def flush(self, used: int, moved: NDArray[np.bool_]) -> None:
        """Pass over what the writers of slots below ``used`` want nobody to hear any more."""
        tx = self._tx
        for slot in np.flatnonzero(tx.flush_to[:used] > tx.tail[:used]).tolist():
            tx.flush(slot, int(tx.flush_to[slot]))
            moved[slot] = True

    def _by_width(
        self, due: NDArray[np.intp], timestamps: NDArray[np.int64], moved: NDArray[np.bool_]
    ) -> None:
        frames = self._slots.frame[due]
        width = int(frames[0])
        if (frames == width).all():
            self._audio(due, timestamps, width, moved)
            return
        for width in np.unique(frames).tolist():
            rows = np.flatnonzero(frames == width)
            self._audio(due[rows], timestamps[rows], width, moved)

    def _schedule(self, due: NDArray[np.intp], tick: int) -> NDArray[np.int64]:
        """Plan the departures after these; returns the RTP timestamps of these."""
        slots = self._slots
        planned, period = slots.due[due], slots.period[due]
        behind = tick - planned
        if behind.any():
            slots.late_departures[due] += behind > 1
            missed = behind // period
            planned += missed * period
            slots.marker[due[missed > 0]] = True  # RFC 3551 section 4.1: a new talkspurt
        slots.due[due] = planned + period
        return slots.origin[due] + planned * self._samples_per_tick

    def _audio(
        self,
        due: NDArray[np.intp],
        timestamps: NDArray[np.int64],
        width: int,
        moved: NDArray[np.bool_],
    ) -> None:
        slots, count = self._slots, len(due)
        pcm, given = self._tx.take_many(due, width)
        moved[due] |= given > 0
        out = self._out(width)
        out.payload[:count] = self._encode(due, pcm)
        sequence = slots.sequence[due]
        slots.sequence[due] = sequence + 1
        slots.packets_sent[due] += 1
        slots.bytes_sent[due] += width
        words = ((sequence & _MASK16) << 32 | (timestamps & _MASK32)).view(np.uint64)
        words |= slots.first_word[due]
        marker = slots.marker[due]
        if marker.any():
            words[marker] |= np.uint64(MARKER_BIT)
            slots.marker[due] = False
        out.word[:count] = words
        out.ssrc[:count] = slots.local_ssrc[due]
        self.packets += count
        if slots.secured_count and slots.secured[due].any():
            self._sockets.send(due.tolist(), self._protect(due, out.packets))
        else:
            self._sockets.send(due.tolist(), out.packets)

    def _encode(self, due: NDArray[np.intp], pcm: NDArray[np.int16]) -> NDArray[np.uint8]:
        mulaw = self._slots.mulaw[due]
        if not mulaw.any():
            return g711.encode("PCMA", pcm)
        if mulaw.all():
            return g711.encode("PCMU", pcm)
        return np.where(mulaw[:, None], g711.encode("PCMU", pcm), g711.encode("PCMA", pcm))

    def _protect(self, due: NDArray[np.intp], views: list[memoryview]) -> list[memoryview | bytes]:
        packets: list[memoryview | bytes] = []
        for slot, view in zip(due.tolist(), views, strict=False):
            state = self._states[slot]
            srtp = None if state is None else state.srtp
            packets.append(view if srtp is None else srtp.protect(bytes(view)))
        return packets

    def _out(self, width: int) -> _Outgoing:
        made = self._outs.get(width)
        if made is None:
            made = self._outs[width] = _Outgoing.make(width)
        return made

    # --- keys -----------------------------------------------------------------------------------

    def _dial(
        self, due: NDArray[np.intp], timestamps: NDArray[np.int64]
    ) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Send the keys that are due; returns those slots that send audio instead."""
        audio = np.ones(len(due), dtype=np.bool_)
        for row, slot in enumerate(due.tolist()):
            state = self._states[slot] if slot in self.dialling else None
            if state is None:
                continue
            audio[row] = not self._key(state, int(timestamps[row]))
            if not state.dialling:
                self.dialling.discard(slot)
        return due[audio], timestamps[audio]

    def _key(self, state: StreamState, timestamp: int) -> bool:
        """Send one telephone-event packet in place of audio, if one is due."""
        while state.dialling and state.dialling[0].sender.done:
            state.dialling.pop(0)
        payload_type = state.spec.dtmf_payload_type
        if not state.dialling or payload_type is None:
            state.dialling.clear()
            return False
        dialling = state.dialling[0]
        planned = dialling.sender.next_packet()
        if planned is None:
            return False
        if planned.marker:
            dialling.timestamp = timestamp
        self._send_key(state, dialling, payload_type, planned.payload, planned.marker)
        return True

    def _send_key(
        self,
        state: StreamState,
        dialling: Dialling,
        payload_type: int,
        payload: bytes,
        marker: bool,
    ) -> None:
        slots, slot = self._slots, state.slot
        packet = RtpPacket(
            payload_type=payload_type,
            sequence=int(slots.sequence[slot]) & _MASK16,
            timestamp=dialling.timestamp & _MASK32,
            ssrc=int(slots.local_ssrc[slot]),
            payload=payload,
            marker=marker,
        ).serialize()
        slots.sequence[slot] += 1
        slots.packets_sent[slot] += 1
        slots.bytes_sent[slot] += len(payload)
        self.packets += 1
        self._sockets.send((slot,), (packet if state.srtp is None else state.srtp.protect(packet),))
