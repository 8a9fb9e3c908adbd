"""``sipbot call``: one outgoing call with audio, keys and a recording."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from sipbot.call.leg import EndReason, LegInfo, Pcm
from sipbot.call.resample import Resampler
from sipbot.call.wav import Wav, WavWriter, read_wav, writing
from sipbot.clock import Clock, SystemClock
from sipbot.errors import SipSyntaxError, TransportError
from sipbot.legs.control import SipControl
from sipbot.legs.negotiation import MediaNegotiator, MediaTerms
from sipbot.legs.sip_outbound import DialOutcome, OutboundSipLeg
from sipbot.legs.stream_audio import SlotWaiters, StreamAudio
from sipbot.media.clockwork import Clockwork
from sipbot.media.plane import MediaPlane, PlaneConfig
from sipbot.media.ports import PortPool
from sipbot.runtime.caller_types import CallEndedBy, CallRequest, CallResult
from sipbot.runtime.loop import run_on_fast_loop
from sipbot.runtime.sip_stack import SipStack, open_stack
from sipbot.sip.effects import Event, Hop, Transport
from sipbot.sip.headers import NameAddr
from sipbot.sip.uri import Uri
from sipbot.sip.user_agent import UserAgentConfig
from sipbot.transport.local import Listen, local_address_towards
from sipbot.transport.resolve import Resolver
from sipbot.transport.tls import TlsContexts

RATE: Final = 8_000  # Hz
FIRST_PORT: Final = 20_002  # RTP ports of test callers, away from those of a server
LAST_PORT: Final = 30_001
ANSWER_TIMEOUT_S: Final = 90.0  # seconds that it may ring
GOODBYE_S: Final = 3.0  # seconds for the last BYE or CANCEL to be answered
FIRST_KEY_S: Final = 0.5  # seconds from the answer to the first key
COMMA_S: Final = 1.0  # seconds that a comma among the keys waits

_ENDED_BY: Final[dict[EndReason, CallEndedBy]] = {
    EndReason.BOT_HUNG_UP: "caller",
    EndReason.CANCELLED: "caller",
    EndReason.CALLER_HUNG_UP: "callee",
    EndReason.REJECTED: "callee",
}


def place_call(request: CallRequest) -> CallResult:
    """Make one call and wait for its end.

    Raises SipSyntaxError when the URI cannot be called, TransportError when its host cannot be
    found, MediaError when a WAV file cannot be used.
    """
    return run_on_fast_loop(_place(request, SystemClock()))


@dataclass(slots=True)
class _Line:
    """Everything that one test call needs. ``local`` is our address towards the callee."""

    local: str
    stack: SipStack
    plane: MediaPlane
    waiters: SlotWaiters
    legs: dict[str, OutboundSipLeg]
    unreachable: list[str]  # causes, the latest last


async def _place(request: CallRequest, clock: Clock) -> CallResult:
    uri = Uri.parse(request.uri)
    if uri.scheme not in ("sip", "sips"):
        raise SipSyntaxError("only sip and sips URIs can be called")
    hop, address = await _found(_hop(uri, request.transport))
    speech = None if request.play is None else _playable(read_wav(request.play))
    async with _line(hop, address, request, clock) as line:
        leg = _invite(line, uri, hop, request)
        times = _Times(clock)
        ring = asyncio.create_task(times.watch(leg))
        recorded, keys = 0, 0
        try:
            outcome = await _outcome(leg)
            if outcome.answered:
                times.answered()
                recorded, keys = await _talk(leg, request, speech)
        finally:  # Whatever went wrong here, the callee must not be left in a call.
            times.ended()
            ring.cancel()
            await leg.hangup()
            await line.stack.driver.wait_idle(GOODBYE_S)
        return _result(leg, _explained(outcome, line), times, recorded, keys)


class _Times:
    """When things happened, in milliseconds or seconds from the INVITE or the answer."""

    def __init__(self, clock: Clock) -> None:
        self.ring_ms: float | None = None
        self.setup_ms: float | None = None
        self.talk_s = 0.0
        self._clock, self._began = clock, clock.monotonic()

    async def watch(self, leg: OutboundSipLeg) -> None:
        await leg.rang.wait()
        self.ring_ms = self._since_invite_ms()

    def answered(self) -> None:
        self.setup_ms = self._since_invite_ms()

    def ended(self) -> None:
        if self.setup_ms is not None:
            self.talk_s = (self._since_invite_ms() - self.setup_ms) / 1000

    def _since_invite_ms(self) -> float:
        return (self._clock.monotonic() - self._began) * 1000


def _explained(outcome: DialOutcome, line: _Line) -> DialOutcome:
    """Say why nothing came back, where the network told."""
    if outcome.reason == "transport-failed" and line.unreachable:
        return replace(outcome, status=0, reason=f"unreachable ({line.unreachable[-1]})")
    return outcome


def _hop(uri: Uri, wanted: Transport | None) -> Hop:
    match wanted or uri.transport:
        case None:
            return Hop(uri.host, uri.port, None)
        case "udp" | "tcp" | "tls" as transport:
            return Hop(uri.host, uri.port, transport)
        case _:
            raise SipSyntaxError("the URI names a transport that sipbot does not speak")


async def _found(hop: Hop) -> tuple[Hop, str]:
    """``hop`` with the transport that RFC 3263 prefers, and the first address that it names.

    The host stays a name, for the certificate of a TLS peer is checked against it.
    """
    candidates = await Resolver().resolve(hop)
    if not candidates:
        raise TransportError(f"{hop.host} has no address")
    first = candidates[0]
    return Hop(hop.host, hop.port, first.transport), first.address


@asynccontextmanager
async def _line(hop: Hop, address: str, request: CallRequest, clock: Clock) -> AsyncIterator[_Line]:
    local = local_address_towards(address)
    legs: dict[str, OutboundSipLeg] = {}
    unreachable: list[str] = []
    plane = MediaPlane(
        PlaneConfig(slots=1),
        PortPool(FIRST_PORT, LAST_PORT, entropy=secrets.token_bytes, quarantine_s=0.0),
        clock=clock,
        entropy=secrets.token_bytes,
    )
    waiters = SlotWaiters(1)
    clockwork = Clockwork(plane, asyncio.get_running_loop(), waiters.wake)
    stack = await open_stack(
        config=UserAgentConfig(user_agent="sipbot call"),
        listen=[Listen(transport, local, 0) for transport in _listened(hop)],
        clock=clock,
        on_event=_dispatcher(legs),
        admit=lambda ip, transport: True,
        on_drop=lambda rule, ip: None,
        tls=TlsContexts(verify=not request.insecure),
        on_unreachable=lambda hop, cause: unreachable.append(cause),
    )
    try:
        clockwork.start()
        yield _Line(local, stack, plane, waiters, legs, unreachable)
    finally:
        clockwork.stop()
        await stack.close()
        plane.close()


def _listened(hop: Hop) -> tuple[Transport, ...]:
    """A peer may send its requests on a new connection; over TLS we have no certificate to show."""
    match hop.transport:
        case "tls":
            return ()
        case "tcp":
            return ("tcp",)
        case _:
            return ("udp",)


def _dispatcher(legs: dict[str, OutboundSipLeg]) -> Callable[[Event], None]:
    def on_event(event: Event) -> None:
        leg = legs.get(getattr(event, "session", ""))
        if leg is not None:
            leg.handle(event)

    return on_event


def _invite(line: _Line, uri: Uri, hop: Hop, request: CallRequest) -> OutboundSipLeg:
    """Send the INVITE."""
    driver = line.stack.driver
    host = line.local
    stream = line.plane.allocate(host)
    terms = MediaTerms(
        codecs=("PCMA", "PCMU") if request.codec is None else (request.codec,),
        srtp="required" if request.srtp == "sdes" else "off",
    )
    negotiator = MediaNegotiator(terms, host, stream.local_port, secrets.token_bytes)
    session, effects = driver.agent.invite(
        to=uri,
        from_=NameAddr("", Uri("sip", request.from_user, None, host, None, (), ""), ()),
        body=negotiator.offer(),
        hop=hop,
        now=driver.now(),
    )
    info = LegInfo(
        transport=f"sip/{hop.transport}",
        direction="outbound",
        caller=request.from_user,
        callee=uri.user_decoded or "",
    )
    control = SipControl(driver, session)
    leg = OutboundSipLeg(control, info, stream, line.waiters, negotiator)
    leg.expect_answer()
    line.legs[session] = leg
    driver.perform(effects)
    return leg


async def _outcome(leg: OutboundSipLeg) -> DialOutcome:
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await leg.outcome()
    except TimeoutError:
        return DialOutcome(False, 0, "no-answer")


async def _talk(leg: OutboundSipLeg, request: CallRequest, speech: Pcm | None) -> tuple[int, int]:
    """Play, press keys and record until the time is up or the call ends.

    Returns how many samples were recorded and how many keys were pressed.
    """
    keys = _Keys(leg, request.dtmf)
    with ExitStack() as scope:
        writer = None
        if request.record is not None:
            writer = scope.enter_context(writing(request.record, RATE))
        work = [_listen(leg.audio, writer), keys.press()]
        if speech is not None:
            work.append(_speak(leg.audio, speech))
        tasks = [asyncio.create_task(one) for one in work]
        try:
            # Listening ends with the call; everything else may be done before.
            await asyncio.wait(tasks[:1], timeout=request.seconds)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return 0 if writer is None else writer.samples, keys.pressed


class _Keys:
    """Presses keys one by one, and counts them."""

    def __init__(self, leg: OutboundSipLeg, keys: str) -> None:
        self.pressed = 0
        self._leg, self._keys = leg, keys

    async def press(self) -> None:
        if not self._keys:
            return
        await asyncio.sleep(FIRST_KEY_S)
        for key in self._keys:
            if key == ",":
                await asyncio.sleep(COMMA_S)
            elif not self._leg.ended:
                await self._leg.send_dtmf(key)
                self.pressed += 1


async def _listen(audio: StreamAudio, writer: WavWriter | None) -> None:
    while await audio.wait_readable():
        heard = audio.read()
        if writer is not None:
            writer.write(heard)


async def _speak(audio: StreamAudio, speech: Pcm) -> None:
    sent = 0
    while sent < len(speech):
        sent += audio.write(speech[sent:])
        # The line holds two seconds: come back when there is room again.
        if not await audio.wait_consumed(max(audio.consumed + 1, audio.written - RATE)):
            return


def _playable(wav: Wav) -> Pcm:
    if wav.rate == RATE:
        return wav.pcm
    resampler = Resampler(wav.rate, RATE)
    return np.concatenate((resampler.push(wav.pcm), resampler.flush()))


def _result(
    leg: OutboundSipLeg, outcome: DialOutcome, times: _Times, recorded: int, keys: int
) -> CallResult:
    stats = leg.stats()
    expected = stats.packets_received + stats.lost
    return CallResult(
        answered=outcome.answered,
        status=outcome.status,
        reason=outcome.reason,
        ended_by=_ENDED_BY.get(leg.end_reason or EndReason.NETWORK, "network"),
        codec=leg.info.codec,
        srtp=leg.secured,
        setup_ms=times.setup_ms,
        ring_ms=times.ring_ms,
        packets_sent=stats.packets_sent,
        packets_received=stats.packets_received,
        lost=stats.lost,
        loss_percent=100 * stats.lost / expected if expected else 0.0,
        jitter_ms=stats.jitter_ms,
        round_trip_ms=stats.round_trip_ms,
        duration_s=times.talk_s,
        recorded_s=recorded / RATE,
        dtmf_sent=keys,
    )
