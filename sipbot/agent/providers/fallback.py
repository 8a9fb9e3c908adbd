"""Chains of language models, voices and speech-to-speech models: the next one when one fails.

Only before the first piece of an answer: what was begun by one is never ended by another. Chains
of recognisers, which can go on in the middle of a call, are in ``fallback_listening``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from sipbot.agent.ports import (
    Delta,
    LanguageModel,
    Message,
    RealtimeModel,
    RealtimeSession,
    RealtimeSetup,
    Service,
    Tool,
)
from sipbot.agent.providers.circuit import Chain, Circuit
from sipbot.agent.providers.counts import Counts
from sipbot.agent.providers.patience import in_time
from sipbot.call.speech import SpeechChunk, Synthesizer
from sipbot.clock import Clock, SystemClock
from sipbot.errors import ProviderError, SpeechError, SpeechServiceError

P = TypeVar("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChainLimits:
    """For members that keep no time themselves, in seconds: to the first piece, between pieces."""

    first_s: float = 8.0
    between_s: float = 8.0


LIMITS: Final = ChainLimits()


async def warm_all(members: Iterable[object]) -> None:
    """Warm those that can be."""
    await asyncio.gather(*(one.warm() for one in members if isinstance(one, Service)))


async def close_all(members: Iterable[object]) -> None:
    """Close those that can be."""
    for one in members:
        if isinstance(one, Service):
            await one.close()


async def first_that_answers(
    chain: Chain[P],
    ask: Callable[[Circuit[P]], AsyncGenerator[T, None]],
    limits: ChainLimits = LIMITS,
) -> AsyncGenerator[T, None]:
    """The answer of the first provider whose first piece comes. Raises the last one's error."""
    loop = asyncio.get_running_loop()
    last: ProviderError | None = None
    for circuit in chain.candidates():
        begun = False
        answer = ask(circuit)
        timed = in_time(circuit.name, answer, loop.time() + limits.first_s, limits.between_s)
        try:
            async for piece in timed:
                if not begun:
                    begun = True
                    circuit.succeeded()
                yield piece
        except ProviderError as error:
            chain.failed(circuit, error)
            if begun:
                raise
            last = error
            continue
        finally:
            await timed.aclose()
            await answer.aclose()
        circuit.succeeded()
        return
    assert last is not None
    raise last


class FallbackLanguageModel:
    """Implements ``LanguageModel`` and ``Service``."""

    def __init__(
        self,
        members: Sequence[tuple[str, LanguageModel]],
        counts: Counts,
        clock: Clock | None = None,
        limits: ChainLimits = LIMITS,
    ) -> None:
        self._chain = Chain("llm", members, counts, clock or SystemClock())
        self._limits = limits

    async def warm(self) -> None:
        await warm_all(one.provider for one in self._chain.circuits)

    async def close(self) -> None:
        await close_all(one.provider for one in self._chain.circuits)

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[Tool] = ()
    ) -> AsyncGenerator[Delta, None]:
        answer = first_that_answers(
            self._chain, lambda one: one.provider.reply(messages, tools), self._limits
        )
        try:
            async for delta in answer:
                yield delta
        finally:
            await answer.aclose()


class FallbackSynthesizer:
    """Implements ``Synthesizer`` and ``Service``.

    A voice that is asked for is one of the first member; the others speak with their own.
    """

    def __init__(
        self,
        members: Sequence[tuple[str, Synthesizer]],
        counts: Counts,
        clock: Clock | None = None,
        limits: ChainLimits = LIMITS,
    ) -> None:
        self._chain = Chain("tts", members, counts, clock or SystemClock())
        self._limits = limits

    @property
    def members(self) -> tuple[Synthesizer, ...]:
        """In the order of preference."""
        return tuple(one.provider for one in self._chain.circuits)

    async def warm(self) -> None:
        await warm_all(one.provider for one in self._chain.circuits)

    async def close(self) -> None:
        await close_all(one.provider for one in self._chain.circuits)

    async def synthesize(
        self, text: str, voice: str | None = None
    ) -> AsyncGenerator[SpeechChunk, None]:
        first = self._chain.circuits[0]
        answer = first_that_answers(
            self._chain,
            lambda one: _speech(one, text, voice if one is first else None),
            self._limits,
        )
        try:
            async for chunk in answer:
                yield chunk
        except ProviderError as error:
            raise SpeechServiceError(error.provider, error.reason, retry=error.retry) from None
        finally:
            await answer.aclose()


async def _speech(
    circuit: Circuit[Synthesizer], text: str, voice: str | None
) -> AsyncGenerator[SpeechChunk, None]:
    """Speech of one provider, all its errors as ProviderError."""
    chunks = circuit.provider.synthesize(text, voice)
    try:
        async for chunk in chunks:
            yield chunk
    except SpeechError as error:
        if isinstance(error, ProviderError):
            raise
        raise ProviderError(circuit.name, "failed", retry=True) from None
    finally:
        await chunks.aclose()


class FallbackRealtimeModel:
    """Implements ``RealtimeModel``. A session that was opened stays with its provider."""

    def __init__(
        self,
        members: Sequence[tuple[str, RealtimeModel]],
        counts: Counts,
        clock: Clock | None = None,
    ) -> None:
        self._chain = Chain("realtime", members, counts, clock or SystemClock())

    @asynccontextmanager
    async def open(self, setup: RealtimeSetup) -> AsyncGenerator[RealtimeSession, None]:
        """Connect to the first that can be reached. Raises the last one's ProviderError."""
        async with AsyncExitStack() as stack:
            yield await self._connect(setup, stack)

    async def _connect(self, setup: RealtimeSetup, stack: AsyncExitStack) -> RealtimeSession:
        last: ProviderError | None = None
        for circuit in self._chain.candidates():
            try:
                session = await stack.enter_async_context(circuit.provider.open(setup))
            except ProviderError as error:
                self._chain.failed(circuit, error)
                last = error
            else:
                circuit.succeeded()
                return session
        assert last is not None
        raise last
