"""SRTP and SRTCP for one peer, keyed by SDES (RFC 3711, RFC 4568), through libsrtp."""

from __future__ import annotations

from typing import Final, TypeAlias

from pylibsrtp import Error, Policy, Session

from sipbot.errors import LocalProtocolError, RtpError

SUITE_80: Final = "AES_CM_128_HMAC_SHA1_80"
SUITE_32: Final = "AES_CM_128_HMAC_SHA1_32"
KEY_BYTES: Final = 30  # 16 of master key, 14 of master salt
MAX_PACKET_BYTES: Final = 1340  # the wrapper's buffer less libsrtp's largest trailer
MAX_SECURE_BYTES: Final = 1500  # the wrapper's buffer
REPLAY_WINDOW: Final = 128  # packets, RFC 3711 section 3.3.2: at least 64
_MIN_RTP_BYTES: Final = 12
_MIN_RTCP_BYTES: Final = 8

Keying: TypeAlias = tuple[str, bytes]  # suite and 30 bytes

_PROFILES: Final = {
    SUITE_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    SUITE_32: Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}
_RULES: Final = {
    "authentication failure": "srtp-auth",
    "replay check failed (bad index)": "srtp-replay",
    "replay check failed (index too old)": "srtp-replay",
    "packet index is too old to consider": "srtp-replay",
}


def make_key(random_bytes: bytes) -> bytes:
    """Check 30 bytes from a cryptographic source for use as master key and salt."""
    if len(random_bytes) != KEY_BYTES:
        raise LocalProtocolError("an SRTP key has 30 bytes")
    return bytes(random_bytes)


def _session(keying: Keying, direction: int) -> Session:
    suite, key = keying
    if suite not in _PROFILES:
        raise LocalProtocolError("SRTP suite is not supported")
    policy = Policy(key=make_key(key), ssrc_type=direction, srtp_profile=_PROFILES[suite])
    policy.window_size = REPLAY_WINDOW
    return Session(policy)


class SrtpPair:
    """Both directions of one peer's media protection; any SSRC is taken inbound.

    Start the RTP sequence below 2**15, so that an early loss cannot make the peer miscount the
    roll-over counter (RFC 3711 section 3.3.1).
    """

    def __init__(self, send_key: Keying, receive_key: Keying) -> None:
        self._send_key, self._receive_key = send_key, receive_key
        self._send = _session(send_key, Policy.SSRC_ANY_OUTBOUND)
        self._receive = _session(receive_key, Policy.SSRC_ANY_INBOUND)
        self._former: Session | None = None  # inbound, until the new key is heard

    def rekey(self, send_key: Keying, receive_key: Keying) -> None:
        """Take the keys of a new offer/answer.

        A direction whose key did not change keeps its session, and with it the roll-over counter
        and the replay list; a new key starts a new one at zero, as peers built on libsrtp do.
        Packets under the former inbound key are taken until the first under the new one.
        """
        send, receive, former = self._send, self._receive, self._former
        if send_key != self._send_key:
            send = _session(send_key, Policy.SSRC_ANY_OUTBOUND)
        if receive_key != self._receive_key:
            receive, former = _session(receive_key, Policy.SSRC_ANY_INBOUND), receive
        self._send_key, self._receive_key = send_key, receive_key
        self._send, self._receive, self._former = send, receive, former

    def protect(self, packet: bytes) -> bytes:
        """Encrypt one RTP packet. Raises ``LocalProtocolError`` if it cannot be protected."""
        return _outbound(self._send, packet, rtcp=False)

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Encrypt one compound RTCP packet. Raises ``LocalProtocolError`` if it cannot be."""
        return _outbound(self._send, packet, rtcp=True)

    def unprotect(self, packet: bytes) -> bytes:
        """Check and decrypt one SRTP packet.

        Raises ``RtpError``: "srtp-auth" (wrong key, forged or plain), "srtp-replay", "srtp-short",
        "srtp-long" or "srtp-invalid".
        """
        return self._inbound(packet, rtcp=False)

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """Check and decrypt one SRTCP packet; raises as ``unprotect``."""
        return self._inbound(packet, rtcp=True)

    def _inbound(self, packet: bytes, *, rtcp: bool) -> bytes:
        _check_size(packet, rtcp=rtcp)
        try:
            plain = _unprotect(self._receive, packet, rtcp=rtcp)
        except RtpError as refused:
            if self._former is None or refused.reason != "srtp-auth":
                raise
            return _unprotect(self._former, packet, rtcp=rtcp)
        self._former = None
        return plain


def _check_size(packet: bytes, *, rtcp: bool) -> None:
    if len(packet) > MAX_SECURE_BYTES:
        raise RtpError("srtp-long")
    if len(packet) < (_MIN_RTCP_BYTES if rtcp else _MIN_RTP_BYTES):
        raise RtpError("srtp-short")


def _unprotect(session: Session, packet: bytes, *, rtcp: bool) -> bytes:
    try:
        return session.unprotect_rtcp(packet) if rtcp else session.unprotect(packet)
    except Error as error:
        raise RtpError(_RULES.get(str(error), "srtp-invalid")) from error


def _outbound(session: Session, packet: bytes, *, rtcp: bool) -> bytes:
    if len(packet) > MAX_PACKET_BYTES:
        raise LocalProtocolError("packet is too long for SRTP")
    try:
        return session.protect_rtcp(packet) if rtcp else session.protect(packet)
    except Error as error:
        raise LocalProtocolError("packet cannot be protected") from error
