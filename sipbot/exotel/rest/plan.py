"""From the state that is to the state that the file describes: the steps, in the right order.

Additions come in the order that Exotel documents (trunk, numbers, allowed addresses, destinations),
then credentials and alias; removals come last, destinations before the addresses they need, so that
calls find a destination at any time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from sipbot.exotel.rest.errors import Duplicate
from sipbot.exotel.rest.state import State
from sipbot.exotel.rest.trunkfile import (
    CredentialSection,
    DestinationSection,
    NumberSection,
    TrunkSection,
    address_of,
)
from sipbot.exotel.rest.trunks import ALIAS, Trunks
from sipbot.exotel.rest.values import (
    DEFAULT_PRIORITY,
    DEFAULT_WEIGHT,
    Credential,
    Destination,
    Mode,
    PhoneNumber,
)

# What a step does with a trunk's sid; the step that creates the trunk returns the new one.
Act: TypeAlias = Callable[[Trunks, str], Awaitable[str | None]]


class Verb(Enum):
    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"


class Kind(Enum):
    TRUNK = "trunk"
    NUMBER = "number"
    ALLOWED_IP = "allowed address"
    DESTINATION = "destination"
    CREDENTIAL = "credentials"
    ALIAS = "alias"


@dataclass(frozen=True, slots=True)
class Step:
    """One change: what happens to what, and how."""

    verb: Verb
    kind: Kind
    subject: str
    detail: str = ""
    act: Act = field(compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps to take; with ``problems`` none may be taken."""

    name: str
    sid: str | None
    steps: tuple[Step, ...]
    problems: tuple[str, ...] = ()


def make(
    wanted: TrunkSection,
    state: State,
    *,
    elsewhere: Mapping[str, str] | None = None,
    rotate_passwords: bool = False,
) -> Plan:
    """``elsewhere`` maps numbers to the sids of other trunks that have them."""
    steps = (
        *_trunk(wanted, state),
        *_numbers(wanted, state),
        *_ips(wanted, state),
        *_destinations(wanted, state),
        *_credentials(wanted, state, rotate_passwords),
        *_alias(wanted, state),
        *_removals(wanted, state),
    )
    problems = tuple(_problems(wanted, state, elsewhere or {}))
    return Plan(wanted.name, state.trunk.sid if state.trunk else None, steps, problems)


def _problems(wanted: TrunkSection, state: State, elsewhere: Mapping[str, str]) -> Iterator[str]:
    trunk = state.trunk
    if trunk is not None and wanted.domain and trunk.domain != wanted.domain:
        yield f"the domain of a trunk cannot be changed: it is {trunk.domain}"
    for number, sid in elsewhere.items():
        yield f"the number {number} belongs to the trunk {sid}; unmap it there first"
    if wanted.allowed_ips is None:
        networks = [one.parsed for one in state.allowed_ips]
        for destination in wanted.destinations or ():
            address = address_of(destination.uri)
            if address is not None and not any(
                network is not None and address in network for network in networks
            ):
                yield f"the destination {destination.uri} needs its address in allowed_ips"


def _trunk(wanted: TrunkSection, state: State) -> Iterator[Step]:
    async def create(trunks: Trunks, _: str) -> str:
        made = await trunks.create(wanted.name, domain=wanted.domain, nso_code=wanted.nso_code)
        if wanted.auth_type and made.auth_type != wanted.auth_type:
            await trunks.update(made.sid, name=wanted.name, auth_type=wanted.auth_type)
        return made.sid

    async def update(trunks: Trunks, sid: str) -> None:
        await trunks.update(
            sid, name=wanted.name, nso_code=wanted.nso_code, auth_type=wanted.auth_type
        )

    if state.trunk is None:
        yield Step(Verb.CREATE, Kind.TRUNK, wanted.name, act=create)
        return
    changes = {"nso_code": (state.trunk.nso_code, wanted.nso_code)}
    if wanted.auth_type:
        changes["auth_type"] = (state.trunk.auth_type, wanted.auth_type)
    differing = {name: pair for name, pair in changes.items() if pair[0] != pair[1]}
    if differing:
        detail = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in differing.items())
        yield Step(Verb.CHANGE, Kind.TRUNK, wanted.name, detail, act=update)


def _numbers(wanted: TrunkSection, state: State) -> Iterator[Step]:
    present = {one.number: one for one in state.numbers}
    for number in wanted.numbers or ():
        found = present.get(number.number)
        mode = f"mode {number.mode}"
        if found is None:
            yield Step(Verb.CREATE, Kind.NUMBER, number.number, mode, act=_add_number(number))
        elif found.mode.value != number.mode:
            act = _change_number(number, found)
            detail = f"mode {found.mode.value} -> {number.mode}"
            yield Step(Verb.CHANGE, Kind.NUMBER, number.number, detail, act=act)


def _add_number(number: NumberSection) -> Act:
    async def act(trunks: Trunks, sid: str) -> None:
        await trunks.add_number(sid, number.number, Mode(number.mode))

    return act


def _change_number(number: NumberSection, found: PhoneNumber) -> Act:
    async def act(trunks: Trunks, sid: str) -> None:
        await trunks.change_number(sid, found.id, number.number, Mode(number.mode))

    return act


def _ips(wanted: TrunkSection, state: State) -> Iterator[Step]:
    present = {one.network for one in state.allowed_ips}

    def allow(network: str) -> Act:
        async def act(trunks: Trunks, sid: str) -> None:
            await trunks.allow_ip(sid, network)

        return act

    for network in wanted.allowed_ips or ():
        if network not in present:
            yield Step(Verb.CREATE, Kind.ALLOWED_IP, network, act=allow(network))


