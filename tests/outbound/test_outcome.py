"""What statuses mean for a number that was called."""

from __future__ import annotations

import pytest

from sipbot.outbound.outcome import Outcome, of_exotel, of_sip, tries_elsewhere


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (486, Outcome.BUSY),
        (600, Outcome.BUSY),
        (480, Outcome.NO_ANSWER),
        (408, Outcome.NO_ANSWER),
        (487, Outcome.NO_ANSWER),
        (603, Outcome.DECLINED),
        (404, Outcome.INVALID),
        (604, Outcome.INVALID),
        (403, Outcome.REFUSED),
        (401, Outcome.REFUSED),
        (407, Outcome.REFUSED),
        (488, Outcome.FAILED),
        (503, Outcome.FAILED),
        (200, Outcome.FAILED),
    ],
)
def test_sip_statuses(status: int, outcome: Outcome) -> None:
    assert of_sip(status, "as the peer says") is outcome


@pytest.mark.parametrize("reason", ["timeout", "transport-failed", "unreachable"])
def test_the_network_is_not_the_callee(reason: str) -> None:
    assert of_sip(408, reason) is Outcome.FAILED
    assert tries_elsewhere(408, reason)


@pytest.mark.parametrize("status", [486, 403, 404, 408, 603, 488])
def test_what_the_callee_or_trunk_decided_is_final(status: int) -> None:
    assert not tries_elsewhere(status, "Busy")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_server_failures_try_the_next_address(status: int) -> None:
    assert tries_elsewhere(status, "Service Unavailable")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("completed", Outcome.ANSWERED),
        ("Busy", Outcome.BUSY),
        ("no-answer", Outcome.NO_ANSWER),
        ("failed", Outcome.FAILED),
        ("canceled", Outcome.CANCELLED),
        ("in-progress", None),
        ("queued", None),
        ("", None),
    ],
)
def test_exotel_statuses(status: str, outcome: Outcome | None) -> None:
    assert of_exotel(status) is outcome
