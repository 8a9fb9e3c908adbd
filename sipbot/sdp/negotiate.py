"""Offer and answer for one audio stream: RFC 3264, with SDES keys of RFC 4568.

Pure functions over session descriptions. ``key_source`` returns 30 fresh random bytes for every
SRTP key that is needed. What cannot be agreed raises ``SdpError`` with status 488 and a constant
rule name.

Not done, by choice: ICE, rtcp-mux (both streams have their own port), feedback profiles
(RTP/AVPF, RTP/SAVPF) and DTLS-SRTP; such m= lines are refused with port 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from sipbot.errors import LocalProtocolError, SdpError
from sipbot.sdp.addresses import address_type, remote_of
from sipbot.sdp.crypto import SUITES, CryptoKey, usable
from sipbot.sdp.formats import (
    CLOCK_HZ,
    DEFAULT_PTIME_MS,
    EVENTS,
    OUR_PAYLOAD_TYPES,
    STATIC_PAYLOAD_TYPES,
    TELEPHONE_EVENT,
    AudioFormats,
    audio_formats,
    ptime_ms,
)
from sipbot.sdp.session import (
    Attribute,
    Connection,
    Line,
    MediaDescription,
    Origin,
    SessionDescription,
)

KeySource: TypeAlias = Callable[[], bytes]
Srtp: TypeAlias = Literal["off", "optional", "required"]
Profile: TypeAlias = Literal["RTP/AVP", "RTP/SAVP"]
Direction: TypeAlias = Literal["sendrecv", "sendonly", "recvonly", "inactive"]

PLAIN: Final[Profile] = "RTP/AVP"
SECURE: Final[Profile] = "RTP/SAVP"

# (we send, we receive) for each direction attribute, from the view of who wrote it.
_FLOWS: Final[dict[Direction, tuple[bool, bool]]] = {
    "sendrecv": (True, True),
    "sendonly": (True, False),
    "recvonly": (False, True),
    "inactive": (False, False),
}
_DIRECTION_OF: Final = {flows: name for name, flows in _FLOWS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMedia:
    """What we are willing to do, and where.

    ``address`` is the IP literal to advertise, ``codecs`` are upper-case names in order of
    preference. RTCP is ``port + 1`` unless ``rtcp_port`` says otherwise.
    """

    address: str
    port: int
    session_id: int
    session_version: int
    codecs: tuple[str, ...] = ("PCMA", "PCMU")
    srtp: Srtp = "optional"
    ptime_ms: int = DEFAULT_PTIME_MS
    rtcp_port: int | None = None

    def __post_init__(self) -> None:
        unknown = set(self.codecs) - set(STATIC_PAYLOAD_TYPES.values())
        if unknown or not self.codecs:
            raise LocalProtocolError("codecs must be some of PCMA, PCMU")


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What both sides agreed on. ``send`` and ``receive`` are from our point of view.

    ``payload_type`` and ``dtmf_payload_type`` serve both directions. ``local_crypto`` protects what
    we send, ``remote_crypto`` opens what we receive. ``held``: the peer does not listen to us
    (it said sendonly or inactive, or gave 0.0.0.0 as its address, and then ``remote`` is no address
    to send to).
    """

    codec: str
    payload_type: int
    dtmf_payload_type: int | None
    remote: tuple[str, int]
    remote_rtcp: tuple[str, int]
    ptime_ms: int
    send: bool
    receive: bool
    remote_crypto: CryptoKey | None
    local_crypto: CryptoKey | None
    profile: Profile
    held: bool


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An m= line of an offer that we could accept."""

    index: int
    negotiated: Negotiated
    formats: AudioFormats


def answer(
    offer: SessionDescription, local: LocalMedia, key_source: KeySource
) -> tuple[Negotiated, SessionDescription]:
    """Answer an offer (RFC 3264 section 6): what was agreed, and the description to send.

    Raises SdpError (488) when no audio stream of the offer suits.
    """
    chosen = _choose(offer, local)
    negotiated = chosen.negotiated
    if negotiated.remote_crypto is not None:
        # RFC 4568 section 5.1.2: tag and suite are those of the offer, the key is our own.
        remote = negotiated.remote_crypto
        ours = CryptoKey(remote.suite, key_source(), remote.tag)
        negotiated = replace(negotiated, local_crypto=ours)
    # RFC 3264 section 6: "For each "m=" line in the offer, there MUST be a corresponding "m=" line
    # in the answer", in the same order; a refused one has port 0.
    accepted = _answer_line(offer.media[chosen.index], negotiated, chosen.formats, local)
    media = [_refused(line) for line in offer.media]
    media[chosen.index] = accepted
    # Same section: "The "t=" line in the answer MUST equal that of the offer."
    timing = tuple(line for line in offer.timing if line.kind == "t")
    return negotiated, _description(local, tuple(media), timing or (Line("t", "0 0"),))


def reanswer(
    previous: SessionDescription,
    offer: SessionDescription,
    local: LocalMedia,
    key_source: KeySource,
) -> tuple[Negotiated, SessionDescription]:
    """Answer a later offer of the same session; ``previous`` is the last description we sent.

    Our SRTP key stays while the suite does. The o= line keeps its id, and its version grows by one
    only when something else changes (RFC 3264 section 8). Raises SdpError (488) as ``answer`` does.
    """
    negotiated, description = answer(offer, local, _kept_keys(previous, offer, local, key_source))
    return negotiated, _versioned(previous, description)


def offer(
    local: LocalMedia, key_source: KeySource, direction: Direction = "sendrecv"
) -> SessionDescription:
    """A first offer (RFC 3264 section 5): our codecs and telephone-event.

    With ``srtp="required"`` it is RTP/SAVP with a key for each suite, else plain RTP/AVP.
    """
    names = (*local.codecs, TELEPHONE_EVENT)
    numbers = {name: OUR_PAYLOAD_TYPES[name] for name in names}
    keys: tuple[CryptoKey, ...] = ()
    if local.srtp == "required":
        keys = tuple(CryptoKey(suite, key_source(), tag) for tag, suite in enumerate(SUITES, 1))
    line = _audio_line(local, numbers, EVENTS, local.ptime_ms, direction, keys)
    return _description(local, (line,), (Line("t", "0 0"),))


def reoffer(
    previous: SessionDescription,
    local: LocalMedia,
    key_source: KeySource,
    direction: Direction = "sendrecv",
) -> SessionDescription:
    """A later offer of the same session; ``previous`` is the last description that we sent.

    It keeps the number and order of m= lines, the profile, our keys and the payload types that
    are in use (RFC 3264 section 8), and offers all our codecs again (RFC 3261 section 14.2).
    """
    index = _active_index(previous)
    current = previous.media[index]
    formats = audio_formats(current)
    dtmf = formats.dtmf_payload_type
    numbers = {name: formats.codecs.get(name, OUR_PAYLOAD_TYPES[name]) for name in local.codecs}
    numbers[TELEPHONE_EVENT] = OUR_PAYLOAD_TYPES[TELEPHONE_EVENT] if dtmf is None else dtmf
    keys: tuple[CryptoKey, ...] = ()
    if current.profile.upper() == SECURE:
        keys = tuple(usable(current.values("crypto"))) or (CryptoKey(SUITES[0], key_source()),)
    line = _audio_line(local, numbers, EVENTS, local.ptime_ms, direction, keys)
    media = (*previous.media[:index], line, *previous.media[index + 1 :])
    return _versioned(previous, _description(local, media, previous.timing))


def accept_answer(
    offer: SessionDescription, answer: SessionDescription, local: LocalMedia
) -> Negotiated:
    """What an answer to our ``offer`` settles (RFC 3264 section 7).

    Raises SdpError (488) when the answer refuses the stream or does not fit the offer.
    """
    index = _active_index(offer)
    if len(answer.media) <= index:
        raise SdpError("answer-misses-media-line")
    ours, theirs = offer.media[index], answer.media[index]
    if theirs.media.lower() != "audio" or theirs.profile.upper() != ours.profile.upper():
        raise SdpError("answer-changes-media-line")
    if theirs.port == 0:
        raise SdpError("answer-refuses-audio")
    offered = audio_formats(ours)
    formats = audio_formats(theirs)
    # RFC 3264 section 6.1: the answerer lists its formats in order of preference.
    codec = next((name for name in formats.codecs if name in offered.codecs), None)
    if codec is None:
        raise SdpError("no-common-codec")
    local_key, remote_key = _answered_keys(ours, theirs)
    negotiated = _negotiate(answer, theirs, local, codec, formats)
    may_send, may_receive = _FLOWS[_direction(offer, ours)]
    return replace(
        negotiated,
        dtmf_payload_type=negotiated.dtmf_payload_type if offered.dtmf_payload_type else None,
        send=negotiated.send and may_send,
        receive=negotiated.receive and may_receive,
        held=negotiated.held and may_send,
        local_crypto=local_key,
        remote_crypto=remote_key,
    )


def _choose(offer: SessionDescription, local: LocalMedia) -> _Candidate:
    """The audio line to accept: a secure one first unless SRTP is off, else the first."""
    found: list[_Candidate] = []
    refusals: list[SdpError] = []
    for index, line in enumerate(offer.media):
        if line.media.lower() != "audio":
            continue
        try:
            found.append(_consider(offer, index, local))
        except SdpError as refusal:
            refusals.append(refusal)
    if not found:
        raise refusals[0] if refusals else SdpError("no-audio-stream")
    return min(found, key=lambda candidate: candidate.negotiated.profile != SECURE)


def _consider(offer: SessionDescription, index: int, local: LocalMedia) -> _Candidate:
    """Raise SdpError with the rule that forbids this line, or say what it would give."""
    line = offer.media[index]
    if line.port == 0:
        raise SdpError("audio-stream-disabled")
    secure = _is_secure(line, local.srtp)
    formats = audio_formats(line)
    codec = next((name for name in local.codecs if name in formats.codecs), None)
    if codec is None:
        raise SdpError("no-common-codec")
    key = next(usable(line.values("crypto")), None) if secure else None
    if secure and key is None:
        raise SdpError("no-usable-crypto")
    negotiated = _negotiate(offer, line, local, codec, formats)
    return _Candidate(index, replace(negotiated, remote_crypto=key), formats)


def _is_secure(line: MediaDescription, srtp: Srtp) -> bool:
    profile = line.profile.upper()
    if profile == PLAIN:  # with a=crypto ("best effort" of some peers) it is plain all the same
        if srtp == "required":
            raise SdpError("srtp-required")
        return False
    if profile == SECURE:
        if srtp == "off":
            raise SdpError("srtp-not-allowed")
        return True
    raise SdpError("profile-not-supported")


def _negotiate(
    session: SessionDescription,
    line: MediaDescription,
    local: LocalMedia,
    codec: str,
    formats: AudioFormats,
) -> Negotiated:
    """What the peer's ``line`` means for us, keys apart."""
    remote = remote_of(session, line, local.address)
    peer_sends, peer_receives = _FLOWS[_direction(session, line)]
    # RFC 3264 section 8.4: with c=0.0.0.0 "neither RTP nor RTCP should be sent to the peer".
    heard = peer_receives and not remote.blackhole
    return Negotiated(
        codec=codec,
        payload_type=formats.codecs[codec],
        dtmf_payload_type=formats.dtmf_payload_type,
        remote=remote.rtp,
        remote_rtcp=remote.rtcp,
        ptime_ms=ptime_ms(session, line, local.ptime_ms),
        send=heard,
        receive=peer_sends,
        remote_crypto=None,
        local_crypto=None,
        profile=SECURE if line.profile.upper() == SECURE else PLAIN,
        held=not heard,
    )


