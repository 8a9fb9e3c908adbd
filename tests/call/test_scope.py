"""Scopes end their block at once and leave other cancellations alone."""

from __future__ import annotations

import asyncio

import pytest

from sipbot.call.scope import Scope
from sipbot.testing import virtual_time


@virtual_time
async def test_an_interrupted_block_ends_at_once() -> None:
    scope = Scope()
    asyncio.get_running_loop().call_later(1.0, scope.interrupt)
    async with scope:
        await asyncio.sleep(100)
    assert scope.interrupted
    assert asyncio.get_running_loop().time() == pytest.approx(1.0)
    await asyncio.sleep(1)  # the cancellation is spent


@virtual_time
async def test_a_block_that_is_done_is_not_interrupted() -> None:
    async with Scope() as scope:
        await asyncio.sleep(1)
    assert not scope.interrupted
    scope.interrupt()
    await asyncio.sleep(1)


@virtual_time
async def test_a_task_may_interrupt_itself() -> None:
    steps = []
    async with Scope() as scope:
        scope.interrupt()
        steps.append("still here")
        await asyncio.sleep(100)
        steps.append("never here")
    assert steps == ["still here"]
    async with Scope() as scope:
        scope.interrupt()
    await asyncio.sleep(1)  # it left before the interruption came


@virtual_time
async def test_a_scope_interrupted_before_it_began_ends_at_its_first_wait() -> None:
    scope = Scope()
    scope.interrupt()
    async with scope:
        await asyncio.sleep(100)
    assert asyncio.get_running_loop().time() < 1


@virtual_time
async def test_cancellation_from_outside_passes_through() -> None:
    async def work() -> None:
        async with Scope():
            await asyncio.sleep(100)

    task = asyncio.create_task(work())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@virtual_time
async def test_both_at_once_count_as_cancellation() -> None:
    scope = Scope()

    async def work() -> None:
        async with scope:
            await asyncio.sleep(100)

    task = asyncio.create_task(work())
    await asyncio.sleep(1)
    task.cancel()
    scope.interrupt()
    with pytest.raises(asyncio.CancelledError):
        await task


@virtual_time
async def test_inside_a_time_limit_only_the_right_one_ends() -> None:
    scope = Scope()
    asyncio.get_running_loop().call_later(1.0, scope.interrupt)
    async with asyncio.timeout(5):
        async with scope:
            await asyncio.sleep(100)
        await asyncio.sleep(1)
    with pytest.raises(TimeoutError):
        async with Scope() as other, asyncio.timeout(1):
            await asyncio.sleep(100)
    assert not other.interrupted


@virtual_time
async def test_exceptions_of_the_block_win() -> None:
    scope = Scope()
    asyncio.get_running_loop().call_later(1.0, scope.interrupt)

    async def work() -> None:
        async with scope:
            try:
                await asyncio.sleep(100)
            finally:
                raise KeyError

    with pytest.raises(KeyError):
        await work()
