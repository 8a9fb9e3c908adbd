"""YAML files whose mistakes can be pointed at: file, line, key path, value, what is allowed.

::

    document = load(Path("sipbot.yaml"))         # ConfigError: unreadable, syntax, duplicate keys
    settings = validate(Settings, document)      # ConfigError: every problem that pydantic finds

Scalars follow the core schema of YAML 1.2, not the older rules of PyYAML, because telephony files
are full of traps for those: ``off`` stays text, ``+918012345678`` and ``080123`` stay text instead
of becoming numbers, ``12:30`` is no base-60 number, and mapping keys are always text, so that
``1:`` and ``"1":`` name the same key. Only ``true``, ``false``, ``null``, ``~``, plain decimal and
``0x`` numbers are more than text. Tags, merge keys and several documents in a file are refused.
Nothing is expanded here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import yaml
from pydantic import BaseModel, Discriminator, ValidationError

from sipbot.errors import ConfigError, ConfigProblem
from sipbot.yamlproblems import Explained, explain

MAX_FILE_BYTES: Final = 1_048_576  # bytes; a bigger file is refused unread
MAX_NODES: Final = 50_000  # values in one file, aliases followed
MAX_DEPTH: Final = 50  # nested mappings and sequences
SHOWN_VALUE_CHARS: Final = 60  # longer values are cut in problems

Loc: TypeAlias = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)

_SECRET_KEY: Final = re.compile(
    r"pass|secret|token|credential|api_?key|auth|private", re.IGNORECASE
)
_PASSWORD: Final = re.compile(r"(?<=://)([^\s/@:]*):[^\s@]*@")  # in a URL
_STANDARD: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML file: its values and the line of each.

    ``data`` is what models are validated against; ``written`` the same before anybody replaced
    values in it (see ``with_data``), from which problems quote. ``lines`` maps a path of keys and
    list positions to the line (from 1) where that key or item stands.
    """

    name: str
    data: Any
    written: Any
    lines: Mapping[Loc, int] = field(repr=False)

    def line_of(self, loc: Loc) -> int:
        """Line of ``loc``, or of its nearest ancestor that stands in the file; 0 if empty.

        Parts that are not in the file (the tag that pydantic adds for a union) are skipped.
        """
        return self.lines.get(self.in_file(loc), 0)

    def in_file(self, loc: Loc) -> Loc:
        """``loc`` without the parts that do not stand in the file."""
        here: Loc = ()
        for part in loc:
            if (*here, part) in self.lines:
                here = (*here, part)
        return here

    def with_data(self, data: Any) -> Document:
        """The same file with other values, for example after variables were expanded."""
        return replace(self, data=data)

    def problem(self, loc: Loc, message: str) -> ConfigProblem:
        """A mistake at ``loc``, quoting the value as it is written there."""
        return ConfigProblem(self.name, self.line_of(loc), key_path(loc), self._shown(loc), message)

    def _shown(self, loc: Loc) -> str:
        value = self.written
        for part in loc:
            inside = isinstance(value, list) and isinstance(part, int) and part < len(value)
            if not inside and not (isinstance(value, dict) and part in value):
                return ""
            value = value[part]
        if value is None or isinstance(value, (dict, list)):
            return ""
        if any(_SECRET_KEY.search(str(part)) for part in loc):
            return "***"
        text = str(value).lower() if isinstance(value, bool) else str(value)
        text = _PASSWORD.sub(r"\1:***@", text)
        return text if len(text) <= SHOWN_VALUE_CHARS else text[: SHOWN_VALUE_CHARS - 3] + "..."


def load(path: Path) -> Document:
    """Read a YAML file.

    Raises ``ConfigError`` when it cannot be read, is no YAML, is too big or has duplicate keys.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _failure(str(path), 0, f"cannot be read: {error.strerror or 'I/O error'}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise _failure(str(path), 0, f"is bigger than {MAX_FILE_BYTES} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _failure(str(path), line, "is not UTF-8 text") from error
    return loads(text, str(path))


def loads(text: str, name: str) -> Document:
    """Read YAML from ``text``; ``name`` stands for the file in problems. Raises ``ConfigError``."""
    try:
        root = yaml.compose(text, Loader=_CoreLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise _failure(name, line, f"YAML syntax: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise _failure(name, 0, "holds characters that YAML does not allow") from error
    except RecursionError as error:
        raise _failure(name, 0, f"is nested deeper than {MAX_DEPTH} levels") from error
    builder = _Builder(name)
    data = builder.build(root, (), 0) if root is not None else None
    if builder.problems:
        raise ConfigError(tuple(builder.problems))
    return Document(name, data, data, builder.lines)


def validate(model: type[M], document: Document, *, context: Any | None = None) -> M:
    """Check ``document.data`` against ``model``; raises ``ConfigError`` with every problem.

    An empty file counts as an empty mapping. ``context`` is passed to the model's validators.
    """
    data = {} if document.data is None else document.data
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        explained = [explain(model, dict(found)) for found in error.errors(include_url=False)]
        raise ConfigError(tuple(_problem(document, one) for one in explained)) from None


def key_path(loc: Loc) -> str:
    """``("routes", 0, "to")`` is written ``routes[0].to``; the whole file ``(file)``."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "(file)"


