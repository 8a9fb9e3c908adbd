"""Reading files: cross references, missing files, oddities, the embedded default."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipbot.errors import ConfigError, ConfigProblem
from sipbot.ops.config import Config, FlowAgentConfig
from sipbot.ops.config_http import HttpConfig
from sipbot.ops.load import EMBEDDED_DEFAULT, Loaded, load

ROOT = Path(__file__).resolve().parents[2]


def written(directory: Path, text: str) -> Path:
    path = directory / "bot.yaml"
    path.write_text(text)
    return path


def problems(directory: Path, text: str) -> tuple[ConfigProblem, ...]:
    with pytest.raises(ConfigError) as caught:
        load(written(directory, text), {})
    return caught.value.problems


def warnings(directory: Path, text: str) -> list[tuple[int, str]]:
    loaded = load(written(directory, text), {})
    return [(one.line, one.key) for one in loaded.warnings]


def test_no_routes_and_one_agent(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, "agents: {mine: {type: echo}}"), {})
    assert [(route.agent, route.to) for route in loaded.config.routes] == [("mine", None)]
    assert loaded.warnings == ()


def test_no_routes_and_several_agents(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "agents:\n  a: {type: echo}\n  b: {type: echo}\n")
    assert (problem.line, problem.key) == (1, "agents")
    assert "no routes" in problem.message


def test_routes_to_nowhere(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "trunks:\n  exotel: {allow: [203.0.113.1]}\n"
        "agents:\n  echo: {type: echo}\n"
        "routes:\n  - agent: ekho\n    trunk: exotell\n",
    )
    assert [(one.line, one.key, one.value) for one in found] == [
        (6, "routes[0].agent", "ekho"),
        (7, "routes[0].trunk", "exotell"),
    ]
    assert "did you mean 'echo'? (known: echo)" in found[0].message
    assert "did you mean 'exotel'? (known: exotel)" in found[1].message


def test_a_network_belongs_to_one_trunk(tmp_path: Path) -> None:
    (problem,) = problems(
        tmp_path,
        "trunks:\n  a: {allow: [10.0.0.0/8]}\n  b:\n    allow:\n      - 10.1.0.0/16\n"
        "      - 10.0.0.0/8\n",
    )
    assert (problem.line, problem.key) == (6, "trunks.b.allow[1]")
    assert "'a'" in problem.message


def test_missing_files_are_named(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "sip: {tls: {certificate: a.crt, private_key: a.key}}\n"
        "agents: {f: {type: flow, file: f.yaml}}\n",
    )
    assert [one.key for one in found] == [
        "sip.tls.certificate",
        "sip.tls.private_key",
        "agents.f.file",
    ]
    assert str(tmp_path / "f.yaml") in found[2].message


def test_a_missing_configuration_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: .*cannot be read"):
        load(tmp_path / "none.yaml", {})


def test_variables_reach_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, 'limits: {max_calls: "${CALLS}"}')
    assert load(path, {"CALLS": "7"}).config.limits.max_calls == 7
    with pytest.raises(ConfigError) as caught:
        load(path, {"CALLS": "hush"})
    assert "hush" not in str(caught.value)
    assert caught.value.problems[0].value == "${CALLS}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http: {listen: 'http://127.0.0.1:1'}", []),
        ("workers: 3", []),
        ("workers: 0", []),
        ("media: {ports: 10000-10009}", [(1, "media.ports")]),
        ("routes:\n  - {agent: echo}\n  - {to: x, agent: echo}\n", [(3, "routes[1]")]),
        (
            "agents:\n  echo: {type: echo}\n  idle: {type: echo}\nroutes: [{agent: echo}]",
            [(3, "agents.idle")],
        ),
    ],
)
def test_oddities_are_warnings(tmp_path: Path, text: str, expected: list[tuple[int, str]]) -> None:
    assert warnings(tmp_path, text) == expected


def test_the_embedded_default_is_the_commented_file() -> None:
    assert EMBEDDED_DEFAULT.read_bytes() == (ROOT / "config" / "sipbot.yaml").read_bytes()


@pytest.mark.parametrize("path", [None, ROOT / "config" / "sipbot.yaml"])
def test_the_default_is_valid_and_says_what_the_models_say(path: Path | None) -> None:
    loaded: Loaded = load(path, {})
    assert loaded.warnings == ()
    assert set(loaded.config.agents) == {"echo", "reception"}
    reception = loaded.config.agents["reception"]
    assert isinstance(reception, FlowAgentConfig)
    assert reception.file.is_file()
    assert str(loaded.config.http.listen) == "http://127.0.0.1:8080"
    # The file spells the defaults out for the reader: it must not say anything else.
    own = {"agents": {}, "routes": (), "http": HttpConfig()}
    assert loaded.config.model_copy(update=own) == Config().model_copy(update=own)
