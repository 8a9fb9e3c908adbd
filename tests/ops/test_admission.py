"""Who may call, and the rule that says why."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.ops.admission import MAX_REMEMBERED, Admission, Verdict


def networks(*texts: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(text) for text in texts]


@pytest.mark.parametrize(
    "ip",
    [
        "127.0.0.1",
        "127.9.9.9",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.1.1",
        "::1",
        "fd00::1",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
    ],
)
def test_without_trunks_local_addresses_may_call(ip: str) -> None:
    verdict = Admission({}).allowed(ip)
    assert verdict == Verdict(None, "local")
    assert verdict.ok


@pytest.mark.parametrize(
    "ip",
    [
        "8.8.8.8",
        "172.15.0.1",
        "172.32.0.1",
        "203.0.113.1",
        "2001:db8::1",
        "::ffff:8.8.8.8",
        "0.0.0.0",
    ],
)
def test_without_trunks_nobody_else_may(ip: str) -> None:
    verdict = Admission({}).allowed(ip)
    assert verdict == Verdict(None, "not-local")
    assert not verdict.ok


def test_with_trunks_only_trunks_may() -> None:
    admission = Admission({"exotel": networks("203.0.113.0/24", "2001:db8::/32")})
    assert admission.allowed("203.0.113.9") == Verdict("exotel", "trunk")
    assert admission.allowed("::ffff:203.0.113.9") == Verdict("exotel", "trunk")
    assert admission.allowed("2001:db8::9") == Verdict("exotel", "trunk")
    for ip in ("127.0.0.1", "10.0.0.1", "203.0.114.1"):
        assert admission.allowed(ip) == Verdict(None, "not-a-trunk")


def test_the_longest_prefix_decides() -> None:
    admission = Admission(
        {
            "wide": networks("10.0.0.0/8"),
            "narrow": networks("10.1.0.0/16"),
            "one": networks("10.1.1.1"),
        }
    )
    found = [admission.allowed(ip).trunk for ip in ("10.9.0.1", "10.1.2.3", "10.1.1.1")]
    assert found == ["wide", "narrow", "one"]


@given(st.text())
def test_anything_else_is_refused_without_an_exception(ip: str) -> None:
    verdict = Admission({}).allowed(ip)
    assert verdict.rule in ("bad-address", "local", "not-local")


def test_memory_is_bounded_and_verdicts_stay_right() -> None:
    admission = Admission({})
    for number in range(MAX_REMEMBERED * 2):
        admission.allowed(str(ipaddress.ip_address(0x08000000 + number)))
    assert len(admission._remembered) <= MAX_REMEMBERED
    assert admission.allowed("8.0.0.0").rule == "not-local"
    assert admission.allowed("127.0.0.1").ok
