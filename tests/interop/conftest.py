"""Fixtures that start the real server for one test module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import KEYS_FILE, BotConfig, BotProcess


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the ``keys`` agent writes what callers press."""
    path = tmp_path_factory.mktemp("keys") / "keys.txt"
    path.touch()
    return path


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory, keys_file: Path) -> Iterator[BotProcess]:
    """A running server; at the end of the module it must stop clean, with no error in its log."""
    directory = tmp_path_factory.mktemp("bot")
    with BotProcess(BotConfig.free(), directory, env={KEYS_FILE: str(keys_file)}) as process:
        yield process
