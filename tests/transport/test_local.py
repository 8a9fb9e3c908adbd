from __future__ import annotations

import pytest

from sipbot.transport.local import (
    Listen,
    address_of,
    bound_socket,
    family_of,
    is_ip,
    is_wildcard,
    local_address_towards,
)


def test_loopback_is_reached_from_loopback() -> None:
    assert local_address_towards("127.0.0.1") == "127.0.0.1"
    assert local_address_towards("::1") == "::1"


def test_there_is_always_an_address() -> None:
    for remote in ("", "255.255.255.255", "2001:db8::1"):
        assert is_ip(local_address_towards(remote).partition("%")[0])


@pytest.mark.parametrize(
    ("host", "ip", "wildcard"),
    [
        ("192.0.2.1", True, False),
        ("0.0.0.0", True, True),
        ("::", True, True),
        ("[::1]", False, False),
        ("localhost", False, False),
        ("", False, False),
    ],
)
def test_kinds_of_hosts(host: str, ip: bool, wildcard: bool) -> None:
    assert (is_ip(host), is_wildcard(host)) == (ip, wildcard)


def test_socket_names() -> None:
    assert address_of(("::1", 5060, 0, 0)) == ("::1", 5060)
    assert address_of(None) == ("", 0)
    assert family_of("::1") != family_of("127.0.0.1")


def test_a_listener_as_text() -> None:
    assert str(Listen("tls", "::1", 5061)) == "tls://[::1]:5061"
    assert str(Listen("udp", "127.0.0.1", 0)) == "udp://127.0.0.1:0"


async def test_a_name_can_be_bound() -> None:
    with await bound_socket(Listen("udp", "localhost", 0)) as bound:
        assert address_of(bound.getsockname())[0] in ("127.0.0.1", "::1")
