"""``sipbot check``: the store, and what Exotel's callbacks need."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator

from sipbot.errors import StoreError
from sipbot.ops.checks import Finding, Grade
from sipbot.ops.config import Config, TrunkConfig
from sipbot.ops.config_exotel import default_store_url
from sipbot.runtime.directories import state_directory


def check_store(config: Config) -> Iterator[Finding]:
    """Whether the store can be reached. Nothing is made or changed."""
    from sipbot.store.engine import probe  # takes a while to import

    try:
        state = asyncio.run(probe(config.store.url or default_store_url(state_directory())))
    except StoreError as error:
        yield Finding("store", Grade.PROBLEM, str(error))
    else:
        text = "can be reached" if state == "ready" else "will be made at the first start"
        yield Finding("store", Grade.OK, text)


def check_exotel(config: Config) -> Iterator[Finding]:
    """Whether Exotel can ask what it has to, and nobody else."""
    asks = [name for name, trunk in config.trunks.items() if transfers_by_flow(trunk)]
    if not asks:
        return
    listen = config.http.listen
    if listen is None:
        if config.transfers:
            names = ", ".join(asks)
            yield Finding(
                "exotel",
                Grade.WARNING,
                f"transfers from {names} need http.listen, where Exotel's flow asks for them",
            )
    elif config.exotel.secret is None and not _loopback(listen.host):
        yield Finding(
            "exotel",
            Grade.WARNING,
            "without exotel.secret whoever reaches http.listen is answered as Exotel is",
        )
    else:
        yield Finding("exotel", Grade.OK, "callbacks are answered")


def transfers_by_flow(trunk: TrunkConfig) -> bool:
    """Whether SIP calls of a trunk are transferred through Exotel's flow."""
    if trunk.transfer == "auto":
        return trunk.profile == "exotel"
    return trunk.transfer == "flow"


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
