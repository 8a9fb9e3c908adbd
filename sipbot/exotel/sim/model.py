"""What a scenario file may hold.

A scenario is a call: who calls, which applets the flow has, what the caller does, what is expected.
The meaning of each field is in its comment, from which docs/simulator.md is written.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, Tag

from sipbot.exotel.sim.steps import Step
from sipbot.yamlmarks import actions_of, by_action

MAX_APPLETS: Final = 100
MAX_STEPS: Final = 200  # of one caller

Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Number: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Millis: TypeAlias = Annotated[int, Field(ge=0, le=3_600_000)]
Url: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=600)]
Branch: TypeAlias = Literal["answered", "no_answer", "busy", "failed"]
TransportName: TypeAlias = Literal["sip", "stream"]


class Model(BaseModel):
    """Base of everything here: unknown keys are mistakes, digits may stand without quotes."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, coerce_numbers_to_str=True, populate_by_name=True
    )


# --- who calls whom -------------------------------------------------------------------------------


class CallFacts(Model):
    """What Exotel knows of the call."""

    from_: Number = Field(default="+919812345610", alias="from")  # the caller
    to: Number = "+918012345678"  # the ExoPhone
    account_sid: Number = "acme1"
    trunk_sid: Number = "trmum1sim"
    call_sid: str = ""  # empty: a new one for each call
    direction: Literal["incoming", "outbound-dial", "inbound"] = "incoming"
    custom_field: Annotated[str, Field(max_length=128)] = ""
    flow_id: str = "sim"
    tenant_id: str = "acme1"
    sip_headers: dict[str, str] = {}  # that StreamKit passes on: X-UUI, X-Custom-Header


class Bot(Model):
    """Where the bot is; ``--bot`` replaces these."""

    sip: Url | None = None  # sip:+918012345678@127.0.0.1:5070;transport=tcp
    stream: Url | None = None  # ws(s) URL, or an http(s) one that answers {"url": ...}
    http: Url | None = None  # base of URLs that begin with "/"


class SipManner(Model):
    """How the SIP leg behaves."""

    codecs: tuple[Literal["PCMA", "PCMU"], ...] = Field(default=("PCMA", "PCMU"), min_length=1)
    srtp: Literal["off", "sdes"] = "off"
    record_route: bool = True  # Record-Route that says transport=tls on any transport
    bye_on_new_connection: bool = True  # requests after the ACK come by another TCP connection
    answer_within_s: Annotated[float, Field(gt=0, le=180)] = 30.0  # then CANCEL
    headers: dict[str, str] = {}  # custom headers of the Connect applet, without "X-"
    call_sid_header: str = "X-Exotel-CallSid"  # spelling on the wire


class StreamManner(Model):
    """How the WebSocket leg behaves."""

    cadence_ms: Literal[20, 40, 60, 100] = 20  # audio in one message
    numbers: Literal["text", "int"] = "text"  # sequence_number, chunk
    names: Literal["snake", "camel"] = "snake"
    rate: Literal[8000, 16000, 24000] = 8000  # Hz, asked for by ?sample-rate=
    declare: Literal["plain", "hz", "khz", "int"] = "plain"  # "8000", "8000Hz", "8kHz", 8000
    encoding: Annotated[str, Field(max_length=32)] = "base64"  # media_format.encoding
    throttled: bool = False  # the account has too many streams: no connection is made
    connect_within_s: Annotated[float, Field(gt=0, le=60)] = 10.0
    retries: Annotated[int, Field(ge=0, le=3)] = 1  # after a failed handshake
    strict: bool = False  # whether what breaks a documented rule fails the call


# --- applets --------------------------------------------------------------------------------------


class Talk(Model):
    """The bot, by whatever transport the scenario runs on: Voicebot or Connect to SIP."""

    caller: tuple[Step, ...] | None = None  # None: the scenario's caller
    custom_params: str = ""  # "a=b&c=d": query of the URL, or X- headers
    record: bool = False  # later requests carry a RecordingUrl


class TalkApplet(Model):
    """``next`` follows when the bot has left, ``no_answer`` when it did not come."""

    talk: Talk
    next: Name | None = None
    no_answer: Name | None = None  # None: as next


class Voicebot(Talk):
    """The Voicebot applet."""

    url: Url | None = None  # None: bot.stream


class VoicebotApplet(Model):
    voicebot: Voicebot
    next: Name | None = None


class ConnectSip(Talk):
    """The Connect applet that dials a vSIP trunk."""

    uri: Url | None = None  # None: bot.sip


class ConnectSipApplet(Model):
    connect_sip: ConnectSip
    next: Name | None = None
    no_answer: Name | None = None


class Stream(Model):
    """The Stream applet: a fork of the audio that nobody answers; the flow goes on at once."""

    action: Literal["start", "stop"] = "start"
    url: Url | None = None  # None: bot.stream


