from __future__ import annotations

import ipaddress
import shutil
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from sipbot.errors import TransportError
from sipbot.sip.effects import Hop
from sipbot.transport import resolve
from sipbot.transport.endpoint import TransportLimits
from sipbot.transport.tls import (
    RENEW_BEFORE,
    SELF_SIGNED_DAYS,
    TlsContexts,
    ensure_self_signed,
)
from tests.transport.conftest import BoxMaker
from tests.transport.support import FixedResolver, message, soon
from tests.transport.test_stream import Peer

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def _pair(folder: Path, *names: str, now: datetime | None = None) -> tuple[Path, Path]:
    pair = folder / "tls" / "bot.crt", folder / "tls" / "bot.key"
    assert ensure_self_signed(*pair, names, now or datetime.now(UTC))
    return pair


def test_a_self_signed_pair(tmp_path: Path) -> None:
    certificate, key = _pair(tmp_path, "bot.example", "192.0.2.1", "2001:db8::1", now=NOW)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    made = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["bot.example"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("192.0.2.1"),
        ipaddress.ip_address("2001:db8::1"),
    ]
    assert made.not_valid_before_utc < NOW
    assert made.not_valid_after_utc == NOW + timedelta(days=SELF_SIGNED_DAYS)
    assert list((tmp_path / "tls").iterdir()) in ([certificate, key], [key, certificate])


def test_a_pair_is_kept_while_it_is_valid(tmp_path: Path) -> None:
    certificate, key = _pair(tmp_path, "bot.example", now=NOW)
    before = certificate.read_bytes()
    soon_over = NOW + timedelta(days=SELF_SIGNED_DAYS) - RENEW_BEFORE
    assert not ensure_self_signed(certificate, key, ["x"], soon_over - timedelta(seconds=1))
    assert certificate.read_bytes() == before
    assert ensure_self_signed(certificate, key, ["x"], soon_over)
    assert certificate.read_bytes() != before


@pytest.mark.parametrize("lost", ["bot.crt", "bot.key"])
def test_half_a_pair_is_made_anew(tmp_path: Path, lost: str) -> None:
    pair = _pair(tmp_path, "bot.example")
    (tmp_path / "tls" / lost).unlink()
    assert ensure_self_signed(*pair, [], datetime.now(UTC))
    TlsContexts(*pair)


def test_a_name_too_long_for_a_common_name(tmp_path: Path) -> None:
    name = "a" * 60 + ".example.com"
    certificate, _ = _pair(tmp_path, name)
    made = x509.load_pem_x509_certificate(certificate.read_bytes())
    assert made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "sipbot"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "tls"
    with pytest.raises(TransportError, match="cannot write"):
        ensure_self_signed(folder / "bot.crt", folder / "bot.key", [], NOW)


def test_old_versions_are_off(tls: TlsContexts) -> None:
    assert tls.server.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert tls.client.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    certificate, key = _pair(tmp_path / "one", "a.example")
    _, other = _pair(tmp_path / "two", "b.example")
    junk = tmp_path / "junk"
    junk.write_text("nothing")
    for files in ((certificate, other), (junk, key), (tmp_path / "absent", key)):
        with pytest.raises(TransportError, match="cannot be used"):
            TlsContexts(*files)
    with pytest.raises(TransportError, match="cannot be used"):
        TlsContexts(certificate, key, ca=junk)


async def test_a_new_certificate_serves_new_connections(box: BoxMaker, tmp_path: Path) -> None:
    pair = _pair(tmp_path, "127.0.0.1", now=datetime.now(UTC) - timedelta(days=3_000))
    contexts = TlsContexts(*pair)
    far = box(contexts=contexts)
    _, port = await far.listen("tls")
    trusting = box(contexts=TlsContexts(verify=False))
    trusting.send_to(Hop("127.0.0.1", port, "tls"))
    _, old = await far.hear()
    assert ensure_self_signed(*pair, ["127.0.0.1"], datetime.now(UTC))  # that one had expired
    careful = box(contexts=TlsContexts(ca=pair[0]))
    careful.send_to(Hop("127.0.0.1", port, "tls"))
    assert await soon(careful.failures.get()) == "key"
    contexts.reload()
    careful.send_to(Hop("127.0.0.1", port, "tls"))
    await far.hear()
    far.reply(old)
    assert (await trusting.hear())[0] == message(2)  # the connection from before still works


def test_a_failed_reload_keeps_what_there_was(tmp_path: Path) -> None:
    pair = _pair(tmp_path, "127.0.0.1")
    contexts = TlsContexts(*pair)
    server, client = contexts.server, contexts.client
    pair[0].write_text("half a file")
    with pytest.raises(TransportError):
        contexts.reload()
    assert (contexts.server, contexts.client) == (server, client)


async def test_a_stranger_s_certificate_is_refused_by_default(
    box: BoxMaker, tmp_path: Path
) -> None:
    far = box(contexts=TlsContexts(*_pair(tmp_path, "127.0.0.1")))
    _, port = await far.listen("tls")
    near = box()  # trusts another certificate
    near.send_to(Hop("127.0.0.1", port, "tls"))
    assert await soon(near.failures.get()) == "key"
    assert near.unreachable[0][1] == "TLS: self-signed certificate"
    assert await far.drop() == "tls-handshake-failed"
    assert near.endpoint.connections == 0


async def test_the_name_of_the_uri_counts_not_what_dns_says(box: BoxMaker, tmp_path: Path) -> None:
    pair = _pair(tmp_path, "trunk.example")
    far = box(contexts=TlsContexts(*pair))
    _, port = await far.listen("tls")
    names = FixedResolver(
        right=(resolve.Candidate("tls", "127.0.0.1", port, "trunk.example"),),
        wrong=(resolve.Candidate("tls", "127.0.0.1", port, "other.example"),),
        unusable=(resolve.Candidate("tls", "127.0.0.1", port, ".example"),),
    )
    near = box(contexts=TlsContexts(ca=pair[0]), resolver=names)
    near.send_to(Hop("right"))
    assert (await far.hear())[0] == message()
    for name in ("wrong", "unusable"):
        near.send_to(Hop(name))
        assert await soon(near.failures.get()) == "key"
    assert "mismatch" in near.unreachable[0][1]
    assert near.endpoint.connections == 1


async def test_no_handshake_in_time(box: BoxMaker) -> None:
    one = box(limits=TransportLimits(handshake_s=0.02))
    peer = await Peer.to(await one.listen("tls"))
    assert await peer.ended() == b""
    assert await one.drop() == "tls-handshake-failed"
    assert one.endpoint.connections == 0
    await peer.close()


async def test_plain_text_on_a_tls_port(box: BoxMaker) -> None:
    one = box()
    peer = await Peer.to(await one.listen("tls"))
    peer.writer.write(message())
    await peer.ended()
    assert await one.drop() == "tls-handshake-failed"
    assert one.heard.empty()
    await peer.close()


async def test_a_certificate_that_went_away_does_not_stop_a_running_listener(
    box: BoxMaker, tmp_path: Path
) -> None:
    pair = _pair(tmp_path, "127.0.0.1")
    contexts = TlsContexts(*pair, ca=pair[0])
    far, near = box(contexts=contexts), box(contexts=contexts)
    _, port = await far.listen("tls")
    shutil.rmtree(tmp_path / "tls")
    near.send_to(Hop("127.0.0.1", port, "tls"))
    assert (await far.hear())[0] == message()