def _direction(session: SessionDescription, line: MediaDescription) -> Direction:
    """RFC 8866 section 6.7: the media level overrides the session level; default sendrecv."""
    for level in (line, session):
        for name in _FLOWS:
            if level.has(name):
                return name
    return "sendrecv"


def _answered_keys(
    ours: MediaDescription, theirs: MediaDescription
) -> tuple[CryptoKey | None, CryptoKey | None]:
    """Our key and the peer's, paired by tag (RFC 4568 section 5.1.3)."""
    if ours.profile.upper() != SECURE:
        return None, None
    offered = {key.tag: key for key in usable(ours.values("crypto"))}
    remote = next(usable(theirs.values("crypto")), None)
    if remote is None:
        raise SdpError("no-usable-crypto")
    mine = offered.get(remote.tag)
    if mine is None or mine.suite != remote.suite:
        raise SdpError("answer-changes-crypto")
    return mine, remote


def _active_index(description: SessionDescription) -> int:
    """The audio line of ours that is in use."""
    for index, line in enumerate(description.media):
        if line.media.lower() == "audio" and line.port != 0:
            return index
    raise LocalProtocolError("our own description has no audio stream")


def _kept_keys(
    previous: SessionDescription,
    offer: SessionDescription,
    local: LocalMedia,
    key_source: KeySource,
) -> KeySource:
    """A source that repeats our key of ``previous`` when the new choice has the same suite."""
    remote = _choose(offer, local).negotiated.remote_crypto
    line = previous.media[_active_index(previous)]
    for key in usable(line.values("crypto")):
        if remote is not None and key.suite == remote.suite:
            return lambda: key.key
    return key_source


