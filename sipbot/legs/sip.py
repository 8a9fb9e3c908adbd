"""``SipLeg``: one SIP dialog and one RTP stream behind the Leg port.

The leg joins three things and owns none of their rules: the user agent core keeps the dialog, the
negotiator turns session descriptions into a ``StreamSpec``, the media plane moves the packets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from typing import Final

from sipbot.call.leg import (
    EndReason,
    LegDtmf,
    LegEnded,
    LegEvent,
    LegHeld,
    LegInfo,
    LegResumed,
    LegSink,
    TransferResult,
)
from sipbot.call.record import Stat
from sipbot.errors import LocalProtocolError, RemoteProtocolError, SipSyntaxError
from sipbot.legs.control import SipControl
from sipbot.legs.facts import stream_facts
from sipbot.legs.negotiation import Agreement, MediaNegotiator
from sipbot.legs.stream_audio import SlotWaiters, StreamAudio
from sipbot.media.plane import MediaStream
from sipbot.media.stream import StreamStats
from sipbot.sip.effects import (
    Confirmed,
    EndedBy,
    Event,
    InfoDigit,
    Reanswer,
    Reoffer,
    SessionEnded,
    TransferProgress,
)
from sipbot.sip.uri import Uri

_MAX_KEPT_EVENTS: Final = 256  # events before a sink is attached
SAME_KEY_S: Final = 0.5  # seconds between the two ways that one key press may come by
TRANSFER_TIMEOUT_S: Final = 32.0  # seconds until a REFER without a final NOTIFY counts as failed


class LegState(Enum):
    """Life of a leg. Only ``SipLeg._enter`` assigns it."""

    NEW = "new"
    RINGING = "ringing"
    ANSWERED = "answered"  # our 200 is out, or the callee's 200 is in
    ENDED = "ended"


_NEXT: Final = {
    LegState.NEW: frozenset({LegState.RINGING, LegState.ANSWERED, LegState.ENDED}),
    LegState.RINGING: frozenset({LegState.ANSWERED, LegState.ENDED}),
    LegState.ANSWERED: frozenset({LegState.ENDED}),
    LegState.ENDED: frozenset[LegState](),
}

# (who ended it, reason of the core) -> reason of the leg. What is missing is NETWORK.
_END_REASONS: Final = {
    (EndedBy.PEER, "bye"): EndReason.CALLER_HUNG_UP,
    (EndedBy.PEER, "cancelled"): EndReason.CANCELLED,
    (EndedBy.PEER, "rejected"): EndReason.REJECTED,
    (EndedBy.LOCAL, "rejected"): EndReason.REJECTED,
    (EndedBy.LOCAL, "bye"): EndReason.BOT_HUNG_UP,
    (EndedBy.LOCAL, "cancelled"): EndReason.BOT_HUNG_UP,
}


class SipLeg:
    """A leg over SIP and RTP, of either direction.

    ``on_closed`` is called once, when the leg has ended and its media stream is closed.
    """

    def __init__(
        self,
        control: SipControl,
        info: LegInfo,
        stream: MediaStream,
        waiters: SlotWaiters,
        negotiator: MediaNegotiator,
        on_closed: Callable[[SipLeg], None] = lambda leg: None,
    ) -> None:
        self.state = LegState.NEW
        self._control = control
        self._info = info
        self._stream = stream
        self._audio = StreamAudio(stream, waiters)
        self._negotiator = negotiator
        self._on_closed = on_closed
        self._sink: LegSink | None = None
        self._kept: list[LegEvent] = []
        self._held = False
        self._last_keys: dict[str, tuple[str, float]] = {}  # by source: digit and when
        self.end_reason: EndReason | None = None
        self.secured = False  # whether SRTP was agreed on
        self._started = False
        self._transfer: asyncio.Future[TransferResult] | None = None
        self._final_stats: StreamStats | None = None
        self._loop = asyncio.get_running_loop()
        self._since = {LegState.NEW: self._loop.time()}

    # --- the Leg port ---------------------------------------------------------------------------

    @property
    def info(self) -> LegInfo:
        return self._info

    @property
    def audio(self) -> StreamAudio:
        return self._audio

    @property
    def ended(self) -> bool:
        return self.state is LegState.ENDED

    def attach(self, sink: LegSink) -> None:
        self._sink = sink
        kept, self._kept = self._kept, []
        for event in kept:
            sink(event)

    async def ring(self) -> None:
        """Nothing to do: only ``InboundSipLeg`` rings."""

    async def answer(self) -> None:
        """Nothing to do: only ``InboundSipLeg`` answers."""

    async def reject(self, status: int, reason: str = "") -> None:
        """Nothing to do: only ``InboundSipLeg`` rejects."""

    async def hangup(self, reason: EndReason = EndReason.BOT_HUNG_UP) -> None:
        self._hang_up(reason, "hangup")

    async def transfer(self, target: str) -> TransferResult:
        """Blind transfer by REFER (RFC 3515); the result is what the final NOTIFY says."""
        if self.state is not LegState.ANSWERED or self._transfer is not None:
            return TransferResult(False, "not-possible-now")
        try:
            uri = Uri.parse(target)
        except SipSyntaxError:
            return TransferResult(False, "target-is-no-uri")
        self._transfer = self._loop.create_future()
        try:
            self._control.refer(uri)
            async with asyncio.timeout(TRANSFER_TIMEOUT_S):
                return await self._transfer
        except LocalProtocolError:
            # Such as before the ACK to our 200 has come.
            return TransferResult(False, "not-possible-now")
        except TimeoutError:
            return TransferResult(False, "no-final-notify")
        finally:
            self._transfer = None

    async def send_dtmf(self, digits: str, duration_ms: int = 100, gap_ms: int = 60) -> None:
        if self.state is LegState.ANSWERED and self._started:
            await asyncio.sleep(self._stream.send_dtmf(digits, duration_ms, gap_ms))

    def loopback(self, on: bool) -> None:
        """Give the peer its own audio back, inside the plane."""
        self._stream.loopback(on)

    # --- what the record of a call wants --------------------------------------------------------

    def seconds(self, first: LegState, then: LegState) -> float | None:
        """Time from one state to the other; None when it was not in both."""
        try:
            return self._since[then] - self._since[first]
        except KeyError:
            return None

    @property
    def session(self) -> str:
        """Id of the session in the user agent core."""
        return self._control.session

    def stats(self) -> StreamStats:
        """Of the media stream, now or as it was when it was closed."""
        return self._stream.stats() if self._final_stats is None else self._final_stats

    def facts(self) -> Mapping[str, Stat]:
        """The same for records and logs."""
        return stream_facts(self.stats())

    # --- what the user agent core tells ---------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Take one event of this leg's session."""
        match event:
            case Confirmed():
                self._on_confirmed(event.body)
            case Reanswer():
                self._on_ack(event.body)
            case Reoffer():
                self._on_reoffer(event)
            case InfoDigit():
                self._key(LegDtmf(event.digit, "info"))
            case TransferProgress():
                self._on_transfer(event)
            case SessionEnded():
                self._on_session_ended(event)
            case _:
                pass

    def _on_confirmed(self, body: bytes) -> None:
        """The ACK to our first 2xx. Without any agreement by now there will never be audio."""
        self._on_ack(body)
        if not self._started:
            self._hang_up(EndReason.NETWORK, "no-answer-in-ack")

    def _on_ack(self, body: bytes) -> None:
        """The ACK carries an answer when our 2xx carried the offer (RFC 3261 section 13.2.1)."""
        if not body:
            return
        try:
            self._apply(self._negotiator.accept(body))
        except RemoteProtocolError as error:
            self._hang_up(EndReason.NETWORK, error.reason)
        except LocalProtocolError:
            return  # An answer to no offer of ours: nothing to apply.

    def _on_reoffer(self, event: Reoffer) -> None:
        if self.ended:
            self._control.refuse_offer(481, "")
            return
        if not event.body:
            self._control.accept_offer(self._negotiator.offer())
            return
        try:
            agreement, body = self._negotiator.answer(event.body)
        except RemoteProtocolError as error:
            self._control.refuse_offer(error.status, error.reason)
            return
        self._control.accept_offer(body)
        self._apply(agreement)

    def _on_transfer(self, event: TransferProgress) -> None:
        waiting = self._transfer
        if waiting is not None and not waiting.done() and event.final:
            accepted = 200 <= event.status < 300
            waiting.set_result(TransferResult(accepted, f"sip-{event.status}"))

    def _on_session_ended(self, event: SessionEnded) -> None:
        reason = _END_REASONS.get((event.by, event.reason), EndReason.NETWORK)
        self._end(reason, event.reason)

    # --- what the media plane tells -------------------------------------------------------------

    def on_dtmf(self, digit: str) -> None:
        self._key(LegDtmf(digit, "rtp"))

    def on_media_timeout(self) -> None:
        # The plane is in the middle of its tick: a stream may not be closed under it.
        self._loop.call_soon(self._media_timed_out)

    def _media_timed_out(self) -> None:
        self._hang_up(EndReason.MEDIA_TIMEOUT, "no-rtp")

    # --- inside ---------------------------------------------------------------------------------

    def _apply(self, agreement: Agreement) -> None:
        """Start the media stream, or change it to what was agreed anew."""
        if self.ended:
            return
        self._describe(agreement)
        if self._started:
            self._stream.update(agreement.spec)
        else:
            self._started = True
            self._stream.start(agreement.spec, self)
        if agreement.held is not self._held:
            self._held = agreement.held
            self._tell(LegHeld() if agreement.held else LegResumed())

    def _key(self, key: LegDtmf) -> None:
        """Tell of a key, once: some gateways send each by RFC 4733 and by INFO as well."""
        now = self._loop.time()
        other = self._last_keys.get("info" if key.source == "rtp" else "rtp")
        if other is not None and other[0] == key.digit and now - other[1] < SAME_KEY_S:
            del self._last_keys["info" if key.source == "rtp" else "rtp"]
            return
        self._last_keys[key.source] = (key.digit, now)
        self._tell(key)

    def _describe(self, agreement: Agreement) -> None:
        self._info = replace(self._info, codec=agreement.spec.codec.value)
        self.secured = agreement.spec.srtp_send is not None

    def _hang_up(self, reason: EndReason, detail: str) -> None:
        """End the leg at once; the core goes on until its BYE is answered."""
        if not self.ended:
            self._end(reason, detail)
            self._control.bye()

    def _enter(self, state: LegState) -> None:
        if state not in _NEXT[self.state]:
            raise LocalProtocolError(f"a leg cannot go from {self.state.value} to {state.value}")
        self.state = state
        self._since[state] = self._loop.time()

    def _tell(self, event: LegEvent) -> None:
        if self._sink is not None:
            self._sink(event)
        elif len(self._kept) < _MAX_KEPT_EVENTS:
            self._kept.append(event)

    def _end(self, reason: EndReason, detail: str) -> None:
        if self.ended:
            return
        self._enter(LegState.ENDED)
        self.end_reason = reason
        self._audio.end()
        self._final_stats = self._stream.close()
        if self._transfer is not None and not self._transfer.done():
            ended_well = reason is EndReason.CALLER_HUNG_UP
            self._transfer.set_result(TransferResult(ended_well, "peer-ended-the-call"))
        self._tell(LegEnded(reason, detail))
        self._sink = None  # leg and call would keep each other until the collector comes
        self._on_closed(self)