def _problem(document: Document, one: Explained) -> ConfigProblem:
    loc = document.in_file(one.loc)
    return document.problem((*loc, one.missing) if one.missing else loc, one.message)


def _failure(name: str, line: int, message: str) -> ConfigError:
    return ConfigError((ConfigProblem(name, line, "(file)", "", message),))


class _CoreLoader(yaml.SafeLoader):
    """PyYAML's parser with the scalar rules of the YAML 1.2 core schema, narrowed."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"-?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-0123456789"),
    ("float", r"-?(0|[1-9][0-9]*)(\.[0-9]+([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)", "-0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    _CoreLoader.add_implicit_resolver(
        _STANDARD + _tag, re.compile(rf"\A(?:{_pattern})\Z"), list(_first)
    )


class _Builder:
    """Turns the node tree into values, and notes the line of each."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[Loc, int] = {}
        self.problems: list[ConfigProblem] = []
        self._left = MAX_NODES

    def build(self, node: yaml.Node, loc: Loc, depth: int) -> Any:
        self.lines.setdefault(loc, node.start_mark.line + 1)
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            limit = f"{MAX_DEPTH} levels" if self._left >= 0 else f"{MAX_NODES} values"
            raise _failure(self.name, node.start_mark.line + 1, f"exceeds the limit of {limit}")
        if isinstance(node, yaml.MappingNode) and node.tag == _STANDARD + "map":
            return self._mapping(node, loc, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == _STANDARD + "seq":
            items = enumerate(node.value)
            return [self.build(item, (*loc, index), depth + 1) for index, item in items]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, loc)
        self._report(node, loc, "", f"the tag {node.tag} is not supported")
        return None

    def _mapping(self, node: yaml.MappingNode, loc: Loc, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(key_node, loc, "", "a key must be plain text")
                continue
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in values:
                first = self.lines[(*loc, key)]
                self._report(
                    key_node, (*loc, key), "", f"the key stands twice, first in line {first}"
                )
                continue
            self.lines[(*loc, key)] = line
            values[key] = self.build(value_node, (*loc, key), depth + 1)
        return values

    def _scalar(self, node: yaml.ScalarNode, loc: Loc) -> Any:
        kind = node.tag.removeprefix(_STANDARD)
        text = str(node.value)
        try:
            match kind:
                case "str":
                    return text
                case "int":
                    return int(text, 16) if text.startswith("0x") else int(text)
                case "float":
                    return float(text)
                case "bool":
                    return text.lower() == "true"
                case "null":
                    return None
        except ValueError:
            self._report(node, loc, "", f"is no {kind}")
            return None
        self._report(node, loc, "", f"the tag {node.tag} is not supported")
        return None

    def _report(self, node: yaml.Node, loc: Loc, value: str, message: str) -> None:
        line = node.start_mark.line + 1
        self.problems.append(ConfigProblem(self.name, line, key_path(loc), value, message))


def actions_of(kinds: Sequence[type[BaseModel]]) -> dict[str, str]:
    """The key that names each kind of a union, its first field -> name of its class."""
    return {next(iter(kind.model_fields)).rstrip("_"): kind.__name__ for kind in kinds}


def by_action(actions: Mapping[str, str], noun: str) -> Discriminator:
    """Tells members of a union apart by the one key of ``actions`` that a mapping holds.

    Tags are names of classes. ``noun`` (``step``) is what complaints call a member.
    """

    def kind(value: Any) -> str | None:
        if isinstance(value, BaseModel):
            return type(value).__name__
        held = [actions[key] for key in value if key in actions] if isinstance(value, dict) else []
        return held[0] if len(held) == 1 else None

    article = "an" if noun[0] in "aeiou" else "a"
    return Discriminator(
        kind,
        custom_error_type=f"{noun}_kind",
        custom_error_message=f"{article} {noun} needs exactly one of {', '.join(actions)}",
    )
