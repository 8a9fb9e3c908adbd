"""Variables in configuration values, so that secrets need not stand in the file.

``${NAME}`` is an environment variable, ``${NAME:-default}`` the same with a default,
``${file:PATH}`` the content of a file without the line ends at its end, relative to the
configuration file. ``$${`` stands for ``${`` itself. Keys are not expanded, and neither is what a
variable holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sipbot.errors import ConfigError, ConfigProblem
from sipbot.yamlmarks import Document, Loc

MAX_SECRET_FILE_BYTES: Final = 65_536  # bytes

_VARIABLE: Final = re.compile(r"\$(?P<escaped>\$\{)|\$\{(?P<inner>[^{}]*)(?P<end>\}?)")
_NAME: Final = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


def expand(document: Document, environment: Mapping[str, str], base: Path) -> Document:
    """Replace the variables in all values of ``document``.

    ``base`` is the directory that relative file names start from. Raises ``ConfigError`` with
    every variable that is not set, file that cannot be read and form that is none of the above.
    """
    expander = _Expander(document, environment, base)
    data = expander.walk(document.data, ())
    if expander.problems:
        raise ConfigError(tuple(expander.problems))
    return document.with_data(data)


class _ExpansionError(Exception):
    """Why one variable cannot be replaced."""


class _Expander:
    def __init__(self, document: Document, environment: Mapping[str, str], base: Path) -> None:
        self._document = document
        self._environment = environment
        self._base = base
        self.problems: list[ConfigProblem] = []

    def walk(self, value: Any, loc: Loc) -> Any:
        if isinstance(value, dict):
            return {key: self.walk(item, (*loc, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.walk(item, (*loc, index)) for index, item in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            try:
                return _VARIABLE.sub(self._replace, value)
            except _ExpansionError as error:
                self.problems.append(self._document.problem(loc, str(error)))
        return value

    def _replace(self, match: re.Match[str]) -> str:
        if match["escaped"]:
            return "${"
        inner = match["inner"]
        if match["end"] and inner.startswith("file:"):
            return self._read(inner.removeprefix("file:"))
        parts = _NAME.fullmatch(inner) if match["end"] else None
        if parts is None:
            raise _ExpansionError(
                "write ${NAME}, ${NAME:-default} or ${file:PATH}; $${ stands for ${"
            )
        found = self._environment.get(parts["name"], "")
        if not found and parts["default"] is not None:
            return parts["default"]
        if parts["name"] not in self._environment:
            raise _ExpansionError(
                f"the environment variable {parts['name']} is not set"
                f" (a default is written ${{{parts['name']}:-text}})"
            )
        return found

    def _read(self, name: str) -> str:
        path = self._base / Path(name).expanduser()
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_SECRET_FILE_BYTES + 1)
            text = raw.decode("utf-8")
        except OSError as error:
            raise _ExpansionError(f"the file {path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise _ExpansionError(f"the file {path} is not UTF-8 text") from None
        if len(raw) > MAX_SECRET_FILE_BYTES:
            raise _ExpansionError(f"the file {path} is bigger than {MAX_SECRET_FILE_BYTES} bytes")
        return text.rstrip("\r\n")