def _versioned(previous: SessionDescription, now: SessionDescription) -> SessionDescription:
    """``now`` with the o= line of ``previous``, its version one up if anything else differs."""
    # RFC 3264 section 8: "the version in the origin field MUST increment by one from the previous
    # SDP" when it is modified, and stays when nothing changed.
    before = previous.origin
    same = replace(now, origin=replace(now.origin, **_identity(before)))
    if same == previous:
        return previous
    version = str(int(before.session_version) + 1)
    return replace(same, origin=replace(same.origin, session_version=version))


def _identity(origin: Origin) -> dict[str, str]:
    return {"session_id": origin.session_id, "session_version": origin.session_version}


def _description(
    local: LocalMedia, media: tuple[MediaDescription, ...], timing: tuple[Line, ...]
) -> SessionDescription:
    kind = address_type(local.address)
    return SessionDescription(
        origin=Origin("-", str(local.session_id), str(local.session_version), kind, local.address),
        connection=Connection(kind, local.address),
        timing=timing,
        media=media,
    )


def _refused(line: MediaDescription) -> MediaDescription:
    """RFC 3264 section 6: port 0; formats are ignored, but at least one MUST be present."""
    return MediaDescription(line.media, 0, line.profile, line.formats)


def _answer_line(
    offered: MediaDescription, negotiated: Negotiated, formats: AudioFormats, local: LocalMedia
) -> MediaDescription:
    numbers = {negotiated.codec: negotiated.payload_type}
    if negotiated.dtmf_payload_type is not None:
        numbers[TELEPHONE_EVENT] = negotiated.dtmf_payload_type
    # RFC 3264 section 6.1: sendonly is answered recvonly or inactive, and so on.
    direction = _DIRECTION_OF[negotiated.send, negotiated.receive]
    keys = () if negotiated.local_crypto is None else (negotiated.local_crypto,)
    line = _audio_line(local, numbers, formats.dtmf_events, negotiated.ptime_ms, direction, keys)
    return replace(line, profile=offered.profile)


def _audio_line(
    local: LocalMedia,
    numbers: dict[str, int],
    events: str,
    packet_ms: int,
    direction: Direction,
    keys: tuple[CryptoKey, ...],
) -> MediaDescription:
    attributes: list[Attribute] = []
    for name, number in numbers.items():
        text = name.lower() if name == TELEPHONE_EVENT else name
        attributes.append(Attribute("rtpmap", f"{number} {text}/{CLOCK_HZ}"))
        if name == TELEPHONE_EVENT:
            attributes.append(Attribute("fmtp", f"{number} {events}"))
    attributes += [Attribute("crypto", key.attribute_value()) for key in keys]
    if local.rtcp_port is not None and local.rtcp_port != local.port + 1:
        attributes.append(Attribute("rtcp", str(local.rtcp_port)))
    attributes += [Attribute("ptime", str(packet_ms)), Attribute(direction)]
    return MediaDescription(
        media="audio",
        port=local.port,
        profile=SECURE if keys else PLAIN,
        formats=tuple(str(number) for number in numbers.values()),
        attributes=tuple(attributes),
    )
