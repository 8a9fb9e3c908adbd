"""Who may open a stream, by every mixture of address and credentials."""

from __future__ import annotations

import ipaddress

import pytest

from sipbot.ops.admission import Admission
from sipbot.ops.stream_admission import Requirement, StreamAdmission, StreamKey

OURS, FOREIGN, OTHER = "203.0.113.7", "198.51.100.1", "192.0.2.1"
RIGHT, WRONG = ("exotel", "s3cret"), ("exotel", "s3cres")


def door(require: Requirement) -> StreamAdmission:
    """A trunk ``a`` with ``require``, and a trunk ``b`` known by its address alone."""
    networks = {
        "a": [ipaddress.ip_network("203.0.113.0/24")],
        "b": [ipaddress.ip_network("192.0.2.0/24")],
    }
    key = StreamKey(require) if require == "address" else StreamKey(require, *RIGHT)
    return StreamAdmission(Admission(networks), {"a": key, "b": StreamKey("address")})


@pytest.mark.parametrize(
    ("require", "ip", "given", "status", "rule"),
    [
        ("address", OURS, None, 0, "trunk"),
        ("address", OURS, WRONG, 0, "trunk"),
        ("address", FOREIGN, RIGHT, 403, "not-a-trunk"),
        ("credentials", OURS, None, 401, "no-credentials"),
        ("credentials", OURS, WRONG, 401, "wrong-credentials"),
        ("credentials", OURS, RIGHT, 0, "credentials"),
        ("credentials", FOREIGN, RIGHT, 0, "credentials"),
        ("credentials", FOREIGN, ("", ""), 401, "wrong-credentials"),
        ("credentials", FOREIGN, None, 401, "no-credentials"),
        ("both", OURS, RIGHT, 0, "credentials"),
        ("both", OURS, WRONG, 401, "wrong-credentials"),
        ("both", OURS, None, 401, "no-credentials"),
        ("both", FOREIGN, RIGHT, 403, "wrong-address"),
        ("both", OTHER, RIGHT, 403, "wrong-address"),
        ("both", FOREIGN, None, 403, "not-a-trunk"),
        ("either", OURS, None, 0, "trunk"),
        ("either", OURS, WRONG, 0, "trunk"),
        ("either", FOREIGN, RIGHT, 0, "credentials"),
        ("either", FOREIGN, WRONG, 401, "wrong-credentials"),
    ],
)
def test_judgement(
    require: Requirement, ip: str, given: tuple[str, str] | None, status: int, rule: str
) -> None:
    verdict = door(require).judge(ip, given)
    assert (verdict.status, verdict.rule) == (status, rule)
    if not status:
        assert verdict.trunk == "a"


def test_another_trunks_address_stays_its_own() -> None:
    assert door("both").judge(OTHER, None).trunk == "b"


@pytest.mark.parametrize("credentials", [None, RIGHT])
def test_without_trunks_only_neighbours(credentials: tuple[str, str] | None) -> None:
    alone = StreamAdmission(Admission({}), {})
    assert alone.judge("127.0.0.1", credentials).status == 0
    assert alone.judge("10.1.2.3", credentials).status == 0
    assert alone.judge(OURS, credentials).status == 403


def test_a_trunk_without_addresses_does_not_open_the_house_to_neighbours() -> None:
    stranger = StreamAdmission(Admission({"a": []}), {"a": StreamKey("credentials", *RIGHT)})
    assert stranger.judge("127.0.0.1", None).status == 401
    assert stranger.judge("127.0.0.1", RIGHT).status == 0


def test_secrets_do_not_show() -> None:
    assert "s3cret" not in repr(StreamKey("both", *RIGHT))
