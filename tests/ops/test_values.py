"""The short texts of the configuration: listeners, port ranges, networks, paths."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.ops.values import HttpListen, Listen, PortRange, parse_network


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("udp://127.0.0.1:5070", Listen("udp", "127.0.0.1", 5070)),
        ("tcp://0.0.0.0", Listen("tcp", "0.0.0.0", 5060)),
        ("tls://0.0.0.0", Listen("tls", "0.0.0.0", 5061)),
        ("tls://[::]:443/", Listen("tls", "::", 443)),
        ("udp://[fe80::1%eth0]:0", Listen("udp", "fe80::1%eth0", 0)),
    ],
)
def test_listen(text: str, expected: Listen) -> None:
    assert Listen.parse(text) == expected
    assert Listen.parse(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:5070",
        "sctp://127.0.0.1:5070",
        "udp://:5070",
        "udp://bot.example:5070",
        "udp://::1:5070",
        "udp://127.0.0.1:70000",
        "udp://127.0.0.1:5070/x",
        "UDP://127.0.0.1:5070",
        17,
    ],
)
def test_listen_refuses(text: object) -> None:
    with pytest.raises(ValueError, match="must"):
        Listen.parse(text)


def test_http_listen() -> None:
    assert HttpListen.parse("http://[::1]:8080") == HttpListen("::1", 8080)
    assert str(HttpListen("::1", 8080)) == "http://[::1]:8080"
    assert HttpListen.parse("https://127.0.0.1:1") == HttpListen("127.0.0.1", 1, secure=True)
    assert str(HttpListen("127.0.0.1", 1, secure=True)) == "https://127.0.0.1:1"
    with pytest.raises(ValueError, match="http://"):
        HttpListen.parse("ftp://127.0.0.1:1")


@pytest.mark.parametrize(
    ("text", "pairs"),
    [("10000-20000", 5000), ("10000-10001", 1), ("10001-10004", 1), (" 1024 - 65535 ", 32256)],
)
def test_port_range_counts_pairs_of_even_and_odd(text: str, pairs: int) -> None:
    assert PortRange.parse(text).pairs == pairs


@given(st.integers(1024, 65535), st.integers(1024, 65535))
def test_pairs_are_those_that_fit(first: int, last: int) -> None:
    ports = PortRange(first, last)
    slow = [port for port in range(first, last) if port % 2 == 0]
    assert ports.pairs == len(slow)


@pytest.mark.parametrize("text", ["", "1-2", "10000", "20000-10000", "10001-10001", "1e4-2e4"])
def test_port_range_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|ports"):
        PortRange.parse(text)


def test_network_forms() -> None:
    assert parse_network("203.0.113.7") == ipaddress.ip_network("203.0.113.7/32")
    assert parse_network("2001:db8::/32") == ipaddress.ip_network("2001:db8::/32")
    with pytest.raises(ValueError, match=r"meant 203\.0\.113\.0/24"):
        parse_network("203.0.113.7/24")
    with pytest.raises(ValueError, match="such as"):
        parse_network("exotel.com")
