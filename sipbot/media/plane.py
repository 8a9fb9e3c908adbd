"""The media plane: every RTP socket, one clock, arrays over all calls.

``MediaPlane.tick`` does one pass for all calls: receive, process, send what is due. It is called
on a fixed grid (``clockwork`` does that) and holds no clock of its own but the one for RTCP's wall
time, so that tests drive it by hand.

The grid is 4 ms where there is the compiled path, for which a tick costs little, else 5 ms: that is
the longest that a packet waits for its tick. Departures of the calls are spread over the phases of
a 20 ms packet time, so that sockets and the other side see an even flow.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sipbot.clock import Clock
from sipbot.errors import LocalProtocolError, MediaError
from sipbot.media.fast import FastPath, compiled
from sipbot.media.handle import MediaStream
from sipbot.media.opening import configure_sending, open_state, secure, stream_stats
from sipbot.media.ports import PortPair, PortPool
from sipbot.media.receiving import LOOPBACK_SAMPLES, STANDING, News, Receiving
from sipbot.media.reports import Reporting
from sipbot.media.rings import RingBlock
from sipbot.media.sending import Sending
from sipbot.media.slots import NEVER, RATE, Slots
from sipbot.media.sockets import MediaSockets
from sipbot.media.source import is_sendable, literal_address
from sipbot.media.state import Dialling, StreamState
from sipbot.media.stream import StreamListener, StreamSpec, StreamStats
from sipbot.rtp.dtmf import DtmfSender

__all__ = ["MediaPlane", "MediaStream", "PlaneConfig", "PlaneCounters"]

PACKET_MS: Final = 20  # the usual packet time, and how often quiet streams are looked after
QUIET_AFTER_S: Final = 0.1  # seconds without audio after which silence is written
FEED_SAMPLES: Final = 160  # silence written at a time: 20 ms
MAX_FEEDS: Final = 128  # chunks of silence in one tick: more than a ring holds
PASSES: Final = 16  # packets taken of one socket in a tick
LATE_PASSES: Final = 512  # the same after a stall, to be up to date at once
LATE_MS: Final = 15  # missed ticks of so many milliseconds in all count as a stall
FAST_TICK_MS: Final = 4  # tick of a plane with the compiled path
TICK_MS: Final = 5  # the same with numpy alone
EARLY_S: Final = 0.001  # seconds that a timer may fire before its time
MAX_DIALLING: Final = 8  # calls of ``send_dtmf`` that may wait
LATENESS_MS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # upper bounds of the histogram


@dataclass(frozen=True, slots=True)
class PlaneConfig:
    """What a plane is made for. Times are in seconds unless the name says otherwise."""

    slots: int = 500  # calls at a time
    tick_ms: int = TICK_MS  # a divisor of 20; see ``best_tick_ms``
    media_timeout_s: float = 30.0  # without any RTP, while we should receive
    initial_media_timeout_s: float = 60.0  # the same before the first packet
    latch_window_s: float = 5.0  # in which one other source than the negotiated may be adopted
    rtcp_interval_s: float = 5.0
    cname: str = "sipbot"  # RTCP's name for us; tells nothing about a caller

    def __post_init__(self) -> None:
        if self.slots < 1 or self.tick_ms < 1 or PACKET_MS % self.tick_ms:
            raise LocalProtocolError("the plane needs slots, and a tick that divides 20 ms")


def best_tick_ms() -> int:
    """The tick to choose on this machine."""
    return TICK_MS if compiled() is None else FAST_TICK_MS


@dataclass(slots=True)
class PlaneCounters:
    """What the plane counts beside its streams.

    ``lateness`` counts ticks by how late they began: entry i those within ``LATENESS_MS[i]``, the
    last entry all others. ``lateness_s`` is the sum of it all, in seconds.
    """

    ticks: int = 0
    missed_ticks: int = 0
    lateness: list[int] = field(default_factory=lambda: [0] * (len(LATENESS_MS) + 1))
    lateness_s: float = 0.0
    packets_in: int = 0
    packets_out: int = 0
    icmp_errors: int = 0
    send_errors: int = 0
    listener_errors: int = 0


class MediaPlane:
    """All media streams of a process. Not thread-safe: belongs to the thread that ticks it.

    ``rx`` and ``tx`` are the rings towards the agents and towards the peers; by default the plane
    makes its own. ``entropy`` returns that many random bytes of cryptographic quality.
    ``on_error`` hears of exceptions that listeners raised.
    """

    def __init__(
        self,
        config: PlaneConfig,
        ports: PortPool,
        *,
        clock: Clock,
        entropy: Callable[[int], bytes],
        rx: RingBlock | None = None,
        tx: RingBlock | None = None,
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        count = config.slots
        self.config, self.ports = config, ports
        self.rx = RingBlock(count) if rx is None else rx
        self.tx = RingBlock(count) if tx is None else tx
        if self.rx.slots < count or self.tx.slots < count:
            raise LocalProtocolError("the rings have fewer slots than the plane")
        self._counters = PlaneCounters()
        self.clock, self._entropy, self._on_error = clock, entropy, on_error
        self._tick_s = config.tick_ms / 1000
        self._epoch, self._tick = clock.monotonic(), 0
        self._rest_until = 0  # tick that is awaited while there are no streams
        self._slots = Slots(count)
        self._states: list[StreamState | None] = [None] * count
        self._free = list(range(count))  # a heap: low slots first keeps the arrays short
        self._pairs: dict[int, PortPair] = {}
        self._taken = np.zeros(count, dtype=np.bool_)
        self._kept: dict[int, bool] = {}  # slots that stay out of reach, and whether closed by now
        self._used = 0  # slots from here on are free
        self._moved = np.zeros(count, dtype=np.bool_)
        self._past_drops: Counter[str] = Counter()
        self._news: News = News()
        self._sockets = MediaSockets(count)
        self._sockets.fast = self._fast_path()
        self._receiving = Receiving(
            self._sockets, self._slots, self._states, self.rx, self.tx, self._news
        )
        self._sending = Sending(self._sockets, self._slots, self._states, self.tx, config.tick_ms)
        self._reporting = Reporting(
            self._sockets,
            self._slots,
            self._states,
            cname=config.cname,
            wall=clock.wall,
            timestamp_of=self._timestamp_of,
        )

    # --- the clock ------------------------------------------------------------------------------

    def tick(self, now: float) -> NDArray[np.intp]:
        """One pass over all calls; ``now`` in seconds of the clock's monotonic time.

        Returns the slots whose readers have something new or whose writers have new room.
        """
        tick, late = self._advance(now)
        moved = self._moved[: self._used]
        moved[:] = False
        stalled = late * self.config.tick_ms >= LATE_MS
        self._receiving.run(now, LATE_PASSES if stalled else PASSES, self._moved)
        for slot, slack_ms in self._receiving.to_align.items():
            self._sending.align(slot, tick, slack_ms)
        if tick % (PACKET_MS // self.config.tick_ms) == 0:
            self._look_after_quiet(now)
            self.ports.sweep(now)
        self._sending.flush(self._used, self._moved)
        self._sending.run(tick, self._used, self._moved)
        self._reporting.run(self._used, now)
        self._tell_news()
        return np.flatnonzero(moved)

    def next_tick(self, now: float) -> float:
        """When to tick next: the first time on the grid that is after ``now``.

        A plane without streams has little to look after, and once in 20 ms is enough for it.
        """
        ticks = 1 if self.active else PACKET_MS // self.config.tick_ms
        tick = (self._index(now) // ticks + 1) * ticks
        self._rest_until = 0 if self.active else tick
        return self._epoch + tick * self._tick_s

    @property
    def counters(self) -> PlaneCounters:
        """Counts since the plane was made; those of packets and errors as of now."""
        counters = self._counters
        counters.packets_in, counters.packets_out = self._receiving.packets, self._sending.packets
        counters.icmp_errors = self._sockets.icmp_errors
        counters.send_errors = int(self._sockets.send_errors.sum())
        return counters

    @property
    def drops(self) -> Counter[str]:
        """Packets refused by rule, of all streams that ever were."""
        total = Counter(self._past_drops)
        for state in self._states[: self._used]:
            if state is not None and state.drops:
                total.update(state.drops)
        return total

    @property
    def active(self) -> int:
        """Slots in use."""
        return self.config.slots - len(self._free)

    # --- slots ----------------------------------------------------------------------------------

    def allocate(self, local_ip: str) -> MediaStream:
        """Reserve a slot and bind its ports on ``local_ip``, an IP literal.

        Raises PortsExhausted without a free port pair, MediaError without a free slot or when
        the address cannot be bound.
        """
        if not self._free:
            raise MediaError("all media slots are in use")
        pair = self.ports.acquire(local_ip, self.clock.monotonic())
        slot = heapq.heappop(self._free)
        self._taken[slot], self._pairs[slot] = True, pair
        self._used = max(self._used, slot + 1)
        self._slots.reset(slot)
        self._sockets.send_errors[slot] = 0
        for ring in (self.rx, self.tx):
            ring.reset(slot)
        return MediaStream(self, slot, pair)

    def keep(self, slot: int) -> None:
        """Give ``slot`` to no other call before ``let_go``, even once its stream is closed.

        For a slot whose rings another process may still be writing to.
        """
        self._kept[slot] = False

    def let_go(self, slot: int) -> None:
        """Nobody else touches the rings of ``slot`` any more."""
        if self._kept.pop(slot, False):
            heapq.heappush(self._free, slot)

    def close(self) -> None:
        """Close every stream and socket, those in quarantine included."""
        for slot, pair in tuple(self._pairs.items()):
            self.close_slot(slot, pair)
        self.ports.close()
        self._sockets.shut()

    # --- what MediaStream asks for ----------------------------------------------------------------

    def start_slot(
        self, slot: int, pair: PortPair, spec: StreamSpec, listener: StreamListener
    ) -> None:
        """See ``MediaStream.start``."""
        if self._states[slot] is not None:
            raise LocalProtocolError("the stream was started before")
        now, config = self.clock.monotonic(), self.config
        state = open_state(
            slot, spec, listener, self._slots, self.rx, self.tx, config, self._entropy, now
        )
        self._slots.origin[slot] -= self._tick * self._samples_per_tick
        self._sockets.open(slot, pair, literal_address(spec.remote))
        self._states[slot] = state
        self._apply(state, now)

    def update_slot(self, slot: int, spec: StreamSpec) -> None:
        """See ``MediaStream.update``."""
        state = self._state(slot)
        now = self.clock.monotonic()
        remote = literal_address(spec.remote)
        reports_to = literal_address(spec.remote_rtcp)
        secure(state, spec, self._slots)
        state.spec = spec
        if reports_to != state.reports.remote:
            state.reports.remote, state.reports.peer = reports_to, None
        if state.source.expect(remote, now):
            self._sockets.aim(slot, remote)
        state.inbound.configure(spec)
        self._apply(state, now)

    def set_loopback(self, slot: int, on: bool) -> None:
        """See ``MediaStream.loopback``."""
        self._slots.loopback[slot] = on
        self._slots.sort(slot)

    def dial(self, slot: int, digits: str, duration_ms: int, gap_ms: int) -> float:
        """See ``MediaStream.send_dtmf``."""
        state = self._state(slot)
        if state.spec.dtmf_payload_type is None:
            raise MediaError("telephone-event was not negotiated")
        if len(state.dialling) >= MAX_DIALLING:
            raise MediaError("too many keys wait to be sent")
        sender = DtmfSender(digits, duration_ms, gap_ms, packet_ms=state.spec.ptime_ms)
        state.dialling.append(Dialling(sender))
        self._sending.dialling.add(slot)
        waiting_ms = sum(entry.sender.remaining_ms for entry in state.dialling)
        return (waiting_ms + state.spec.ptime_ms) / 1000

    def stats_of(self, slot: int) -> StreamStats:
        """See ``MediaStream.stats``."""
        state = self._states[slot]
        return StreamStats() if state is None else stream_stats(state, self._slots, self.rx)

    def close_slot(self, slot: int, pair: PortPair) -> StreamStats:
        """See ``MediaStream.close``."""
        state = self._states[slot]
        if state is None:
            self._release(slot, pair)
            return StreamStats()
        now = self.clock.monotonic()
        self._reporting.say_goodbye(state, now)
        stats = stream_stats(state, self._slots, self.rx)
        self._release(slot, self._shut(state))
        return stats

    # --- inside ---------------------------------------------------------------------------------

    def _fast_path(self) -> FastPath | None:
        module = compiled()
        if module is None:
            return None
        return FastPath(
            module,
            self._slots,
            self.rx,
            self.tx,
            self._sockets.send_fds,
            LOOPBACK_SAMPLES,
            STANDING,
            self._samples_per_tick,
        )

    @property
    def _samples_per_tick(self) -> int:
        return RATE * self.config.tick_ms // 1000

    def _index(self, now: float) -> int:
        return int((now - self._epoch + EARLY_S) // self._tick_s)

    def _advance(self, now: float) -> tuple[int, int]:
        """Move on to the tick of ``now``; returns it and how many ticks were missed."""
        counters = self._counters
        wanted = max(self._tick + 1, self._rest_until)
        late_ms = (now - self._epoch - wanted * self._tick_s) * 1000
        bucket = bisect_left(LATENESS_MS, late_ms)
        tick = max(self._index(now), self._tick)
        missed = max(tick - wanted, 0)
        counters.ticks += 1
        counters.missed_ticks += missed
        counters.lateness[bucket] += 1
        counters.lateness_s += max(late_ms, 0.0) / 1000
        self._tick = tick
        return tick, missed

    def _timestamp_of(self, slot: int) -> int:
        return int(self._slots.origin[slot]) + self._tick * self._samples_per_tick

    def _state(self, slot: int) -> StreamState:
        state = self._states[slot]
        if state is None:
            raise LocalProtocolError("the stream is not started")
        return state

    def _apply(self, state: StreamState, now: float) -> None:
        """Bring the arrays in line with ``state.spec``."""
        slots, slot, spec = self._slots, state.slot, state.spec
        configure_sending(slots, slot, spec, self.config.tick_ms)
        sending = spec.send and is_sendable(state.source.target)
        if not sending:
            slots.due[slot] = NEVER
        elif slots.due[slot] == NEVER:
            slots.due[slot] = self._next_departure(slot)
            slots.heard_at[slot] = now  # what was quiet during a hold does not count
            state.timed_out = False
            slots.marker[slot] = True  # RFC 3551 section 4.1: first packet after a pause
        if spec.receive and not slots.receiving[slot]:
            state.inbound.restart()
            slots.audio_at[slot] = slots.heard_at[slot] = now
            slots.fed[slot] = 0
            state.timed_out = False
        slots.receiving[slot] = spec.receive

    def _next_departure(self, slot: int) -> int:
        """The next tick in the phase that has the fewest departures."""
        phases = PACKET_MS // self.config.tick_ms
        due = self._slots.due[: self._used]
        load = np.bincount(due[due != NEVER] % phases, minlength=phases)
        first = self._tick + 1
        return min(range(first, first + phases), key=lambda tick: int(load[tick % phases]))

    def _look_after_quiet(self, now: float) -> None:
        """Write silence for streams from which nothing comes, so that their time goes on."""
        slots, used = self._slots, self._used
        since = now - slots.audio_at[:used]
        for _ in range(MAX_FEEDS):
            behind = since - slots.fed[:used] / RATE > QUIET_AFTER_S
            quiet = np.flatnonzero(slots.receiving[:used] & behind)
            if not len(quiet):
                return
            slots.fed[quiet] += FEED_SAMPLES
            self._moved[quiet] = True
            silent = quiet[~slots.loopback[quiet]]
            self.rx.push_many(silent, np.zeros((len(silent), FEED_SAMPLES), dtype=np.int16))
            self._check_timeouts(quiet, now)

    def _check_timeouts(self, quiet: NDArray[np.intp], now: float) -> None:
        slots, config = self._slots, self.config
        since = now - np.maximum(slots.audio_at[quiet], slots.heard_at[quiet])
        begun = slots.statistics.base[quiet] >= 0
        limit = np.where(begun, config.media_timeout_s, config.initial_media_timeout_s)
        for slot in quiet[since > limit].tolist():
            state = self._states[slot]
            # A peer that holds us (we may not send) need not send anything either.
            if state is not None and state.spec.send and not state.timed_out:
                state.timed_out = True
                self._news.append((state, None))

    def _tell_news(self) -> None:
        """Tell listeners after all work of the tick, so that they may do what they like."""
        while self._news:
            state, digit = self._news.popleft()
            try:
                if digit is None:
                    state.listener.on_media_timeout()
                else:
                    state.listener.on_dtmf(digit)
            except Exception as error:  # A listener's fault must not stop everybody's audio.
                self._counters.listener_errors += 1
                if self._on_error is not None:
                    self._on_error(error)

    def _shut(self, state: StreamState) -> PortPair:
        slot = state.slot
        self._past_drops.update(state.drops)
        self._receiving.forget(slot)
        self._sending.dialling.discard(slot)
        self._states[slot] = None
        return self._sockets.close(slot)

    def _release(self, slot: int, pair: PortPair) -> None:
        self._slots.reset(slot)
        if slot in self._kept:
            self._kept[slot] = True
        else:
            heapq.heappush(self._free, slot)
        self._taken[slot] = False
        del self._pairs[slot]
        taken = np.flatnonzero(self._taken[: self._used])
        self._used = int(taken[-1]) + 1 if len(taken) else 0
        self.ports.release(pair, self.clock.monotonic())
