"""What a file of scripted callers may hold, for ``sipbot test``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, Tag, field_validator, model_validator

from sipbot.exotel.sim.model import Model
from sipbot.exotel.sim.steps import (
    Interrupt,
    Keys,
    PauseStep,
    Text,
    Wait,
    WaitEndStep,
    WaitSilenceStep,
)
from sipbot.yamlmarks import actions_of, by_action

MAX_STEPS: Final = 200  # of one caller


class Expected(Model):
    """The agent must say this, from the text that was matched last on."""

    text: str | None = None  # a part of a text; case does not matter
    regex: str | None = None  # an expression found in a text
    within_ms: Wait = 10_000  # until the text begins, of audio heard

    @model_validator(mode="after")
    def _one_of_both(self) -> Expected:
        if (self.text is None) == (self.regex is None):
            raise ValueError("needs text or regex")
        if self.regex is not None:
            try:
                re.compile(self.regex)
            except re.error as error:
                raise ValueError(f"regex is no regular expression: {error}") from error
        return self

    def fits(self, said: str) -> bool:
        """Whether a text of the agent is what is expected."""
        if self.regex is not None:
            return re.search(self.regex, said) is not None
        return (self.text or "").casefold() in said.casefold()


class ExpectStep(Model):
    """Short: ``expect: a part of the text``."""

    expect: Expected

    @field_validator("expect", mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value


class Spoken(Model):
    """What the caller says, once the agent has been silent for ``after_silence_ms``."""

    text: Text
    after_silence_ms: Annotated[int, Field(ge=0, le=5_000)] = 500  # 0: at once


class SayStep(Model):
    """Short: ``say: text``."""

    say: Spoken

    @field_validator("say", mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value


class BargeInStep(Model):
    """The caller interrupts the agent: ``say``, ``press`` ... as in docs/simulator.md."""

    barge_in: Interrupt


class DtmfStep(Model):
    dtmf: Keys


class HoldStep(Model):
    hold_ms: Wait


class HangUpStep(Model):
    hangup: None = None


_KINDS: Final = (
    ExpectStep,
    SayStep,
    BargeInStep,
    DtmfStep,
    HoldStep,
    HangUpStep,
    PauseStep,
    WaitSilenceStep,
    WaitEndStep,
)
ACTIONS: Final = actions_of(_KINDS)


CallStep: TypeAlias = Annotated[
    Annotated[ExpectStep, Tag("ExpectStep")]
    | Annotated[SayStep, Tag("SayStep")]
    | Annotated[BargeInStep, Tag("BargeInStep")]
    | Annotated[DtmfStep, Tag("DtmfStep")]
    | Annotated[HoldStep, Tag("HoldStep")]
    | Annotated[HangUpStep, Tag("HangUpStep")]
    | Annotated[PauseStep, Tag("PauseStep")]
    | Annotated[WaitSilenceStep, Tag("WaitSilenceStep")]
    | Annotated[WaitEndStep, Tag("WaitEndStep")],
    by_action(ACTIONS, "step"),
]


class Outcome(Model):
    """What must be true at the end."""

    ended_by: Literal["bot", "caller", "network"] | None = None
    transferred_to: str | None = None  # the target as the agent names it
    max_duration_ms: Wait | None = None


class ScriptedCall(Model):
    """One caller."""

    name: Annotated[str, Field(max_length=100)] = ""  # empty: that of the file
    from_: Annotated[str, Field(alias="from", min_length=1, max_length=64)] = "+919812345610"
    to: Annotated[str, Field(pattern=r"^[A-Za-z0-9+_.\-]{1,64}$")] = "reception"  # user part
    headers: Mapping[str, str] = Field(default_factory=dict)  # custom ones, without "X-"
    voice: Annotated[str, Field(max_length=64)] = "en-us"  # of the caller, as espeak-ng names it
    steps: Annotated[tuple[CallStep, ...], Field(min_length=1, max_length=MAX_STEPS)]
    expect: Outcome = Outcome()
    limit_s: Annotated[float, Field(gt=0, le=3_600)] = 120.0  # of the whole call
