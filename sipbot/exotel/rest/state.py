"""What Exotel has for a trunk now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sipbot.exotel.rest.client import ExotelClient
from sipbot.exotel.rest.errors import NotFound, Refused
from sipbot.exotel.rest.trunks import ALIAS
from sipbot.exotel.rest.values import AllowedIp, Credential, Destination, PhoneNumber, Trunk


@dataclass(frozen=True, slots=True)
class State:
    """A trunk with everything that belongs to it; ``trunk`` is None when there is none."""

    trunk: Trunk | None = None
    numbers: tuple[PhoneNumber, ...] = ()
    allowed_ips: tuple[AllowedIp, ...] = ()
    destinations: tuple[Destination, ...] = ()
    credentials: tuple[Credential, ...] = ()
    alias: str = ""


class AmbiguousName(Refused):
    """Several trunks have the name; they can only be told apart by sid."""


async def find(exotel: ExotelClient, name_or_sid: str) -> Trunk | None:
    """The trunk with this sid or name. Raises an ``ExotelError``."""
    trunks = await exotel.trunks.all()
    for trunk in trunks:
        if trunk.sid == name_or_sid:
            return trunk
    named = [trunk for trunk in trunks if trunk.name == name_or_sid]
    if len(named) > 1:
        sids = ", ".join(trunk.sid for trunk in named)
        text = f"several trunks have this name: {sids}"
        raise AmbiguousName("choose the trunk", text, http_status=200, status=409)
    return named[0] if named else None


async def read(exotel: ExotelClient, trunk: Trunk | None) -> State:
    """Everything that belongs to ``trunk``. Raises an ``ExotelError``."""
    if trunk is None:
        return State()
    try:
        settings = await exotel.trunks.settings(trunk.sid)
    except NotFound:  # whether a trunk without settings is answered so is not documented
        settings = ()
    return State(
        trunk,
        await exotel.trunks.numbers(trunk.sid),
        await exotel.trunks.allowed_ips(trunk.sid),
        await exotel.trunks.destinations(trunk.sid),
        await exotel.trunks.credentials(trunk.sid),
        next((one.value for one in settings if one.name == ALIAS), ""),
    )


async def mapped_elsewhere(
    exotel: ExotelClient, state: State, numbers: Iterable[str]
) -> dict[str, str]:
    """Numbers of ``numbers`` that another trunk has, with its sid.

    A number on two trunks gets calls by either, as their operators found out.
    """
    own = state.trunk.sid if state.trunk else ""
    present = {one.number for one in state.numbers}
    found: dict[str, str] = {}
    for number in numbers:
        if number in present:
            continue
        others = [one.trunk_sid for one in await exotel.trunks.maps(number)]
        others = [sid for sid in others if sid and sid != own]
        if others:
            found[number] = others[0]
    return found
