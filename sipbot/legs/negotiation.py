"""The offer/answer state of one leg: session descriptions in, a ``StreamSpec`` out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from sipbot.errors import LocalProtocolError
from sipbot.media.stream import Codec, SrtpKey, StreamSpec
from sipbot.sdp import negotiate
from sipbot.sdp.crypto import CryptoKey
from sipbot.sdp.negotiate import Direction, LocalMedia, Negotiated
from sipbot.sdp.session import SessionDescription, parse

SRTP_KEY_BYTES: Final = 30  # master key 16 and master salt 14, RFC 3711 section 8.2


@dataclass(frozen=True, slots=True)
class MediaTerms:
    """What we are willing to agree to, from the configuration."""

    codecs: tuple[str, ...] = ("PCMA", "PCMU")  # in order of preference
    srtp: Literal["off", "optional", "required"] = "optional"


@dataclass(frozen=True, slots=True)
class Agreement:
    """One finished offer/answer exchange."""

    spec: StreamSpec
    held: bool  # the peer does not listen


class MediaNegotiator:
    """Offer/answer for one leg (RFC 3264).

    Each offer or answer of the peer either yields an ``Agreement`` or raises ``SdpError``, which
    leaves what was agreed before untouched. ``dress`` may change how an offer of ours is written.
    """

    def __init__(
        self,
        terms: MediaTerms,
        address: str,
        port: int,
        entropy: Callable[[int], bytes],
        dress: Callable[[SessionDescription], SessionDescription] = lambda offer: offer,
    ) -> None:
        # RFC 8866 section 5.2: a numeric session id, unique for this user and address.
        session_id = int.from_bytes(entropy(4), "big")
        self._local = LocalMedia(
            address=address,
            port=port,
            session_id=session_id,
            session_version=1,
            codecs=terms.codecs,
            srtp=terms.srtp,
        )
        self._key_source = lambda: entropy(SRTP_KEY_BYTES)
        self._dress = dress
        self._ours: SessionDescription | None = None  # the last description that we sent
        self._offered: SessionDescription | None = None  # ours, still without an answer

    def answer(self, offer: bytes) -> tuple[Agreement, bytes]:
        """Answer the peer's first or later offer. Raises SdpError."""
        theirs = parse(offer)
        if self._ours is None:
            agreed, ours = negotiate.answer(theirs, self._local, self._key_source)
        else:
            agreed, ours = negotiate.reanswer(self._ours, theirs, self._local, self._key_source)
        self._ours = ours
        return _agreement(agreed), ours.serialize()

    def offer(self, direction: Direction = "sendrecv") -> bytes:
        """Our own offer: first, or anew within the session (RFC 3261 section 14.2)."""
        if self._ours is None:
            made = negotiate.offer(self._local, self._key_source, direction)
        else:
            made = negotiate.reoffer(self._ours, self._local, self._key_source, direction)
        self._ours = self._offered = self._dress(made)
        return self._offered.serialize()

    def accept(self, answer: bytes) -> Agreement:
        """Take the peer's answer to our last offer. Raises SdpError.

        A callee may repeat its answer in several responses (RFC 3261 section 13.2.1), so this may
        be called again for the same offer.
        """
        if self._offered is None:
            raise LocalProtocolError("no offer of ours waits for an answer")
        return _agreement(negotiate.accept_answer(self._offered, parse(answer), self._local))


def _agreement(agreed: Negotiated) -> Agreement:
    spec = StreamSpec(
        remote=agreed.remote,
        remote_rtcp=agreed.remote_rtcp,
        codec=Codec(agreed.codec),
        payload_type=agreed.payload_type,
        dtmf_payload_type=agreed.dtmf_payload_type,
        ptime_ms=agreed.ptime_ms,
        send=agreed.send,
        receive=agreed.receive,
        srtp_send=_srtp_key(agreed.local_crypto),
        srtp_receive=_srtp_key(agreed.remote_crypto),
    )
    return Agreement(spec, agreed.held)


def _srtp_key(key: CryptoKey | None) -> SrtpKey | None:
    return None if key is None else SrtpKey(key.suite, key.key)
