"""A slot whose rings another process may still touch is not given to the next call."""

from __future__ import annotations

import pytest

from sipbot.errors import MediaError
from tests.media.kit import LOCAL, bench


def test_a_kept_slot_is_free_only_when_closed_and_let_go() -> None:
    with bench(slots=1) as made:
        plane = made.plane
        stream = plane.allocate(LOCAL)
        plane.keep(stream.slot)
        stream.close()
        with pytest.raises(MediaError):
            plane.allocate(LOCAL)
        plane.let_go(stream.slot)
        assert plane.allocate(LOCAL).slot == stream.slot


def test_a_slot_let_go_before_its_end_is_given_on_at_its_end() -> None:
    with bench(slots=1) as made:
        plane = made.plane
        stream = plane.allocate(LOCAL)
        plane.keep(stream.slot)
        plane.let_go(stream.slot)
        plane.let_go(stream.slot)
        with pytest.raises(MediaError):
            plane.allocate(LOCAL)
        stream.close()
        assert plane.allocate(LOCAL).slot == stream.slot
        with pytest.raises(MediaError):
            plane.allocate(LOCAL)
