"""Python functions as tools: ``async def book(call, day: str, hour: int) -> str``."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from sipbot.agent.ports import Tool
from sipbot.agent.python_agent import AgentLoadError
from sipbot.agent.tools.toolbox import RunnableTool, ToolFailed, ToolTurn


def function_tool(
    function: Callable[..., Any], name: str = "", description: str = ""
) -> RunnableTool:
    """A coroutine function whose annotated parameters are the tool's; ``call`` gets the call.

    The description is that of its docstring unless another is given. A result that is no text
    becomes JSON. Raises ``AgentLoadError`` when it does not fit.
    """
    shown = name or getattr(function, "__name__", "tool")
    if not inspect.iscoroutinefunction(function):
        raise AgentLoadError(f"tool {shown!r} is no 'async def' function")
    try:
        signature = inspect.signature(function, eval_str=True)
        arguments, wants_call = _model(shown, signature)
    except (NameError, TypeError, ValueError) as error:
        raise AgentLoadError(f"tool {shown!r} has parameters that cannot be described") from error

    async def run(turn: ToolTurn, given: Mapping[str, Any]) -> str:
        try:
            checked = arguments.model_validate(given)
        except ValidationError as error:
            raise ToolFailed(_told(error)) from error
        values = {key: getattr(checked, key) for key in arguments.model_fields}
        result = await function(**({"call": turn.call} if wants_call else {}), **values)
        return result if isinstance(result, str) else json.dumps(result, default=str)

    text = description or inspect.getdoc(function) or ""
    return RunnableTool(Tool(shown, text, _schema(arguments)), run)


def load_function_tool(entry: str, name: str = "", description: str = "") -> RunnableTool:
    """The same for ``package.module:function``. Raises ``AgentLoadError``."""
    module_name, _, attribute = entry.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:
        kind = type(error).__name__
        raise AgentLoadError(f"tool {entry!r} cannot be imported: {kind}: {error}") from error
    return function_tool(function, name, description)


def _model(name: str, signature: inspect.Signature) -> tuple[type[BaseModel], bool]:
    fields: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ValueError("no *args and **kwargs")
        if parameter.name == "call":
            continue
        kind = Any if parameter.annotation is parameter.empty else parameter.annotation
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (kind, default)
    model = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
    return model, "call" in signature.parameters


def _schema(model: type[BaseModel]) -> Mapping[str, Any]:
    schema = model.model_json_schema()
    schema.pop("title", None)
    schema.setdefault("properties", {})
    return schema


def _told(error: ValidationError) -> str:
    places = [".".join(map(str, one["loc"])) for one in error.errors(include_input=False)]
    return f"wrong arguments: {', '.join(places)}"
