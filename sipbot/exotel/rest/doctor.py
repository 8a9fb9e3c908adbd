"""What would keep calls from arriving, found before the first one: keys, region, trunk, numbers,
allowed addresses, destinations, and the name and certificate of our own address."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from sipbot.exotel.rest import network, state
from sipbot.exotel.rest import plan as planning
from sipbot.exotel.rest.account import Account
from sipbot.exotel.rest.client import ExotelClient
from sipbot.exotel.rest.errors import AuthenticationFailed, ExotelError
from sipbot.exotel.rest.network import Endpoint, Unreachable
from sipbot.exotel.rest.state import State
from sipbot.exotel.rest.trunkfile import TrunkSection, address_of
from sipbot.exotel.rest.values import Mode
from sipbot.ops.checks import EXPIRY_WARNING, Finding, Grade

HAIRPIN: Final = "; from inside its own network a public address may not be reachable"


@dataclass(frozen=True, slots=True)
class Case:
    """What to look at: a trunk by name or sid, the file that describes it, our own addresses."""

    trunk: str | None = None
    wanted: TrunkSection | None = None
    own: tuple[Endpoint, ...] = ()


class Doctor:
    """``connect`` makes clients, ``trust`` is what certificates are checked against."""

    def __init__(
        self,
        account: Account,
        *,
        connect: Callable[[Account], ExotelClient] = ExotelClient,
        trust: ssl.SSLContext | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._account = account
        self._connect = connect
        self._trust = trust
        self._now = now

    async def examine(self, case: Case) -> tuple[Finding, ...]:
        """All findings; the checks of the trunk are left out when the keys do not work."""
        findings: list[Finding] = []
        async with self._connect(self._account) as exotel:
            findings += await self._keys(exotel)
            if not _has_problem(findings):
                findings += await self._exotel(exotel, case)
        for endpoint in case.own:
            findings += await self._reach(endpoint, f"{endpoint.host}:{endpoint.port}")
        return tuple(findings)

    async def _keys(self, exotel: ExotelClient) -> list[Finding]:
        try:
            await exotel.trunks.all()
        except AuthenticationFailed as error:
            return [_problem("credentials", await self._wrong_keys(error))]
        except ExotelError as error:
            return [_problem("credentials", str(error))]
        where = self._account.base_url or self._account.region.value
        return [_ok("credentials", f"accepted by {where}")]

    async def _wrong_keys(self, error: AuthenticationFailed) -> str:
        """Whether the other region knows the keys: the wrong one says nothing but 401."""
        if self._account.base_url is not None:
            return str(error)
        other = self._account.region.other
        async with self._connect(replace(self._account, region=other)) as exotel:
            try:
                await exotel.trunks.all()
            except ExotelError:
                return f"{error}; {other.value} does not take the keys either"
        return f"the account lives in {other.value}: set EXOTEL_REGION={other.value}"

    async def _exotel(self, exotel: ExotelClient, case: Case) -> list[Finding]:
        findings = await self._streams(exotel)
        name = case.trunk or (case.wanted.name if case.wanted else None)
        if name is None:
            return findings
        try:
            trunk = await state.find(exotel, name)
            if trunk is None:
                return [*findings, _problem("trunk", f"there is no trunk {name}")]
            found = await state.read(exotel, trunk)
            findings += _trunk(found)
            findings += await self._numbers(exotel, found)
        except ExotelError as error:
            return [*findings, _problem("trunk", str(error))]
        findings += _allowed(found)
        if case.wanted is not None:
            findings += _file(case.wanted, found)
        if not found.destinations:
            text = "none: the trunk has nowhere to send calls"
            findings.append(Finding("destinations", Grade.WARNING, text))
        for destination in found.destinations:
            try:
                endpoint = Endpoint.parse(destination.uri)
            except ValueError as error:
                findings.append(_problem("destinations", f"{destination.uri}: {error}"))
                continue
            findings += await self._reach(endpoint, destination.uri)
        return findings

    async def _streams(self, exotel: ExotelClient) -> list[Finding]:
        try:
            streams = await exotel.lookups.streams()
        except ExotelError as error:
            return [Finding("streams", Grade.WARNING, str(error))]
        if streams.allowed is not None and streams.active >= streams.allowed:
            text = f"all {streams.allowed} in use: further ones are throttled"
            return [Finding("streams", Grade.WARNING, text)]
        allowed = "an unknown number" if streams.allowed is None else streams.allowed
        return [_ok("streams", f"{streams.active} of {allowed} in use")]

    async def _numbers(self, exotel: ExotelClient, found: State) -> list[Finding]:
        findings = list(_modes(found))
        try:
            owned = {one.number for one in await exotel.lookups.exophones()}
        except ExotelError as error:
            return [*findings, Finding("numbers", Grade.WARNING, str(error))]
        foreign = [one.number for one in found.numbers if one.number not in owned]
        if owned and foreign:
            text = f"not among the account's ExoPhones: {', '.join(foreign)}"
            findings.append(Finding("numbers", Grade.WARNING, text))
        return findings

    async def _reach(self, endpoint: Endpoint, name: str) -> list[Finding]:
        """DNS, connection and certificate of one address."""
        check = "destinations"
        try:
            addresses = await network.resolve(endpoint.host)
        except Unreachable as error:
            return [_problem(check, f"{name}: {error}")]
        findings = []
        private = [one for one in addresses if not network.is_public(one)]
        if private:
            text = f"{name}: {', '.join(private)} cannot be reached from the Internet"
            findings.append(_problem(check, text))
        try:
            until = await network.connect(endpoint, self._trust)
        except Unreachable as error:
            return [*findings, _problem(check, f"{name}: {error}{HAIRPIN}")]
        if until is not None and until - self._now() < EXPIRY_WARNING:
            text = f"{name}: the certificate expires on {until:%Y-%m-%d %H:%M} UTC"
            findings.append(Finding(check, Grade.WARNING, text))
        seen = f"certificate valid until {until:%Y-%m-%d}" if until else "connected"
        return [*findings, _ok(check, f"{name}: {', '.join(addresses)}, {seen}")]


def _trunk(found: State) -> Iterator[Finding]:
    trunk = found.trunk
    if trunk is None:
        return
    if trunk.status.lower() == "active":
        yield _ok("trunk", f"{trunk.name} is active, {trunk.sid}")
    else:
        yield _problem("trunk", f"{trunk.name} is {trunk.status or 'of unknown state'}")


def _modes(found: State) -> Iterator[Finding]:
    sid = found.trunk.sid if found.trunk else ""
    by_mode = {mode: [one.number for one in found.numbers if one.mode is mode] for mode in Mode}
    if not found.numbers:
        yield _problem("numbers", "none is mapped to the trunk")
    if by_mode[Mode.PSTN]:
        numbers = ", ".join(by_mode[Mode.PSTN])
        yield _ok("numbers", f"{numbers}: mode pstn, for Connect applets that dial sip:{sid}")
    if by_mode[Mode.FLOW]:
        numbers = ", ".join(by_mode[Mode.FLOW])
        yield _ok("numbers", f"{numbers}: mode flow, for Voicebot applets and StreamKit")


def _allowed(found: State) -> Iterator[Finding]:
    check = "allowed addresses"
    networks = [one.parsed for one in found.allowed_ips]
    for destination in found.destinations:
        address = address_of(destination.uri)
        if address is not None and not any(one is not None and address in one for one in networks):
            yield _problem(check, f"the destination {destination.uri} is not among them")
    if found.allowed_ips:
        yield _ok(check, ", ".join(one.network for one in found.allowed_ips))
    elif found.credentials:
        yield _ok(check, "none: calls into Exotel need one of the credentials")
    else:
        text = "none, and no credentials: calls into Exotel will be refused"
        yield Finding(check, Grade.WARNING, text)


def _file(wanted: TrunkSection, found: State) -> Iterator[Finding]:
    plan = planning.make(wanted, found)
    for problem in plan.problems:
        yield _problem("file", problem)
    for step in plan.steps:
        detail = f" ({step.detail})" if step.detail else ""
        text = f"to {step.verb.value}: {step.kind.value} {step.subject}{detail}"
        yield _problem("file", f"the trunk differs, {text}")
    if not plan.steps and not plan.problems:
        yield _ok("file", "the trunk is as the file says")


def _has_problem(findings: Iterable[Finding]) -> bool:
    return any(one.grade is Grade.PROBLEM for one in findings)


def _problem(check: str, message: str) -> Finding:
    return Finding(check, Grade.PROBLEM, message)


def _ok(check: str, message: str) -> Finding:
    return Finding(check, Grade.OK, message)
