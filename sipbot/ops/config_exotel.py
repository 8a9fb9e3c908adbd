"""The sections ``store``, ``exotel`` and ``transfers`` of the configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    model_validator,
)

from sipbot.ops.section import Name, Seconds, Section, matching
from sipbot.ops.values import resolve_path

SQLITE: Final = "sqlite:///"
SECRET_PATTERN: Final = r"[A-Za-z0-9_.~-]+"  # stands in URLs as it is
NUMBER_PATTERN: Final = r"^(\+?[0-9]{3,15}|sips?:[^\s]+)$"
PARAMETER_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9_-]*$"
HTTP_PATTERN: Final = r"^https?://[^\s]+$"
RESERVED_PARAMETERS: Final = ("exotel-", "veeno-", "veen-")  # prefixes that Exotel keeps
MAX_PARAMETERS: Final = 3  # custom SIP headers that Exotel passes on
MAX_PARAMETER_BYTES: Final = 200  # of all of them, as "name=value&name=value"
OK: Final = 200  # the HTTP status of a Passthru's first branch; all others are the second

TransferStrategy: TypeAlias = Literal["auto", "flow", "refer"]
PassthruStatus: TypeAlias = Literal[200, 302, 404]


def _store_url(value: Any, info: ValidationInfo) -> Any:
    """Files start at the configuration file, as everywhere."""
    if isinstance(value, str) and value.startswith(SQLITE) and len(value) > len(SQLITE):
        return SQLITE + str(resolve_path(value[len(SQLITE) :], info))
    return value


def _custom(parameters: dict[str, str]) -> dict[str, str]:
    """What Exotel passes on as SIP headers. Raises ValueError."""
    if len(parameters) > MAX_PARAMETERS:
        raise ValueError(f"Exotel passes on {MAX_PARAMETERS} at most")
    for name, value in parameters.items():
        if name.lower().removeprefix("x-").startswith(RESERVED_PARAMETERS):
            raise ValueError("names that begin with Exotel- or Veeno- are Exotel's own")
        if not value.isprintable() or not value.isascii() or set(value) & set("&="):
            raise ValueError("values are printable ASCII without & and =")
    written = "&".join(f"{name}={value}" for name, value in parameters.items())
    if len(written) > MAX_PARAMETER_BYTES:
        raise ValueError(f"together they may have {MAX_PARAMETER_BYTES} bytes, with & and =")
    return parameters


def _url_safe(secret: SecretStr) -> SecretStr:
    if re.fullmatch(SECRET_PATTERN, secret.get_secret_value()) is None:
        raise ValueError("may hold letters, digits and _.~- only, since it stands in URLs")
    return secret


StoreUrl = Annotated[
    str,
    BeforeValidator(_store_url),
    matching(
        r"^(sqlite:///[^?]+|postgres(ql)?://[^\s]+)$",
        "must look like sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME",
    ),
]
DialNumber = Annotated[str, matching(NUMBER_PATTERN, "must be a number or a SIP URI")]
ParameterName = Annotated[
    str,
    matching(PARAMETER_PATTERN, "a name has letters, digits, _ and -, and begins with a letter"),
]
HttpUrl = Annotated[str, matching(HTTP_PATTERN, "must begin with https:// or http://")]
Secret = Annotated[
    SecretStr,
    AfterValidator(_url_safe),
    Field(min_length=8, max_length=128),
]


class StoreConfig(Section):
    """Where sipbot keeps call records, transfers and what Exotel reports of calls."""

    url: StoreUrl | None = None
    """`sqlite:///FILE`, or `postgresql://USER:PASSWORD@HOST/NAME` where several nodes share it.
    Absent: an SQLite file in the user's state directory (`~/.local/state/sipbot/sipbot.db`)."""
    keep_days: int | None = Field(default=90, ge=1, le=36_500)
    """Days after which calls are forgotten: records hold full numbers. `null`: never."""


class FlowConfig(Section):
    """Which HTTP status a Passthru applet gets: 200 is its first branch, all else the second."""

    transfer: PassthruStatus = 200
    """Status when the caller is to be connected."""
    end: PassthruStatus = 302
    """Status when the call is to end."""

    @model_validator(mode="after")
    def _told_apart(self) -> FlowConfig:
        if (self.transfer == OK) == (self.end == OK):
            raise ValueError("one of transfer and end must be 200, the other 302 or 404")
        return self


