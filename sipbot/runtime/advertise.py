"""Which of our addresses a peer is told."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sipbot.sip.effects import Address, Flow, Hop, Transport


@dataclass(frozen=True, slots=True)
class PublicAddress:
    """``host`` stands in Via and Contact, ``ip`` in session descriptions; both None for "auto"."""

    host: str | None = None
    ip: str | None = None


class Advertiser:
    """Chooses host and port for Via and Contact, and the address for session descriptions.

    ``ports`` holds the port of our listener for each transport: a connection that we opened has a
    port of its own, to which nobody could connect. ``towards`` tells the local IP address from
    which a remote one is reached.
    """

    def __init__(
        self,
        public: PublicAddress,
        ports: Mapping[Transport, int],
        towards: Callable[[str], str],
    ) -> None:
        self._public = public
        self._ports = ports
        self._towards = towards

    def signalling(self, where: Flow | Hop) -> Address:
        """Host and port that reach our SIP listener from the far end of ``where``."""
        if isinstance(where, Flow):
            host = self._choose(self._public.host, where.remote[0], where.local[0])
            return host, self._ports.get(where.transport, where.local[1])
        port = self._ports.get(where.transport or "udp", 5060)
        if _is_ip(where.host):
            return self._choose(self._public.host, where.host, self._towards(where.host)), port
        return self._public.host or self._towards(""), port

    def media(self, flow: Flow) -> str:
        """IP address for the c= line of a call that came by ``flow``."""
        return self._choose(self._public.ip, flow.remote[0], flow.local[0])

    def media_towards(self, remote: str) -> str:
        """IP address for the c= line of a call that we make to the address ``remote``."""
        return self._choose(self._public.ip, remote, self._towards(remote))

    def _choose(self, public: str | None, remote: str, local: str) -> str:
        # A peer on this machine reaches us by the address it used, never by way of a NAT.
        if public is None or ipaddress.ip_address(remote.partition("%")[0]).is_loopback:
            return local
        return public


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
