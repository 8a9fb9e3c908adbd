"""``sipbot check``: everything that can be told before the first call, over all parts."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sipbot.agent.flow.load import load_flow
from sipbot.clock import Clock
from sipbot.errors import ConfigError, SipbotError
from sipbot.media.ports import check_file_descriptors, check_port_range, read_ephemeral_range
from sipbot.ops.checks import Finding, Grade, check_signalling
from sipbot.ops.config import Config, FlowAgentConfig
from sipbot.runtime.agents import make_agents
from sipbot.runtime.dialer_parts import dial_plans
from sipbot.runtime.preflight_exotel import check_exotel, check_store


def preflight(config: Config, base: Path, clock: Clock) -> tuple[Finding, ...]:
    """Run every check. Opens and closes the listeners' sockets; takes no call.

    ``base`` is the directory of the configuration file. Agents are loaded as the server does.
    """
    now = datetime.fromtimestamp(clock.wall(), UTC)
    return (
        *check_signalling(config, now),
        *_media(config),
        *_outbound(config),
        *check_store(config),
        *check_exotel(config),
        *_agents(config, base),
    )


def _media(config: Config) -> Iterator[Finding]:
    ports, calls = config.media.ports, config.limits.max_calls
    yield from _graded(
        "rtp ports",
        check_port_range(ports.first, ports.last, read_ephemeral_range(), max_calls=calls),
        f"{ports} hold {ports.pairs} pairs for {calls} calls",
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield from _graded(
        "file descriptors",
        check_file_descriptors(calls, soft=soft, hard=hard),
        f"the limit of {soft} is enough for {calls} calls",
    )


def _outbound(config: Config) -> Iterator[Finding]:
    """Peers answer on the connection that we open, but end calls on new ones to our listener."""
    heard = {one.transport for one in config.sip.listen}
    for name, plan in dial_plans(config).items():
        wanted = {uri.transport or "udp" for uri in plan.uris}
        for transport in sorted(wanted - heard):
            yield Finding(
                f"trunk {name}",
                Grade.WARNING,
                f"calls go out by {transport}, and sip.listen has no {transport} listener for what"
                " comes back",
            )
        if wanted <= heard:
            yield Finding(f"trunk {name}", Grade.OK, "makes calls by SIP")


def _agents(config: Config, base: Path) -> Iterator[Finding]:
    for name, agent in config.agents.items():
        try:
            make_agents({name: agent}, base)
            doubts = load_flow(agent.file).warnings if isinstance(agent, FlowAgentConfig) else ()
        except ConfigError as error:
            for problem in error.problems:
                yield Finding(f"agent {name}", Grade.PROBLEM, str(problem))
        except SipbotError as error:
            yield Finding(f"agent {name}", Grade.PROBLEM, str(error))
        else:
            yield Finding(f"agent {name}", Grade.OK, f"{agent.type}: loaded")
            for doubt in doubts:
                yield Finding(f"agent {name}", Grade.WARNING, str(doubt))


def _graded(check: str, findings: tuple[str, ...], well: str) -> Iterator[Finding]:
    for message in findings:
        yield Finding(check, Grade.WARNING, message)
    if not findings:
        yield Finding(check, Grade.OK, well)