class StreamApplet(Model):
    stream: Stream
    next: Name | None = None


class Passthru(Model):
    """A GET that decides between two ways."""

    url: Url
    encoding: Literal["flat", "json", "json-extra-brace"] = "flat"  # of the Stream fields
    asynchronous: bool = Field(default=False, alias="async")
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 15.0


class PassthruApplet(Model):
    passthru: Passthru
    ok: Name | None = None  # 200
    otherwise: Name | None = None  # any other status, and no answer at all


class Connect(Model):
    """Programmable Connect: a GET that says whom to dial."""

    url: Url
    fallback_url: Url | None = None
    version: Literal["1.0", "1.1"] = "1.0"
    attempts: tuple[Branch, ...] = ("answered",)  # how the dialled parties behave, in order
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0


class ConnectApplet(Model):
    connect: Connect
    talked: Name | None = None
    no_answer: Name | None = None
    not_dialled: Name | None = None


class Greeting(Model):
    """Something is spoken to the caller: nothing of it reaches the bot."""

    ms: Millis = 0  # how long it takes
    hang_up: bool = False  # the caller leaves while it is spoken


class GreetingApplet(Model):
    greeting: Greeting
    next: Name | None = None


class Gather(Model):
    """The caller types keys, which later requests carry as ``digits`` in double quotes."""

    types: Annotated[str, StringConstraints(pattern=r"^[0-9*#]{0,32}$")]


class GatherApplet(Model):
    gather: Gather
    next: Name | None = None


class HangupApplet(Model):
    hangup: None = None


_KINDS: Final = (
    TalkApplet,
    VoicebotApplet,
    ConnectSipApplet,
    StreamApplet,
    PassthruApplet,
    ConnectApplet,
    GreetingApplet,
    GatherApplet,
    HangupApplet,
)
ACTIONS: Final = actions_of(_KINDS)


Applet: TypeAlias = Annotated[
    Annotated[TalkApplet, Tag("TalkApplet")]
    | Annotated[VoicebotApplet, Tag("VoicebotApplet")]
    | Annotated[ConnectSipApplet, Tag("ConnectSipApplet")]
    | Annotated[StreamApplet, Tag("StreamApplet")]
    | Annotated[PassthruApplet, Tag("PassthruApplet")]
    | Annotated[ConnectApplet, Tag("ConnectApplet")]
    | Annotated[GreetingApplet, Tag("GreetingApplet")]
    | Annotated[GatherApplet, Tag("GatherApplet")]
    | Annotated[HangupApplet, Tag("HangupApplet")],
    by_action(ACTIONS, "applet"),
]
AnyTalk: TypeAlias = TalkApplet | VoicebotApplet | ConnectSipApplet


# --- what is expected -----------------------------------------------------------------------------


class StreamExpected(Model):
    """What Passthru is told of the stream; runs over SIP pass these over."""

    status: Literal["completed", "failed", "cancelled"] | None = None
    disconnected_by: Literal["user", "bot", "NA"] | None = None
    detailed_status: str | None = None
    error: str | None = None  # a part of the text


class Expect(Model):
    """What must be true at the end. Times are of the first talk with the bot."""

    answered: bool | None = True  # whether the bot took the call
    first_speech_within_ms: Millis | None = None  # from the answer to the bot's first sound
    min_speech_ms: Millis | None = None  # sound heard of the bot in all
    max_speech_ms: Millis | None = None
    min_duration_ms: Millis | None = None  # from the answer to the end
    max_duration_ms: Millis | None = None
    setup_within_ms: Millis | None = None  # from the INVITE or the connection to the answer
    ended_by: Literal["bot", "caller", "network"] | None = None
    transferred_to: Number | None = None  # number, SIP URI or trunk that Connect was told to dial
    not_transferred: bool = False
    path: tuple[Name, ...] | None = None  # applets in the order of the walk
    stream: StreamExpected = StreamExpected()


class Scenario(Model):
    """A whole scenario. Without ``applets`` the flow is the bot, and then the end."""

    name: Annotated[str, Field(max_length=100)] = ""  # empty: that of the file
    transport: tuple[TransportName, ...] = Field(default=("sip", "stream"), min_length=1)
    call: CallFacts = CallFacts()
    bot: Bot = Bot()
    sip: SipManner = SipManner()
    stream: StreamManner = StreamManner()
    start: Name = "talk"
    applets: dict[Name, Applet] = Field(
        default={"talk": TalkApplet(talk=Talk())}, min_length=1, max_length=MAX_APPLETS
    )
    caller: tuple[Step, ...] = Field(default=(), max_length=MAX_STEPS)
    expect: Expect = Expect()
    limit_s: Annotated[float, Field(gt=0, le=3_600)] = 120.0  # of the whole call
