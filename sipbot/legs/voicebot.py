"""``VoicebotLeg``: one bidirectional stream of Exotel's Voicebot applet behind the Leg port.

By the time that the stream comes, Exotel has answered the caller: ringing and answering say nothing
on the wire, and audio is exchanged from ``answer`` on. The leg ends by closing its socket; Exotel
then goes on with the next applet of the flow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from sipbot.call.leg import (
    EndReason,
    LegDtmf,
    LegEnded,
    LegEvent,
    LegInfo,
    LegSink,
    TransferResult,
)
from sipbot.call.record import Stat
from sipbot.errors import LocalProtocolError, StreamError
from sipbot.exotel import wire
from sipbot.legs.sip import LegState
from sipbot.legs.tones import key_tones
from sipbot.legs.voicebot_audio import SAMPLE_BYTES, VoicebotAudio
from sipbot.legs.voicebot_sending import Pace, StreamSocket, VoicebotSender, as_on_wire
from sipbot.rtp.g711 import decode

MAX_ERRORS: Final = 20  # messages that cannot be read; one more ends the leg
WATCH_S: Final = 1.0  # seconds between looks for a peer that is gone
SEND_TIMEOUT_S: Final = 5.0  # seconds that the peer may take to accept one message
CLOSE_TIMEOUT_S: Final = 2.0  # seconds until a socket that cannot be closed is dropped
SESSION_LIMIT_S: Final = 3_590.0  # Exotel ends streams after 60 minutes
_MAX_KEPT_EVENTS: Final = 256  # events before a sink is attached

_NEXT: Final = {
    LegState.NEW: frozenset({LegState.RINGING, LegState.ANSWERED, LegState.ENDED}),
    LegState.RINGING: frozenset({LegState.ANSWERED, LegState.ENDED}),
    LegState.ANSWERED: frozenset({LegState.ENDED}),
    LegState.ENDED: frozenset[LegState](),
}

# Close codes of RFC 6455 section 7.4.1.
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
INTERNAL_ERROR: Final = 1011
REJECTED: Final = 4000  # plus a SIP status; 4000 to 4999 are for private use
_CLOSE_NAMES: Final = {
    NORMAL: "normal",
    GOING_AWAY: "going-away",
    PROTOCOL_ERROR: "protocol-error",
    1003: "bad-data",
    1005: "no-code",
    1006: "lost",
    1007: "bad-text",
    1008: "policy",
    1009: "too-big",
    INTERNAL_ERROR: "failed",
    1012: "restart",
    1013: "try-later",
}  # as logs show them; what is missing is "other"
_CLOSE_CODES: Final = {
    EndReason.SHUTDOWN: GOING_AWAY,
    EndReason.AGENT_FAILED: INTERNAL_ERROR,
    EndReason.MEDIA_TIMEOUT: GOING_AWAY,
    EndReason.NETWORK: PROTOCOL_ERROR,
}  # what is missing closes with NORMAL
_STOPS: Final = frozenset({"callended", "stopped", "caller_hangup"})  # reasons known of Exotel
# A socket that the peer closed itself without a word is a caller who left. (1005: no code given.)
_ORDERLY: Final = frozenset({NORMAL, GOING_AWAY, 1005})


@dataclass(frozen=True, slots=True)
class VoicebotSettings:
    """``timeout_s`` is how long the peer may say nothing at all.

    ``listen_only`` is for the Stream applet, which ignores what it is sent: nothing leaves, and
    what the agent plays passes as on a line where nobody listens.
    """

    pace: Pace = Pace()  # noqa: RUF009  # a frozen value
    timeout_s: float = 30.0
    listen_only: bool = False


class VoicebotLeg:
    """A leg over one WebSocket whose start message was read. ``carry`` runs it."""

    def __init__(
        self,
        socket: StreamSocket,
        start: wire.Start,
        info: LegInfo,
        rate: int,
        settings: VoicebotSettings,
    ) -> None:
        self.state = LegState.NEW
        self._socket, self._start, self._info = socket, start, info
        self._settings = settings
        self._audio = VoicebotAudio(rate, self._poke)
        self._sender = VoicebotSender(
            socket,
            wire.Writer(start),
            self._audio,
            start.encoding,
            settings.pace,
            settings.listen_only,
        )
        self._sink: LegSink | None = None
        self._kept: list[LegEvent] = []
        self._gone = asyncio.Event()
        self._close = (NORMAL, "")  # code and reason, as we say them
        self._peer_code: int | None = None  # of a socket that was closed by the peer
        self._received: dict[str, int] = {}  # messages by event, or by the rule they broke
        self._media = 0  # messages with audio
        self._mu_law = start.encoding == "PCMU"
        self._errors = 0
        self._loops_back = False
        self._loop = asyncio.get_running_loop()
        self._since = {LegState.NEW: self._loop.time()}
        self._heard_at = self._loop.time()

    # --- the Leg port ---------------------------------------------------------------------------

    @property
    def info(self) -> LegInfo:
        return self._info

    @property
    def audio(self) -> VoicebotAudio:
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
        if self.state is LegState.NEW:
            self._enter(LegState.RINGING)

    async def answer(self) -> None:
        if self.state in (LegState.NEW, LegState.RINGING):
            self._enter(LegState.ANSWERED)
            self._audio.open()

    async def reject(self, status: int, reason: str = "") -> None:
        """Close the socket with 4000 and ``status``, for example 4486."""
        if self.state in (LegState.NEW, LegState.RINGING):
            self._end(EndReason.REJECTED, "rejected", REJECTED + status)

    async def hangup(self, reason: EndReason = EndReason.BOT_HUNG_UP) -> None:
        self._end(reason, "hangup")

    async def transfer(self, target: str) -> TransferResult:
        """Not possible: the stream itself has no way to send the caller on."""
        return TransferResult(False, "ended" if self.ended else "no-transfer-route")

    async def send_dtmf(self, digits: str, duration_ms: int = 100, gap_ms: int = 60) -> None:
        """As tones within the audio, after what waits: the stream has no message for keys."""
        if self.state is not LegState.ANSWERED:
            return
        audio = self._audio
        tones = key_tones(digits, audio.rate, duration_ms, gap_ms)
        while len(tones):
            tones = tones[audio.write(tones) :]
            if len(tones) and not await audio.wait_consumed(audio.consumed + audio.rate // 10):
                return
        await audio.wait_consumed(audio.written)

    def loopback(self, on: bool) -> None:
        """Give the peer its own audio back as it comes."""
        self._loops_back = on

    # --- what the record of a call wants --------------------------------------------------------

    def seconds(self, first: LegState, then: LegState) -> float | None:
        """Time from one state to the other; None when it was not in both."""
        try:
            return self._since[then] - self._since[first]
        except KeyError:
            return None

    def facts(self) -> Mapping[str, Stat]:
        """Counts of messages and what became of marks."""
        audio, line = self._audio, self._audio.line
        code = self._close[0] if self._peer_code is None else self._peer_code
        received = {"media": self._media, **self._received}
        return {
            "messages_received": ",".join(f"{name}:{n}" for name, n in received.items()),
            "messages_sent": self._sender.messages,
            "message_errors": self._errors,
            "marks_sent": self._sender.marks,
            "marks_returned": line.marks_returned,
            "marks_lost": line.marks_lost,
            "mark_delay_ms": round(line.lag * 1000, 1),
            "overruns": audio.overruns,
            "close_code": code,
            "close": _CLOSE_NAMES.get(code, "other"),
        }

    # --- the stream -----------------------------------------------------------------------------

    async def carry(self) -> None:
        """Exchange messages until the leg has ended, then close the socket.

        Cancellation ends the leg for ``SHUTDOWN``.
        """
        self._watching = self._loop.call_later(WATCH_S, self._watch)
        self._socket.attach(self)
        try:
            await self._gone.wait()
        finally:
            self._watching.cancel()
            self._end(EndReason.SHUTDOWN, "cancelled")
            await self._close_socket()

    def on_message(self, message: str | bytes) -> None:
        """Take one message of the peer."""
        if self.ended:
            return
        self._heard_at = self._loop.time()
        try:
            event = wire.parse(message)
        except StreamError as error:
            self._on_error(error.reason)
        else:
            if type(event) is wire.Media:
                self._on_media(event.payload)
            else:
                self._count(type(event).__name__.lower())
                self._handle(event)

    def on_writable(self) -> None:
        """The peer takes messages again."""
        self._sender.poke()

    def _handle(self, event: wire.StreamEvent) -> None:
        match event:
            case wire.Mark():
                if self._audio.line.returned(event.name, self._loop.time()):
                    self._audio.moved()
            case wire.Dtmf():
                self._tell(LegDtmf(event.digit, "stream"))
            case wire.Stop():
                detail = event.reason if event.reason in _STOPS else "other"
                self._peer_left(f"stop-{detail}")
            case _:  # Connected and Start were there; nobody knows what Clear is to mean
                pass

    def _on_media(self, payload: bytes) -> None:
        self._media += 1
        if self._mu_law:
            payload = decode("PCMU", payload).tobytes()
        elif len(payload) % SAMPLE_BYTES:
            payload = payload[:-1]
        pcm = payload if self._mu_law else as_on_wire(payload)
        if self._loops_back:
            self._audio.write(np.frombuffer(pcm, np.int16))
        else:
            self._audio.arrive(pcm)

    def _on_error(self, rule: str) -> None:
        self._count(rule)
        self._errors += 1
        if self._errors > MAX_ERRORS:
            self._end(EndReason.NETWORK, "too-many-errors")

    def on_closed(self, code: int) -> None:
        """The socket is closed."""
        if not self.ended:
            self._peer_code = code
        lasted = self._loop.time() - self._since[LegState.NEW]
        if lasted >= SESSION_LIMIT_S:
            self._peer_left("session-limit")
        elif code in _ORDERLY:
            self._peer_left("closed")
        else:
            self._end(EndReason.NETWORK, "socket-lost" if code == 1006 else "closed-by-error", code)

    def _peer_left(self, detail: str) -> None:
        answered = self.state is LegState.ANSWERED
        self._end(EndReason.CALLER_HUNG_UP if answered else EndReason.CANCELLED, detail)

    def _watch(self) -> None:
        """Find a peer that went away without a word."""
        if self.ended:
            return
        now, blocked = self._loop.time(), self._sender.blocked_since
        if now - self._heard_at > self._settings.timeout_s:
            self._end(EndReason.MEDIA_TIMEOUT, "no-messages")
        elif blocked is not None and now - blocked > SEND_TIMEOUT_S:
            self._end(EndReason.NETWORK, "send-timeout")
        else:
            self._watching = self._loop.call_later(WATCH_S, self._watch)

    async def _close_socket(self) -> None:
        code, reason = self._close
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._socket.close(code, reason)
        except BaseException as error:
            self._socket.abort()
            if not isinstance(error, TimeoutError):
                raise

    # --- inside ---------------------------------------------------------------------------------

    def _poke(self) -> None:
        self._sender.poke()

    def _count(self, name: str) -> None:
        self._received[name] = self._received.get(name, 0) + 1

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

    def _end(self, reason: EndReason, detail: str, code: int | None = None) -> None:
        if self.ended:
            return
        self._enter(LegState.ENDED)
        self._close = (_CLOSE_CODES.get(reason, NORMAL) if code is None else code, reason.value)
        self._sender.stop()
        self._audio.end()
        self._tell(LegEnded(reason, detail))
        self._gone.set()
