"""The report of all scripted calls, as the simulator writes its own, and a page for each call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sipbot.exotel.sim.judge import Run, TalkResult
from sipbot.exotel.sim.report import Case
from sipbot.runtime.trial.page import page
from sipbot.runtime.trial.play import Trial


def cases(trials: Sequence[Trial]) -> list[Case]:
    """What ``as_text``, ``as_json`` and ``as_junit`` take."""
    return [_case(trial) for trial in trials]


def write_pages(trials: Sequence[Trial], folder: Path) -> list[Path]:
    """One page for each call. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for trial in trials:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", trial.name) or "call"
        path = folder / f"{plain}.html"
        if path in written:
            path = folder / f"{plain}-{len(written) + 1}.html"
        path.write_text(page(trial), encoding="utf-8")
        written.append(path)
    return written


def _case(trial: Trial) -> Case:
    talk = TalkResult(
        "sip",
        answered=not trial.error,
        ended_by=trial.ended_by,
        duration_ms=trial.duration_ms,
        steps=trial.steps,
    )
    return Case(trial.name, "sip", trial.seconds, Run([talk]), trial.checks, trial.error)
