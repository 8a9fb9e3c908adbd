"""Where the peer wants its media: which addresses and ports we are willing to send to."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from sipbot.errors import SdpError
from sipbot.sdp.session import MAX_PORT, Connection, MediaDescription, SessionDescription

MIN_REMOTE_PORT: Final = 1_024  # below live services that a forged offer could aim us at
_LIMITED_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")
_THIS_NETWORK: Final = ipaddress.IPv4Network("0.0.0.0/8")
# RFC 3605 section 2.1: a=rtcp:<port> [<nettype> <addrtype> <address>]
_RTCP = re.compile(r"([0-9]{1,5})(?:\s+(\S+)\s+(\S+)\s+(\S+))?")


@dataclass(frozen=True, slots=True)
class Remote:
    """Where to send RTP and RTCP. ``blackhole``: c=0.0.0.0, nothing may be sent."""

    rtp: tuple[str, int]
    rtcp: tuple[str, int]
    blackhole: bool


def address_type(address: str) -> str:
    """``IP4`` or ``IP6`` for an IP literal of ours."""
    return "IP6" if ":" in address else "IP4"


def remote_of(session: SessionDescription, media: MediaDescription, local_address: str) -> Remote:
    """Where the peer of ``media`` listens.

    Raises SdpError (488) for what is no unicast IP literal of our own address family, and for
    ports below 1024.
    """
    # RFC 8866 section 5.7: c= of the media section overrides that of the session.
    connection = media.connection or session.connection
    if connection is None:
        raise SdpError("media-address-missing")
    address, blackhole = _checked_address(connection, local_address)
    if media.port < MIN_REMOTE_PORT:
        raise SdpError("media-port-privileged")
    return Remote((address, media.port), _rtcp(media, address, local_address), blackhole)


def _checked_address(connection: Connection, local_address: str) -> tuple[str, bool]:
    """The literal in its normal form, and whether it is the "send nothing" address."""
    if connection.net_type != "IN" or connection.address_type not in ("IP4", "IP6"):
        raise SdpError("media-address-type")
    try:
        address = ipaddress.ip_address(connection.address)
    except ValueError:
        raise SdpError("media-address-no-literal") from None
    if f"IP{address.version}" != connection.address_type or "%" in connection.address:
        raise SdpError("media-address-type")
    if address.is_unspecified:
        return str(address), True  # RFC 3264 section 8.4: hold in the way of RFC 2543
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    plain = mapped or address
    if plain.is_multicast or plain == _LIMITED_BROADCAST or connection.suffix:
        raise SdpError("media-address-not-unicast")
    if isinstance(plain, ipaddress.IPv4Address) and plain in _THIS_NETWORK:
        raise SdpError("media-address-unspecified")
    if connection.address_type != address_type(local_address):
        raise SdpError("media-address-family")
    return str(address), False


def _rtcp(media: MediaDescription, address: str, local_address: str) -> tuple[str, int]:
    """RFC 3605, else the next port (RFC 3550 section 11). A bad a=rtcp line is passed over."""
    match = _RTCP.fullmatch(media.value("rtcp") or "")
    if match is not None and MIN_REMOTE_PORT <= int(match[1]) <= MAX_PORT:
        if match[4] is None:
            return address, int(match[1])
        connection = Connection(match[3].upper(), match[4], match[2].upper())
        try:
            elsewhere, blackhole = _checked_address(connection, local_address)
        except SdpError:
            return address, int(match[1])
        return (address if blackhole else elsewhere), int(match[1])
    if media.port == MAX_PORT:
        raise SdpError("media-port-without-rtcp-port")
    return address, media.port + 1
