"""What can go wrong with a request to Exotel. Each class says whether the request may be repeated.

::

    ExotelError
    ├── NotSent                 no connection: Exotel never saw the request
    ├── OutcomeUnknown          sent, but no answer came: it may have been done
    ├── UnreadableAnswer        an answer that is neither the JSON nor the XML that is documented
    ├── StillDiffers            everything was accepted, and yet the state is not as asked
    └── Refused                 Exotel said no, with its codes
        ├── AuthenticationFailed   401: wrong key or token, or the account lives in another region
        ├── NotAllowed             403
        ├── NotFound               404
        ├── Duplicate              409, often inside an HTTP 200
        ├── InvalidRequest         400, 415, 422
        ├── RateLimited            429; ``retry_after_s`` when Exotel gave it
        ├── ServerFault            5xx
        └── PartlyRefused          some items of a batch

Texts never hold keys, tokens or passwords, and telephone numbers only in part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import Final

from sipbot.errors import SipbotError
from sipbot.ops import redact

MAX_DETAIL: Final = 300  # characters of what Exotel says
SHORTEST_SECRET: Final = 4  # characters; shorter texts stand in words by chance

_PHONE: Final = re.compile(r"(?<![\w.])\+?\d{7,15}(?![\w.])")
_SPACE: Final = re.compile(r"\s+")


class Repeat(Enum):
    """Whether a request that failed so may be sent again."""

    NEVER = "never"
    IF_IDEMPOTENT = "if idempotent"
    ALWAYS = "always"  # it was certainly not carried out


class ExotelError(SipbotError):
    """A request to Exotel failed.

    ``operation`` says what was asked for ("create the trunk"); ``attempt`` counts from 1.
    """

    repeat = Repeat.NEVER

    def __init__(self, operation: str, detail: str) -> None:
        super().__init__(f"cannot {operation}: {detail}")
        self.operation = operation
        self.detail = detail
        self.attempt = 1


class NotSent(ExotelError):
    """No connection could be made: Exotel never saw the request."""

    repeat = Repeat.ALWAYS


class OutcomeUnknown(ExotelError):
    """The request was sent and no answer came. It may have been carried out."""

    repeat = Repeat.IF_IDEMPOTENT


class UnreadableAnswer(ExotelError):
    """An answer that is neither the JSON nor the XML that is documented, or is too big."""


class StillDiffers(ExotelError):
    """Every request succeeded, but Exotel does not report what was asked for."""


class Refused(ExotelError):
    """Exotel said no.

    ``http_status`` is the status of the HTTP answer, ``status`` the one inside it, which counts;
    ``code`` is Exotel's own (1000 to 1030, or a v1 code), None where it gave none.
    """

    def __init__(
        self,
        operation: str,
        detail: str,
        *,
        http_status: int,
        status: int,
        code: int | None = None,
        request_id: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        inner = f", status {status} inside" if status != http_status else ""
        numbers = f"HTTP {http_status}{inner}"
        numbers += f", code {code}" if code is not None else ""
        numbers += f", request {request_id}" if request_id else ""
        super().__init__(operation, f"{detail} ({numbers})")
        self.http_status = http_status
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class AuthenticationFailed(Refused):
    """Wrong key or token, or right ones sent to a region where the account does not live."""


class NotAllowed(Refused):
    """The key may not do this, or the trunk belongs to another account."""


class NotFound(Refused):
    """No trunk, number, call or path of this name."""


class Duplicate(Refused):
    """It is there already."""


class InvalidRequest(Refused):
    """A parameter is missing or has a value that Exotel does not take."""


class RateLimited(Refused):
    """More requests than Exotel takes (200 a minute are documented)."""

    repeat = Repeat.ALWAYS


class ServerFault(Refused):
    """Exotel failed; whether the request was carried out is not known."""

    repeat = Repeat.IF_IDEMPOTENT


class PartlyRefused(Refused):
    """Some items of a batch failed; ``failed`` holds one ``Refused`` for each, ``done`` counts."""

    def __init__(self, operation: str, failed: tuple[Refused, ...], done: int) -> None:
        first = failed[0]
        details = "; ".join(one.detail for one in failed)
        super().__init__(
            operation,
            f"{len(failed)} of {len(failed) + done} refused: {details}",
            http_status=first.http_status,
            status=first.status,
            code=first.code,
            request_id=first.request_id,
        )
        self.failed = failed
        self.done = done


_BY_STATUS: Final[dict[int, type[Refused]]] = {
    400: InvalidRequest,
    401: AuthenticationFailed,
    403: NotAllowed,
    404: NotFound,
    409: Duplicate,
    415: InvalidRequest,
    422: InvalidRequest,
    429: RateLimited,
}
# Asked only where the status says nothing: Exotel's own documents disagree about these codes.
_BY_CODE: Final[dict[int, type[Refused]]] = {
    1000: NotFound,
    1001: InvalidRequest,
    1002: InvalidRequest,
    1003: NotAllowed,
    1007: InvalidRequest,
    1008: Duplicate,
    1010: AuthenticationFailed,
    1011: InvalidRequest,
    1020: InvalidRequest,
    1030: RateLimited,
}


def refusal_class(status: int, code: int | None) -> type[Refused]:
    """Which class a refusal is: by the status inside the answer, else by Exotel's code."""
    if status >= 500:
        return ServerFault
    return _BY_STATUS.get(status) or _BY_CODE.get(code or 0, Refused)


def clean(text: str, secrets: Iterable[str] = ()) -> str:
    """What Exotel said, fit for logs and people: one line, short, no secret, no full number."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, redact.HIDDEN)
    text = _PHONE.sub(lambda match: redact.phone(match[0]), _SPACE.sub(" ", text).strip())
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 3] + "..."