def _destinations(wanted: TrunkSection, state: State) -> Iterator[Step]:
    present = {one.uri: one for one in reversed(state.destinations)}  # the first of equal ones
    for one in wanted.destinations or ():
        found = present.get(one.uri)
        now = f"priority {one.priority}, weight {one.weight}"
        if found is None:
            yield Step(Verb.CREATE, Kind.DESTINATION, one.uri, now, act=_add_destination(one))
        elif (found.priority, found.weight) != (one.priority, one.weight):
            detail = f"priority {found.priority}, weight {found.weight} -> {now}"
            act = _change_destination(one, found)
            yield Step(Verb.CHANGE, Kind.DESTINATION, one.uri, detail, act=act)


def _add_destination(one: DestinationSection) -> Act:
    async def act(trunks: Trunks, sid: str) -> None:
        added = await trunks.add_destination(sid, one.uri)
        if (one.priority, one.weight) != (DEFAULT_PRIORITY, DEFAULT_WEIGHT):
            # Not documented for the POST.
            await trunks.change_destination(sid, added.id, priority=one.priority, weight=one.weight)

    return act


def _change_destination(one: DestinationSection, found: Destination) -> Act:
    async def act(trunks: Trunks, sid: str) -> None:
        await trunks.change_destination(sid, found.id, priority=one.priority, weight=one.weight)

    return act


def _credentials(wanted: TrunkSection, state: State, rotate: bool) -> Iterator[Step]:
    present = {one.user_name: one for one in state.credentials}
    for one in wanted.credentials or ():
        found = present.get(one.user_name)
        if found is None:
            yield Step(Verb.CREATE, Kind.CREDENTIAL, one.user_name, act=_add_credential(one))
            continue
        renamed = one.friendly_name is not None and one.friendly_name != found.friendly_name
        changes = [
            *(["new password"] if rotate else []),
            *([f"friendly name {one.friendly_name}"] if renamed else []),
        ]
        if changes:
            act = _change_credential(one, found, rotate)
            yield Step(Verb.CHANGE, Kind.CREDENTIAL, one.user_name, ", ".join(changes), act=act)


def _add_credential(one: CredentialSection) -> Act:
    async def act(trunks: Trunks, sid: str) -> None:
        password = one.password.get_secret_value()
        await trunks.add_credential(sid, one.user_name, password, one.friendly_name)

    return act


def _change_credential(one: CredentialSection, found: Credential, rotate: bool) -> Act:
    async def act(trunks: Trunks, sid: str) -> None:
        password = one.password.get_secret_value() if rotate else None
        await trunks.change_credential(
            sid, found.id, password=password, friendly_name=one.friendly_name
        )

    return act


def _alias(wanted: TrunkSection, state: State) -> Iterator[Step]:
    async def remove(trunks: Trunks, sid: str) -> None:
        await trunks.remove_setting(sid, ALIAS)

    if not wanted.manages_alias or (wanted.alias or "") == state.alias:
        return
    if wanted.alias is None:
        yield Step(Verb.REMOVE, Kind.ALIAS, state.alias, act=remove)
        return
    verb = Verb.CHANGE if state.alias else Verb.CREATE
    detail = f"instead of {state.alias}" if state.alias else ""
    yield Step(verb, Kind.ALIAS, wanted.alias, detail, act=_set_alias(wanted.alias))


def _set_alias(value: str) -> Act:
    async def act(trunks: Trunks, sid: str) -> None:
        try:
            await trunks.set_setting(sid, ALIAS, value)
        except Duplicate:  # whether a second POST replaces the value is not documented
            await trunks.remove_setting(sid, ALIAS)
            await trunks.set_setting(sid, ALIAS, value)

    return act


def _removals(wanted: TrunkSection, state: State) -> Iterator[Step]:
    if wanted.destinations is not None:
        keep = {one.uri for one in wanted.destinations}
        for destination in state.destinations:
            if destination.uri not in keep:
                act = _remove(Trunks.remove_destination, destination.id)
                yield Step(Verb.REMOVE, Kind.DESTINATION, destination.uri, act=act)
            keep.discard(destination.uri)  # a second one of the same name goes
    if wanted.allowed_ips is not None:
        for ip in state.allowed_ips:
            if ip.network not in wanted.allowed_ips:
                act = _remove(Trunks.remove_ip, ip.id)
                yield Step(Verb.REMOVE, Kind.ALLOWED_IP, ip.network, act=act)
    if wanted.credentials is not None:
        users = {one.user_name for one in wanted.credentials}
        for credential in state.credentials:
            if credential.user_name not in users:
                act = _remove(Trunks.remove_credential, credential.id)
                yield Step(Verb.REMOVE, Kind.CREDENTIAL, credential.user_name, act=act)
    if wanted.numbers is not None:
        numbers = {one.number for one in wanted.numbers}
        for number in state.numbers:
            if number.number not in numbers:
                act = _remove(Trunks.remove_number, number.id)
                yield Step(Verb.REMOVE, Kind.NUMBER, number.number, act=act)


def _remove(method: Callable[[Trunks, str, str], Awaitable[None]], id_: str) -> Act:
    async def act(trunks: Trunks, sid: str) -> None:
        await method(trunks, sid, id_)

    return act
