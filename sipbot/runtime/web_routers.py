"""The routes beside streams and monitoring, made from the configuration of a process."""

from __future__ import annotations

from fastapi import APIRouter

from sipbot.clock import Clock
from sipbot.http.access import TokenGuard
from sipbot.http.api import router as calls_router
from sipbot.http.exotel import router as exotel_router
from sipbot.http.exotel_desk import Branches, ExotelDesk, ExotelRules
from sipbot.http.outbound import router as outbound_router
from sipbot.ops.config import Config
from sipbot.ops.logs import get_logger
from sipbot.runtime.assembly import routes
from sipbot.runtime.outbound_parts import outbound_desk
from sipbot.runtime.records import Books


def web_routers(config: Config, books: Books, clock: Clock) -> tuple[APIRouter, ...]:
    """Exotel's callbacks, and ``/api``."""
    desk = ExotelDesk(
        exotel_rules(config),
        books.storage,
        books.writer.put,
        clock,
        books.counters,
        get_logger("exotel"),
    )
    guard = token_guard(config)
    outbound = outbound_router(outbound_desk(config, books, clock), guard)
    return (exotel_router(desk), calls_router(books.storage, guard), outbound)


def token_guard(config: Config) -> TokenGuard:
    """Who may use ``/api``."""
    token = config.http.token
    return TokenGuard(lambda: None if token is None else token.get_secret_value())


def exotel_rules(config: Config) -> ExotelRules:
    """What the callbacks need to know."""
    exotel, http = config.exotel, config.http
    trunks = [name for name, trunk in config.trunks.items() if trunk.profile == "exotel"]
    trunk = trunks[0] if len(trunks) == 1 else ""
    return ExotelRules(
        routes=routes(config),
        agents=frozenset(config.agents),
        flows={name: Branches(flow.transfer, flow.end) for name, flow in exotel.flows.items()},
        secret=None if exotel.secret is None else exotel.secret.get_secret_value(),
        public_url=http.public_url,
        sample_rate=exotel.sample_rate,
        poll_window_s=exotel.poll_window_s,
        intent_ttl_s=exotel.intent_ttl_s,
        trunk=trunk,
        login=_login(config, trunk),
    )


def _login(config: Config, trunk: str) -> tuple[str, str] | None:
    if not trunk:
        return None
    stream = config.trunks[trunk].stream
    if stream.user is None or stream.password is None:
        return None
    return stream.user, stream.password.get_secret_value()
