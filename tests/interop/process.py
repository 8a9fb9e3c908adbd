"""A child process with captured lines and bounded waits: the base of every program under test."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, ClassVar, Self

_OUTPUT_S = 5.0  # for the last lines of a program that has ended
REPO = Path(__file__).resolve().parents[2]


class GoneError(AssertionError):
    """The program did not do in time what the test waits for, or it ended early."""


class Program:
    """One running program whose output is read line by line.

    Use as a context manager: leaving it always ends the process, with SIGTERM first.
    """

    stop_s: ClassVar[float] = 5.0  # between SIGTERM and SIGKILL

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path = REPO,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.argv = list(command)
        self._cwd, self._env = cwd, {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: list[str] = []
        self._grew = threading.Condition()
        self._readers: list[threading.Thread] = []

    def start(self) -> Self:
        self._process = subprocess.Popen(
            self.argv,
            cwd=self._cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
            reader.start()
            self._readers.append(reader)
        return self

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for raw in stream:
                with self._grew:
                    self._lines.append(raw.decode("utf-8", "replace").rstrip("\r\n"))
                    self._grew.notify_all()
        with self._grew:
            self._grew.notify_all()

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def lines(self) -> list[str]:
        """Everything it wrote to stdout and stderr until now, as a copy."""
        with self._grew:
            return list(self._lines)

    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_line(self, pattern: str, timeout_s: float, *, after: int = 0) -> str:
        """Return the first line (from number ``after`` on) that ``pattern`` is found in."""
        regex, deadline = re.compile(pattern), time.monotonic() + timeout_s
        seen = after
        with self._grew:
            while True:
                for line in self._lines[seen:]:
                    if regex.search(line):
                        return line
                seen = max(after, len(self._lines))
                left = deadline - time.monotonic()
                if left <= 0 or not (self.alive or any(r.is_alive() for r in self._readers)):
                    raise GoneError(self._complaint(f"no line /{pattern}/ within {timeout_s} s"))
                self._grew.wait(min(left, 0.2))

    def wait_exit(self, timeout_s: float) -> int:
        """Return the exit code of a program that ends by itself."""
        try:
            code = self._running().wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise GoneError(self._complaint(f"still running after {timeout_s} s")) from None
        for reader in self._readers:
            reader.join(_OUTPUT_S)
        return code

    def stop(self) -> int:
        """End it (SIGTERM, then SIGKILL) and return the exit code."""
        process = self._running()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(self.stop_s)
            except subprocess.TimeoutExpired:
                process.kill()
        return self.wait_exit(_OUTPUT_S)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise GoneError("not started")
        return self._process

    def _complaint(self, what: str) -> str:
        tail = "\n".join(self._lines[-40:])
        return f"{self.argv[0]}: {what}\n--- last output ---\n{tail}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
