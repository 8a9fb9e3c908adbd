"""A decoder in a process of its own: the library holds the interpreter's lock while it decodes.

The parent writes requests to the child's standard input and reads answers from its standard output;
a child whose input ends, because the parent closed it or died, ends too.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sipbot.agent.recognise.decoder import Decoded
from sipbot.errors import ProviderError

NAME: Final = "pocketsphinx"  # of the provider, in errors
CHILD: Final = "sipbot.agent.recognise.child"  # the module that is run
ANSWER_S: Final = 20.0  # seconds for one answer; the first one loads the model before
_MAX_LINE: Final = 65_536  # bytes of an answer


class DecoderProcess:
    """Starts its child at the first request, and anew after a failure. For one thread at a time."""

    def __init__(self, answer_s: float = ANSWER_S) -> None:
        self.answer_s = answer_s
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the child that runs, if one does."""
        return None if self._child is None else self._child.pid

    def decode(self, pcm: bytes, patterns: Sequence[str], pronounced: Mapping[str, str]) -> Decoded:
        """Decode one utterance; without audio, only make everything ready for these phrases.

        Blocks. Raises ProviderError: ``garbage`` for phrases that the library refuses, ``timeout``,
        ``cut-off`` when the child died.
        """
        head = {"patterns": list(patterns), "pronounced": dict(pronounced), "audio": len(pcm)}
        child = self._running()
        try:
            answer = self._ask(child, json.dumps(head).encode() + b"\n" + pcm)
        except TimeoutError as error:
            self.close()
            raise ProviderError(NAME, "timeout", retry=True) from error
        except (OSError, ValueError) as error:
            self.close()
            raise ProviderError(NAME, "cut-off", retry=True) from error
        if "error" in answer:
            raise ProviderError(NAME, "garbage")
        return Decoded(str(answer["words"]), float(answer["confidence"]))

    def close(self) -> None:
        """End the child, if one runs."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        child.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self.close()
            self._child = subprocess.Popen(
                [sys.executable, "-m", CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=_environment(),
            )
        return self._child

    def _ask(self, child: subprocess.Popen[bytes], request: bytes) -> dict[str, Any]:
        assert child.stdin is not None, "both pipes were asked for"
        assert child.stdout is not None
        deadline = time.monotonic() + self.answer_s
        view = memoryview(request)
        while view:
            _wait(deadline, write=child.stdin.fileno())
            # A pipe that is writable takes so much without blocking.
            view = view[os.write(child.stdin.fileno(), view[: select.PIPE_BUF]) :]
        line = b""
        while not line.endswith(b"\n"):
            _wait(deadline, read=child.stdout.fileno())
            more = os.read(child.stdout.fileno(), 65_536)
            if not more or len(line) > _MAX_LINE:
                raise ValueError("the child ended")
            line += more
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ValueError("no answer")
        return answer


def _wait(deadline: float, *, read: int | None = None, write: int | None = None) -> None:
    """Raises TimeoutError at the deadline."""
    poll = select.poll()
    if read is not None:
        poll.register(read, select.POLLIN)
    if write is not None:
        poll.register(write, select.POLLOUT)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError


def _environment() -> dict[str, str]:
    """This process's, with the import path that it has by now."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
