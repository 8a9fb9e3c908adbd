"""The scenario builder itself, against SIPp's own answering side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers import require

from .ports import HOST, free_block, wait_bound
from .process import Program
from .sipp import Scenario, run

pytestmark = pytest.mark.interop


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[int]:
    require("sipp")
    port = free_block(8)
    command = ["sipp", "-sn", "uas", "-i", HOST, "-p", str(port), "-mi", HOST, "-nostdin"]
    command += ["-mp", str(port + 2)]
    with Program(command, cwd=tmp_path):
        wait_bound(port, 10.0)
        yield port


def test_basic_call(answering: int, tmp_path: Path) -> None:
    scenario = Scenario("anyone").invite().ringing().response(200, matches={"Contact": "sip:.*"})
    run(scenario.ack().pause(200).bye(), tmp_path, answering)


def test_a_wrong_expectation_fails(answering: int, tmp_path: Path) -> None:
    scenario = Scenario("anyone").invite().ringing().response(486)
    with pytest.raises(AssertionError, match="486"):
        run(scenario, tmp_path, answering)


def test_a_header_that_does_not_match_fails(answering: int, tmp_path: Path) -> None:
    scenario = Scenario("anyone").invite().ringing().response(200, matches={"Contact": "mailto"})
    with pytest.raises(AssertionError, match="SIPp ended"):
        run(scenario, tmp_path, answering)
