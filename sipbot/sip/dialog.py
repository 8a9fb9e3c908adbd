"""A dialog: the peer-to-peer relationship that INVITE sets up (RFC 3261 section 12)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from sipbot.sip.effects import Flow, Transport
from sipbot.sip.headers import CSeq, Headers, NameAddr
from sipbot.sip.message import Message, Request, Response
from sipbot.sip.routing import Path, dialog_paths, hop_of, same_host
from sipbot.sip.uri import Uri

DialogId: TypeAlias = tuple[str, str, str]  # Call-ID, local tag, remote tag ("" for RFC 2543)

MAX_FORWARDS: Final = "70"  # RFC 3261 section 8.1.1.6
_CSEQ_LIMIT: Final = 2**31
# Parts of a URI that a Request-URI must not carry (RFC 3261 section 19.1.1, table 1).
_NOT_IN_REQUEST_URI: Final = frozenset({"method"})


@dataclass(slots=True)
class Dialog:
    """The state of section 12: identifiers, sequence numbers, target and route set.

    ``flow`` is where the peer was last heard on, ``transport`` that of the INVITE. A dialog is
    found by its id, never by the connection a request came on.
    """

    call_id: str
    local: NameAddr  # with our tag
    remote: NameAddr  # with the peer's tag
    local_cseq: int
    remote_cseq: int | None
    target: Uri
    routes: tuple[NameAddr, ...]
    flow: Flow
    transport: Transport
    behind_nat: bool = False

    @property
    def id(self) -> DialogId:
        return self.call_id, self.local.tag or "", self.remote.tag or ""

    @classmethod
    def of_request(cls, request: Request, local_tag: str, local_cseq: int, flow: Flow) -> Dialog:
        """The UAS's side (section 12.1.1) of an INVITE with a Contact."""
        target = request.contacts[0].uri
        via = request.top_via
        # A lone client whose Via and Contact state one address and whose packets come from
        # another sits behind a NAT: only the way it came by leads back to it.
        lone = not request.record_routes and len(request.vias) == 1
        natted = not same_host(via.host, flow.remote[0]) and same_host(target.host, via.host)
        return cls(
            call_id=request.call_id,
            local=request.to.with_tag(local_tag),
            remote=request.from_,
            local_cseq=local_cseq,
            remote_cseq=request.cseq.number,
            target=target,
            # "The route set MUST be set to the list of URIs in the Record-Route header field from
            # the request, taken in order and preserving all URI parameters."
            routes=request.record_routes,
            flow=flow,
            transport=flow.transport,
            behind_nat=lone and natted,
        )

    @classmethod
    def of_response(cls, request: Request, response: Response, flow: Flow) -> Dialog:
        """The UAC's side (section 12.1.2) of a response that sets up a dialog.

        What of its Contact and Record-Route is no SIP URI is left out: the call is up, and its ACK
        must go somewhere.
        """
        contacts = [contact.uri for contact in response.contacts if _is_sip(contact.uri)]
        # What our own INVITE recorded stands for ourselves: no request travels there.
        own = set(map(str, request.record_routes))
        routes = tuple(
            route
            for route in response.record_routes
            if _is_sip(route.uri) and str(route) not in own
        )
        return cls(
            call_id=request.call_id,
            local=request.from_,
            remote=response.to,
            local_cseq=request.cseq.number,
            # "The remote sequence number MUST be empty"
            remote_cseq=None,
            target=contacts[0] if contacts else request.uri,
            # "taken in reverse order and preserving all URI parameters"
            routes=routes[::-1],
            flow=flow,
            transport=flow.transport,
        )

    def next_cseq(self) -> int:
        """The number for our next request, one up (section 12.2.1.1)."""
        self.local_cseq = (self.local_cseq + 1) % _CSEQ_LIMIT
        return self.local_cseq

    def refresh_target(self, message: Message) -> None:
        """Section 12.2: a target refresh moves the remote target to the message's Contact."""
        if message.contacts and _is_sip(message.contacts[0].uri):
            self.target = message.contacts[0].uri

    def request(self, method: str, cseq: int) -> Request:
        """A request inside the dialog, as yet without Via and Contact (section 12.2.1.1)."""
        uri, routes = self.target, self.routes
        if routes and not routes[0].uri.has_parameter("lr"):
            # "If its first URI does not contain the lr parameter, the UAC MUST place the first URI
            # from the route set into the Request-URI, stripping any parameters that are not allowed
            # in a Request-URI. The UAC MUST add a Route header field containing the remainder of
            # the route set values in order ... then place the remote target URI into the Route
            # header field as the last value."
            uri = _as_request_uri(routes[0].uri)
            routes = (*routes[1:], NameAddr("", self.target))
        items = [("Max-Forwards", MAX_FORWARDS)]
        items += [("Route", str(route)) for route in routes]
        items += [
            ("From", str(self.local)),
            ("To", str(self.remote)),
            ("Call-ID", self.call_id),
            ("CSeq", str(CSeq(cseq, method))),
        ]
        return Request(method, _as_request_uri(uri), Headers(items))

    def paths(self) -> list[Path]:
        """The ways to try for a request inside the dialog (see ``routing.dialog_paths``).

        The next hop is the first URI of the route set, whether its router is strict or loose, else
        the remote target. Raises ``LocalProtocolError`` when that is no URI we can send to.
        """
        uri = self.routes[0].uri if self.routes else self.target
        return dialog_paths(
            hop_of(uri),
            self.flow,
            self.transport,
            behind_nat=self.behind_nat and not self.routes,
        )


def _is_sip(uri: Uri) -> bool:
    return uri.scheme in ("sip", "sips")


def _as_request_uri(uri: Uri) -> Uri:
    kept = tuple(item for item in uri.parameters if item[0].lower() not in _NOT_IN_REQUEST_URI)
    return replace(uri, parameters=kept, headers="")
