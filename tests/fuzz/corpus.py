"""Hostile variants of good messages, the same for the same random source."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

Mutation: TypeAlias = Callable[[bytes, random.Random], bytes]

MAX_MUTATIONS = 4  # applied to one message
MAX_GROWTH = 131_072  # bytes: what grew over this is cut

HUGE_NUMBERS = (
    b"0",
    b"-1",
    b"255",
    b"256",
    b"65536",
    b"2147483648",
    b"4294967296",
    b"18446744073709551616",
    b"9" * 400,
    b"1e9",
)
SEPARATORS = (
    b"\r\n",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b"\r\n ",
    b"\x00",
    b'"',
    b"\\",
    b"<",
    b">",
    b",",
    b";",
    b":",
    b"@",
    b"%",
    b"\xff\xfe",
    b"\xc3",
    b" ",
    b"\t",
)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """``data`` with one to four random injuries."""
    for _ in range(rng.randint(1, MAX_MUTATIONS)):
        data = rng.choice(MUTATIONS)(data, rng)[:MAX_GROWTH]
    return data


def variants(seeds: Sequence[bytes], rng: random.Random, count: int) -> list[bytes]:
    """``count`` mutated messages; some are spliced from two of ``seeds``."""
    made: list[bytes] = []
    for _ in range(count):
        data = rng.choice(seeds)
        if rng.random() < 0.2:
            data = splice(data, rng.choice(seeds), rng)
        made.append(mutate(data, rng))
    return made


def splice(one: bytes, other: bytes, rng: random.Random) -> bytes:
    """The beginning of one message and the end of another."""
    return one[: rng.randint(0, len(one))] + other[rng.randint(0, len(other)) :]


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    """One to eight bits inverted."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8) if changed else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    """Only a beginning."""
    return data[: rng.randint(0, len(data))]


def remove(data: bytes, rng: random.Random) -> bytes:
    """Without some bytes in the middle."""
    start, length = rng.randint(0, len(data)), rng.randint(1, 40)
    return data[:start] + data[start + length :]


def repeat(data: bytes, rng: random.Random) -> bytes:
    """With a part of it many times."""
    start, length = rng.randint(0, len(data)), rng.randint(1, 80)
    part = data[start : start + length]
    return data[:start] + part * rng.choice((2, 3, 50, 1000)) + data[start:]


def insert(data: bytes, rng: random.Random) -> bytes:
    """With separators, NULs or bytes that are no UTF-8 somewhere."""
    position = rng.randint(0, len(data))
    extra = rng.choice(SEPARATORS) * rng.choice((1, 1, 2, 300))
    return data[:position] + extra + data[position:]


def change_number(data: bytes, rng: random.Random) -> bytes:
    """One run of digits replaced by a number at or over some limit."""
    starts = [
        index
        for index in range(len(data))
        if data[index : index + 1].isdigit() and not data[index - 1 : index].isdigit()
    ]
    if not starts:
        return data
    start = end = rng.choice(starts)
    while data[end : end + 1].isdigit():
        end += 1
    return data[:start] + rng.choice(HUGE_NUMBERS) + data[end:]


def repeat_line(data: bytes, rng: random.Random) -> bytes:
    """One line, of the header most likely, once more or very often, anywhere."""
    lines = data.split(b"\r\n")
    line = rng.choice(lines)
    position = rng.randint(0, len(lines))
    return b"\r\n".join(lines[:position] + [line] * rng.choice((1, 1, 2, 300)) + lines[position:])


def swap_lines(data: bytes, rng: random.Random) -> bytes:
    """Two lines exchanged."""
    lines = data.split(b"\r\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\r\n".join(lines)


def drop_line(data: bytes, rng: random.Random) -> bytes:
    """One line left out."""
    lines = data.split(b"\r\n")
    del lines[rng.randrange(len(lines))]
    return b"\r\n".join(lines)


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits,
    cut,
    remove,
    repeat,
    insert,
    change_number,
    repeat_line,
    swap_lines,
    drop_line,
)
