"""Logs: one JSON object a line, or coloured text on a terminal; a call's lines have ``call_id``.

::

    log = get_logger("sip")                  # names the part that speaks
    log.info("call answered", codec="PCMA")
    call_log = log.bind(call_id=call.id)     # or call_context(call.id) around a whole task

Levels: ``debug`` for a developer, ``info`` for the life of calls and of the process, ``warning``
for what was refused, dropped or odd, ``error`` for a fault of sipbot or of an agent. Events are
constant texts; what varies stands in keywords. Nothing dialled, spoken or secret is ever passed.

Lines go to a thread with a bounded queue, so that a slow reader of the log never holds up audio:
when the queue is full lines are lost, counted and reported.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import sys
import threading
from collections import deque
from collections.abc import Iterator, MutableMapping
from typing import Any, Final, Literal, Protocol, TextIO, TypeAlias

import structlog
from structlog.typing import Processor

from sipbot.ops.redact import scrub

MAX_WAITING_LINES: Final = 10_000  # lines between the program and the log's reader
CLOSE_TIMEOUT_S: Final = 2.0  # seconds to wait for a slow reader at the end
LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

Format: TypeAlias = Literal["auto", "json", "text"]


class Logger(Protocol):
    """What the rest of sipbot needs of a logger."""

    def debug(self, event: str, **values: Any) -> Any: ...

    def info(self, event: str, **values: Any) -> Any: ...

    def warning(self, event: str, **values: Any) -> Any: ...

    def error(self, event: str, **values: Any) -> Any: ...

    def exception(self, event: str, **values: Any) -> Any: ...

    def bind(self, **values: Any) -> Logger: ...


class LineWriter:
    """Writes lines to a stream from a thread of its own.

    ``write`` never waits. A stream that fails (a closed pipe, a full disk) loses its lines; they
    count as lost too.
    """

    def __init__(self, stream: TextIO, max_waiting: int = MAX_WAITING_LINES) -> None:
        self._stream = stream
        self._max_waiting = max_waiting
        self._lines: deque[str] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._unreported = 0
        self.lost = 0  # lines
        self._thread = threading.Thread(target=self._run, name="sipbot-log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue one line, without its end."""
        with self._wake:
            if self._closed or len(self._lines) >= self._max_waiting:
                self.lost += 1
                self._unreported += 1
                return
            self._lines.append(line)
            self._wake.notify()

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Write what waits and end the thread; gives up after ``timeout_s`` seconds."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._lines or self._closed)
                if not self._lines:
                    return
                lines = list(self._lines)
                self._lines.clear()
                unreported, self._unreported = self._unreported, 0
            self._put(lines, unreported)

    def _put(self, lines: list[str], unreported: int) -> None:
        if unreported:
            lines.append(_lost_line(unreported))
        try:
            self._stream.write("".join(line + "\n" for line in lines))
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream was closed
            self.lost += len(lines)


def _lost_line(count: int) -> str:
    return json.dumps({"level": "warning", "event": "log lines lost", "lines": count})


class _Emitter:
    """structlog's last stage: hands each rendered line to the writer of the moment."""

    def msg(self, line: str) -> None:
        if _writer is not None:
            _writer.write(line)

    debug = info = warning = error = critical = exception = msg


class _LibraryHandler(logging.Handler):
    """Sends records of the standard library's logging, as used by libraries, the same way."""

    def emit(self, record: logging.LogRecord) -> None:
        levels = [name for name, number in LEVELS.items() if number <= record.levelno]
        values: dict[str, Any] = {"part": record.name}
        if record.exc_info:
            values["exc_info"] = record.exc_info
        send = getattr(structlog.get_logger(), levels[-1] if levels else "debug")
        send(record.getMessage(), **values)


_writer: LineWriter | None = None


def configure(
    level: str = "info", format_: Format = "auto", stream: TextIO | None = None
) -> LineWriter:
    """Set up logging for the process; a second call replaces the first.

    Returns the writer, whose ``close`` writes out what still waits (done at exit anyway).
    """
    global _writer
    stream = sys.stderr if stream is None else stream
    if _writer is None:
        atexit.register(shutdown)
    else:
        _writer.close()
    _writer = LineWriter(stream)
    text = format_ == "text" or (format_ == "auto" and stream.isatty())
    structlog.configure(
        processors=_processors(text=text, colours=text and stream.isatty()),
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _Emitter(),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _LibraryHandler)]:
        root.removeHandler(handler)
    root.addHandler(_LibraryHandler())
    root.setLevel(max(LEVELS[level], logging.WARNING))  # libraries talk too much below it
    return _writer


def shutdown() -> None:
    """Write what waits and stop the log thread."""
    global _writer
    if _writer is not None:
        _writer.close()
        _writer = None


def _processors(*, text: bool, colours: bool) -> list[Processor]:
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
        scrub,
    ]
    if text:
        plain = structlog.dev.plain_traceback  # shows no local variables: they hold secrets
        console = structlog.dev.ConsoleRenderer(
            colors=colours, exception_formatter=plain, timestamp_key="time"
        )
        return [*shared, _printable, console]
    render = structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
    return [*shared, structlog.processors.format_exc_info, _ordered, render]


def _ordered(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Time, level, part, call and event first, so that people can read the lines too."""
    first = {
        name: event[name] for name in ("time", "level", "part", "call_id", "event") if name in event
    }
    return first | {name: value for name, value in event.items() if name not in first}


def _printable(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Escape what a terminal would obey: values may come from the network."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[name] = value.encode("unicode_escape").decode("ascii")
    return event


def get_logger(part: str) -> Logger:
    """The logger of one part of sipbot, such as ``sip`` or ``media``."""
    logger: Logger = structlog.get_logger(part=part)
    return logger


@contextlib.contextmanager
def call_context(call_id: str) -> Iterator[None]:
    """Every line logged inside, also by tasks started inside, carries ``call_id``."""
    with structlog.contextvars.bound_contextvars(call_id=call_id):
        yield
