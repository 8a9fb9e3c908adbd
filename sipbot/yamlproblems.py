"""Says what pydantic found wrong in words for the person who wrote the file."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from typing_extensions import TypeAliasType

__all__ = ["Explained", "explain"]


@dataclass(frozen=True, slots=True)
class Explained:
    """One mistake. ``missing`` names a key that should stand below ``loc`` but does not."""

    loc: tuple[str | int, ...]
    missing: str
    message: str


def explain(model: type[BaseModel], found: Mapping[str, Any]) -> Explained:
    """Translate one item of ``ValidationError.errors()``; ``model`` is the one validated."""
    loc: tuple[str | int, ...] = found["loc"]
    context: Mapping[str, Any] = found.get("ctx", {})
    message = str(found["msg"])
    match found["type"]:
        case "missing":
            return Explained(loc[:-1], str(loc[-1]), "this key is required")
        case "extra_forbidden":
            allowed = sorted(_keys_at(model, loc[:-1]))
            return Explained(loc, "", _unknown_key(str(loc[-1]), allowed))
        case "literal_error" | "enum":
            return Explained(loc, "", f"must be one of {context['expected']}")
        case "union_tag_invalid":
            key = str(context["discriminator"]).strip("'")
            return Explained((*loc, key), "", f"must be one of {context['expected_tags']}")
        case "union_tag_not_found":
            key = str(context["discriminator"]).strip("'")
            return Explained(loc, key, "this key is required")
        case "value_error" | "assertion_error":
            return Explained(loc, "", message.split(", ", 1)[-1])
        case "model_type" | "model_attributes_type" | "dict_type":
            return Explained(loc, "", "must be a mapping of keys to values")
        case "list_type" | "tuple_type":
            return Explained(loc, "", "must be a list")
    return Explained(loc, "", message.removeprefix("Input "))


def _unknown_key(key: str, allowed: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, allowed, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown key{hint} (allowed: {', '.join(allowed) or 'none'})"


def _keys_at(model: type[BaseModel], loc: Sequence[str | int]) -> set[str]:
    """Keys that the model reached by ``loc`` allows."""
    candidates: list[Any] = [model]
    for part in loc:
        below = [kind for candidate in candidates for kind in _below(candidate, part)]
        tagged = [one for one in candidates if _has_tag(one, part)]
        chosen = tagged if len(candidates) > 1 else []  # of a union, whose others may have the key
        candidates = chosen or below or tagged or candidates
    return {
        info.alias or name
        for candidate in candidates
        if _is_model(candidate)
        for name, info in candidate.model_fields.items()
    }


def _below(kind: Any, part: str | int) -> list[Any]:
    """What stands under ``part`` of a value of type ``kind``, unions taken apart."""
    if _is_model(kind):
        for name, info in kind.model_fields.items():
            if part in (name, info.alias):
                return list(_flatten(info.annotation))
        return []
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is not None and isinstance(origin, type) and arguments:
        if issubclass(origin, Mapping) and len(arguments) == 2:
            return list(_flatten(arguments[1]))
        if issubclass(origin, Sequence) and isinstance(part, int):
            return list(_flatten(arguments[0]))
    return []


def _flatten(kind: Any) -> Iterator[Any]:
    if isinstance(kind, TypeAliasType):
        yield from _flatten(kind.__value__)
    elif get_origin(kind) is Annotated:
        yield from _flatten(get_args(kind)[0])
    elif get_origin(kind) in (Union, types.UnionType):
        for argument in get_args(kind):
            yield from _flatten(argument)
    else:
        yield kind


def _has_tag(kind: Any, tag: str | int) -> bool:
    """Whether ``tag`` selects ``kind`` in a union: by a literal field, or by its class name."""
    if not _is_model(kind):
        return False
    literals = (
        get_args(info.annotation)
        for info in kind.model_fields.values()
        if get_origin(info.annotation) is Literal
    )
    return kind.__name__ == tag or any(tag in values for values in literals)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
