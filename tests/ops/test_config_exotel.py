"""The sections of Exotel, the store and transfers: what may stand there, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sipbot.errors import ConfigError
from sipbot.ops.config import Config
from sipbot.ops.config_exotel import ExotelConfig, FlowConfig, TransferConfig
from sipbot.yamlmarks import loads, validate

WHOLE = """
store: {url: "sqlite:///calls/all.db", keep_days: null}
exotel:
  secret: s3cret-s3cret
  intent_ttl_s: 60
  sample_rate: 16000
  flows:
    vsip: {transfer: 200, end: 404}
    agentstream: {transfer: 302, end: 200}
transfers:
  front-desk:
    numbers: ["+918012345678", sip:desk@pbx.example]
    one_by_one: true
    caller_id: 08012345670
    custom_params: {ticket: "7", lang: hi}
    record: true
    recording_channels: dual
    max_ringing_s: 45
    max_conversation_s: 3600
    music_on_hold: https://m.example/x.wav
    playback: {to: both, text: One moment}
    events_url: https://bot.example/events
  sales: {trunk: trmum1a, parallel_ringing: 3, music_on_hold: operator_tone}
  agents: {contacts: [{contact_uri: asha}], sticky_agent: true}
  pbx: {uri: "sip:100@pbx.example"}
trunks:
  exotel: {profile: exotel, allow: [203.0.113.0/24], transfer: flow}
"""


def read(text: str) -> Config:
    return validate(Config, loads(text, "bot.yaml"), context={"base": Path("/etc/sipbot")})


def test_everything_at_once() -> None:
    config = read(WHOLE)
    assert config.store.url == "sqlite:////etc/sipbot/calls/all.db"
    assert config.store.keep_days is None
    assert config.exotel.secret is not None
    assert "s3cret" not in repr(config)
    assert config.exotel.flows["agentstream"] == FlowConfig(transfer=302, end=200)
    assert config.transfers["front-desk"].numbers == ("+918012345678", "sip:desk@pbx.example")
    assert config.trunks["exotel"].transfer == "flow"


def test_the_defaults() -> None:
    config = read("")
    assert config.exotel == ExotelConfig()
    assert (FlowConfig().transfer, FlowConfig().end) == (200, 302)
    assert config.store.url is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("store: {url: 'mysql://h/x'}", "store.url = mysql://h/x: must look like sqlite:///FILE"),
        ("store: {url: 'mysql://u:secret@h/x'}", "store.url = mysql://u:***@h/x"),
        ("store: {keep_days: 0}", "store.keep_days = 0"),
        ("exotel: {secret: short}", "exotel.secret = ***"),
        ("exotel: {secret: 'with a / in it'}", "exotel.secret = ***: may hold letters"),
        ("exotel: {flows: {a: {transfer: 200, end: 200}}}", "one of transfer and end must be 200"),
        ("exotel: {flows: {a: {transfer: 404, end: 302}}}", "one of transfer and end must be 200"),
        ("exotel: {flows: {a: {transfer: 500}}}", "exotel.flows.a.transfer = 500"),
        ("exotel: {sample_rate: 44100}", "exotel.sample_rate = 44100"),
        ("transfers: {a: {}}", "transfers.a: needs numbers, trunk, contacts or uri"),
        ("transfers: {a: {record: true}}", "transfers.a: needs numbers, trunk, contacts or uri"),
        ("transfers: {a: {numbers: [front]}}", "transfers.a.numbers[0] = front: must be a number"),
        ("transfers: {a: {numbers: [100, 100]}}", "the same number stands twice"),
        (
            "transfers: {a: {numbers: [100, 101], one_by_one: true, parallel_ringing: 2}}",
            "exclude each other",
        ),
        (
            "transfers: {a: {trunk: t, custom_params: {a: x, b: x, c: x, d: x}}}",
            "Exotel passes on 3 at most",
        ),
        ("transfers: {a: {trunk: t, custom_params: {Exotel-A: x}}}", "are Exotel's own"),
        ("transfers: {a: {trunk: t, custom_params: {X-Veeno-A: x}}}", "are Exotel's own"),
        ("transfers: {a: {trunk: t, custom_params: {a: 'b&c'}}}", "printable ASCII without & and"),
        (
            f"transfers: {{a: {{trunk: t, custom_params: {{a: {'x' * 199}}}}}}}",
            "together they may have 200 bytes",
        ),
        ("transfers: {a: {trunk: t, custom_params: {'a b': x}}}", "a name has letters, digits"),
        ("transfers: {a: {trunk: t, playback: {}}}", "needs one of text and url"),
        ("transfers: {a: {trunk: t, playback: {text: a, url: 'https://x'}}}", "needs one of text"),
        ("transfers: {a: {trunk: t, music_on_hold: jazz}}", "transfers.a.music_on_hold = jazz"),
        ("transfers: {a: {trunk: t, parallel_ringing: 1}}", "transfers.a.parallel_ringing = 1"),
        ("trunks: {a: {allow: [192.0.2.1], transfer: bridge}}", "trunks.a.transfer = bridge"),
    ],
)
def test_mistakes_are_told_with_their_line(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        read(f"# one\n{line}")
    assert all(problem.line == 2 for problem in caught.value.problems)
    assert "secret@" not in str(caught.value)
    assert "short" not in str(caught.value)


def test_the_longest_parameters_that_exotel_takes() -> None:
    assert TransferConfig(trunk="t", custom_params={"a": "x" * 198}).custom_params["a"]
