"""Limits of the operating system that the number of calls runs into."""

from __future__ import annotations

import resource

from sipbot.media.ports import check_file_descriptors, check_port_range, read_ephemeral_range
from sipbot.ops.config import Config
from sipbot.ops.logs import Logger


def look_at_limits(config: Config, log: Logger) -> None:
    """What a server does at its start: more file descriptors, and a look at the RTP ports."""
    calls, ports = config.limits.max_calls, config.media.ports
    raise_file_limit(calls, log)
    ephemeral = read_ephemeral_range()
    for finding in check_port_range(ports.first, ports.last, ephemeral, max_calls=calls):
        log.warning("rtp ports", finding=finding)


def raise_file_limit(max_calls: int, log: Logger) -> None:
    """Raise the soft limit of file descriptors to the hard one; warn when that is too little."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):  # macOS refuses more than kern.maxfilesperproc
            log.warning("file descriptor limit not raised", soft=soft, hard=hard)
    for finding in check_file_descriptors(max_calls, soft=soft, hard=hard):
        log.warning("too few file descriptors", finding=finding)
