"""``sipbot run``: take calls."""

from __future__ import annotations

from typing import NoReturn

import typer

from sipbot.cli.output import ConfigOption, ExitCode, fail, indented, load_config_or_exit
from sipbot.errors import ConfigError, SipbotError


def run(config: ConfigOption = None) -> None:
    """Take calls until SIGTERM or Ctrl-C.

    Prints one line `ready` with the listeners when it takes calls. Logs go to standard error.
    """
    loaded = load_config_or_exit(config)

    from sipbot.ops import logs
    from sipbot.runtime.server import serve

    settings = loaded.config.logging
    logs.configure(settings.level, settings.format)
    log = logs.get_logger("config")
    log.info("configuration read", file=str(loaded.path))
    for warning in loaded.warnings:
        log.warning("configuration", problem=str(warning))
    try:
        code = serve(loaded.config, loaded.base, loaded.path)
    except (SipbotError, ExceptionGroup) as error:
        logs.shutdown()
        _cannot_serve(error)
    logs.shutdown()
    raise typer.Exit(code)


def _cannot_serve(error: Exception) -> NoReturn:
    """Say in one message why the server did not start, or let a real fault through.

    What happens inside a task group comes out wrapped in an ``ExceptionGroup``.
    """
    cause = error
    while isinstance(cause, ExceptionGroup) and len(cause.exceptions) == 1:
        cause = cause.exceptions[0]
    if isinstance(cause, ConfigError):
        fail(f"an agent's file is wrong\n{indented(cause)}", ExitCode.USAGE)
    if isinstance(cause, SipbotError):
        fail(str(cause), ExitCode.FAILED)
    raise error
