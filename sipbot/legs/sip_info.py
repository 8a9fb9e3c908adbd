"""What an INVITE says of its call, as a ``LegInfo``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sipbot.call.leg import LegInfo
from sipbot.errors import SipSyntaxError
from sipbot.sip.effects import Flow
from sipbot.sip.headers import NameAddr
from sipbot.sip.message import Request

MAX_HEADERS: Final = 64  # header names handed to agents; the rest is not kept
_CUSTOM_PREFIX: Final = "x-"
# Exotel, "Flow and API Configuration Guide": these prefixes are the platform's own; everything
# else behind "X-" comes from the custom_params of the flow.
_RESERVED_PREFIXES: Final = ("x-exotel-", "x-veeno-", "x-veen-")


def incoming_info(request: Request, flow: Flow, trunk: str) -> LegInfo:
    """Describe an incoming call.

    The caller is the user of From; of an anonymous From (RFC 3323) it is that of
    P-Asserted-Identity (RFC 3325), which a trunk has checked.
    """
    headers = _headers(request)
    return LegInfo(
        transport=f"sip/{flow.transport}",
        direction="inbound",
        caller=_caller(request),
        callee=_user(request.to),
        trunk=trunk,
        request_user=request.uri.user_decoded or "",
        peer=f"{flow.remote[0]}:{flow.remote[1]}",
        protocol_id=request.call_id,
        headers=headers,
        parameters=_parameters(headers),
    )


def _caller(request: Request) -> str:
    caller = _user(request.from_)
    asserted = request.headers.get("P-Asserted-Identity")
    if asserted is None or caller.lower() not in ("", "anonymous"):
        return caller
    try:
        return _user(NameAddr.parse(asserted)) or caller
    except SipSyntaxError:
        return caller


def _user(address: NameAddr) -> str:
    return address.uri.user_decoded or ""


def _headers(request: Request) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        if len(found) >= MAX_HEADERS:
            break
        found.setdefault(name.lower(), value)
    return MappingProxyType(found)


def _parameters(headers: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(
        {
            name.removeprefix(_CUSTOM_PREFIX): value
            for name, value in headers.items()
            if name.startswith(_CUSTOM_PREFIX) and not name.startswith(_RESERVED_PREFIXES)
        }
    )
