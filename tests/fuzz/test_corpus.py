from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import corpus
from tests.fuzz.corpus import MUTATIONS, Mutation, mutate, splice, variants
from tests.sip.samples import BYE, INVITE


@given(st.binary(max_size=300), st.integers(0, 2**32))
def test_any_bytes_can_be_mutated_and_stay_bounded(data: bytes, seed: int) -> None:
    mutated = mutate(data, random.Random(seed))
    assert len(mutated) <= corpus.MAX_GROWTH
    assert mutated == mutate(data, random.Random(seed))


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_every_mutation_changes_a_message(mutation: Mutation) -> None:
    rng = random.Random(7)
    assert sum(mutation(INVITE, rng) != INVITE for _ in range(50)) >= 40


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_every_mutation_takes_nothing(mutation: Mutation) -> None:
    for seed in range(20):
        assert isinstance(mutation(b"", random.Random(seed)), bytes)


def test_change_number_hits_a_whole_number() -> None:
    results = {corpus.change_number(b"a 123 b", random.Random(seed)) for seed in range(200)}
    assert results == {b"a " + number + b" b" for number in corpus.HUGE_NUMBERS}


def test_variants() -> None:
    made = variants([INVITE, BYE], random.Random(1), 200)
    assert len(made) == 200
    assert len(set(made)) > 190
    assert made == variants([INVITE, BYE], random.Random(1), 200)


def test_splice_joins_two_messages() -> None:
    rng = random.Random(3)
    joined = [splice(b"aaaa", b"bbbb", rng) for _ in range(50)]
    assert any(b"a" in text and b"b" in text for text in joined)
    assert all(text == bytes(sorted(text)) for text in joined)
