"""What a scripted caller can do: one key a step.

Times are milliseconds of what the caller hears, not of a clock: a test machine that stands still
for a moment does not make a good bot look bad.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from sipbot.yamlmarks import actions_of, by_action

MAX_WAIT_MS: Final = 600_000

Wait: TypeAlias = Annotated[int, Field(gt=0, le=MAX_WAIT_MS)]
Keys: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9*#A-D]{1,32}$")]
Text: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
File: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class WaitSpeech(_Model):
    """The bot must be heard."""

    within_ms: Wait = 5_000


class WaitSpeechStep(_Model):
    wait_speech: WaitSpeech


class WaitSilence(_Model):
    """The bot must have been silent for ``for_ms``."""

    for_ms: Wait = 700
    within_ms: Wait = 30_000


class WaitSilenceStep(_Model):
    wait_silence: WaitSilence


class WaitEnd(_Model):
    """The bot must end the talk."""

    within_ms: Wait = 30_000


class WaitEndStep(_Model):
    wait_end: WaitEnd


class PauseStep(_Model):
    """Do nothing for so many milliseconds."""

    pause_ms: Wait


class Action(_Model):
    """One way to make oneself noticed, and how the bot must take it.

    ``silent_within_ms`` counts from the beginning of the action; the bot is silent when nothing of
    it is heard for ``quiet_ms``, which must be longer than the pauses of its voice, or a bot that
    speaks on would pass. ``speech_within_ms`` counts from that silence where one is asked for, else
    from the end of the action.
    """

    press: Keys | None = None
    say: Text | None = None
    play: File | None = None  # WAV, relative to the scenario
    tone_ms: Wait | None = None  # a tone as loud as speech
    silent_within_ms: Wait | None = None
    quiet_ms: Annotated[int, Field(ge=50, le=5_000)] = 600
    speech_within_ms: Wait | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Action:
        ways = [self.press, self.say, self.play, self.tone_ms]
        if sum(way is not None for way in ways) != 1:
            raise ValueError("needs exactly one of press, say, play, tone_ms")
        return self


class ActStep(_Model):
    """Act, whatever the bot does just now."""

    act: Action


class Interrupt(Action):
    """Wait until the bot has spoken for ``after_ms`` and is in the middle of a word, then act."""

    after_ms: Annotated[int, Field(ge=0, le=MAX_WAIT_MS)] = 500
    begins_within_ms: Wait = 10_000  # the bot must begin to speak before

    @model_validator(mode="after")
    def _has_a_limit(self) -> Interrupt:
        if self.silent_within_ms is None:
            raise ValueError(
                "needs silent_within_ms: an interruption that is not judged is no test"
            )
        return self


class InterruptStep(_Model):
    interrupt: Interrupt


class PressStep(_Model):
    """Short for ``act: {press: ...}``."""

    press: Keys


class SayStep(_Model):
    """Short for ``act: {say: ...}``."""

    say: Text


class PlayStep(_Model):
    """Short for ``act: {play: ...}``."""

    play: File


class HoldStep(_Model):
    """Put the bot on hold for so long and come back. SIP only; a stream just goes on."""

    hold_ms: Wait


class HangUpStep(_Model):
    """The caller leaves."""

    hang_up: None = None


_KINDS: Final = (
    WaitSpeechStep,
    WaitSilenceStep,
    WaitEndStep,
    PauseStep,
    ActStep,
    InterruptStep,
    PressStep,
    SayStep,
    PlayStep,
    HoldStep,
    HangUpStep,
)
ACTIONS: Final = actions_of(_KINDS)


Step: TypeAlias = Annotated[
    Annotated[WaitSpeechStep, Tag("WaitSpeechStep")]
    | Annotated[WaitSilenceStep, Tag("WaitSilenceStep")]
    | Annotated[WaitEndStep, Tag("WaitEndStep")]
    | Annotated[PauseStep, Tag("PauseStep")]
    | Annotated[ActStep, Tag("ActStep")]
    | Annotated[InterruptStep, Tag("InterruptStep")]
    | Annotated[PressStep, Tag("PressStep")]
    | Annotated[SayStep, Tag("SayStep")]
    | Annotated[PlayStep, Tag("PlayStep")]
    | Annotated[HoldStep, Tag("HoldStep")]
    | Annotated[HangUpStep, Tag("HangUpStep")],
    by_action(ACTIONS, "step"),
]


def action_of(step: BaseModel) -> Action | None:
    """What a step does to the bot, the short forms included."""
    match step:
        case ActStep(act=action) | InterruptStep(interrupt=action):
            return action
        case PressStep(press=keys):
            return Action(press=keys)
        case SayStep(say=text):
            return Action(say=text)
        case PlayStep(play=file):
            return Action(play=file)
    return None


def name_of(step: BaseModel) -> str:
    """The step's key; holds nothing of what is pressed or said."""
    return next(iter(type(step).model_fields))
