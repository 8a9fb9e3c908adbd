"""The walk through a flow: which applet comes after which outcome. No I/O.

::

    walk = Walk(scenario)
    while (applet := walk.applet) is not None:
        ...                            # do what the applet says
        walk.step(Outcome.NEXT)

Once the caller has left only Passthru applets still run: Exotel tells the outcome of a stream
there, and dials nobody any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from sipbot.exotel.sim.model import (
    Applet,
    ConnectApplet,
    ConnectSipApplet,
    HangupApplet,
    PassthruApplet,
    Scenario,
    TalkApplet,
)

MAX_VISITS: Final = 200  # applets of one call; a flow that never ends is cut here


class Outcome(Enum):
    """What an applet came to."""

    NEXT = "next"
    OK = "ok"  # Passthru: 200
    OTHERWISE = "otherwise"  # Passthru: anything else
    TALKED = "talked"  # Connect: somebody answered
    NO_ANSWER = "no_answer"  # Connect: nobody did
    NOT_DIALLED = "not_dialled"  # Connect: there was nobody to dial
    ENDED = "ended"  # nothing follows


@dataclass(slots=True)
class Visit:
    """One applet of the walk. ``detail`` is for the report and holds no number in full."""

    name: str
    kind: str
    outcome: Outcome | None = None
    detail: str = ""


_MEANS: Final[Mapping[Outcome, str]] = MappingProxyType(
    {
        Outcome.NEXT: "next",
        Outcome.OK: "ok",
        Outcome.OTHERWISE: "otherwise",
        Outcome.TALKED: "talked",
        Outcome.NO_ANSWER: "no_answer",
        Outcome.NOT_DIALLED: "not_dialled",
    }
)


class Walk:
    """One call's way. ``visits`` lists it; ``cut`` says that ``MAX_VISITS`` ended it."""

    def __init__(self, scenario: Scenario) -> None:
        self._applets = scenario.applets
        self.visits: list[Visit] = []
        self.caller_gone = False
        self.cut = False
        self._enter(scenario.start)

    @property
    def applet(self) -> Applet | None:
        """The one to be carried out now; None at the end."""
        return None if self._here is None else self._applets[self._here]

    @property
    def visit(self) -> Visit:
        """The record of the current applet. Ask only while ``applet`` is not None."""
        return self.visits[-1]

    @property
    def path(self) -> tuple[str, ...]:
        """Names of the applets in order."""
        return tuple(visit.name for visit in self.visits)

    def step(self, outcome: Outcome, detail: str = "") -> None:
        """The current applet came to ``outcome``: go on."""
        applet = self.applet
        if applet is None:
            return
        self.visit.outcome = outcome
        self.visit.detail = detail
        self._enter(follower(applet, outcome))

    def _enter(self, name: str | None) -> None:
        applet = None if name is None else self._applets[name]
        if self.caller_gone and not isinstance(applet, PassthruApplet):
            name = None
        if name is not None and len(self.visits) >= MAX_VISITS:
            self.cut, name = True, None
        self._here = name
        if name is not None and applet is not None:
            self.visits.append(Visit(name, next(iter(type(applet).model_fields))))


def follower(applet: Applet, outcome: Outcome) -> str | None:
    """Name of the applet after ``outcome``; None for the end of the call."""
    match applet:
        case HangupApplet():
            return None
        case TalkApplet() | ConnectSipApplet() if outcome is Outcome.NO_ANSWER:
            return applet.no_answer or applet.next
        case PassthruApplet() | ConnectApplet():
            branch = _MEANS.get(outcome, "")
            return getattr(applet, branch, None)
    return applet.next if outcome in (Outcome.NEXT, Outcome.NO_ANSWER) else None
