"""The trunk's file and the account's keys: what is read, and what is told about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipbot.errors import ConfigError
from sipbot.exotel.rest import settings, trunkfile
from sipbot.exotel.rest.account import Region

ENVIRONMENT = {
    "EXOTEL_ACCOUNT_SID": "acme1",
    "EXOTEL_API_KEY": "key1",
    "EXOTEL_API_TOKEN": "token1",
    "SIP_PASSWORD": "s3cret_1",
}
WHOLE = """\
account: {api_token: "${EXOTEL_API_TOKEN}", region: singapore}
trunk:
  name: front_desk
  numbers:
    - {number: "+918012345678", mode: flow}
    - {number: +918012345679}
  allowed_ips: [1.2.3.4, 1.3.0.0/16]
  destinations:
    - {uri: "sip:SIP.example.com:5061;transport=tls", priority: 1, weight: 10}
    - {uri: 1.3.7.7:5060;transport=tcp}
  credentials:
    - {user_name: desk, password: "${SIP_PASSWORD}", friendly_name: desk_phone}
  alias: "+918012345678"
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "trunk.yaml"
    path.write_text(text)
    return path


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        trunkfile.load(write(tmp_path, text), ENVIRONMENT)
    return [str(one).removeprefix(f"{tmp_path}/") for one in caught.value.problems]


def test_a_whole_file(tmp_path: Path) -> None:
    loaded = trunkfile.load(write(tmp_path, WHOLE), ENVIRONMENT)
    trunk = loaded.trunk
    assert [(one.number, one.mode) for one in trunk.numbers or ()] == [
        ("+918012345678", "flow"),
        ("+918012345679", "pstn"),
    ]
    assert trunk.allowed_ips == ("1.2.3.4/32", "1.3.0.0/16")
    assert [one.uri for one in trunk.destinations or ()] == [
        "sip.example.com:5061;transport=tls",
        "1.3.7.7:5060;transport=tcp",
    ]
    assert "s3cret_1" not in repr(loaded)
    account = settings.account(loaded.account, ENVIRONMENT)
    assert (account.account_sid, account.api_token, account.region) == (
        "acme1",
        "token1",
        Region.SINGAPORE,
    )


def test_what_is_left_out_is_told_from_what_is_empty(tmp_path: Path) -> None:
    trunk = trunkfile.load(write(tmp_path, "trunk: {name: a, numbers: []}"), ENVIRONMENT).trunk
    assert (trunk.numbers, trunk.destinations, trunk.manages_alias) == ((), None, False)
    trunk = trunkfile.load(write(tmp_path, "trunk: {name: a, alias: null}"), ENVIRONMENT).trunk
    assert (trunk.alias, trunk.manages_alias) == (None, True)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("nme: x", "trunk.nme = ***: unknown key; did you mean 'name'?"),
        ("name: front-desk", "up to 16 letters, digits and _ only"),
        ("name: a23456789012345678", "up to 16 letters"),
        ("numbers: [{number: '08012345678'}]", "must be a full number with its country"),
        (
            "numbers: [{number: '+918012345678', mode: voice}]",
            "trunk.numbers[0].mode = voice: must be one of 'pstn' or 'flow'",
        ),
        ("numbers: {number: 1}", "must be a list"),
        ("allowed_ips: [1.2.3]", "must be an IPv4 address or network"),
        ("allowed_ips: ['2001:db8::1']", "must be an IPv4 address or network"),
        ("allowed_ips: [1.0.0.0/8]", "between 16 and 32 bits"),
        ("allowed_ips: [1.2.3.4, 1.2.3.4/32]", "trunk.allowed_ips[1] = 1.2.3.4/32: stands twice"),
        ("destinations: [{uri: sip.example.com}]", "must look like HOST:PORT;transport=tcp"),
        ("destinations: [{uri: 'a.b:5060;transport=udp'}]", "must look like HOST:PORT"),
        ("destinations: [{uri: 'a.b:99999;transport=tcp'}]", "must look like HOST:PORT"),
        ("destinations: [{uri: 'a..b:5060;transport=tcp'}]", "full domain name"),
        ("destinations: [{uri: 'host:5060;transport=tcp'}]", "full domain name"),
        ("destinations: [{uri: '10.0.0.1:5060;transport=tcp'}]", "private and documentation"),
        ("destinations: [{uri: '203.0.113.5:5060;transport=tcp'}]", "private and documentation"),
        ("destinations: [{uri: 'a.b:1;transport=tcp', weight: -1}]", "greater than or equal to 0"),
        (
            "destinations: [{uri: 'a.bc:1;transport=tcp'}, {uri: 'sip:A.bc:1;transport=tcp'}]",
            "trunk.destinations[1].uri = sip:A.bc:1;transport=tcp: stands twice",
        ),
        ("credentials: [{user_name: a}]", "trunk.credentials[0].password: this key is required"),
        ("credentials: [{user_name: a, password: a-b}]", "letters, digits and _ only"),
        (
            "credentials: [{user_name: a, password: b, friendly_name: elevenlabs-prod}]",
            "up to 32 letters, digits and _ only",
        ),
        ("credentials: [{user_name: a, password: '${NONE}'}]", "NONE is not set"),
        ("alias: front", "must be a full number"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, line: str, told: str) -> None:
    name = "" if line.startswith("name") else "  name: a\n"
    found = problems(tmp_path, f"trunk:\n{name}  {line}\n")
    where = f"trunk.yaml:{3 if name else 2}: "
    assert [one for one in found if told in one and one.startswith(where)], found