class ExotelConfig(Section):
    """Exotel's callbacks and applets, see `docs/exotel.md`. They need `http.listen`."""

    secret: Secret | None = None
    """Must stand in the URLs that Exotel calls: `/exotel/SECRET/passthru`, or `?secret=SECRET`.
    Absent: whoever reaches `http.listen` may ask."""
    intent_ttl_s: Seconds = 120.0
    """Seconds that a transfer waits for Exotel's flow to ask for it."""
    poll_window_s: float = Field(default=3.0, ge=0, le=60)
    """Seconds in which a repeated question of a Connect applet that does not tell whom it dialled
    is the same question, asked twice."""
    sample_rate: Literal[8000, 16000, 24000] | None = None
    """Sample rate, in Hz, in the URLs that `/exotel/voicebot-url` hands out. Absent: none, which
    Exotel takes as 8000."""
    flows: dict[Name, FlowConfig] = Field(default_factory=dict)
    """What the Passthru applets of your flows mean, by the name at the end of their URL:
    `/exotel/passthru/NAME`. Without a name: 200 connects, 302 ends."""


class PlaybackConfig(Section):
    """Played when the callee answers. One of `text` and `url`."""

    to: Literal["both", "callee"] = "callee"
    """Who hears it."""
    text: str | None = Field(default=None, min_length=1, max_length=500)
    """Spoken."""
    url: HttpUrl | None = None
    """A recording."""

    empty_means_defaults: ClassVar[bool] = False

    @model_validator(mode="after")
    def _one(self) -> PlaybackConfig:
        if (self.text is None) == (self.url is None):
            raise ValueError("needs one of text and url")
        return self


class ContactConfig(Section):
    """A user of Exotel's contact centre (CCM)."""

    contact_uri: str = Field(min_length=1, max_length=256)
    """The user."""
    device_contact_uri: str | None = Field(default=None, min_length=1, max_length=256)
    """The user's device."""

    empty_means_defaults: ClassVar[bool] = False


class TransferConfig(Section):
    """A destination that agents name: `call.transfer("front-desk")`.

    All but `uri` is for Exotel's Connect applet with `/exotel/connect` as its URL. What is absent
    is left to Exotel.
    """

    numbers: tuple[DialNumber, ...] = ()
    """Whom to dial, in this order."""
    one_by_one: bool = False
    """Each number is an attempt of its own: Exotel asks again after one has failed."""
    trunk: str | None = Field(default=None, min_length=1, max_length=64)
    """Id of the vSIP trunk at Exotel to dial through (`trmum1…`)."""
    contacts: tuple[ContactConfig, ...] = ()
    """Users, for flows of Exotel's contact centre; others get `numbers`."""
    sticky_agent: bool | None = None
    """Whether the contact centre prefers whom the caller spoke with before."""
    uri: str | None = Field(default=None, pattern=r"^sips?:[^\s]+$", max_length=256)
    """SIP URI for trunks that transfer by REFER."""
    caller_id: DialNumber | None = None
    """Number shown to whom is dialled."""
    custom_params: Annotated[dict[ParameterName, str], AfterValidator(_custom)] = Field(
        default_factory=dict
    )
    """Become `X-` headers of the INVITE: three at most, 200 bytes together."""
    record: bool | None = None
    """Whether Exotel records the conversation."""
    recording_channels: Literal["single", "dual"] | None = None
    """One track, or one for each side."""
    max_ringing_s: int | None = Field(default=None, ge=1, le=600)
    """Longest ringing, in seconds."""
    max_conversation_s: int | None = Field(default=None, ge=1, le=86_400)
    """Longest conversation, in seconds."""
    parallel_ringing: int | None = Field(default=None, ge=2, le=10)
    """So many numbers ring at the same time."""
    music_on_hold: str | None = Field(
        default=None, pattern=rf"^(operator_tone|default_tone|{HTTP_PATTERN[1:-1]})$"
    )
    """What the caller hears meanwhile: `operator_tone`, `default_tone` or the URL of a sound."""
    playback: PlaybackConfig | None = None
    """Played when the callee answers."""
    events_url: HttpUrl | None = None
    """Where Exotel reports dialling, ringing, answer and end."""

    empty_means_defaults: ClassVar[bool] = False

    @model_validator(mode="after")
    def _consistent(self) -> TransferConfig:
        if not (self.numbers or self.trunk or self.contacts or self.uri):
            raise ValueError("needs numbers, trunk, contacts or uri")
        if len(set(self.numbers)) != len(self.numbers):
            raise ValueError("the same number stands twice in numbers")
        if self.one_by_one and self.parallel_ringing is not None:
            raise ValueError("one_by_one and parallel_ringing exclude each other")
        return self


def default_store_url(state_directory: Path) -> str:
    """Where calls are kept when nothing is configured."""
    return f"{SQLITE}{state_directory / 'sipbot.db'}"
