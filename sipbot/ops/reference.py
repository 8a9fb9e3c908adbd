"""Writes the configuration reference in Markdown from the models and their docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Final

from sipbot.ops.schema import config_schema

ONCE: Final = frozenset({"PatienceConfig"})  # the same under many keys; described at the first

_INTRODUCTION: Final = """\
# Configuration reference

Made by `scripts/gen-config-docs` from `sipbot/ops/config.py`; do not edit by hand.

A configuration is one YAML file: `sipbot run -c FILE`. Every key may be left out unless it is
marked *required*; unknown keys are mistakes. A mistake is answered with file, line, key, value and
what is allowed, before anything starts. `sipbot config schema` prints the JSON Schema, for editors
that complete and check YAML; `sipbot config default` prints the commented default file.

- Values may hold `${NAME}` and `${NAME:-default}` (environment) and `${file:PATH}` (content of a
  file, without the line end at its end). `$${` stands for `${` itself.
- Paths are relative to the configuration file. `~` is the home directory.
- Only `true`, `false`, `null`, `~` and plain numbers are more than text: `off` and `+918012345678`
  need no quotes.
"""


def reference() -> str:
    """The whole of ``docs/configuration.md``."""
    schema = config_schema()
    models: dict[str, Any] = schema["$defs"]
    parts = [_INTRODUCTION, *_section("The file", "", schema, models, set())]
    return "\n".join(parts).rstrip("\n") + "\n"


def _section(
    title: str, path: str, schema: Any, models: dict[str, Any], shown: set[str]
) -> Iterator[str]:
    """A section and those below it. ``shown`` are titles of what needs no second description."""
    heading = f"## `{title}`" if path else f"## {title}"
    yield f"{heading}\n\n{inspect.cleandoc(schema.get('description', ''))}\n"
    yield "| key | type | default | meaning |\n|---|---|---|---|"
    required = set(schema.get("required", ()))
    below: list[tuple[str, str, Any]] = []
    for key, entry in schema["properties"].items():
        default = "*required*" if key in required else _default(entry, models)
        meaning = " ".join(str(_describe(entry, models)).split())
        yield f"| `{key}` | {_type(entry, models)} | {default} | {_cell(meaning)} |"
        below.extend(_below(f"{path}.{key}" if path else key, entry, models))
    yield ""
    for name, child_path, child in below:
        if child["title"] in shown:
            continue
        if child["title"] in ONCE:
            shown.add(child["title"])
        yield from _section(name, child_path, child, models, shown)


def _below(path: str, entry: Any, models: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Sections that ``entry`` holds: itself, the items of a list, the values of a mapping."""
    section = next((one for one in (entry, *entry.get("anyOf", ())) if "$ref" in one), None)
    if section is not None:
        yield path, path, _model(section, models)
    for items in (one.get("items", {}) for one in (entry, *entry.get("anyOf", ()))):
        if "$ref" in items:
            yield f"{path}[]", f"{path}[]", _model(items, models)
        key = items.get("discriminator", {}).get("propertyName", "")
        for choice in items.get("oneOf", ()):
            model = _model(choice, models)
            kind = model["properties"][key]["const"]
            yield f"{path}[] ({key}: {kind})", f"{path}[]", model
    for value in _values(entry):
        if "$ref" in value:
            yield f"{path}.NAME", f"{path}.NAME", _model(value, models)
        for choice in value.get("oneOf", ()):
            model = _model(choice, models)
            kind = model["properties"]["type"]["const"]
            yield f"{path}.NAME (type: {kind})", f"{path}.NAME", model


def _values(entry: Any) -> list[Any]:
    """Schemas of the values of a mapping."""
    if isinstance(entry.get("additionalProperties"), dict):
        return [entry["additionalProperties"]]
    return list(entry.get("patternProperties", {}).values())


def _model(entry: Any, models: dict[str, Any]) -> Any:
    return models[entry["$ref"].rsplit("/", 1)[-1]]


def _describe(entry: Any, models: dict[str, Any]) -> str:
    text: str = entry.get("description") or (
        _model(entry, models).get("description", "") if "$ref" in entry else ""
    )
    return text


def _default(entry: Any, models: dict[str, Any]) -> str:
    if "$ref" in entry or "default" not in entry:
        return ""
    value = entry["default"]
    if value is None or value in ({}, []):
        return ""
    if isinstance(value, list):
        return f"`[{', '.join(str(item) for item in value)}]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _type(entry: Any, models: dict[str, Any]) -> str:
    if "$ref" in entry:
        return "section"
    if "anyOf" in entry:
        kinds = (_type(one, models) for one in entry["anyOf"] if one.get("type") != "null")
        return " or ".join(kinds)
    if "enum" in entry:
        return " or ".join(f"`{value}`" for value in entry["enum"])
    if "const" in entry:
        return f"`{entry['const']}`"
    if entry.get("type") == "array":
        item = entry.get("items", {})
        sections = "$ref" in item or "oneOf" in item
        return "list of sections" if sections else f"list of {_type(item, models)}"
    if entry.get("type") == "object":
        return "sections by name" if _values(entry) and _nested(entry) else "mapping"
    if entry.get("format") == "path":
        return "file"
    kind = str(entry.get("type", "anything"))
    names = {"integer": "whole number", "string": "text", "boolean": "`true` or `false`"}
    return names.get(kind, kind) + _bounds(entry)


def _nested(entry: Any) -> bool:
    return any("$ref" in value or "oneOf" in value for value in _values(entry))


def _bounds(entry: Any) -> str:
    low = entry.get("minimum", entry.get("exclusiveMinimum"))
    high = entry.get("maximum", entry.get("exclusiveMaximum"))
    if low is None and high is None:
        return ""
    above = "above " if "exclusiveMinimum" in entry else ""
    return f", {above}{low:g} to {high:g}" if high is not None else f", from {low:g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
