"""The file of ``sipbot exotel trunk apply``: the state that a trunk is to have.

::

    trunk:
      name: front_desk
      numbers: [{number: "+918012345678", mode: pstn}]
      allowed_ips: [198.51.100.7]
      destinations: [{uri: "sip.example.com:5061;transport=tls"}]
      credentials: [{user_name: front_desk, password: "${SIP_PASSWORD}"}]
      alias: "+918012345678"

A list that stands in the file is the whole truth: what Exotel has beyond it is removed. What is
left out is left alone. An ``account`` section may stand beside it, see ``settings``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from sipbot import yamlmarks
from sipbot.errors import ConfigError, ConfigProblem
from sipbot.exotel.rest.settings import AccountSection, Section, read_file, validated
from sipbot.exotel.rest.trunks import ANY_OPERATOR
from sipbot.exotel.rest.values import DEFAULT_PRIORITY, DEFAULT_WEIGHT, plain_uri

SHORTEST_PREFIX: Final = 16  # bits; "mask should be in-between 16 and 32"
HIGHEST_PORT: Final = 65_535
HIGHEST_PRIORITY: Final = 65_535  # as in DNS SRV; Exotel documents no limit

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_]+")
_URI: Final = re.compile(r"(?P<host>[a-z0-9.-]+):(?P<port>[0-9]{1,5});transport=(?:tcp|tls)")
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}")


def _number(text: str) -> str:
    if _E164.fullmatch(text) is None:
        raise ValueError('must be a full number with its country, such as "+918012345678"')
    return text


def _plain(longest: int, what: str) -> AfterValidator:
    def check(text: str) -> str:
        if _PLAIN.fullmatch(text) is None or len(text) > longest:
            raise ValueError(f"{what} has up to {longest} letters, digits and _ only")
        return text

    return AfterValidator(check)


def _password(secret: SecretStr) -> SecretStr:
    if _PLAIN.fullmatch(secret.get_secret_value()) is None:
        raise ValueError("a password has letters, digits and _ only")  # measured; else 1002
    return secret


def _network(value: object) -> object:
    text = str(value)
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        raise ValueError("must be an IPv4 address or network, such as 198.51.100.7") from None
    if network.prefixlen < SHORTEST_PREFIX:
        raise ValueError(f"the prefix must be between {SHORTEST_PREFIX} and 32 bits")
    return str(network)


def _destination(text: str) -> str:
    uri = plain_uri(text)
    match = _URI.fullmatch(uri)
    if match is None or not 0 < int(match["port"]) <= HIGHEST_PORT:
        raise ValueError("must look like HOST:PORT;transport=tcp or HOST:PORT;transport=tls")
    address = address_of(uri)
    if address is None and _HOST.fullmatch(match["host"]) is None:
        raise ValueError("the host must be an IPv4 address or a full domain name")
    if address is not None and not address.is_global:
        raise ValueError("Exotel refuses private and documentation addresses")
    return uri


def address_of(uri: str) -> ipaddress.IPv4Address | None:
    """The address of a plain destination; None when its host is a name."""
    try:
        return ipaddress.IPv4Address(uri.partition(":")[0])
    except ValueError:
        return None


class NumberSection(Section):
    """A number (DID) of the trunk."""

    number: Annotated[str, AfterValidator(_number)]
    """In full, with `+` and the country."""
    mode: Literal["pstn", "flow"] = "pstn"
    """`pstn` where a Connect applet dials the trunk; `flow` for Voicebot applets and StreamKit."""

    empty_means_defaults: ClassVar[bool] = False


class DestinationSection(Section):
    """Where the trunk sends calls."""

    uri: Annotated[str, AfterValidator(_destination)]
    """`HOST:PORT;transport=tcp` or `tls`. An address must stand in `allowed_ips`; a name need
    not."""
    priority: int = Field(default=DEFAULT_PRIORITY, ge=0, le=HIGHEST_PRIORITY)
    """The lowest is tried first."""
    weight: int = Field(default=DEFAULT_WEIGHT, ge=0, le=HIGHEST_PRIORITY)
    """Share of the calls among destinations of equal priority."""

    empty_means_defaults: ClassVar[bool] = False


class CredentialSection(Section):
    """A digest user for calls into Exotel."""

    user_name: str = Field(min_length=1, max_length=64)
    """Name of the user."""
    password: Annotated[SecretStr, AfterValidator(_password)]
    """Letters, digits and `_` only. Exotel never tells it, so a change needs
    `--rotate-passwords`."""
    friendly_name: Annotated[str, _plain(32, "a friendly name")] | None = None
    """What it is for."""

    empty_means_defaults: ClassVar[bool] = False


class TrunkSection(Section):
    """The trunk. What is left out is left alone."""

    name: Annotated[str, _plain(16, "a trunk's name")]
    """Finds the trunk; another name is another trunk."""
    domain: str | None = Field(default=None, min_length=1, max_length=253)
    """SIP domain. Absent: `ACCOUNT.pstn.exotel.com` for a new trunk, else not looked at."""
    nso_code: str = ANY_OPERATOR
    """Network operator."""
    auth_type: str | None = Field(default=None, min_length=1, max_length=32)
    """How calls into Exotel are authenticated, such as `IP-WHITELIST`."""
    numbers: tuple[NumberSection, ...] | None = None
    """All numbers of the trunk."""
    allowed_ips: tuple[Annotated[str, BeforeValidator(_network)], ...] | None = None
    """All addresses and networks that may send calls or be a destination."""
    destinations: tuple[DestinationSection, ...] | None = None
    """All destinations of the trunk."""
    credentials: tuple[CredentialSection, ...] | None = None
    """All digest users of the trunk."""
    alias: Annotated[str, AfterValidator(_number)] | None = None
    """`trunk_external_alias`: the number for destinations by name (Vapi, LiveKit). `null` removes
    it."""

    empty_means_defaults: ClassVar[bool] = False

    @property
    def manages_alias(self) -> bool:
        return "alias" in self.model_fields_set


class TrunkFile(Section):
    """The whole file."""

    account: AccountSection | None = None
    """Keys of the account."""
    trunk: TrunkSection
    """The trunk."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file without mistakes."""

    account: AccountSection | None
    trunk: TrunkSection


