"""An Exotel account: its keys, and where its interfaces are."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

_SID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Region(Enum):
    """Where an account lives. A right key sent to the wrong region is answered with a plain 401."""

    MUMBAI = "mumbai"
    SINGAPORE = "singapore"

    @property
    def other(self) -> Region:
        return Region.SINGAPORE if self is Region.MUMBAI else Region.MUMBAI


API: Final = {
    Region.MUMBAI: "https://api.in.exotel.com",
    Region.SINGAPORE: "https://api.exotel.com",
}
# Legs v2 have hosts of their own.
CPAAS: Final = {
    Region.MUMBAI: "https://cpaas-api.in.exotel.com",
    Region.SINGAPORE: "https://cpaas-api.exotel.com",
}
REGION_NAMES: Final = {
    "mumbai": Region.MUMBAI,
    "india": Region.MUMBAI,
    "in": Region.MUMBAI,
    "singapore": Region.SINGAPORE,
    "sg": Region.SINGAPORE,
}


@dataclass(frozen=True, slots=True)
class Account:
    """Raises ``ValueError`` when a part cannot be right; the message names no secret.

    ``base_url`` replaces the hosts of the region, for a stand-in of Exotel or a host that this
    version does not know. It must be https, except on loopback: keys travel with each request.
    """

    account_sid: str
    api_key: str = field(repr=False)
    api_token: str = field(repr=False)
    region: Region = Region.MUMBAI
    base_url: str | None = None

    def __post_init__(self) -> None:
        if _SID.fullmatch(self.account_sid) is None:
            raise ValueError("the account SID has up to 64 letters, digits and _.-")
        for name, value in (("key", self.api_key), ("token", self.api_token)):
            if not value or not value.isascii() or not value.isprintable() or " " in value:
                raise ValueError(f"the API {name} must be printable text without blanks")
        if ":" in self.api_key:
            raise ValueError("the API key must hold no colon")  # RFC 7617 section 2
        if self.base_url is not None:
            check_base_url(self.base_url)

    @property
    def api(self) -> str:
        """Base of v1 and of v2 trunks, without a slash at its end."""
        return self.base_url.rstrip("/") if self.base_url else API[self.region]

    @property
    def cpaas(self) -> str:
        """Base of v2 legs."""
        return self.base_url.rstrip("/") if self.base_url else CPAAS[self.region]

    @property
    def domain(self) -> str:
        """The SIP domain of the account's trunks."""
        return f"{self.account_sid}.pstn.exotel.com"

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.api_token, self.api_key)


def check_base_url(url: str) -> str:
    """``url`` when keys may be sent there, else ``ValueError``."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port  # raises when it is no number
    except ValueError:
        raise ValueError("must look like https://HOST") from None
    if parts.username or parts.password or parts.query or parts.fragment or not host:
        raise ValueError("must look like https://HOST, without keys")
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)):
        return url
    raise ValueError("must start with https:// (http:// on loopback only)")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
