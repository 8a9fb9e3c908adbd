"""What a flow file may hold.

A flow is a set of named nodes. Each node does one thing, named by its key, and says which node
comes next. The meaning of each field is in its description, from which the reference is made.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)

from sipbot.agent.flow.hours import check_period
from sipbot.yamlmarks import actions_of, by_action

MAX_KEYS: Final = 32  # keys that one gather may collect
MAX_SPOKEN_DIGITS: Final = 16  # that one question may ask for by voice
MAX_ANSWERS: Final = 50  # of one question
MAX_WAIT_S: Final = 120.0  # seconds that a menu or gather may wait for a key


def _how_many(value: Any) -> str:
    """Whether a spoken text is one text or has one for each language."""
    return "by language" if isinstance(value, dict) else "one text"


Key: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9*#]$")]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Text: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=5_000)]
Language: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[a-z0-9]+)*$")]
Spoken: TypeAlias = Annotated[  # one text, or one for each language
    Annotated[Text, Tag("one text")]
    | Annotated[dict[Language, Text], Field(min_length=1), Tag("by language")],
    Discriminator(_how_many),
]
MaybeSpoken: TypeAlias = Annotated[  # the same; an empty text is not spoken
    Annotated[str, Tag("one text")] | Annotated[dict[Language, Text], Tag("by language")],
    Discriminator(_how_many),
]
Wait: TypeAlias = Annotated[float, Field(gt=0, le=MAX_WAIT_S)]
Pattern: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Period: TypeAlias = Annotated[str, StringConstraints(max_length=64), AfterValidator(check_period)]
Retries: TypeAlias = Annotated[int, Field(ge=0, le=10)]


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, coerce_numbers_to_str=True, populate_by_name=True
    )


class SayNode(_Model):
    """Speaks a text, or several, and goes on. A key ends the speech and waits for a menu."""

    say: tuple[Spoken, ...]
    next: Name | None = None
    interruptible: bool = True  # whether a key of the caller ends it

    @field_validator("say", mode="before")
    @classmethod
    def _one_or_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str | dict) else value


class PlayNode(_Model):
    """Plays a WAV file (mono, 16 bit) and goes on. A key ends it, as with say."""

    play: str  # path, relative to the flow file
    next: Name | None = None


class Menu(_Model):
    """A question that one key answers."""

    prompt: Spoken
    options: Annotated[dict[Key, Name], Field(min_length=1)]  # key to node
    timeout_s: Wait = 6.0  # seconds to wait for the key after the prompt
    retries: Retries = 2  # how often the prompt is repeated
    on_timeout: MaybeSpoken = ""  # spoken before the prompt is repeated
    on_invalid: MaybeSpoken = ""  # spoken when the key has no meaning
    otherwise: Name | None = None  # node after the last retry; None hangs up


class MenuNode(_Model):
    menu: Menu


class Gather(_Model):
    """A question that several keys answer. What was typed goes into the variable ``into``."""

    prompt: Spoken
    into: Name
    next: Name
    min_digits: Annotated[int, Field(ge=1, le=MAX_KEYS)] = 1
    max_digits: Annotated[int, Field(ge=1, le=MAX_KEYS)] = MAX_KEYS
    finish_on_key: Key | None = "#"  # ends the input early; is not part of it
    first_timeout_s: Wait = 6.0  # seconds to wait for the first key after the prompt
    digit_timeout_s: Wait = 3.0  # seconds to wait for each further key
    retries: Retries = 2  # how often the prompt is repeated
    on_timeout: MaybeSpoken = ""  # spoken when nothing was typed
    on_invalid: MaybeSpoken = ""  # spoken when too little was typed
    otherwise: Name | None = None  # node after the last retry; None hangs up

    @model_validator(mode="after")
    def _bounds_fit(self) -> Gather:
        if self.min_digits > self.max_digits:
            raise ValueError("min_digits must not be greater than max_digits")
        return self


class GatherNode(_Model):
    gather: Gather


class GotoNode(_Model):
    """Goes on at another node."""

    goto: Name


class SetNode(_Model):
    """Sets variables and goes on. Values may hold other variables."""

    set: Annotated[dict[Name, str], Field(min_length=1)]
    next: Name | None = None


class Branch(_Model):
    """Chooses a node by the value of a variable."""

    variable: Name
    cases: Annotated[dict[str, Name], Field(min_length=1)]  # value to node
    otherwise: Name


class BranchNode(_Model):
    branch: Branch


class HangupNode(_Model):
    """Says goodbye, if there is a text, and ends the call."""

    hangup: MaybeSpoken | None


class Transfer(_Model):
    """Sends the caller on to somebody else."""

    target: Text
    say: MaybeSpoken = ""  # spoken before
    on_refused: MaybeSpoken = ""  # spoken when the transfer is not possible
    otherwise: Name | None = None  # node after a refused transfer; None hangs up


class TransferNode(_Model):
    transfer: Transfer


class Answer(_Model):
    """One thing that the caller may say or press."""

    phrases: tuple[Pattern, ...] = ()  # what to listen for, as sipbot.agent.recognise.phrases reads
    keywords: tuple[Pattern, ...] = ()  # words that may stand in a sentence: "about my [keyword]"
    key: Key | None = None
    next: Name

    @field_validator("phrases", "keywords", mode="before")
    @classmethod
    def _one_or_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _can_be_given(self) -> Answer:
        if not self.phrases and not self.keywords and self.key is None:
            raise ValueError("needs phrases, keywords or key")
        return self


class SpokenDigits(_Model):
    """Digits that the caller may say or type. They go into the variable ``into``."""

    into: Name
    next: Name
    min: Annotated[int, Field(ge=1, le=MAX_SPOKEN_DIGITS)] = 1
    max: Annotated[int, Field(ge=1, le=MAX_SPOKEN_DIGITS)] = MAX_SPOKEN_DIGITS
    finish_on_key: Key | None = "#"
    digit_timeout_s: Wait = 3.0  # seconds to wait for each further key
    valid: Annotated[str, Field(max_length=500)] | None = None  # regular expression for all of it

    @model_validator(mode="after")
    def _makes_sense(self) -> SpokenDigits:
        if self.min > self.max:
            raise ValueError("min must not be greater than max")
        if self.valid is not None:
            try:
                re.compile(self.valid)
            except re.error as error:
                raise ValueError(f"valid is no regular expression: {error}") from error
        return self


class Listen(_Model):
    """A question that is answered by speaking or by keys, whichever comes first."""

    prompt: Spoken
    first: MaybeSpoken = ""  # spoken before the prompt, but only once in a call
    answers: Annotated[dict[Name, Answer], Field(max_length=MAX_ANSWERS)] = {}
    digits: SpokenDigits | None = None
    into: Name | None = None  # variable that gets the name of the answer
    confirm: MaybeSpoken = ""  # a question after the answer that wants yes (1) or no (2)
    timeout_s: Wait = 6.0  # seconds to wait for the first word or key after the prompt
    end_ms: Annotated[int, Field(ge=200, le=3_000)] = 700  # silence that ends what is said
    retries: Retries = 2
    on_timeout: MaybeSpoken = ""  # spoken when there was no answer
    on_invalid: MaybeSpoken = ""  # spoken when the answer was not understood, or not valid
    otherwise: Name | None = None  # node after the last retry; None hangs up

    @model_validator(mode="after")
    def _fits_together(self) -> Listen:
        if not self.answers and self.digits is None:
            raise ValueError("needs answers or digits")
        keys = [one.key for one in self.answers.values() if one.key is not None]
        if len(keys) != len(set(keys)):
            raise ValueError("two answers have the same key")
        if self.digits is not None and any(key.isdigit() for key in keys):
            raise ValueError("with digits only * and # can be keys of answers")
        return self


class ListenNode(_Model):
    listen: Listen


class Http(_Model):
    """Asks a web service. Values of variables are quoted where they stand in the URL."""

    url: Annotated[
        str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.\-\[\]:]+(/.*)?$", max_length=1_000)
    ]
    method: Literal["GET", "POST", "PUT"] = "GET"
    query: dict[str, str] = {}
    body: dict[str, str] | None = None  # sent as a JSON object
    headers: dict[str, str] = {}
    timeout_s: Annotated[float, Field(gt=0, le=30)] = 5.0
    say: MaybeSpoken = ""  # spoken meanwhile
    take: dict[Name, Annotated[str, Field(max_length=200)]] = {}  # variable: a.b.0 in the answer
    next: Name  # after an answer 2xx that has everything
    failed: Name  # after anything else


class HttpNode(_Model):
    http: Http


class Hours(_Model):
    """Chooses a node by the time of day."""

    open: Annotated[tuple[Period, ...], Field(min_length=1)]  # "mon-sat 09:00-19:00"
    timezone: Annotated[str, Field(max_length=64)] = "Asia/Kolkata"
    holidays: tuple[Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$")], ...] = ()
    opened: Name
    closed: Name

    @field_validator("open", mode="before")
    @classmethod
    def _one_or_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, ZoneInfoNotFoundError) as error:
            raise ValueError("no such time zone") from error
        return value


class HoursNode(_Model):
    hours: Hours


class SubFlow(_Model):
    """Goes through another flow, until its ``return``."""

    file: str  # relative to this one
    give: dict[Name, str] = {}  # variables of the other flow
    take: dict[Name, Name] = {}  # variable here: variable there
    next: Name


class SubFlowNode(_Model):
    flow: SubFlow


class ReturnNode(_Model):
    """Goes back to the flow that called this one."""

    return_: None = Field(default=None, alias="return")


class LanguageNode(_Model):
    """Speaks another language from here on."""

    language: Language
    next: Name | None = None


class Voicemail(_Model):
    """Records a message after a beep, until a key, silence or ``max_s``."""

    prompt: Spoken
    folder: str  # for the WAV files, relative to the flow file
    into: Name | None = None  # variable that gets the name of the file
    max_s: Annotated[float, Field(gt=0, le=600)] = 120.0
    silence_s: Annotated[float, Field(gt=0, le=60)] = 4.0  # that ends the message
    keep: Annotated[int, Field(ge=1, le=100_000)] = 1_000  # files; no more are written
    next: Name
    nothing: Name | None = None  # node when nothing was said or kept; None: as next


class VoicemailNode(_Model):
    voicemail: Voicemail


_KINDS: Final = (
    SayNode,
    PlayNode,
    MenuNode,
    GatherNode,
    GotoNode,
    SetNode,
    BranchNode,
    HangupNode,
    TransferNode,
    ListenNode,
    HttpNode,
    HoursNode,
    SubFlowNode,
    ReturnNode,
    LanguageNode,
    VoicemailNode,
)
ACTIONS: Final = actions_of(_KINDS)


Node: TypeAlias = Annotated[
    Annotated[SayNode, Tag("SayNode")]
    | Annotated[PlayNode, Tag("PlayNode")]
    | Annotated[MenuNode, Tag("MenuNode")]
    | Annotated[GatherNode, Tag("GatherNode")]
    | Annotated[GotoNode, Tag("GotoNode")]
    | Annotated[SetNode, Tag("SetNode")]
    | Annotated[BranchNode, Tag("BranchNode")]
    | Annotated[HangupNode, Tag("HangupNode")]
    | Annotated[TransferNode, Tag("TransferNode")]
    | Annotated[ListenNode, Tag("ListenNode")]
    | Annotated[HttpNode, Tag("HttpNode")]
    | Annotated[HoursNode, Tag("HoursNode")]
    | Annotated[SubFlowNode, Tag("SubFlowNode")]
    | Annotated[ReturnNode, Tag("ReturnNode")]
    | Annotated[LanguageNode, Tag("LanguageNode")]
    | Annotated[VoicemailNode, Tag("VoicemailNode")],
    by_action(ACTIONS, "node"),
]


class LanguageVoice(_Model):
    """How one language is spoken."""

    voice: str | None = None  # None: the flow's


class FlowFile(_Model):
    """A whole flow."""

    start: Name  # the first node
    voice: str | None = None  # of the synthesiser; None is its default
    # What cuts interruptible speech: a key, or a key and any loud sound of the caller.
    interrupt: Literal["keys", "speech"] = "keys"
    language: Language = "en"  # that the call begins in
    languages: dict[Language, LanguageVoice] = {}  # all that the flow speaks
    pronounce: dict[str, str] = {}  # ARPABET of words that the recogniser does not know
    variables: dict[Name, str] = {}  # values before the call begins
    nodes: Annotated[dict[Name, Node], Field(min_length=1)]
