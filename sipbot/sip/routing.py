"""Where messages go: next hops, the ways to try in order, and the Via of each.

RFC 3261 sections 12.2.1.1 (route sets), 18.1.1 and 18.2 (Via, size), RFC 3581 (rport).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from sipbot.errors import LocalProtocolError
from sipbot.sip.effects import Address, Attempt, Flow, Hop, Transport
from sipbot.sip.headers import Via
from sipbot.sip.message import Request, Response
from sipbot.sip.uri import Uri

# Host and port to put into Via and Contact for traffic on a flow or towards a hop.
Local: TypeAlias = Callable[[Flow | Hop], Address]

DEFAULT_PORT: Final[dict[Transport, int]] = {"udp": 5060, "tcp": 5060, "tls": 5061}
_TRANSPORTS: Final[dict[str, Transport]] = {"udp": "udp", "tcp": "tcp", "tls": "tls"}
# RFC 3261 section 18.1.1: a request within 200 bytes of the path MTU, or larger than 1300 bytes
# when that is unknown, goes by a congestion controlled transport.
MAX_UDP_REQUEST: Final = 1300  # bytes
MAX_ATTEMPTS: Final = 4  # ways to try for one request


@dataclass(frozen=True, slots=True)
class Path:
    """One way to send a request: over ``flow`` or to ``hop``, as ``transport``."""

    transport: Transport
    flow: Flow | None = None
    hop: Hop | None = None

    def via_of(self, local: Local) -> Address:
        """Our host and port as the peer shall see them on this path."""
        end = self.flow or self.hop
        if end is None:
            raise LocalProtocolError("a path needs a flow or a hop")
        return local(end)


def same_host(one: str, other: str) -> bool:
    """Whether two host texts are equal, whatever the spelling of an IPv6 address."""
    if one.lower() == other.lower():
        return True
    try:
        return _plain(one) == _plain(other)
    except ValueError:
        return False


def _plain(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(host.strip("[]"))
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else ipaddress.IPv4Address(mapped)


def is_address(host: str) -> bool:
    """Whether ``host`` is an IP literal."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def hop_of(uri: Uri) -> Hop:
    """The next hop that a SIP URI names (RFC 3263 section 4.1).

    A transport that we lack (``ws``, ``sctp``) counts as not named. Raises ``LocalProtocolError``
    when the URI is no SIP URI.
    """
    if uri.scheme not in ("sip", "sips"):
        raise LocalProtocolError("only SIP URIs can be called")
    transport = uri.transport
    # "the maddr parameter ... overrides any address derived from the host field" (19.1.1)
    host = uri.parameter("maddr") or uri.host
    return Hop(host.strip("[]"), uri.port, _TRANSPORTS.get(transport or ""))


def dialog_paths(hop: Hop, flow: Flow, transport: Transport, *, behind_nat: bool) -> list[Path]:
    """The ways to try for a request in a dialog, the best first.

    The flow the peer was last heard on comes first when it leads to the next hop's host: a
    Record-Route that says ``transport=tls`` on a TCP call, as Exotel's proxies write, still
    reaches the peer so. Then the next hop as it is stated; when that cannot be reached, the
    connection after all, for a peer with several addresses that states one of no use to us is
    better told there than not told of the end of its call; then the next hop's host by the
    transport of the INVITE. ``behind_nat``: the peer cannot be reached at the address it states,
    its flow can.
    """
    paths = []
    leads_there = behind_nat or same_host(hop.host, flow.remote[0])
    if leads_there:
        paths.append(Path(flow.transport, flow=_towards(flow, hop, behind_nat=behind_nat)))
    stated = hop.transport or transport
    paths.append(Path(stated, hop=Hop(hop.host, hop.port, stated)))
    if not leads_there and flow.transport != "udp":
        paths.append(Path(flow.transport, flow=flow))
    if stated != transport:
        # The port belongs to the stated transport, and is still the best guess there is.
        paths.append(Path(transport, hop=Hop(hop.host, hop.port, transport)))
    return paths


def _towards(flow: Flow, hop: Hop, *, behind_nat: bool) -> Flow:
    """``flow``, on UDP with the port that the next hop states: the socket is the same."""
    if flow.transport != "udp" or behind_nat:
        return flow
    port = hop.port or DEFAULT_PORT["udp"]
    return Flow("udp", flow.local, (flow.remote[0], port))