def load(path: Path, environment: Mapping[str, str]) -> Loaded:
    """Read a file. Raises ``ConfigError`` with every mistake: file, line, key, value, allowed."""
    document = read_file(path, environment)
    content = validated(TrunkFile, document)
    problems = (*_repeated(content.trunk, document), *_not_allowed(content.trunk, document))
    if problems:
        raise ConfigError(problems)
    return Loaded(content.account, content.trunk)


def _repeated(trunk: TrunkSection, document: yamlmarks.Document) -> Iterator[ConfigProblem]:
    lists: dict[str, tuple[str | None, list[Any]]] = {
        "numbers": ("number", [one.number for one in trunk.numbers or ()]),
        "allowed_ips": (None, list(trunk.allowed_ips or ())),
        "destinations": ("uri", [one.uri for one in trunk.destinations or ()]),
        "credentials": ("user_name", [one.user_name for one in trunk.credentials or ()]),
    }
    for name, (key, values) in lists.items():
        for index, value in enumerate(values):
            if value in values[:index]:
                loc = ("trunk", name, index, *((key,) if key else ()))
                yield document.problem(loc, "stands twice")


def _not_allowed(trunk: TrunkSection, document: yamlmarks.Document) -> Iterator[ConfigProblem]:
    """Exotel says "Destination not whitelisted" to what these would become."""
    if trunk.allowed_ips is None:
        return
    networks = [ipaddress.IPv4Network(one) for one in trunk.allowed_ips]
    for index, destination in enumerate(trunk.destinations or ()):
        address = address_of(destination.uri)
        if address is not None and not any(address in network for network in networks):
            loc = ("trunk", "destinations", index, "uri")
            yield document.problem(loc, "the address must stand in allowed_ips too")
