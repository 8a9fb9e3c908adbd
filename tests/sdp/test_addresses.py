from __future__ import annotations

import pytest

from sipbot.errors import SdpError
from sipbot.sdp.addresses import Remote, address_type, remote_of
from sipbot.sdp.session import parse


def _remote(connection: str, port: int = 4000, rtcp: str = "", local: str = "192.0.2.1") -> Remote:
    text = f"v=0\no=- 1 1 IN IP4 192.0.2.9\ns=-\n{connection}m=audio {port} RTP/AVP 8\n{rtcp}"
    description = parse(text.encode())
    return remote_of(description, description.media[0], local)


IP4 = "c=IN IP4 198.51.100.7\n"


@pytest.mark.parametrize(
    ("rtcp", "expected"),
    [
        ("", ("198.51.100.7", 4001)),
        ("a=rtcp:5005\n", ("198.51.100.7", 5005)),
        ("a=rtcp:5005 IN IP4 198.51.100.8\n", ("198.51.100.8", 5005)),
        ("a=rtcp:5005 IN IP4 233.252.0.1\n", ("198.51.100.7", 5005)),
        ("a=rtcp:5005 IN IP4 0.0.0.0\n", ("198.51.100.7", 5005)),
        ("a=rtcp:53\n", ("198.51.100.7", 4001)),
        ("a=rtcp:70000\n", ("198.51.100.7", 4001)),
        ("a=rtcp:x\n", ("198.51.100.7", 4001)),
        ("a=rtcp\n", ("198.51.100.7", 4001)),
    ],
)
def test_rtcp_port(rtcp: str, expected: tuple[str, int]) -> None:
    assert _remote(IP4, rtcp=rtcp) == Remote(("198.51.100.7", 4000), expected, blackhole=False)


def test_session_level_media_level_and_ipv6() -> None:
    assert _remote("c=in ip4 198.51.100.7\n").rtp[0] == "198.51.100.7"
    text = b"v=0\no=- 1 1 IN IP4 192.0.2.9\ns=-\nc=IN IP4 198.51.100.7\nm=audio 4000 RTP/AVP 8\n"
    description = parse(text + b"c=IN IP4 198.51.100.99\n")
    assert remote_of(description, description.media[0], "192.0.2.1").rtp[0] == "198.51.100.99"
    assert _remote("c=IN IP6 2001:DB8:0::7\n", local="2001:db8::1").rtp[0] == "2001:db8::7"


@pytest.mark.parametrize("connection", ["c=IN IP4 0.0.0.0\n", "c=IN IP6 ::\n"])
def test_the_address_that_means_send_nothing(connection: str) -> None:
    assert _remote(connection).blackhole


@pytest.mark.parametrize(
    ("connection", "port", "local", "rule"),
    [
        ("", 4000, "192.0.2.1", "media-address-missing"),
        ("c=IN IP4 host.example.com\n", 4000, "192.0.2.1", "media-address-no-literal"),
        ("c=IN IP4 300.1.1.1\n", 4000, "192.0.2.1", "media-address-no-literal"),
        ("c=ATM NSAP 47.0091\n", 4000, "192.0.2.1", "media-address-type"),
        ("c=IN IP6 198.51.100.7\n", 4000, "192.0.2.1", "media-address-type"),
        ("c=IN IP6 fe80::1%eth0\n", 4000, "2001:db8::1", "media-address-type"),
        ("c=IN IP4 233.252.0.1/127\n", 4000, "192.0.2.1", "media-address-not-unicast"),
        ("c=IN IP4 224.0.0.1\n", 4000, "192.0.2.1", "media-address-not-unicast"),
        ("c=IN IP6 ff02::1\n", 4000, "2001:db8::1", "media-address-not-unicast"),
        ("c=IN IP6 ::ffff:224.0.0.1\n", 4000, "2001:db8::1", "media-address-not-unicast"),
        ("c=IN IP4 255.255.255.255\n", 4000, "192.0.2.1", "media-address-not-unicast"),
        ("c=IN IP4 0.1.2.3\n", 4000, "192.0.2.1", "media-address-unspecified"),
        ("c=IN IP6 2001:db8::7\n", 4000, "192.0.2.1", "media-address-family"),
        (IP4, 4000, "2001:db8::1", "media-address-family"),
        (IP4, 1023, "192.0.2.1", "media-port-privileged"),
        (IP4, 0, "192.0.2.1", "media-port-privileged"),
        (IP4, 65535, "192.0.2.1", "media-port-without-rtcp-port"),
    ],
)
def test_where_we_send_nothing(connection: str, port: int, local: str, rule: str) -> None:
    with pytest.raises(SdpError) as caught:
        _remote(connection, port, local=local)
    assert (caught.value.status, caught.value.reason) == (488, rule)


def test_address_type() -> None:
    assert (address_type("192.0.2.1"), address_type("::1")) == ("IP4", "IP6")
