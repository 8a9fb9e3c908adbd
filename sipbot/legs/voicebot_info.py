"""What a stream's first messages and its URL say of the call, as a ``LegInfo``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sipbot.call.leg import LegInfo
from sipbot.errors import StreamError
from sipbot.exotel.wire import DEFAULT_RATE, RATES, Start, rate_of

RATE_NAMES: Final = ("sample-rate", "sample_rate")  # in the query of the URL; both are documented
# StreamKit takes these from SIP headers and cuts the leading "X-" off.
_FROM_HEADERS: Final = ("UUI", "Custom-Header")


def stream_rate(start: Start, query: Mapping[str, str]) -> int:
    """Samples a second: as declared, else as asked for in the URL, else 8000.

    Raises StreamError for a rate that Exotel does not offer.
    """
    asked = next((rate_of(query[name]) for name in RATE_NAMES if name in query), None)
    rate = start.rate or asked or DEFAULT_RATE
    if rate not in RATES:
        raise StreamError("unknown-rate")
    return rate


def stream_info(
    start: Start,
    *,
    rate: int,
    peer: str,
    trunk: str,
    query: Mapping[str, str],
    path: str,
    transport: str = "voicebot",
) -> LegInfo:
    """Describe the call of a stream.

    Parameters are those of the URL and of the start message; each stands there by its name as
    received and in lower case, as SIP has it. ``path`` is what the URL holds behind the agent's
    name. The ids and SIP headers are headers as on a SIP call: ``x-exotel-callsid``, ``x-uui``.
    """
    given = {name: value for name, value in query.items() if name not in RATE_NAMES}
    given |= start.parameters
    parameters = {name.lower(): value for name, value in given.items()} | given
    if path:
        parameters["path"] = path
    headers = {
        "x-exotel-callsid": start.call_sid,
        "x-exotel-accountsid": start.account_sid,
        **{f"x-{name.lower()}": start.parameters.get(name, "") for name in _FROM_HEADERS},
    }
    return LegInfo(
        transport=transport,
        direction="inbound",
        caller=_user(start.caller),
        callee=_user(start.callee),
        trunk=trunk,
        request_user=_user(start.callee),
        peer=peer,
        protocol_id=start.stream_sid,
        codec=f"{start.encoding}/{rate}",
        headers=MappingProxyType({name: value for name, value in headers.items() if value}),
        parameters=MappingProxyType(parameters),
    )


def _user(number: str) -> str:
    """A number as it stands, or the user part of ``sip:0806…@host``."""
    scheme, colon, rest = number.partition(":")
    user = rest if colon and scheme.lower() in ("sip", "sips", "tel") else number
    return user.partition("@")[0].partition(";")[0]
