"""What peers are told about where we are."""

from __future__ import annotations

import pytest

from sipbot.runtime.advertise import Advertiser, PublicAddress
from sipbot.sip.effects import Flow, Hop

FAR = Flow("udp", ("10.0.0.5", 5070), ("203.0.113.9", 5060))
NEAR = Flow("tcp", ("127.0.0.1", 5070), ("127.0.0.1", 44_000), 3)


def advertiser(public: PublicAddress) -> Advertiser:
    ports = {"udp": 5070, "tcp": 5071}
    return Advertiser(public, ports, lambda remote: f"towards {remote}")  # type: ignore[arg-type]


def test_auto_is_the_address_that_the_call_came_in_by() -> None:
    auto = advertiser(PublicAddress())
    assert auto.signalling(FAR) == ("10.0.0.5", 5070)
    assert auto.media(FAR) == "10.0.0.5"


def test_a_public_address_replaces_it_for_everybody_but_this_machine() -> None:
    behind_nat = advertiser(PublicAddress("bot.example.com", "198.51.100.7"))
    assert behind_nat.signalling(FAR) == ("bot.example.com", 5070)
    assert behind_nat.media(FAR) == "198.51.100.7"
    assert behind_nat.signalling(NEAR) == ("127.0.0.1", 5071)
    assert behind_nat.media(NEAR) == "127.0.0.1"


def test_a_connection_that_we_opened_names_our_listener_and_not_its_own_port() -> None:
    opened = Flow("tcp", ("10.0.0.5", 51_515), ("203.0.113.9", 5060), 1)
    assert advertiser(PublicAddress()).signalling(opened) == ("10.0.0.5", 5071)


def test_without_a_listener_the_port_of_the_connection_is_all_there_is() -> None:
    opened = Flow("tls", ("10.0.0.5", 51_515), ("203.0.113.9", 443), 1)
    assert advertiser(PublicAddress()).signalling(opened) == ("10.0.0.5", 51_515)


@pytest.mark.parametrize(
    ("host", "expected"), [("203.0.113.9", "towards 203.0.113.9"), ("pbx.example.com", "towards ")]
)
def test_towards_a_next_hop(host: str, expected: str) -> None:
    assert advertiser(PublicAddress()).signalling(Hop(host, 5060, "udp")) == (expected, 5070)
