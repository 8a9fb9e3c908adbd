"""What a request for a stream says, and heads that are none."""

from __future__ import annotations

import ipaddress

import pytest

from sipbot.http.head import plain_upgrade, read_head, refusal_answer, websocket_key
from sipbot.http.streams import StreamRefused, client_address, stream_kind, stream_request
from tests.http.stream_kit import basic, upgrade

TRUSTED = (ipaddress.ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("/exotel/voicebot", "voicebot"),
        ("/exotel/voicebot/", "voicebot"),
        ("/exotel/voicebot/x/y?z=1", "voicebot"),
        ("/exotel/stream?x", "stream"),
        ("/exotel/voicebot-url/x", None),
        ("/exotel/stream-url", None),
        ("/exotel", None),
        ("/", None),
    ],
)
def test_which_targets_are_streams(target: str, kind: str | None) -> None:
    assert stream_kind(target) == kind


def test_a_request_is_read() -> None:
    request = stream_request(
        "/exotel/voicebot/re%20ception/a/b%2Fc?x=1&y=%E0%A4%A8&x=2",
        "voicebot",
        {"authorization": basic("k", "t:u")["Authorization"]},
        ("192.0.2.1", 5),
        (),
    )
    assert (request.agent, request.rest) == ("re ception", "a/b/c")
    assert dict(request.query) == {"x": "2", "y": "न"}
    assert request.credentials is not None
    assert (request.credentials.user, request.credentials.password) == ("k", "t:u")
    assert "t:u" not in repr(request)


@pytest.mark.parametrize(
    "header", ["", "Bearer abc", "Basic !!!", "Basic " + "A" * 600, "Basic YQ==", "Basic gICA"]
)
def test_credentials_that_are_none(header: str) -> None:
    request = stream_request("/exotel/stream/a", "stream", {"authorization": header}, ("x", 1), ())
    assert request.credentials is None


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ("/exotel/voicebot/a%00b", "bad-path"),
        ("/exotel/voicebot/" + "a" * 129, "bad-path"),
        ("/exotel/voicebot/a?" + "&".join(f"n{n}=1" for n in range(65)), "bad-query"),
        ("/exotel/voicebot/a?x=" + "y" * 1_025, "bad-query"),
    ],
)
def test_requests_that_are_refused(target: str, rule: str) -> None:
    with pytest.raises(StreamRefused) as caught:
        stream_request(target, "voicebot", {}, ("x", 1), ())
    assert (caught.value.rule, caught.value.status) == (rule, 400)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "127.0.0.1", "192.0.2.1"),  # said by a stranger
        ("10.0.0.1", "127.0.0.1, 203.0.113.9", "203.0.113.9"),  # the first is the client's word
        ("10.0.0.1", "203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "garbage", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.3", "10.0.0.3"),
    ],
)
def test_whose_address_counts(peer: str, forwarded: str, address: str) -> None:
    assert client_address(peer, forwarded, TRUSTED) == address


# --- heads ----------------------------------------------------------------------------------------


def checked(data: bytes) -> str:
    return websocket_key(read_head(data.removesuffix(b"\r\n\r\n")))


def test_upgrades_as_clients_write_them() -> None:
    key = checked(upgrade())
    assert key in plain_upgrade(key).decode()
    assert checked(upgrade(Connection="keep-alive, Upgrade", Upgrade="WebSocket")) == key
    assert checked(upgrade(Content_Length="0")) == key


@pytest.mark.parametrize(
    ("data", "rule", "status"),
    [
        (upgrade().replace(b"GET", b"POST"), "not-get", 405),
        (upgrade(Upgrade="h2c"), "no-upgrade", 426),
        (upgrade(Sec_WebSocket_Version="8"), "websocket-version", 426),
        (upgrade(Connection="close"), "bad-upgrade", 400),
        (upgrade(Sec_WebSocket_Key="short"), "bad-upgrade", 400),
        (upgrade(Content_Length="5"), "bad-upgrade", 400),
        (upgrade(Transfer_Encoding="chunked"), "bad-upgrade", 400),
        (upgrade().replace(b"HTTP/1.1", b"HTTP/9"), "bad-request", 400),
        (upgrade().replace(b"Host: x", b"Host x"), "bad-request", 400),
        (upgrade().replace(b"Host: x", b" folded: x"), "bad-request", 400),
        (upgrade(**{f"X{n}": "1" for n in range(100)}), "bad-request", 400),
    ],
)
def test_heads_that_are_refused(data: bytes, rule: str, status: int) -> None:
    with pytest.raises(StreamRefused) as caught:
        checked(data)
    assert (caught.value.rule, caught.value.status) == (rule, status)


@pytest.mark.parametrize(
    ("refusal", "line"),
    [
        (StreamRefused("no-credentials", 401), 'WWW-Authenticate: Basic realm="sipbot"'),
        (StreamRefused("cpu", 503, 7), "Retry-After: 7"),
        (StreamRefused("no-upgrade", 426), "Sec-WebSocket-Version: 13"),
        (StreamRefused("not-get", 405), "Allow: GET"),
    ],
)
def test_refusals_tell_what_would_help(refusal: StreamRefused, line: str) -> None:
    head, _, body = refusal_answer(refusal).decode().partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {refusal.status} ")
    assert line in head
    assert body == f"{refusal.rule}\n"
