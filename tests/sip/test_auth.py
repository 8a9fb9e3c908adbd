from __future__ import annotations

import hashlib
import re

import pytest

from sipbot.sip.auth import Authenticator, Credentials
from sipbot.sip.headers import Headers
from sipbot.sip.message import Response
from sipbot.sip.uri import Uri

URI = Uri.parse("sip:bob@example.com")


def challenge(*lines: str, status: int = 401) -> Response:
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    return Response.of(status, Headers([(name, line) for line in lines]))


def authenticator(username: str = "Mufasa", password: str = "Circle of Life") -> Authenticator:
    return Authenticator(
        Credentials(username, password), lambda: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    )


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def parameters(text: str) -> dict[str, str]:
    scheme, _, rest = text.partition(" ")
    assert scheme == "Digest"
    return {name: value.strip('"') for name, value in re.findall(r'(\w+)=("[^"]*"|[^, ]+)', rest)}


# RFC 7616 section 3.9.1 (with the URI that it uses, which is opaque to the digest).
@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_example_of_the_rfc(algorithm: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = authenticator()
    line = (
        f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    assert subject.challenged(challenge(line), set())
    monkeypatch.setattr(Uri, "__str__", lambda self: "/dir/index.html")
    (answer,) = subject.headers("GET", URI, b"")
    assert answer[0] == "Authorization"
    found = parameters(answer[1])
    assert found["response"] == expected
    assert found["nc"] == "00000001"
    assert found["qop"] == "auth"
    assert found["algorithm"] == algorithm
    assert found["opaque"] == "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"


def test_old_style_without_qop() -> None:
    subject = authenticator("a", "b")
    assert subject.challenged(challenge('Digest realm="r", nonce="n"', status=407), set())
    ((name, value),) = subject.headers("INVITE", URI, b"")
    assert name == "Proxy-Authorization"
    found = parameters(value)
    a1, a2 = md5("a:r:b"), md5("INVITE:sip:bob@example.com")
    assert found["response"] == md5(f"{a1}:n:{a2}")
    assert "qop" not in found
    assert "algorithm" not in found


def test_nonce_count_goes_up() -> None:
    subject = authenticator()
    subject.challenged(challenge('Digest realm="r", nonce="n", qop="auth"'), set())
    counts = [parameters(subject.headers("BYE", URI, b"")[0][1])["nc"] for _ in range(3)]
    assert counts == ["00000001", "00000002", "00000003"]


def test_answers_differ_with_body_and_session_variants() -> None:
    seen = set()
    for extra in ('qop="auth"', 'qop="auth-int"', 'qop="auth", algorithm=MD5-sess'):
        subject = authenticator()
        assert subject.challenged(challenge(f'Digest realm="r", nonce="n", {extra}'), set())
        seen.add(parameters(subject.headers("INVITE", URI, b"body")[0][1])["response"])
    assert len(seen) == 3


@pytest.mark.parametrize(
    "line",
    [
        'Basic realm="r"',
        'Digest realm="r"',
        'Digest nonce="n"',
        'Digest realm="r", nonce="n", algorithm=SHA-1024',
        'Digest realm="r", nonce="n", qop="other"',
        "",
    ],
)
def test_challenges_that_cannot_be_answered(line: str) -> None:
    subject = authenticator()
    assert not subject.challenged(challenge(line), set())
    assert subject.headers("INVITE", URI, b"") == []


def test_first_supported_algorithm_is_taken() -> None:
    subject = authenticator()
    lines = [
        'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-512-256',
        'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256',
        'Digest realm="r", nonce="n", qop="auth", algorithm=MD5',
    ]
    assert subject.challenged(challenge(*lines), set())
    assert "algorithm=SHA-256" in subject.headers("INVITE", URI, b"")[0][1]


def test_same_realm_again_is_a_wrong_password_unless_stale() -> None:
    subject, answered = authenticator(), set[tuple[str, str]]()
    line = 'Digest realm="r", nonce="n", qop="auth"'
    assert subject.challenged(challenge(line), answered)
    assert not subject.challenged(challenge(line), answered)
    assert subject.challenged(challenge(f"{line}, stale=TRUE"), answered)
    # Another request may meet a new nonce without that being the password's fault.
    assert subject.challenged(challenge(line), set())


def test_credentials_for_one_realm_only() -> None:
    subject = Authenticator(Credentials("a", "b", realm="mine"), lambda: "c")
    assert not subject.challenged(challenge('Digest realm="other", nonce="n"'), set())
    assert subject.challenged(challenge('Digest realm="mine", nonce="n"'), set())


def test_number_of_realms_is_bounded() -> None:
    subject = authenticator()
    taken = [
        subject.challenged(challenge(f'Digest realm="r{number}", nonce="n"'), set())
        for number in range(6)
    ]
    assert taken == [True, True, True, True, False, False]


def test_other_statuses_are_no_challenges() -> None:
    assert not authenticator().challenged(Response.of(403, Headers()), set())


def test_quotes_are_escaped_and_the_password_never_shown() -> None:
    subject = authenticator('a"b\\c', "secret")
    subject.challenged(challenge('Digest realm="r", nonce="n"'), set())
    assert 'username="a\\"b\\\\c"' in subject.headers("INVITE", URI, b"")[0][1]
    assert "secret" not in repr(Credentials("a", "secret"))
