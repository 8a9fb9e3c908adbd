"""Who may open a stream: by address, by user and password, or both, as each trunk wants it.

With no trunk configured only loopback and private addresses may, as for SIP.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from sipbot.ops.admission import TRUNK, Admission

Requirement: TypeAlias = Literal["address", "credentials", "both", "either"]

CREDENTIALS: Final = "credentials"  # allowed: user and password are those of a trunk
NO_CREDENTIALS: Final = "no-credentials"  # refused: none came, and the address alone is not enough
WRONG_CREDENTIALS: Final = "wrong-credentials"  # refused: they are nobody's
WRONG_ADDRESS: Final = "wrong-address"  # refused: right credentials from a foreign address
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403


@dataclass(frozen=True, slots=True)
class StreamKey:
    """What a trunk wants of its streams; user and password may be empty for ``address``."""

    require: Requirement
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class StreamVerdict:
    """``status`` is 0 when the stream may come, else that of the answer; ``rule`` says why."""

    trunk: str
    rule: str
    status: int = 0


class StreamAdmission:
    """Decides by address and credentials. ``keys`` holds each trunk of ``admission``."""

    def __init__(self, admission: Admission, keys: Mapping[str, StreamKey]) -> None:
        self._admission, self._keys = admission, keys

    def judge(self, ip: str, credentials: tuple[str, str] | None) -> StreamVerdict:
        """The verdict for a client's address and its user and password, if it gave any."""
        place = self._admission.allowed(ip)
        if place.ok and place.rule != TRUNK:
            return StreamVerdict("", place.rule)  # no trunk is configured, and it is local
        known = None if credentials is None else self._trunk_of(*credentials)
        if known is not None:
            if self._keys[known].require == "both" and place.trunk != known:
                return StreamVerdict(known, WRONG_ADDRESS, FORBIDDEN)
            return StreamVerdict(known, CREDENTIALS)
        if place.trunk is not None and self._keys[place.trunk].require in ("address", "either"):
            return StreamVerdict(place.trunk, TRUNK)
        if place.trunk is None and not self._anybody_by_credentials():
            return StreamVerdict("", place.rule, FORBIDDEN)
        rule = NO_CREDENTIALS if credentials is None else WRONG_CREDENTIALS
        return StreamVerdict(place.trunk or "", rule, UNAUTHORIZED)

    def _trunk_of(self, user: str, password: str) -> str | None:
        """Compares with all of them, so that the time taken tells nothing."""
        found = None
        for name, key in self._keys.items():
            if not key.user:
                continue
            same_user = hmac.compare_digest(key.user.encode(), user.encode())
            same_password = hmac.compare_digest(key.password.encode(), password.encode())
            if same_user & same_password:
                found = name
        return found

    def _anybody_by_credentials(self) -> bool:
        return any(key.require in ("credentials", "either") for key in self._keys.values())
