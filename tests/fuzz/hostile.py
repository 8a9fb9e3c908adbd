"""Hostile bytes: messages that are nearly right, and ways to spoil them; repeatable by seed."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

HOST = "127.0.0.1"
_SPOILT_MAX_BYTES = 8_000  # a UDP datagram on loopback could be larger; SIP over UDP never is

_SDP = (
    "v=0\r\no=x 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio {media} RTP/AVP 8 0 96\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:96 telephone-event/8000\r\n"
    "a=fmtp:96 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n"
)
_METHODS = (
    "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE", "INFO", "PRACK", "REFER", "NOTIFY",
    "REGISTER", "SUBSCRIBE", "MESSAGE", "PUBLISH", "BREW",
)  # fmt: skip
_EXTRA = (
    'Via: SIP/2.0/UDP [::1]:5060;branch=z9hG4bK-x;received=127.0.0.1;rport=1',
    'Record-Route: <sip:127.0.0.1:9;lr>, "a, b" <sips:[::1];transport=tls;lr>',
    "Route: <sip:nobody@127.0.0.1;lr>",
    "Session-Expires: 1800;refresher=uac",
    "Min-SE: 90",
    "Require: timer, 100rel",
    "Supported: timer,replaces",
    'Authorization: Digest username="a", realm="b", nonce="c", uri="sip:x", response="d"',
    'P-Asserted-Identity: "A \\" B" <sip:+911234567890@x>, <tel:+911234567890>',
    "Content-Encoding: gzip",
    "Subject: a\r\n folded\r\n\tline",
    "Content-Type: multipart/mixed;boundary=\"b\"",
    "X-Exotel-CallSid: 0123456789abcdef",
)  # fmt: skip
_TOKENS = (
    b"\0", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b";", b",", b'"', b"<", b">", b":", b"@",
    b"%00", b"%", b"\\", b"\xff\xfe", b"\xf0\x9f\x92\xa3", b"A" * 3000, b"9" * 40, b"-1",
    b"4294967296", b"18446744073709551616", b";" * 500, b"," * 500, b"<<>>", b"[::", b"sip:",
    b";tag=", b"SIP/2.0", b"SIP/3.0", b"Content-Length: 99999999\r\n", b"Content-Length: -5\r\n",
    b"m=audio 0 RTP/AVP 8\r\n", b"c=IN IP4 224.0.0.1/127\r\n", b"c=IN IP6 ::1\r\n",
)  # fmt: skip


def sip_request(rng: random.Random, user: str, media: int, transport: str) -> bytes:
    """A request that is right in every respect, of a random method."""
    method = rng.choice(_METHODS)
    body = _SDP.format(media=media) if method in ("INVITE", "UPDATE") else ""
    number = rng.randrange(2**31)
    sent_by = f"{HOST}:{rng.randrange(1024, 65536)}"
    lines = [
        f"{method} sip:{user}@{HOST} SIP/2.0",
        f"Via: SIP/2.0/{transport} {sent_by};branch=z9hG4bK{rng.randrange(2**40):x};rport",
        f'From: "x" <sip:x@{HOST}>;tag={rng.randrange(2**32):x}',
        f"To: <sip:{user}@{HOST}>" + rng.choice(("", ";tag=abc")),
        f"Call-ID: {rng.randrange(2**48):x}@fuzz",
        f"CSeq: {number} {method}",
        f"Contact: <sip:x@{HOST}:9>",
        "Max-Forwards: 70",
        *rng.sample(_EXTRA, rng.randrange(3)),
        *(["Content-Type: application/sdp"] if body else []),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", body]).encode()


def sip_response(rng: random.Random) -> bytes:
    """A response to nothing that was ever asked."""
    return (
        f"SIP/2.0 {rng.choice((100, 180, 200, 302, 401, 487, 600, 699))} Whatever\r\n"
        f"Via: SIP/2.0/UDP {HOST}:5070;branch=z9hG4bK{rng.randrange(2**40):x}\r\n"
        f"From: <sip:a@{HOST}>;tag=1\r\nTo: <sip:b@{HOST}>;tag=2\r\nCall-ID: {rng.random()}\r\n"
        "CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def rtp_packet(rng: random.Random) -> bytes:
    """A plausible RTP packet: audio, telephone event, comfort noise, or one with extensions."""
    payload_type = rng.choice((8, 0, 96, 13, 101, 127))
    body = rng.randbytes(4 if payload_type == 96 else rng.choice((0, 1, 80, 160, 480, 1400)))
    first = 0x80 | rng.choice((0, 0, 0, 0x10, 0x20, 0x0F))
    return (
        struct.pack(
            "!BBHII",
            first,
            payload_type | rng.choice((0, 0x80)),
            rng.randrange(2**16),
            rng.randrange(2**32),
            rng.randrange(2**32),
        )
        + body
    )


def rtcp_packet(rng: random.Random) -> bytes:
    """SR, RR, SDES, BYE, APP or an unknown type, compound, with lengths that may lie."""
    parts = []
    for _ in range(rng.randrange(1, 4)):
        words = rng.randbytes(4 * rng.randrange(8))
        length = rng.choice((len(words) // 4, rng.randrange(2**16)))
        count = rng.randrange(32)
        parts.append(struct.pack("!BBH", 0x80 | count, rng.randrange(199, 208), length) + words)
    return b"".join(parts)


def garbage(rng: random.Random) -> bytes:
    """Bytes of no protocol at all, or the first bytes of another one."""
    head = rng.choice(
        (
            b"",
            b"\x00\x01\x00\x08\x21\x12\xa4\x42",
            b"\x16\xfe\xff",
            b"GET / HTTP/1.1\r\n",
            b"\0" * 4,
        )
    )
    return head + rng.randbytes(rng.randrange(600))


def _flip(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randrange(1, 8)):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def _insert(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + rng.choice(_TOKENS) + data[at:]


def _replace(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + rng.choice(_TOKENS) + data[at + rng.randrange(1, 20) :]


def _double(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.randrange(1, 200))
    return data[:end] + data[start:end] * rng.randrange(1, 20) + data[end:]


def _shuffle_lines(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    rng.shuffle(lines)
    return b"\r\n".join(lines)


def _drop_line(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    del lines[rng.randrange(len(lines))]
    return b"\r\n".join(lines)


_SPOILERS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _flip, _cut, _insert, _replace, _double, _shuffle_lines, _drop_line,
)  # fmt: skip


def spoil(rng: random.Random, data: bytes) -> bytes:
    """Apply one to three random kinds of damage."""
    for _ in range(rng.randrange(1, 4)):
        if not data:
            break
        data = rng.choice(_SPOILERS)(rng, data)[:_SPOILT_MAX_BYTES]
    return data
