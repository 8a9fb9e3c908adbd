"""How messages find their transaction (RFC 3261 sections 17.1.3 and 17.2.3)."""

from __future__ import annotations

from sipbot.sip.ids import MAGIC_COOKIE
from sipbot.sip.message import Request, Response


def client_key(branch: str, method: str) -> str:
    """Key of a client transaction, from the branch we made and the method."""
    return f"c|{branch}|{method}"


def response_key(response: Response) -> str:
    """Key of the client transaction that a response answers (section 17.1.3).

    "1. If the response has the same value of the branch parameter in the top Via header field as
    the branch parameter in the top Via header field of the request that created the transaction.
    2. If the method parameter in the CSeq header field matches the method of the request".
    """
    return client_key(response.top_via.branch, response.cseq.method)


def server_key(request: Request, method: str = "") -> str:
    """Key of the server transaction that a request belongs to (section 17.2.3).

    ``method`` looks for another method's transaction: a CANCEL looks for ``INVITE``. An ACK
    always looks for its INVITE.
    """
    method = method or request.method
    if method == "ACK":
        method = "INVITE"
    via = request.top_via
    branch = via.branch
    # RFC 4475 section 3.2.1: the cookie with nothing after it identifies nothing.
    if branch[: len(MAGIC_COOKIE)].lower() == MAGIC_COOKIE.lower() and len(branch) > len(
        MAGIC_COOKIE
    ):
        # "the branch ... and sent-by ... and the method of the request matches"
        return f"s|{branch}|{via.host.lower()}|{via.port}|{method}"
    return _old_key(request, method)


def merge_key(request: Request) -> tuple[str, str, int, str]:
    """What two copies of one request have in common (section 8.2.2.2)."""
    cseq = request.cseq
    return request.from_.tag or "", request.call_id, cseq.number, cseq.method


def _old_key(request: Request, method: str) -> str:
    """For RFC 2543 clients: Request-URI, From tag, Call-ID, CSeq number and top Via must match.

    The To tag is left out: the ACK carries the one we gave, the INVITE none, and what else is
    compared already tells the requests of a dialog apart.
    """
    via = request.top_via
    port = "" if via.port is None else via.port
    return (
        f"o|{request.uri}|{request.from_.tag or ''}|{request.call_id}|{request.cseq.number}"
        f"|{via.transport}|{via.host.lower()}|{port}|{via.branch}|{method}"
    )
