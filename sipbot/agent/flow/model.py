"""What a flow file may hold.

A flow is a set of named nodes. Each node does one thing, named by its key, and says which node
comes next. The meaning of each field is in its description, from which the reference is made.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)

MAX_KEYS: Final = 32  # keys that one gather may collect
MAX_WAIT_S: Final = 120.0  # seconds that a menu or gather may wait for a key

Key: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9*#]$")]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Text: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=5_000)]
Wait: TypeAlias = Annotated[float, Field(gt=0, le=MAX_WAIT_S)]
Retries: TypeAlias = Annotated[int, Field(ge=0, le=10)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class SayNode(_Model):
    """Speaks a text, or several, and goes on. A key ends the speech and waits for a menu."""

    say: tuple[Text, ...]
    next: Name | None = None
    interruptible: bool = True  # whether a key of the caller ends it

    @field_validator("say", mode="before")
    @classmethod
    def _one_or_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class PlayNode(_Model):
    """Plays a WAV file (mono, 16 bit) and goes on. A key ends it, as with say."""

    play: str  # path, relative to the flow file
    next: Name | None = None


class Menu(_Model):
    """A question that one key answers."""

    prompt: Text
    options: Annotated[dict[Key, Name], Field(min_length=1)]  # key to node
    timeout_s: Wait = 6.0  # seconds to wait for the key after the prompt
    retries: Retries = 2  # how often the prompt is repeated
    on_timeout: str = ""  # spoken before the prompt is repeated
    on_invalid: str = ""  # spoken when the key has no meaning
    otherwise: Name | None = None  # node after the last retry; None hangs up


class MenuNode(_Model):
    menu: Menu


class Gather(_Model):
    """A question that several keys answer. What was typed goes into the variable ``into``."""

    prompt: Text
    into: Name
    next: Name
    min_digits: Annotated[int, Field(ge=1, le=MAX_KEYS)] = 1
    max_digits: Annotated[int, Field(ge=1, le=MAX_KEYS)] = MAX_KEYS
    finish_on_key: Key | None = "#"  # ends the input early; is not part of it
    first_timeout_s: Wait = 6.0  # seconds to wait for the first key after the prompt
    digit_timeout_s: Wait = 3.0  # seconds to wait for each further key
    retries: Retries = 2  # how often the prompt is repeated
    on_timeout: str = ""  # spoken when nothing was typed
    on_invalid: str = ""  # spoken when too little was typed
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

    hangup: str | None


class Transfer(_Model):
    """Sends the caller on to somebody else."""

    target: Text
    say: str = ""  # spoken before
    on_refused: str = ""  # spoken when the transfer is not possible
    otherwise: Name | None = None  # node after a refused transfer; None hangs up


class TransferNode(_Model):
    transfer: Transfer


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
)
ACTIONS: Final = {next(iter(kind.model_fields)): kind.__name__ for kind in _KINDS}


def _kind(value: Any) -> str | None:
    """Name of the node's class by the one action that it holds."""
    if isinstance(value, BaseModel):
        return type(value).__name__
    held = [ACTIONS[key] for key in value if key in ACTIONS] if isinstance(value, dict) else []
    return held[0] if len(held) == 1 else None


Node: TypeAlias = Annotated[
    Annotated[SayNode, Tag("SayNode")]
    | Annotated[PlayNode, Tag("PlayNode")]
    | Annotated[MenuNode, Tag("MenuNode")]
    | Annotated[GatherNode, Tag("GatherNode")]
    | Annotated[GotoNode, Tag("GotoNode")]
    | Annotated[SetNode, Tag("SetNode")]
    | Annotated[BranchNode, Tag("BranchNode")]
    | Annotated[HangupNode, Tag("HangupNode")]
    | Annotated[TransferNode, Tag("TransferNode")],
    Discriminator(
        _kind,
        custom_error_type="node_kind",
        custom_error_message=f"a node needs exactly one of {', '.join(ACTIONS)}",
    ),
]


class FlowFile(_Model):
    """A whole flow."""

    start: Name  # the first node
    voice: str | None = None  # of the synthesiser; None is its default
    # What cuts interruptible speech: a key, or a key and any loud sound of the caller.
    interrupt: Literal["keys", "speech"] = "keys"
    variables: dict[Name, str] = {}  # values before the call begins
    nodes: Annotated[dict[Name, Node], Field(min_length=1)]
