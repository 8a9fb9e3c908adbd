"""The pool of port pairs, its quarantine, and the findings about the machine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipbot.errors import LocalProtocolError, MediaError, PortsExhausted
from sipbot.media.ports import (
    QUARANTINE_EXTENSIONS,
    PortPair,
    PortPool,
    check_file_descriptors,
    check_port_range,
    read_ephemeral_range,
)

LOCAL = "127.0.0.1"
FIRST = 21_500


@contextlib.contextmanager
def pool_of(first: int, last: int, start: int = 0) -> Iterator[tuple[PortPool, list[PortPair]]]:
    pool = PortPool(
        first, last, entropy=lambda count: start.to_bytes(count, "big"), quarantine_s=5.0
    )
    held: list[PortPair] = []
    try:
        yield pool, held
    finally:
        for pair in held:
            pair.close()
        pool.close()


def test_pairs_are_even_and_odd_and_start_anywhere() -> None:
    with pool_of(FIRST + 1, FIRST + 9, start=2) as (pool, held):
        assert pool.capacity == 4
        held += [pool.acquire(LOCAL, 0.0) for _ in range(4)]
        assert [pair.port - FIRST for pair in held] == [6, 8, 2, 4]
        assert all(pair.rtcp.getsockname()[1] == pair.port + 1 for pair in held)
        assert not held[0].rtp.getblocking()
        assert (pool.in_use, pool.quarantined) == (4, 0)
        with pytest.raises(PortsExhausted):
            pool.acquire(LOCAL, 0.0)


@pytest.mark.parametrize("offset", [0, 1])
def test_ports_of_others_are_passed_over(offset: int) -> None:
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.bind((LOCAL, FIRST + 10 + offset))
    with contextlib.closing(stranger), pool_of(FIRST + 10, FIRST + 13) as (pool, held):
        held.append(pool.acquire(LOCAL, 0.0))
        assert held[0].port == FIRST + 12
        assert pool.in_use == 1


def test_freed_pair_rests_bound_and_comes_back_empty() -> None:
    with pool_of(FIRST + 20, FIRST + 21) as (pool, held):
        pair = pool.acquire(LOCAL, 100.0)
        pool.release(pair, 100.0)
        assert (pool.in_use, pool.quarantined) == (0, 1)
        with pytest.raises(PortsExhausted):
            pool.acquire(LOCAL, 104.9)
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with contextlib.closing(other), pytest.raises(OSError, match="in use"):
            other.bind((LOCAL, pair.port))
        held.append(pool.acquire(LOCAL, 105.0))
        assert held[0].port == pair.port
        with pytest.raises(BlockingIOError):
            held[0].rtp.recv(100)


def test_stray_packets_prolong_the_quarantine_but_not_for_ever() -> None:
    with (
        pool_of(FIRST + 30, FIRST + 31) as (pool, _),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stray,
    ):
        pair = pool.acquire(LOCAL, 0.0)
        pool.release(pair, 0.0)
        now = 0.0
        for _ in range(QUARANTINE_EXTENSIONS):
            stray.sendto(b"late", (LOCAL, pair.port))
            now += 5.0
            pool.sweep(now)
            assert pool.quarantined == 1
        stray.sendto(b"late", (LOCAL, pair.port))
        pool.sweep(now + 5.0)
        assert pool.quarantined == 0


def test_quarantine_ends_when_the_port_fell_silent() -> None:
    with (
        pool_of(FIRST + 40, FIRST + 41) as (pool, _),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stray,
    ):
        pair = pool.acquire(LOCAL, 0.0)
        stray.sendto(b"before the release", (LOCAL, pair.port))
        pool.release(pair, 0.0)
        pool.sweep(4.9)
        assert pool.quarantined == 1
        pool.sweep(5.0)
        assert pool.quarantined == 0


def test_address_that_is_not_ours_and_range_without_pair() -> None:
    with pool_of(FIRST + 50, FIRST + 51) as (pool, _), pytest.raises(MediaError):
        pool.acquire("192.0.2.1", 0.0)
    with pytest.raises(LocalProtocolError):
        PortPool(FIRST, FIRST, entropy=bytes)


def test_same_port_on_two_addresses() -> None:
    with pool_of(FIRST + 60, FIRST + 61) as (pool, held):
        held += [pool.acquire(LOCAL, 0.0), pool.acquire("127.0.0.2", 0.0)]
        assert held[0].port == held[1].port


def test_findings_about_ports() -> None:
    assert check_port_range(10_000, 20_000, (32_768, 60_999), max_calls=5_000) == ()
    assert check_port_range(10_000, 20_000, None, max_calls=500) == ()
    (overlap,) = check_port_range(30_000, 40_000, (32_768, 60_999), max_calls=100)
    assert "ip_local_port_range" in overlap
    (small,) = check_port_range(10_001, 10_100, None, max_calls=50)
    assert "49 pairs" in small or "50 pairs" in small


def test_findings_about_file_descriptors() -> None:
    assert check_file_descriptors(100, soft=1_024, hard=1_024) == ()
    assert check_file_descriptors(5_000, soft=-1, hard=-1) == ()
    (soft,) = check_file_descriptors(500, soft=1_024, hard=20_000)
    assert "soft" in soft
    (hard,) = check_file_descriptors(5_000, soft=1_024, hard=4_096)
    assert "hard" in hard


def test_ephemeral_range(tmp_path: Path) -> None:
    file = tmp_path / "range"
    assert read_ephemeral_range(file) is None
    file.write_text("32768\t60999\n")
    assert read_ephemeral_range(file) == (32_768, 60_999)
    file.write_text("all of them")
    assert read_ephemeral_range(file) is None
