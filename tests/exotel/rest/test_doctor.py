"""What the doctor finds: keys, region, trunk, numbers, addresses, destinations, certificates."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sipbot.exotel.rest import network, trunkfile
from sipbot.exotel.rest.account import Account, Region
from sipbot.exotel.rest.client import ExotelClient
from sipbot.exotel.rest.doctor import HAIRPIN, Case, Doctor
from sipbot.exotel.rest.network import Endpoint
from sipbot.exotel.rest.values import Mode
from sipbot.testing.exotel_api import FakeExotel, Fault
from tests.exotel.rest.kit import ACCOUNT, NUMBER, OTHER_NUMBER, client

NOW = datetime(2026, 11, 21, tzinfo=UTC)
UNKNOWN = "x" * 64 + ".example.com"  # too long a label: refused without asking a name server


def connecting(fake: FakeExotel) -> Callable[[Account], ExotelClient]:
    return lambda account: client(fake, account=account)


async def findings(
    fake: FakeExotel, case: Case, *, trust: ssl.SSLContext | None = None, now: datetime = NOW
) -> list[str]:
    doctor = Doctor(ACCOUNT, connect=connecting(fake), trust=trust, now=lambda: now)
    return [f"{one.grade.value} {one.check}: {one.message}" for one in await doctor.examine(case)]


async def test_keys_that_work_and_streams() -> None:
    fake = FakeExotel()
    assert await findings(fake, Case()) == [
        "ok credentials: accepted by mumbai",
        "ok streams: 0 of 25 in use",
    ]
    fake.calls.streams = (25, 25)
    assert (await findings(fake, Case()))[1] == (
        "warning streams: all 25 in use: further ones are throttled"
    )
    fake.faults.append(Fault(404, path="ActiveStreams"))
    assert (await findings(fake, Case()))[1].startswith("warning streams: cannot count")


async def test_an_account_of_the_other_region() -> None:
    here, there = FakeExotel(), FakeExotel()
    here.region_knows_account = False
    fakes = {Region.MUMBAI: here, Region.SINGAPORE: there}
    doctor = Doctor(ACCOUNT, connect=lambda account: client(fakes[account.region], account=account))
    (only,) = await doctor.examine(Case("front_desk"))
    assert only.message == "the account lives in singapore: set EXOTEL_REGION=singapore"
    there.region_knows_account = False
    (only,) = await doctor.examine(Case())
    assert "Authorization failed" in only.message
    assert "singapore does not take the keys either" in only.message


async def test_exotel_out_of_reach() -> None:
    class Nobody(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("refused")

    doctor = Doctor(
        ACCOUNT,
        connect=lambda account: client(FakeExotel(), account=account, transport=Nobody()),
    )
    (only,) = await doctor.examine(Case())
    assert "no connection to api.in.exotel.com" in only.message


async def test_a_trunk_that_is_not_there_or_asleep() -> None:
    fake = FakeExotel()
    assert "problem trunk: there is no trunk a" in await findings(fake, Case("a"))
    async with client(fake) as exotel:
        trunk = await exotel.trunks.create("a")
    fake.trunks.trunks[trunk.sid]["status"] = "inactive"
    told = await findings(fake, Case(trunk.sid))
    assert told[2:] == [
        "problem trunk: a is inactive",
        "problem numbers: none is mapped to the trunk",
        "warning allowed addresses: none, and no credentials: calls into Exotel will be refused",
        "warning destinations: none: the trunk has nowhere to send calls",
    ]


async def test_numbers_modes_and_addresses() -> None:
    fake = FakeExotel()
    fake.calls.exophones = ["08012345678"]
    async with client(fake) as exotel:
        trunk = await exotel.trunks.create("a")
        await exotel.trunks.add_number(trunk.sid, NUMBER, Mode.PSTN)
        await exotel.trunks.add_number(trunk.sid, OTHER_NUMBER, Mode.FLOW)
        await exotel.trunks.add_credential(trunk.sid, "desk", "s3cret")
    told = await findings(fake, Case("a"))
    assert told[3:7] == [
        f"ok numbers: {NUMBER}: mode pstn, for Connect applets that dial sip:{trunk.sid}",
        f"ok numbers: {OTHER_NUMBER}: mode flow, for Voicebot applets and StreamKit",
        f"warning numbers: not among the account's ExoPhones: {OTHER_NUMBER}",
        "ok allowed addresses: none: calls into Exotel need one of the credentials",
    ]


async def test_the_file_and_the_trunk_differ(tmp_path: Path) -> None:
    fake = FakeExotel()
    path = tmp_path / "trunk.yaml"
    path.write_text('trunk: {name: a, numbers: [{number: "+918012345678", mode: flow}]}')
    wanted = trunkfile.load(path, {}).trunk
    async with client(fake) as exotel:
        trunk = await exotel.trunks.create("a")
        number = await exotel.trunks.add_number(trunk.sid, NUMBER, Mode.PSTN)
        assert (
            f"problem file: the trunk differs, to change: number {NUMBER} (mode pstn -> flow)"
            in await findings(fake, Case(wanted=wanted))
        )
        await exotel.trunks.change_number(trunk.sid, number.id, NUMBER, Mode.FLOW)
    assert "ok file: the trunk is as the file says" in await findings(fake, Case(wanted=wanted))


@contextlib.asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PEM with key and certificate for 127.0.0.1 that ends a year after ``NOW``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sipbot test")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=365))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return path


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_our_own_address_over_tls(certificate: Path) -> None:
    trust = ssl.create_default_context(cafile=str(certificate))
    async with listening(server_context(certificate)) as port:
        case = Case(own=(Endpoint("127.0.0.1", port, True),))
        now = datetime.now(UTC)
        told = (await findings(FakeExotel(), case, trust=trust, now=now))[2:]
        assert told[0].endswith("127.0.0.1 cannot be reached from the Internet")
        assert told[1].startswith(
            f"ok destinations: 127.0.0.1:{port}: 127.0.0.1, certificate valid"
        )
        soon = now + timedelta(days=360)
        told = (await findings(FakeExotel(), case, trust=trust, now=soon))[2:]
        assert "the certificate expires on" in told[1]
        told = (await findings(FakeExotel(), case))[2:]
        assert "its certificate is not accepted: self-signed certificate" in told[1]


async def test_our_own_address_without_tls() -> None:
    async with listening() as port:
        plain = Endpoint("127.0.0.1", port, False)
        told = (await findings(FakeExotel(), Case(own=(plain,))))[2:]
        assert told[1] == f"ok destinations: 127.0.0.1:{port}: 127.0.0.1, connected"
    told = (await findings(FakeExotel(), Case(own=(plain,))))[2:]
    assert "no connection (" in told[1]
    assert told[1].endswith(HAIRPIN)


async def test_no_tls_where_tls_was_expected() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello, this is no TLS at all\r\n")
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(network.Unreachable, match="no TLS there"):
            await network.connect(Endpoint("127.0.0.1", port, True))


async def test_destinations_of_the_trunk_are_visited() -> None:
    fake = FakeExotel()
    async with client(fake) as exotel, listening() as port:
        trunk = await exotel.trunks.create("a")
        uri = f"{UNKNOWN}:{port};transport=tcp"
        await exotel.trunks.add_destination(trunk.sid, uri)
        await exotel.trunks.add_destination(trunk.sid, "b.example.com:1;transport=tcp")
        rows = fake.trunks.rows[trunk.sid]["destination-uris"]
        rows[1]["destination"] = "sip:127.0.0.1:%d;transport=tcp" % port  # noqa: UP031
        rows.append({**rows[0], "destination": "sip:[::1]:5060"})
        told = await findings(fake, Case("a"))
    assert f"problem destinations: {uri}: DNS knows no such name" in told
    assert any("the destination 127.0.0.1" in one and "not among them" in one for one in told)
    assert f"ok destinations: 127.0.0.1:{port};transport=tcp: 127.0.0.1, connected" in told
    assert any("must look like HOST" in one for one in told)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("Sip.Example.com", Endpoint("sip.example.com", 5061, True)),
        ("sip.example.com:5070", Endpoint("sip.example.com", 5070, True)),
        ("sip:1.2.3.4;transport=tcp", Endpoint("1.2.3.4", 5060, False)),
        ("sip.example.com:5060;transport=tcp", Endpoint("sip.example.com", 5060, False)),
    ],
)
def test_endpoints(text: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(text) == endpoint


@pytest.mark.parametrize("text", ["", "a b", "a:0", "a:70000", "a;transport=udp", "https://a"])
def test_texts_that_are_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError, match="must look like"):
        Endpoint.parse(text)
