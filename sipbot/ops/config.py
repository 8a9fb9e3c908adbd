"""The configuration of ``sipbot run``: what may stand in ``sipbot.yaml``, with every default.

Each field's docstring is its documentation: ``docs/configuration.md`` and the JSON Schema are made
from it. Units stand in the names (``_s``, ``_ms``) or in the text. ``sipbot.ops.load`` reads files.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sipbot.ops.config_agents import VoiceAgentConfig
from sipbot.ops.config_exotel import (
    ExotelConfig,
    StoreConfig,
    TransferConfig,
    TransferStrategy,
)
from sipbot.ops.config_http import HttpConfig, StreamConfig
from sipbot.ops.config_outbound import OutboundConfig, check_reachable
from sipbot.ops.config_realtime import RealtimeAgentConfig
from sipbot.ops.section import Name, NotEmpty, Seconds, Section, matching, not_empty
from sipbot.ops.values import FilePath, ListenUrl, Network, Ports

MAX_WORKERS: Final = 64  # processes
HIGHEST_CALLS: Final = 20_000  # calls; more than the RTP ports of one address can carry
ENTRY_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$"


def _workers(value: object) -> object:
    if value == "auto" or (str(value).isdecimal() and int(str(value)) <= MAX_WORKERS):
        return value
    raise ValueError(f"must be auto or a whole number from 0 to {MAX_WORKERS}")


Workers = Annotated[
    Literal["auto"] | Annotated[int, Field(ge=0, le=MAX_WORKERS)], BeforeValidator(_workers)
]
Entry = Annotated[
    str,
    matching(ENTRY_PATTERN, "must look like package.module:Class"),
    Field(examples=["mypackage.bot:Receptionist"], json_schema_extra={"pattern": ENTRY_PATTERN}),
]
CodecName: TypeAlias = Literal["PCMA", "PCMU"]


class TlsConfig(Section):
    """Certificates of the TLS listeners and of calls made over TLS."""

    certificate: FilePath | None = None
    """PEM file with the certificate and its chain. Absent: a self-signed pair is made, with a
    warning."""
    private_key: FilePath | None = None
    """PEM file with the key of `certificate`."""
    ca: FilePath | None = None
    """PEM file with the authorities trusted for connections that sipbot opens. Absent: those of
    the system."""
    verify: bool = True
    """Whether connections that sipbot opens need a valid certificate of the peer."""

    @model_validator(mode="after")
    def _both_or_none(self) -> TlsConfig:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key must be given together")
        return self


class TimersConfig(Section):
    """SIP timers of RFC 3261 section 17. The defaults are the RFC's; keep them on the Internet."""

    t1_ms: int = Field(default=500, ge=50, le=5_000)
    """Estimate of the round trip, in ms: first retransmission after this time, give up after 64
    times this."""
    t2_ms: int = Field(default=4_000, ge=100, le=60_000)
    """Longest interval between retransmissions, in ms."""
    t4_ms: int = Field(default=5_000, ge=100, le=60_000)
    """How long a message may stay in the network, in ms."""


class SipConfig(Section):
    """SIP signalling."""

    listen: Annotated[tuple[ListenUrl, ...], *NotEmpty] = Field(
        default=("udp://127.0.0.1:5070", "tcp://127.0.0.1:5070", "tls://127.0.0.1:5061"),
        validate_default=True,
    )
    """Where to take SIP: a list of `udp://ADDRESS:PORT`, `tcp://…` and `tls://…`. Use `0.0.0.0` or
    `[::]` for all addresses of the machine."""
    tls: TlsConfig = TlsConfig()
    """Certificates."""
    public_address: str = Field(default="auto", min_length=1, max_length=253)
    """Address or name to advertise in Contact and SDP, where the machine is behind NAT. `auto`
    uses the address that the call came in by."""
    timers: TimersConfig = TimersConfig()
    """SIP timers."""
    session_expires_s: int = Field(default=1_800, ge=90, le=86_400)
    """Longest time between session refreshes (RFC 4028), in seconds."""
    min_session_expires_s: int = Field(default=90, ge=90, le=86_400)
    """Shortest refresh interval accepted from a peer (Min-SE), in seconds."""
    user_agent: str = Field(
        default="sipbot", min_length=1, max_length=64, pattern=r"^[\x20-\x7e]+$"
    )
    """Text of the Server and User-Agent headers."""

    @model_validator(mode="after")
    def _consistent(self) -> SipConfig:
        if self.min_session_expires_s > self.session_expires_s:
            raise ValueError("min_session_expires_s must not exceed session_expires_s")
        fixed = [str(one) for one in self.listen if one.port]
        twice = sorted({one for one in fixed if fixed.count(one) > 1})
        if twice:
            raise ValueError(f"the same listener stands twice in listen: {', '.join(twice)}")
        return self


