"""Keys as telephone-event packets (RFC 4733), both ways."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from sipbot.errors import LocalProtocolError, RtpError
from sipbot.rtp.sequence import add32, diff32

KEYS: Final = "0123456789*#ABCD"  # by event code, RFC 4733 section 3.2 table 3
_EVENT: Final = struct.Struct("!BBH")
_END: Final = 0x80
MAX_DURATION: Final = 0xFFFF  # RTP timestamp units that one packet can tell
STALE_S: Final = 1.0  # seconds of silence after which a packet cannot be of an ended event
SEGMENT_SLACK: Final = 1600  # timestamp units (200 ms) of a segment's end that may be lost

MIN_DURATION_MS: Final = 40
MAX_DURATION_MS: Final = 6000
MIN_GAP_MS: Final = 40
MAX_GAP_MS: Final = 6000
MAX_DIGITS: Final = 64  # keys in one DtmfSender
DEFAULT_VOLUME: Final = 10  # -dBm0
END_PACKETS: Final = 3  # RFC 4733 section 2.5.1.4: "a total of three times"


class DtmfReceiver:
    """Tells each key press once, at the first packet of it that arrives.

    A key press is known by its RTP timestamp, not by the marker bit or the end bit, both of which
    get lost. Call ``reset`` when the stream's SSRC changes.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the last event, as at the start of a stream."""
        self._event = -1  # code of the last event; -1: none yet
        self._timestamp = 0  # RTP timestamp of its (last segment's) start
        self._reach = 0  # timestamp units from there that it is known to last
        self._ended = False
        self._heard_at = 0.0  # seconds; when its last packet came

    def receive(self, payload: bytes, timestamp: int, marker: bool, now: float) -> str | None:
        """Take one packet; returns the key if it is the first heard of a key press.

        ``timestamp`` and ``marker`` come from the RTP header, ``now`` is in seconds. Events that
        are no keys (16 and above) are ignored. Raises ``RtpError("dtmf-short")``.
        """
        if len(payload) < _EVENT.size:
            raise RtpError("dtmf-short")
        event, flags, duration = _EVENT.unpack_from(payload)
        if event >= len(KEYS):
            return None
        if not self._is_known(event, timestamp, marker, now):
            self._event, self._timestamp, self._reach = event, timestamp, duration
            self._ended, self._heard_at = bool(flags & _END), now
            return KEYS[event]
        ahead = diff32(timestamp, self._timestamp)
        if event == self._event and ahead >= 0:
            self._timestamp = timestamp
            self._reach = max(self._reach - ahead, duration)
            self._ended |= bool(flags & _END)
            self._heard_at = now
        return None

    def _is_known(self, event: int, timestamp: int, marker: bool, now: float) -> bool:
        """Whether a packet belongs to the last key press or to one before it."""
        if self._event < 0:
            return False
        ahead = diff32(timestamp, self._timestamp)
        silent = now - self._heard_at > STALE_S
        if ahead == 0:
            return not (self._ended and silent)
        if ahead < 0:
            return not silent
        return event == self._event and self._continues(ahead, marker)

    def _continues(self, ahead: int, marker: bool) -> bool:
        """Whether a packet that starts ``ahead`` units later is still the same key press.

        RFC 4733 section 2.5.1.3: an event longer than the duration field can tell goes on as a
        new segment whose timestamp follows at the end of the one before, without marker bit.
        The end of the earlier segment may be lost. Also, a key cannot be pressed anew before it
        was released: a start inside the known duration is a sender that moves the timestamp on
        with each packet.
        """
        if marker:
            return False
        if ahead < self._reach:
            return True
        if self._ended:
            return False
        full_segment = self._reach >= MAX_DURATION - SEGMENT_SLACK and ahead <= MAX_DURATION
        return ahead == self._reach or full_segment


@dataclass(frozen=True, slots=True)
class DtmfPacket:
    """One telephone-event packet to send now.

    ``marker`` is set on the first packet of a key. All packets of a key carry the RTP timestamp
    of the tick in which that first one was sent, which is ``timestamp_offset`` units before the
    current one as long as no tick was missed.
    """

    payload: bytes
    marker: bool
    timestamp_offset: int

    def timestamp(self, current: int) -> int:
        """RTP timestamp of this packet when an audio packet of this tick had ``current``."""
        return add32(current, -self.timestamp_offset)


class DtmfSender:
    """Plans the packets for some keys: ask ``next_packet`` once for each packet time.

    Each key takes ``duration_ms`` (40 to 6000), then ``gap_ms`` of pause (40 to 6000), both
    rounded up to whole packet times. The last packet of a key and its two repetitions carry the
    end bit; the repetitions fall into the pause (RFC 4733 section 2.5.1.4). Raises
    ``LocalProtocolError`` for a character that is no key, too many keys or times out of range.
    """

    def __init__(
        self,
        digits: str,
        duration_ms: int = 100,
        gap_ms: int = 60,
        *,
        packet_ms: int = 20,
        clock_rate: int = 8000,
        volume: int = DEFAULT_VOLUME,
    ) -> None:
        codes = tuple(KEYS.find(digit) for digit in digits.upper())
        if len(codes) > MAX_DIGITS or -1 in codes:
            raise LocalProtocolError("keys must be at most 64 of 0-9, *, #, A-D")
        if not MIN_DURATION_MS <= duration_ms <= MAX_DURATION_MS or not 0 <= volume <= 63:
            raise LocalProtocolError("key duration or volume out of range")
        if not MIN_GAP_MS <= gap_ms <= MAX_GAP_MS or not 0 < packet_ms <= 60:
            raise LocalProtocolError("key pause or packet time out of range")
        self._codes, self._volume = codes, volume
        self._packet_ms, self._units = packet_ms, packet_ms * clock_rate // 1000
        self._lasting = -(-duration_ms // packet_ms)  # packets while the key is held
        self._period = self._lasting + max(-(-gap_ms // packet_ms), END_PACKETS - 1)
        self._tick = 0  # packet times that went by

    @property
    def done(self) -> bool:
        """Whether the last key and its pause are over."""
        return self._tick >= len(self._codes) * self._period

    @property
    def remaining_ms(self) -> int:
        """Time until ``done``."""
        return (len(self._codes) * self._period - self._tick) * self._packet_ms

    def next_packet(self) -> DtmfPacket | None:
        """The packet for this packet time; None in the rest of a pause and when done."""
        if self.done:
            return None
        index, step = divmod(self._tick, self._period)
        self._tick += 1
        last = self._lasting - 1
        if step > last + END_PACKETS - 1:
            return None
        flags = self._volume | (_END if step >= last else 0)
        duration = min((min(step, last) + 1) * self._units, MAX_DURATION)
        payload = _EVENT.pack(self._codes[index], flags, duration)
        return DtmfPacket(payload, step == 0, step * self._units)