def first_paths(hop: Hop, size: int) -> list[Path]:
    """The ways to try for a request outside of dialogs; ``size`` is its length in bytes."""
    if hop.transport is not None:
        return [Path(hop.transport, hop=hop)]
    order: tuple[Transport, ...] = ("tcp", "udp") if size > MAX_UDP_REQUEST else ("udp", "tcp")
    return [Path(transport, hop=Hop(hop.host, hop.port, transport)) for transport in order]


def attempts(
    request: Request, paths: Iterable[Path], branch: str, local: Local, contact: Contact | None
) -> tuple[Attempt, ...]:
    """The wire forms of one request, one a path, each with its own Via and Contact."""
    made = []
    for path in list(paths)[:MAX_ATTEMPTS]:
        host, port = path.via_of(local)
        # RFC 3581 section 3: the client asks for rport; servers ignore it on streams.
        via = Via(path.transport.upper(), host, port, (("rport", None), ("branch", branch)))
        headers = request.headers
        if contact is not None:
            uri = contact.uri(path.transport, host, port)
            headers = headers.with_("Contact", f"<{uri}>", prepend=True)
        headers = headers.with_("Via", str(via), prepend=True)
        wire = Request(request.method, request.uri, headers, request.body).serialize()
        made.append(Attempt(wire, path.flow, path.hop))
    return tuple(made)


def is_reliable(paths: Iterable[Path]) -> bool:
    """Whether no path is a datagram one, so that the transaction need not repeat the request."""
    return all(path.transport != "udp" for path in paths)


@dataclass(frozen=True, slots=True)
class Contact:
    """What our Contact URI is made of."""

    user: str | None = None  # as it stands in a URI, escaped
    secure: bool = False  # sips

    def uri(self, transport: Transport, host: str, port: int) -> Uri:
        """The Contact for traffic over ``transport`` at our ``host`` and ``port``."""
        if self.secure:
            return Uri("sips", self.user, None, host, port)
        parameters = () if transport == "udp" else (("transport", transport),)
        return Uri("sip", self.user, None, host, port, parameters)


def stamp_via(request: Request, flow: Flow) -> Request:
    """The request with ``received`` and ``rport`` in its top Via, as the server must add them."""
    vias = request.vias
    via = vias[0]
    source, port = flow.remote
    asked = via.rport is not None
    if not asked and same_host(via.host, source) and via.received is None:
        return request
    # RFC 3261 section 18.2.1: "received" when the sent-by is a name or another address;
    # RFC 3581 section 4: "rport" gets the source port, and then "received" is added in any case.
    via = via.with_parameter("received", source)
    if asked:
        via = via.with_parameter("rport", str(port))
    headers = request.headers.replace("Via", str(via), *map(str, vias[1:]))
    return Request(request.method, request.uri, headers, request.body)


def response_attempts(request: Request, response: Response, flow: Flow) -> tuple[Attempt, ...]:
    """How a response travels back (RFC 3261 section 18.2.2, RFC 3581 section 4).

    ``request`` is the one that came by ``flow``, stamped.
    """
    wire = response.serialize()
    via = request.top_via
    if flow.transport == "udp":
        return (_datagram_attempt(via, wire, flow),)
    # "If the sent-protocol is a reliable transport protocol ..., the response MUST be sent using
    # the existing connection to the source of the original request ... if that connection is still
    # open. If that is no longer open, the server SHOULD open a connection to the IP address in the
    # "received" parameter, if present, using the port in the "sent-by" value"
    host = via.received or via.host
    hop = Hop(host, via.port or DEFAULT_PORT[flow.transport], flow.transport)
    return Attempt(wire, flow=flow), Attempt(wire, hop=hop)


def _datagram_attempt(via: Via, wire: bytes, flow: Flow) -> Attempt:
    maddr = via.parameter("maddr")
    sent_by_port = via.port or DEFAULT_PORT["udp"]
    if maddr:
        return Attempt(wire, hop=Hop(maddr.strip("[]"), sent_by_port, "udp"))
    # rport: back to where it came from; else to the source address, at the port of the sent-by.
    port = flow.remote[1] if via.rport is not None else sent_by_port
    return Attempt(wire, flow=Flow("udp", flow.local, (flow.remote[0], port)))
