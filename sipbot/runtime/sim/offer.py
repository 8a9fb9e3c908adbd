"""Session descriptions as Exotel's trunks write them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sipbot.sdp.formats import OUR_PAYLOAD_TYPES, TELEPHONE_EVENT
from sipbot.sdp.session import Attribute, SessionDescription

EVENTS_TYPE: Final = "96"  # payload type of telephone-event towards a bot
_OURS: Final = str(OUR_PAYLOAD_TYPES[TELEPHONE_EVENT])


def dressed(offer: SessionDescription) -> SessionDescription:
    """An offer of ours with ``o=root N N``, telephone-event 96, ``a=rtcp`` and one SRTP key.

    Later offers of the session, which repeat what the first one said, stay as they are but for
    their ``o=`` and ``a=rtcp``.
    """
    line = offer.media[0]
    attributes = [_renumbered(one) for one in line.attributes]
    keys = [one for one in attributes if one.name == "crypto"]
    attributes = [one for one in attributes if one not in keys[1:] and one.name != "rtcp"]
    attributes.append(Attribute("rtcp", str(line.port + 1)))
    formats = tuple(EVENTS_TYPE if number == _OURS else number for number in line.formats)
    origin = replace(offer.origin, username="root")
    if origin.session_version == "1":
        origin = replace(origin, session_version=origin.session_id)
    media = (replace(line, formats=formats, attributes=tuple(attributes)), *offer.media[1:])
    return replace(offer, origin=origin, media=media)


def _renumbered(attribute: Attribute) -> Attribute:
    number, space, rest = (attribute.value or "").partition(" ")
    if attribute.name in ("rtpmap", "fmtp") and number == _OURS:
        return replace(attribute, value=f"{EVENTS_TYPE}{space}{rest}")
    return attribute