class MediaConfig(Section):
    """RTP audio."""

    ports: Ports = Field(default="10000-20000", validate_default=True)
    """UDP ports for RTP and RTCP, two for each call, both ends included. Open them in the
    firewall."""
    codecs: Annotated[tuple[CodecName, ...], *NotEmpty] = ("PCMA", "PCMU")
    """Codecs in the order of preference."""
    srtp: Literal["off", "optional", "required"] = "optional"
    """SRTP with keys in the SDP (SDES): `off` refuses it, `optional` follows the caller's offer,
    `required` refuses plain RTP."""
    timeout_s: Seconds = 30.0
    """Seconds without any RTP from the peer after which a call is ended. Time on hold does not
    count."""
    initial_timeout_s: Seconds = 60.0
    """The same for a call in which no RTP ever arrived, in seconds from the answer."""
    latch_window_s: float = Field(default=5.0, ge=0, le=60)
    """Seconds after the answer in which RTP from another address than the SDP names may be
    adopted, once (a caller behind NAT). 0 turns this off."""

    @model_validator(mode="after")
    def _each_codec_once(self) -> MediaConfig:
        if len(set(self.codecs)) != len(self.codecs):
            raise ValueError("each codec may stand once in codecs")
        return self


class LimitsConfig(Section):
    """What one sipbot takes on. Beyond a limit calls are answered with 503 and Retry-After."""

    max_calls: int = Field(default=500, ge=1, le=HIGHEST_CALLS)
    """Calls at the same time."""
    max_cpu_percent: float | None = Field(default=85.0, ge=1, le=10_000)
    """CPU of one process, in percent of a core over 1.5 seconds, above which it gets no new calls.
    New calls are refused while the process that carries the audio is above it, or every worker.
    `null`: no limit."""
    max_tick_lateness_ms: float | None = Field(default=20.0, ge=1, le=1_000)
    """Lateness of the media clock, in ms over 1.5 seconds, above which new calls are refused: one
    tick in a hundred may be later. `null`: no limit."""
    worker_memory_mb: int | None = Field(default=2_048, ge=64, le=1_048_576)
    """Memory of one worker process, in MB, above which it is replaced: it takes no new calls and
    goes when its last one is over. At one and a half times as much it is ended at once. `null`:
    no limit."""
    worker_hang_s: Seconds = 30.0
    """Seconds without a sign of life after which a worker process is ended and replaced. One that
    is silent for a second gets no new calls."""
    max_calls_per_trunk: int | None = Field(default=None, ge=1, le=HIGHEST_CALLS)
    """Calls at the same time from each trunk, unless the trunk has its own `max_calls`."""
    retry_after_s: int = Field(default=10, ge=1, le=3_600)
    """Seconds that a refused caller is told to wait (Retry-After)."""


class RingConfig(Section):
    """Ringing before the answer."""

    min_ms: int = Field(default=0, ge=0, le=60_000)
    """Shortest time between 180 Ringing and the answer, in ms. 0 answers as soon as the agent is
    ready."""


class CallConfig(Section):
    """The life of each call."""

    max_duration_s: Seconds = 3_600.0
    """Longest call, in seconds from the answer; then sipbot hangs up."""
    prepare_timeout_s: Seconds = 10.0
    """Longest time that an agent may take to get ready before the call is answered, in seconds."""
    drain_timeout_s: Seconds = 10.0
    """Longest time to wait at the end until the last words were heard, in seconds."""
    drain_s: Seconds = 30.0
    """How long calls may go on after SIGTERM, in seconds. New ones are answered with 503. A second
    SIGTERM ends them at once."""
    ring: RingConfig = RingConfig()
    """Ringing before the answer."""
    apology: str = Field(
        default="Sorry, something went wrong on our side. Please call again later.",
        max_length=500,
    )
    """Spoken when an agent fails, before the call ends. Empty: nothing is said."""
    lost_apology: str = Field(default="Sorry, please call again.", max_length=200)
    """Spoken to callers whose worker process died, up to 10 seconds of it. Empty: nothing is
    said."""
    lost_transfer: str | None = Field(default=None, pattern=r"^sips?:[^\s]+$", max_length=256)
    """SIP URI that callers are transferred to after `lost_apology`. Absent: the call ends."""


class SpeechConfig(Section):
    """How sipbot speaks, with espeak-ng."""

    voice: str = Field(default="en-gb", min_length=1, max_length=64)
    """Voice, as espeak-ng names it: `en-gb`, `en-us`, `hi`, `ta`, `en-us+f3` …"""
    words_per_minute: int = Field(default=155, ge=80, le=450)
    """Speed."""
    volume: int = Field(default=100, ge=0, le=200)
    """Loudness; 100 is espeak-ng's usual."""
    pitch: int = Field(default=50, ge=0, le=100)
    """Height of the voice; 50 is its own."""


