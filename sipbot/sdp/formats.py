"""Which payload type of an ``m=audio`` line means what, and how long its packets may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sipbot.sdp.session import MediaDescription, SessionDescription

CLOCK_HZ: Final = 8_000  # of PCMA, PCMU and the telephone-event that goes with them
DEFAULT_PTIME_MS: Final = 20
MIN_PTIME_MS: Final = 10
MAX_PTIME_MS: Final = 60
PTIME_STEP_MS: Final = 10
EVENTS: Final = "0-15"  # the telephone-event codes that we take: 0-9 * # A-D
TELEPHONE_EVENT: Final = "TELEPHONE-EVENT"
STATIC_PAYLOAD_TYPES: Final = {0: "PCMU", 8: "PCMA"}  # RFC 3551 section 6
OUR_PAYLOAD_TYPES: Final = {"PCMU": 0, "PCMA": 8, TELEPHONE_EVENT: 101}  # when we offer

_MAX_PAYLOAD_TYPE: Final = 127
_RTCP_CONFLICT: Final = range(72, 77)  # RFC 3551 section 6: reserved, look like RTCP
_FIRST_FREE: Final = 35  # RFC 3551 section 6: below are static or reserved
# RFC 8866 section 6.6: a=rtpmap:<payload type> <encoding name>/<clock rate>[/<channels>]
_RTPMAP = re.compile(r"([0-9]{1,3})\s+([^\s/]+)\s*/\s*([0-9]{1,6})(?:\s*/\s*([0-9]{1,2}))?")
_INTEGER = re.compile(r"([0-9]{1,5})(?:\.[0-9]*)?")
_EVENT_RANGE = re.compile(r"([0-9]{1,3})(?:-([0-9]{1,3}))?")


@dataclass(frozen=True, slots=True)
class AudioFormats:
    """What of one m= line we understand.

    ``codecs`` maps upper-case encoding names to the first payload type that carries them.
    """

    codecs: dict[str, int]
    dtmf_payload_type: int | None
    dtmf_events: str = EVENTS  # what to write into our fmtp


def audio_formats(media: MediaDescription) -> AudioFormats:
    """Read formats and rtpmaps of an m= line (RFC 8866 section 6.6, RFC 3551 section 6).

    Encoding names are compared without case. A static 0 or 8 needs no rtpmap. Entries with another
    clock than 8000 Hz, several channels or an impossible payload type are passed over.
    """
    rtpmaps = _rtpmaps(media)
    codecs: dict[str, int] = {}
    for text in media.formats:
        payload_type = _payload_type(text)
        if payload_type is None:
            continue
        name = rtpmaps.get(payload_type) or STATIC_PAYLOAD_TYPES.get(payload_type)
        if name and _may_carry(payload_type, name):
            codecs.setdefault(name, payload_type)
    dtmf = codecs.pop(TELEPHONE_EVENT, None)
    return AudioFormats(codecs, dtmf, _events(media, dtmf))


def ptime_ms(session: SessionDescription, media: MediaDescription, default: int) -> int:
    """How long the packets that we send may be: 10 to 60 ms, in steps of 10.

    ``a=ptime`` is what the peer likes, ``a=maxptime`` what it can take (RFC 8866 sections 6.3 and
    6.4); either may stand at session level.
    """
    wanted = _milliseconds(media.value("ptime") or session.value("ptime")) or default
    limit = _milliseconds(media.value("maxptime") or session.value("maxptime")) or MAX_PTIME_MS
    length = max(MIN_PTIME_MS, min(wanted, limit, MAX_PTIME_MS))
    return length - length % PTIME_STEP_MS


def _rtpmaps(media: MediaDescription) -> dict[int, str]:
    """Payload type to upper-case name; "?" when its clock or channels are not ours."""
    names: dict[int, str] = {}
    for value in media.values("rtpmap"):
        match = _RTPMAP.match(value)
        if match is None:
            continue
        usable = int(match[3]) == CLOCK_HZ and int(match[4] or 1) == 1
        names.setdefault(int(match[1]), match[2].upper() if usable else "?")
    return names


def _payload_type(text: str) -> int | None:
    if not text.isascii() or not text.isdigit() or len(text) > 3:
        return None
    number = int(text)
    return number if number <= _MAX_PAYLOAD_TYPE else None


def _may_carry(payload_type: int, name: str) -> bool:
    if payload_type in STATIC_PAYLOAD_TYPES:  # RFC 3551 section 6: a static number is fixed
        return name == STATIC_PAYLOAD_TYPES[payload_type]
    return payload_type >= _FIRST_FREE and payload_type not in _RTCP_CONFLICT


def _events(media: MediaDescription, payload_type: int | None) -> str:
    """The offered events if we can take them all, else ours (RFC 4733 section 2.4.1)."""
    for value in media.values("fmtp"):
        number, _, text = value.partition(" ")
        if payload_type is not None and number == str(payload_type):
            return text.strip() if _within_ours(text.strip()) else EVENTS
    return EVENTS


def _within_ours(text: str) -> bool:
    for part in text.split(","):
        match = _EVENT_RANGE.fullmatch(part)
        if match is None or not int(match[1]) <= int(match[2] or match[1]) <= 15:
            return False
    return True


def _milliseconds(text: str | None) -> int:
    """Whole milliseconds, 0 when absent or unreadable."""
    match = _INTEGER.fullmatch(text.strip()) if text else None
    return int(match[1]) if match else 0
