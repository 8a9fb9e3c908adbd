"""Reads a configuration file: YAML, variables, the models, and what models cannot see alone.

::

    loaded = load(Path("sipbot.yaml"), os.environ)     # ConfigError with every problem
    loaded.config.limits.max_calls
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sipbot.errors import ConfigError, ConfigProblem
from sipbot.ops.config import Config, FlowAgentConfig, RouteConfig
from sipbot.ops.config_agents import VoiceAgentConfig
from sipbot.ops.config_providers import (
    GoogleSttConfig,
    GoogleTtsConfig,
    PiperTtsConfig,
    WhisperSttConfig,
)
from sipbot.ops.expand import expand
from sipbot.ops.section import Section
from sipbot.ops.values import BASE_DIRECTORY, IpNetwork
from sipbot.yamlmarks import Document, Loc, validate
from sipbot.yamlmarks import load as load_document

EMBEDDED_DEFAULT: Final = Path(__file__).resolve().parent.parent / "defaults" / "sipbot.yaml"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration, where it came from, and what is odd but no mistake.

    ``base`` is the directory of the file: paths in it start there, and agents' modules may lie
    there.
    """

    config: Config
    path: Path
    base: Path
    warnings: tuple[ConfigProblem, ...] = ()


def load(path: Path | None, environment: Mapping[str, str]) -> Loaded:
    """Read the configuration at ``path``, or the default that comes with the package.

    Relative paths in the file start from its directory and come out absolute. Raises
    ``ConfigError`` with every problem found: file, line, key, value, what is allowed.
    """
    path = EMBEDDED_DEFAULT if path is None else path
    base = path.resolve().parent
    document = expand(load_document(path), environment, base)
    config = validate(Config, document, context={BASE_DIRECTORY: base})
    problems = tuple(_problems(config, document))
    if problems:
        raise ConfigError(problems)
    return Loaded(_with_routes(config), path, base, tuple(_warnings(config, document)))


def _with_routes(config: Config) -> Config:
    if config.routes:
        return config
    (only,) = config.agents
    return config.model_copy(update={"routes": (RouteConfig(agent=only),)})


def _problems(config: Config, document: Document) -> Iterator[ConfigProblem]:
    for index, route in enumerate(config.routes):
        if route.agent not in config.agents:
            message = _unknown("agent", route.agent, config.agents)
            yield document.problem(("routes", index, "agent"), message)
        if route.trunk is not None and route.trunk not in config.trunks:
            message = _unknown("trunk", route.trunk, config.trunks)
            yield document.problem(("routes", index, "trunk"), message)
    if not config.routes and len(config.agents) > 1:
        yield document.problem(
            ("agents",), "there are several agents but no routes that say which gets which call"
        )
    yield from _shared_networks(config, document)
    yield from _missing_files(config, document)


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no {kind} has this name{hint} (known: {', '.join(names) or 'none'})"


def _shared_networks(config: Config, document: Document) -> Iterator[ConfigProblem]:
    seen: dict[IpNetwork, str] = {}
    for name, trunk in config.trunks.items():
        for index, network in enumerate(trunk.allow):
            if network in seen:
                yield document.problem(
                    ("trunks", name, "allow", index),
                    f"already stands at the trunk {seen[network]!r}",
                )
            seen.setdefault(network, name)


def _missing_files(config: Config, document: Document) -> Iterator[ConfigProblem]:
    tls, http = config.sip.tls, config.http.tls
    named = [
        (("sip", "tls", "certificate"), tls.certificate),
        (("sip", "tls", "private_key"), tls.private_key),
        (("sip", "tls", "ca"), tls.ca),
        (("http", "tls", "certificate"), None if http is None else http.certificate),
        (("http", "tls", "private_key"), None if http is None else http.private_key),
        *(
            (("agents", name, "file"), agent.file)
            for name, agent in config.agents.items()
            if isinstance(agent, FlowAgentConfig)
        ),
    ]
    for loc, path in named:
        if path is not None and not path.is_file():
            yield document.problem(loc, f"there is no file {path}")
    for name, agent in config.agents.items():
        if isinstance(agent, VoiceAgentConfig):
            yield from _missing_models(agent, ("agents", name), document)


def _missing_models(
    agent: VoiceAgentConfig, at: Loc, document: Document
) -> Iterator[ConfigProblem]:
    """Models and credentials of providers, which stand in lists or alone."""
    chains: tuple[tuple[str, Sequence[Section]], ...] = (
        ("stt", agent.stt),
        ("tts", agent.tts or ()),
    )
    for key, chain in chains:
        for index, provider in enumerate(chain):
            loc = (*at, key, index) if len(chain) > 1 else (*at, key)
            match provider:
                case WhisperSttConfig() if not provider.model.is_dir():
                    text = f"there is no directory {provider.model}"
                    yield document.problem((*loc, "model"), text)
                case PiperTtsConfig() if not provider.model.is_file():
                    yield document.problem((*loc, "model"), f"there is no file {provider.model}")
                case (
                    GoogleSttConfig(credentials=Path() as path)
                    | GoogleTtsConfig(credentials=Path() as path)
                ) if not path.is_file():
                    yield document.problem((*loc, "credentials"), f"there is no file {path}")


def _warnings(config: Config, document: Document) -> Iterator[ConfigProblem]:
    if config.workers not in ("auto", 0) and sys.platform != "linux":
        yield document.problem(
            ("workers",), "workers need Linux; everything runs in one process here"
        )
    if config.media.ports.pairs < config.limits.max_calls:
        yield document.problem(
            ("media", "ports"),
            f"has port pairs for {config.media.ports.pairs} calls only,"
            f" fewer than limits.max_calls ({config.limits.max_calls})",
        )
    yield from _route_warnings(config, document)


def _route_warnings(config: Config, document: Document) -> Iterator[ConfigProblem]:
    catches_all = False
    for index, route in enumerate(config.routes):
        if catches_all:
            yield document.problem(
                ("routes", index), "is never reached: a route above takes every call"
            )
        catches_all = catches_all or route.model_fields_set == {"agent"}
    used = {route.agent for route in config.routes}
    for name in config.agents if config.routes else ():
        if name not in used:
            yield document.problem(("agents", name), "no route leads to this agent")