def test_a_password_is_not_quoted(tmp_path: Path) -> None:
    (found,) = problems(
        tmp_path, "trunk: {name: a, credentials: [{user_name: a, password: hunter-2}]}"
    )
    assert "hunter" not in found


def test_an_address_must_be_allowed_too(tmp_path: Path) -> None:
    text = (
        "trunk:\n  name: a\n  allowed_ips: [1.2.3.4]\n"
        "  destinations:\n    - {uri: 1.2.3.5:5060;transport=tcp}\n"
    )
    assert problems(tmp_path, text) == [
        (
            "trunk.yaml:5: trunk.destinations[0].uri = 1.2.3.5:5060;transport=tcp:"
            " the address must stand in allowed_ips too"
        )
    ]


def test_keys_from_the_environment() -> None:
    account = settings.account(None, {**ENVIRONMENT, "EXOTEL_REGION": "Singapore"})
    assert (account.region, account.base_url) == (Region.SINGAPORE, None)
    assert settings.account(None, ENVIRONMENT).region is Region.MUMBAI


def test_keys_from_a_file(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "account_sid: other1\napi_key: k\napi_token: ${file:token}\nbase_url: http://127.0.0.1:9\n",
    )
    (tmp_path / "token").write_text("t0ken\n")
    account = settings.account_from_file(path, ENVIRONMENT)
    assert (account.account_sid, account.api_token, account.api) == (
        "other1",
        "t0ken",
        "http://127.0.0.1:9",
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"EXOTEL_API_KEY": " "}, "environment: EXOTEL_API_KEY: is not set"),
        ({"EXOTEL_REGION": "us"}, "EXOTEL_REGION: must be one of mumbai, singapore"),
        ({"EXOTEL_API_TOKEN": "a b"}, "the API token must be printable text without blanks"),
        ({"EXOTEL_BASE_URL": "http://api.example.com"}, "must start with https://"),
    ],
)
def test_mistakes_in_the_environment(change: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        settings.account(None, {**ENVIRONMENT, **change})


def test_mistakes_in_the_account_file(tmp_path: Path) -> None:
    path = write(tmp_path, "region: us\nbase_url: http://api.example.com\napi_toke: x\n")
    with pytest.raises(ConfigError) as caught:
        settings.account_from_file(path, ENVIRONMENT)
    told = str(caught.value)
    assert "trunk.yaml:1: region = us: must be one of" in told
    assert "trunk.yaml:2: base_url = http://api.example.com: must start with https://" in told
    assert "trunk.yaml:3: api_toke = ***: unknown key" in told
