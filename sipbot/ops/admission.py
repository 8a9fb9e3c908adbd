"""Who may call, by source address.

With no trunk configured only loopback and private addresses may call, so that a fresh installation
that meets the Internet serves nobody it was not meant for. With trunks, only their addresses may:
a local phone then needs a trunk of its own (``lab: {allow: [127.0.0.0/8]}``).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from sipbot.ops.values import IpNetwork

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# Loopback, RFC 1918, link-local (RFC 3927, RFC 4291), unique local (RFC 4193).
LOCAL_NETWORKS: Final[tuple[IpNetwork, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)
MAX_REMEMBERED: Final = 4_096  # addresses whose verdict is kept

TRUNK: Final = "trunk"  # allowed: the address belongs to a trunk
LOCAL: Final = "local"  # allowed: no trunk is configured and the address is local
NOT_A_TRUNK: Final = "not-a-trunk"  # refused: trunks are configured and this is none
NOT_LOCAL: Final = "not-local"  # refused: no trunk is configured and the address is not local
BAD_ADDRESS: Final = "bad-address"  # refused: no IP address


@dataclass(frozen=True, slots=True)
class Verdict:
    """``rule`` says why; ``trunk`` is the trunk's name where one matched."""

    trunk: str | None
    rule: str

    @property
    def ok(self) -> bool:
        return self.rule in (TRUNK, LOCAL)


class Admission:
    """Decides by source address. Verdicts are remembered, a flood costs one lookup a packet."""

    def __init__(self, trunks: Mapping[str, Iterable[IpNetwork]]) -> None:
        rules = [(network, name) for name, networks in trunks.items() for network in networks]
        self._open = not trunks
        # Longest prefix first, so that the first match is the most exact one.
        self._rules = sorted(rules, key=lambda rule: rule[0].prefixlen, reverse=True)
        self._remembered: dict[str, Verdict] = {}

    def allowed(self, ip: str) -> Verdict:
        """The verdict for an IP literal; IPv4 addresses mapped into IPv6 count as IPv4."""
        verdict = self._remembered.get(ip)
        if verdict is None:
            verdict = self._decide(ip)
            if len(self._remembered) >= MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[ip] = verdict
        return verdict

    def _decide(self, ip: str) -> Verdict:
        try:
            address: IpAddress = ipaddress.ip_address(ip.partition("%")[0])
        except ValueError:
            return Verdict(None, BAD_ADDRESS)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if self._open:
            local = any(address in network for network in LOCAL_NETWORKS)
            return Verdict(None, LOCAL if local else NOT_LOCAL)
        for network, name in self._rules:
            if address in network:
                return Verdict(name, TRUNK)
        return Verdict(None, NOT_A_TRUNK)
