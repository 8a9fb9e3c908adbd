"""The models: the contract's example, the defaults, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sipbot.errors import ConfigError
from sipbot.ops.config import Config, EchoAgentConfig, FlowAgentConfig, PythonAgentConfig
from sipbot.ops.schema import config_schema
from sipbot.ops.values import HttpListen, Listen, PortRange
from sipbot.yamlmarks import loads, validate

CONTRACT = """
sip:
  listen: [udp://127.0.0.1:5070, tcp://127.0.0.1:5070, tls://127.0.0.1:5061]
  tls: {certificate: tls/bot.crt, private_key: tls/bot.key}
  public_address: auto
media: {ports: 10000-20000, codecs: [PCMA, PCMU], srtp: optional}
http: {listen: "http://127.0.0.1:8080"}
workers: auto
limits: {max_calls: 500}
trunks:
  exotel: {profile: exotel, allow: [203.0.113.0/24]}
agents:
  echo: {type: echo}
  loop: {type: loopback}
  reception: {type: flow, file: flows/reception.yaml}
  mine: {type: python, entry: "mypackage.bot:Receptionist", settings: {greeting: hello}}
routes:
  - {to: echo, agent: echo}
  - {from: 9198*, trunk: exotel, header: {X-Exotel-CallSid: "*"}, path: /x, agent: mine}
  - {agent: reception}
"""


def read(text: str) -> Config:
    return validate(Config, loads(text, "bot.yaml"), context={"base": Path("/etc/sipbot")})


def test_the_contract_example() -> None:
    config = read(CONTRACT)
    assert config.sip.listen[2] == Listen("tls", "127.0.0.1", 5061)
    assert config.sip.tls.certificate == Path("/etc/sipbot/tls/bot.crt")
    assert config.media.ports == PortRange(10000, 20000)
    assert config.http.listen == HttpListen("127.0.0.1", 8080)
    assert config.workers == "auto"
    assert [type(agent).__name__ for agent in config.agents.values()] == [
        "EchoAgentConfig",
        "LoopbackAgentConfig",
        "FlowAgentConfig",
        "PythonAgentConfig",
    ]
    flow, mine = config.agents["reception"], config.agents["mine"]
    assert isinstance(flow, FlowAgentConfig)
    assert flow.file == Path("/etc/sipbot/flows/reception.yaml")
    assert isinstance(mine, PythonAgentConfig)
    assert mine.settings == {"greeting": "hello"}
    assert config.routes[1].from_ == "9198*"
    assert config.routes[1].header == {"X-Exotel-CallSid": "*"}


def test_an_empty_file_has_every_default() -> None:
    config = read("")
    assert config == read("sip:\nmedia:\nlimits:\ncall:\nlogging:\n")
    assert [str(one) for one in config.sip.listen] == [
        "udp://127.0.0.1:5070",
        "tcp://127.0.0.1:5070",
        "tls://127.0.0.1:5061",
    ]
    assert config.media.ports == PortRange(10000, 20000)
    assert config.agents == {"echo": EchoAgentConfig(type="echo")}
    assert config.limits.max_calls == 500
    assert config.trunks == {}


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("sip: {listn: []}", "sip.listn", "did you mean 'listen'?"),
        ("sip: {listen: []}", "sip.listen", "at least one"),
        ("sip: {listen: [udp://bot:1]}", "sip.listen[0]", "IP address"),
        ("sip: {listen: ['udp://[::]:1', 'udp://[::]:1']}", "sip", "twice"),
        ("sip: {tls: {certificate: a}}", "sip.tls", "together"),
        ("sip: {session_expires_s: 90, min_session_expires_s: 91}", "sip", "exceed"),
        ("media: {codecs: [G729]}", "media.codecs[0]", "'PCMA' or 'PCMU'"),
        ("media: {codecs: [PCMA, PCMA]}", "media", "once"),
        ("media: {srtp: on}", "media.srtp", "'off', 'optional' or 'required'"),
        ("media: {timeout_s: 0}", "media.timeout_s", "greater than 0"),
        ("workers: many", "workers", "auto or a whole number from 0 to 64"),
        ("workers: -1", "workers", "auto or a whole number from 0 to 64"),
        ("limits: {max_calls: 0}", "limits.max_calls", "greater than or equal to 1"),
        ("trunks: {a: {allow: []}}", "trunks.a.allow", "at least one"),
        ("trunks: {a: }", "trunks.a", "mapping"),
        ("trunks: {a: {allow: [10.1.1.1/8]}}", "trunks.a.allow[0]", "10.0.0.0/8"),
        ("trunks: {a: {}}", "trunks.a", "allow must hold"),
        ("trunks: {a: {stream: {user: x}}}", "trunks.a.stream", "together"),
        ("trunks: {a: {stream: {require: both}, allow: [10.0.0.1]}}", "trunks.a.stream", "needs"),
        (
            "trunks: {a: {stream: {message_bytes: 500}, allow: [10.0.0.1]}}",
            "trunks.a.stream.message_bytes",
            "multiple of 320",
        ),
        ("http: {listen: 'https://127.0.0.1:1'}", "http", "needs tls"),
        (
            "http: {listen: 'http://127.0.0.1:1', tls: {certificate: a, private_key: b}}",
            "http",
            "https://",
        ),
        ("http: {trusted_proxies: [10.1.1.1/8]}", "http.trusted_proxies[0]", "10.0.0.0/8"),
        ("http: {public_url: bot.example.com}", "http.public_url", "https://"),
        ("agents: {}", "agents", "at least one"),
        ("agents: {a: {type: ecko}}", "agents.a.type", "'echo', 'loopback', 'flow', 'python'"),
        ("agents: {a: {}}", "agents.a.type", "required"),
        ("agents: {a: {type: flow}}", "agents.a.file", "required"),
        ("agents: {a: {type: python, entry: a.b}}", "agents.a.entry", "package.module:Class"),
        ("routes: [{to: x}]", "routes[0].agent", "required"),
        ("logging: {level: loud}", "logging.level", "'debug'"),
    ],
)
def test_mistakes_are_named(text: str, key: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    (problem,) = caught.value.problems
    assert problem.key == key
    assert says in problem.message
    assert problem.line == 1


def test_a_bad_agent_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="letters, digits"):
        Config.model_validate({"agents": {"a b": {"type": "echo"}}})


def test_values_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read("").limits.max_calls = 1


def test_the_schema_is_json_and_describes_every_key() -> None:
    schema: Any = json.loads(json.dumps(config_schema()))
    models = [schema, *schema["$defs"].values()]
    silent = [
        f"{model['title']}.{key}"
        for model in models
        for key, entry in model["properties"].items()
        if "description" not in entry and "$ref" not in entry
    ]
    assert silent == []
    assert schema["additionalProperties"] is False
