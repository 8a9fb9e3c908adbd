"""Loads agents that users wrote: ``package.module:Class`` or ``package.module:function``."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from sipbot.agent.port import Agent
from sipbot.errors import SipbotError


class AgentLoadError(SipbotError):
    """An agent's entry cannot be loaded. The text says what to change."""


def load_agent(entry: str, settings: Mapping[str, Any] | None = None) -> Agent:
    """Import ``entry`` and call it with ``settings`` as keyword arguments.

    What comes back is the agent: an object with ``async def run(self, call)``. Raises
    ``AgentLoadError``.
    """
    module_name, colon, name = entry.partition(":")
    if not (module_name and colon and name):
        raise AgentLoadError(f"{entry!r} is not of the form package.module:Class")
    factory = _attribute(_module(module_name, entry), name, entry)
    if not callable(factory):
        raise AgentLoadError(f"{entry!r} is neither a class nor a function")
    try:
        inspect.signature(factory).bind(**(settings or {}))
    except TypeError as error:
        raise AgentLoadError(f"{entry!r} does not fit its settings: {error}") from error
    except ValueError:
        pass  # some built-in callables have no signature to check
    agent = _made(factory, settings or {}, entry)
    if not inspect.iscoroutinefunction(getattr(agent, "run", None)):
        raise AgentLoadError(f"{entry!r} has no method 'async def run(self, call)'")
    result: Agent = agent
    return result


def _module(name: str, entry: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        hint = "is it installed, or its folder in PYTHONPATH?"
        raise AgentLoadError(f"{entry!r}: there is no module {missing!r}: {hint}") from error
    except Exception as error:
        kind = type(error).__name__
        raise AgentLoadError(f"{entry!r}: importing {name!r} raised {kind}: {error}") from error


def _attribute(module: Any, name: str, entry: str) -> Any:
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise AgentLoadError(f"{entry!r}: {module.__name__!r} has no {name!r}")
        found = getattr(found, part)
    return found


def _made(factory: Any, settings: Mapping[str, Any], entry: str) -> Any:
    try:
        return factory(**settings)
    except Exception as error:
        kind = type(error).__name__
        raise AgentLoadError(f"{entry!r} raised {kind} when it was made") from error
