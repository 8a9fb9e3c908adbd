"""What may stand below ``trunks.*.outbound``, and how mistakes are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sipbot.errors import ConfigError
from sipbot.ops.config import Config
from sipbot.ops.load import load
from sipbot.runtime.dialer_parts import dial_plans
from sipbot.runtime.outbound_limits import outbound_limits

API = {"account_sid": "acme1", "api_key": "k", "api_token": "secret-token", "app_id": "4711"}


def read(folder: Path, outbound: Any, allow: str = "192.0.2.0/24") -> Config:
    path = folder / "sipbot.yaml"
    path.write_text(yaml.safe_dump({"trunks": {"t": {"allow": [allow], "outbound": outbound}}}))
    return load(path, {}).config


def test_the_whole_of_it(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        {
            "uri": ["sip:192.0.2.7:5070;transport=tcp", "sips:edge.example.com"],
            "user": "trunk1",
            "password": "secret-password",
            "from_domain": "acme1.pstn.exotel.com",
            "caller_id": "+918040001234",
            "number_format": "national0",
            "srtp": "required",
            "max_calls": 5,
            "calls_per_minute": 100,
            "api": API,
        },
    )
    plan = dial_plans(config)["t"]
    assert [str(uri) for uri in plan.uris] == [
        "sip:192.0.2.7:5070;transport=tcp",
        "sips:edge.example.com",
    ]
    assert plan.credentials is not None
    assert plan.credentials.password == "secret-password"
    assert (plan.from_domain, plan.number_format) == ("acme1.pstn.exotel.com", "national0")
    assert plan.terms is not None
    assert plan.terms.srtp == "required"
    limits = outbound_limits(config)["t"]
    assert (limits.max_calls, limits.per_minute) == (5, 100)
    assert "secret-" not in repr(config)


def test_one_uri_needs_no_list(tmp_path: Path) -> None:
    config = read(tmp_path, {"uri": "sip:192.0.2.7"})
    assert len(dial_plans(config)["t"].uris) == 1


def test_a_trunk_with_the_api_alone_makes_no_calls_by_sip(tmp_path: Path) -> None:
    config = read(tmp_path, {"caller_id": "08040001234", "api": API})
    assert dial_plans(config) == {}
    assert list(outbound_limits(config)) == ["t"]


@pytest.mark.parametrize(
    ("outbound", "key", "told"),
    [
        ({"uri": "edge.example.com:5070"}, "outbound.uri", "must look like sip:HOST:PORT"),
        ({"uri": "sip:h:99999"}, "outbound.uri", "must look like sip:HOST:PORT"),
        ({"uri": "sip:h;transport=ws"}, "outbound.uri", "must look like sip:HOST:PORT"),
        ({}, "outbound", "needs uri, api or both"),
        ({"uri": "sip:h", "user": "x"}, "outbound", "user and password"),
        ({"uri": "sip:h", "from_domain": "a b"}, "from_domain", "must be a host name"),
        ({"uri": "sip:h", "number_format": "e165"}, "number_format", "e164"),
        ({"uri": "sip:h", "colour": "red"}, "colour", "unknown"),
        ({"uri": "sip:198.51.100.7"}, "trunks.t", "198.51.100.7 must stand in allow too"),
        ({"api": API}, "outbound", "caller_id"),
        ({"caller_id": "1", "api": {**API, "stream_url": "wss://h/x"}}, "api", "either app_id"),
    ],
)
def test_mistakes_are_told_with_key_and_line(
    tmp_path: Path, outbound: dict[str, Any], key: str, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, outbound)
    (problem,) = caught.value.problems
    assert key in problem.key
    assert told in problem.message
    assert problem.line > 0
    assert "secret-" not in str(problem)
