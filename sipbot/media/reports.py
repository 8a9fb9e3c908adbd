"""RTCP of all streams: reports out on schedule, reports in from the peers (RFC 3550 section 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from sipbot.errors import RtpError
from sipbot.media.slots import RATE, Slots
from sipbot.media.sockets import MediaSockets
from sipbot.media.source import Address
from sipbot.media.state import StreamState
from sipbot.rtp import rtcp
from sipbot.rtp.statistics import SenderStatistics

_MASK32: Final = 0xFFFF_FFFF


class Reporting:
    """``wall`` returns seconds since 1970; ``timestamp_of`` a slot's RTP timestamp of now."""

    def __init__(
        self,
        sockets: MediaSockets,
        slots: Slots,
        states: list[StreamState | None],
        *,
        cname: str,
        wall: Callable[[], float],
        timestamp_of: Callable[[int], int],
    ) -> None:
        self._sockets, self._slots, self._states = sockets, slots, states
        self._cname, self._wall, self._timestamp_of = cname, wall, timestamp_of

    def run(self, used: int, now: float) -> None:
        """Read what came, then send what is due of slots below ``used``."""
        control = self._sockets.control
        while control:
            slot, data, source = control.popleft()
            state = self._states[slot]
            if state is not None:
                self._hear(state, data, source, now)
        for slot in np.flatnonzero(self._slots.report_at[:used] <= now).tolist():
            state = self._states[slot]
            if state is not None:
                self._slots.report_at[slot] = state.reports.schedule.sent(now)
                self._send(state, self._report(state, now))

    def say_goodbye(self, state: StreamState, now: float) -> None:
        """Send the last report with a BYE (RFC 3550 section 6.3.7)."""
        ssrc = int(self._slots.local_ssrc[state.slot])
        self._send(state, (*self._report(state, now), rtcp.Bye((ssrc,))))

    def _report(self, state: StreamState, now: float) -> tuple[rtcp.RtcpPacket, ...]:
        slots, slot = self._slots, state.slot
        ssrc = int(slots.local_ssrc[slot])
        statistics = slots.statistics.row(slot)
        blocks: tuple[rtcp.ReportBlock, ...] = ()
        if statistics.begun:
            last, delay = state.reports.clock.last_sr_and_delay(now)
            blocks = (statistics.report_block(int(slots.ssrc[slot]), last, delay),)
        sent = SenderStatistics()
        sent.sent(int(slots.bytes_sent[slot]), int(slots.packets_sent[slot]))
        report: rtcp.RtcpPacket
        if sent.packets:
            ntp = rtcp.ntp_from_wall(self._wall())
            report = sent.report(ssrc, ntp, self._timestamp_of(slot) & _MASK32, blocks)
        else:
            report = rtcp.ReceiverReport(ssrc, blocks)
        return report, rtcp.cname_description(ssrc, self._cname)

    def _send(self, state: StreamState, packets: tuple[rtcp.RtcpPacket, ...]) -> None:
        data = rtcp.serialize(packets)
        if state.srtp is not None:
            data = state.srtp.protect_rtcp(data)
        self._sockets.send_control(state.slot, data, self._target(state))

    def _target(self, state: StreamState) -> Address:
        """Where the peer's reports come from; a latched RTP source tells its host."""
        if state.reports.peer is not None:
            return state.reports.peer
        if state.source.latched:
            host, port = state.source.target
            return host, port + 1
        return state.reports.remote

    def _hear(self, state: StreamState, data: bytes, source: Address, now: float) -> None:
        if source[0] not in (state.source.target[0], state.reports.remote[0]):
            state.drops["rtcp-wrong-source"] += 1
            return
        try:
            plain = data if state.srtp is None else state.srtp.unprotect_rtcp(data)
            packets = rtcp.parse(plain)
        except RtpError as error:
            state.drops[error.reason] += 1
            return
        if source != state.source.target:  # not multiplexed with RTP
            state.reports.peer = source
        for packet in packets:
            if isinstance(packet, rtcp.SenderReport):
                if packet.ssrc == int(self._slots.ssrc[state.slot]):
                    state.reports.clock.heard_sender_report(packet, now)
                self._hear_blocks(state, packet.reports)
            elif isinstance(packet, rtcp.ReceiverReport):
                self._hear_blocks(state, packet.reports)

    def _hear_blocks(self, state: StreamState, blocks: tuple[rtcp.ReportBlock, ...]) -> None:
        reports = state.reports
        for block in blocks:
            if block.ssrc == int(self._slots.local_ssrc[state.slot]):
                reports.clock.heard_block(block, rtcp.ntp_from_wall(self._wall()))
                reports.remote_lost = max(block.cumulative_lost, 0)
                reports.remote_jitter_ms = block.jitter * 1000 / RATE
