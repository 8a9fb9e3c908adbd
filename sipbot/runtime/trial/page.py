"""A page for each scripted call: both sides' sound, what was said, and every step, on one axis."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

import numpy as np

from sipbot.call.leg import Pcm
from sipbot.runtime.trial.play import RATE, Moment, Trial

PIXELS_A_SECOND: Final = 80
BUCKET_MS: Final = 1000 // PIXELS_A_SECOND  # of sound in one column
LANE: Final = 70  # height of one side's wave
_STYLE: Final = (
    "body{font:14px sans-serif;margin:2em;color:#222}h1{font-size:1.3em}.fail{color:#b00}"
    ".pass{color:#070}div.wave{overflow-x:auto;border:1px solid #ccc}td,th{padding:.2em .8em;"
    "text-align:left;vertical-align:top}tr.agent td{background:#f2f7ff}tr.caller td{background:"
    "#f3fbf0}tr.failed td{background:#fde8e8}svg text{font:10px sans-serif}"
    ".a{fill:#4a78c0}.c{fill:#4a9a4a}.axis{stroke:#ccc}.t{stroke:#c55;stroke-dasharray:2 3}"
)


def page(trial: Trial) -> str:
    """The whole page; it needs nothing beside it."""
    verdict, mark = ("passed", "pass") if trial.passed else ("failed", "fail")
    failures = "".join(f'<li class="fail">{escape(one)}</li>' for one in trial.failures)
    rows = "".join(_row(one) for one in _in_order(trial))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(trial.name)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{escape(trial.name)}: <span class="{mark}">{verdict}</span></h1>'
        f"<p>{trial.duration_ms / 1000:.1f} s, ended by {trial.ended_by or 'nobody'}</p>"
        f"<ul>{failures}</ul>"
        f'<div class="wave">{wave(trial)}</div>'
        f"<table><tr><th>ms</th><th>who</th><th>what</th></tr>{rows}</table></body></html>\n"
    )


def wave(trial: Trial) -> str:
    """Both sides as SVG: the agent above, the caller below, steps as lines."""
    agent = np.concatenate([np.zeros(0, np.int16), *trial.agent_audio])
    caller = _placed(trial, len(agent))
    seconds = max(len(agent), len(caller)) / RATE
    width, height = round(seconds * PIXELS_A_SECOND) + 20, 2 * LANE + 40
    ticks = "".join(
        f'<line class="axis" x1="{x}" x2="{x}" y1="0" y2="{2 * LANE}"/>'
        f'<text x="{x + 2}" y="{2 * LANE + 12}">{second} s</text>'
        for second in range(round(seconds) + 1)
        for x in [second * PIXELS_A_SECOND]
    )
    steps = "".join(
        f'<line class="t" x1="{x}" x2="{x}" y1="0" y2="{2 * LANE}"/>'
        f'<text x="{x + 2}" y="{2 * LANE + 26}">{escape(one.what.split(" ")[0])}</text>'
        for one in trial.moments
        if one.who == "test"
        for x in [round(one.at_ms * PIXELS_A_SECOND / 1000)]
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{ticks}'
        f'<path class="a" d="{_outline(agent, LANE // 2)}"/>'
        f'<path class="c" d="{_outline(caller, LANE + LANE // 2)}"/>{steps}</svg>'
    )


def _placed(trial: Trial, length: int) -> Pcm:
    """The caller's audio on the axis of what was heard."""
    end = max([length, *(at * RATE // 1000 + len(pcm) for at, pcm in trial.caller_audio)])
    whole: Pcm = np.zeros(end, np.int16)
    for at, pcm in trial.caller_audio:
        start = at * RATE // 1000
        whole[start : start + len(pcm)] = pcm
    return whole


def _outline(pcm: Pcm, middle: int) -> str:
    """A filled path around the peaks of each column."""
    size = RATE * BUCKET_MS // 1000
    columns = len(pcm) // size
    if not columns:
        return ""
    peaks = np.abs(pcm[: columns * size].astype(np.int32)).reshape(columns, size).max(axis=1)
    heights = np.rint(peaks / 32_768 * (LANE // 2 - 2)).astype(int).tolist()
    step = BUCKET_MS * PIXELS_A_SECOND / 1000
    above = [f"{x * step:.0f} {middle - high}" for x, high in enumerate(heights)]
    below = [f"{x * step:.0f} {middle + high + 1}" for x, high in enumerate(heights)]
    return "M" + "L".join([*above, *reversed(below)]) + "z"


def _in_order(trial: Trial) -> Iterator[Moment]:
    yield from sorted(trial.moments, key=lambda one: one.at_ms)


def _row(one: Moment) -> str:
    kind = one.who if one.passed else "failed"
    return (
        f'<tr class="{kind}"><td>{one.at_ms}</td><td>{one.who}</td><td>{escape(one.what)}</td></tr>'
    )