class TrunkConfig(Section):
    """A named peer whose calls are taken, known by the addresses that it calls from."""

    profile: Literal["generic", "exotel"] = "generic"
    """What kind of peer this is. It decides how `transfer: auto` transfers; otherwise both are
    served the same way: what Exotel needs harms nobody else."""
    transfer: TransferStrategy = "auto"
    """How callers are sent on. `refer`: by SIP. `flow`: the call ends, and Exotel's flow asks
    `/exotel/passthru` and `/exotel/connect` where to go on. `auto`: `flow` for the profile
    `exotel` and for streams, else `refer`."""
    allow: Annotated[tuple[Network, ...], *NotEmpty] = ()
    """Addresses and networks that the trunk's SIP and streams come from. The longest matching
    prefix of all trunks decides. May be left out for a trunk whose streams bring user and
    password."""
    max_calls: int | None = Field(default=None, ge=1, le=HIGHEST_CALLS)
    """Calls at the same time from this trunk. Absent: `limits.max_calls_per_trunk`."""
    stream: StreamConfig = StreamConfig()
    """AgentStream WebSockets of this trunk."""
    outbound: OutboundConfig | None = None
    """Calls that sipbot makes through this trunk. Absent: none."""

    empty_means_defaults: ClassVar[bool] = False

    @model_validator(mode="after")
    def _somebody_may_call(self) -> TrunkConfig:
        if not self.allow and self.stream.user is None:
            raise ValueError("allow must hold at least one address, or stream user and password")
        check_reachable(self.outbound, self.allow)
        return self


class EchoAgentConfig(Section):
    """Plays back what the caller says, through the whole path that agents use."""

    type: Literal["echo"]
    """Always `echo`."""


class LoopbackAgentConfig(Section):
    """Plays back what the caller says inside the media plane, for measurements."""

    type: Literal["loopback"]
    """Always `loopback`."""


class FlowAgentConfig(Section):
    """A spoken menu from a YAML file, see `docs/writing-agents.md`."""

    type: Literal["flow"]
    """Always `flow`."""
    file: FilePath
    """The flow, relative to this configuration file."""


class PythonAgentConfig(Section):
    """An agent written in Python, see `docs/writing-agents.md`."""

    type: Literal["python"]
    """Always `python`."""
    entry: Entry
    """`package.module:Class`. The directory of the configuration file is on the import path."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Handed to the class as keyword arguments."""


AgentConfig = Annotated[
    EchoAgentConfig
    | LoopbackAgentConfig
    | FlowAgentConfig
    | PythonAgentConfig
    | VoiceAgentConfig
    | RealtimeAgentConfig,
    Field(discriminator="type"),
]


class RouteConfig(Section):
    """One rule: the first route whose conditions all hold picks the agent.

    Conditions are exact texts in which `*` stands for any text. Numbers fit in whichever form they
    are written: `+918064061518` fits `08064061518`. A route without conditions takes every call.
    """

    agent: str
    """Name of the agent that gets the call."""
    to: str | None = None
    """Called number or name: the user part of the Request-URI or of To."""
    from_: str | None = Field(default=None, alias="from")
    """Caller: the user part of From or of P-Asserted-Identity."""
    trunk: str | None = None
    """Name of the trunk that the call came by."""
    header: dict[str, str] = Field(default_factory=dict)
    """Header names and the text that each must hold."""
    path: str | None = None
    """Path of the WebSocket request. SIP calls have none, so such a route never takes them."""

    empty_means_defaults: ClassVar[bool] = False


class LoggingConfig(Section):
    """Logs, written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important level that is shown."""
    format: Literal["auto", "json", "text"] = "auto"
    """`json` is one object a line, `text` is for people; `auto` is text on a terminal, else
    json."""
    agent_errors: bool = False
    """Whether texts of agents' exceptions are logged. They may hold what callers said; without,
    only the kind of exception and the place are."""


def _default_agents() -> dict[str, AgentConfig]:
    return {"echo": EchoAgentConfig(type="echo")}


class Config(Section):
    """The whole file. Every section may be left out."""

    sip: SipConfig = SipConfig()
    """SIP signalling."""
    media: MediaConfig = MediaConfig()
    """RTP audio."""
    http: HttpConfig = HttpConfig()
    """HTTP interface."""
    workers: Workers = "auto"
    """Processes for agents, apart from the one that carries audio and signalling, so that no agent
    disturbs another's calls. `auto`: one for each core but one, at least one (Linux; elsewhere 0).
    0: everything in one process, for debugging."""
    limits: LimitsConfig = LimitsConfig()
    """What one sipbot takes on."""
    call: CallConfig = CallConfig()
    """The life of each call."""
    speech: SpeechConfig = SpeechConfig()
    """How sipbot speaks."""
    trunks: dict[Name, TrunkConfig] = Field(default_factory=dict)
    """Peers by name. With none, only loopback and private addresses may call; with any, only
    trunks may."""
    agents: Annotated[dict[Name, AgentConfig], AfterValidator(not_empty)] = Field(
        default_factory=_default_agents
    )
    """Agents by name. Absent: one agent `echo`."""
    transfers: dict[Name, TransferConfig] = Field(default_factory=dict)
    """Destinations of transfers by name."""
    routes: tuple[RouteConfig, ...] = ()
    """Which agent gets which call: the first match wins, no match is answered with 404. Absent: the
    only agent gets every call."""
    exotel: ExotelConfig = ExotelConfig()
    """Exotel's callbacks and applets."""
    store: StoreConfig = StoreConfig()
    """Where calls are kept."""
    logging: LoggingConfig = LoggingConfig()
    """Logs."""
