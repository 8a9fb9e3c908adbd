"""The lab files in ``asterisk/``: every name that is referred to exists, the ports agree."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest
import yaml

from .process import REPO

FOLDER = REPO / "asterisk"
# Options of Asterisk 20 that the lab uses, by section type (res_pjsip documentation).
KNOWN = {
    "global": {"type", "user_agent", "endpoint_identifier_order"},
    "transport": {
        "type", "protocol", "bind", "cert_file", "priv_key_file", "method", "verify_server",
    },
    "endpoint": {
        "type", "context", "disallow", "allow", "dtmf_mode", "direct_media", "rtp_symmetric",
        "from_domain", "send_pai", "trust_id_outbound", "sdp_owner", "timers", "100rel",
        "allow_transfer", "transport", "aors", "auth", "media_encryption", "force_rport",
        "rewrite_contact",
    },
    "aor": {"type", "contact", "qualify_frequency", "max_contacts", "remove_existing"},
    "auth": {"type", "auth_type", "username", "password"},
}  # fmt: skip


@dataclass(slots=True)
class Section:
    name: str
    is_template: bool
    options: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.options.get("type", "")


def lines_of(name: str) -> list[str]:
    """Lines without comments. A semicolon behind a backslash is text."""
    text = (FOLDER / name).read_text()
    bare = (re.split(r"(?<!\\);", line)[0].strip() for line in text.splitlines())
    return [line for line in bare if line]


def sections(name: str) -> list[Section]:
    """Read an Asterisk file with templates: ``[name](!)`` and ``[name](template)``."""
    found: list[Section] = []
    for line in lines_of(name):
        head = re.fullmatch(r"\[([^]]+)\](?:\(([^)]*)\))?", line)
        if head is None:
            key, equals, value = line.partition("=")
            assert equals, line
            found[-1].options[key.strip()] = value.strip().replace("\\;", ";")
            continue
        parents = [p for p in (head[2] or "").split(",") if p]
        section = Section(head[1], "!" in parents)
        for parent in parents:
            if parent != "!":
                template = next(s for s in found if s.name == parent)
                assert template.is_template, f"{parent} is no template"
                section.options.update(template.options)
        found.append(section)
    return found


def of_kind(kind: str) -> dict[str, Section]:
    return {s.name: s for s in sections("pjsip.conf") if s.kind == kind and not s.is_template}


def test_every_option_is_known_for_its_section() -> None:
    for section in sections("pjsip.conf"):
        assert section.kind in KNOWN, section
        assert set(section.options) <= KNOWN[section.kind], section


def test_names_are_unique_within_a_kind() -> None:
    seen = [(s.kind, s.name) for s in sections("pjsip.conf")]
    assert len(seen) == len(set(seen))


def test_endpoints_refer_to_what_exists() -> None:
    contexts = {s.name for s in dialplan_sections()}
    endpoints = of_kind("endpoint")
    assert {"exotel-tcp", "exotel-tls", "exotel-tls-plain", "sipbot", "6001"} <= set(endpoints)
    for endpoint in endpoints.values():
        assert endpoint.options["transport"] in of_kind("transport")
        assert set(endpoint.options["aors"].split(",")) <= set(of_kind("aor"))
        assert endpoint.options.get("auth", "6001-auth") in of_kind("auth")
        assert endpoint.options["context"] in contexts
        assert endpoint.options["allow"] == "alaw,ulaw"


@pytest.mark.parametrize(
    ("endpoint", "transport", "encryption"),
    [
        ("exotel-tcp", "tcp", "no"),
        ("exotel-tls", "tls", "sdes"),
        ("exotel-tls-plain", "tls", "no"),
    ],
)
def test_exotel_side(endpoint: str, transport: str, encryption: str) -> None:
    options = of_kind("endpoint")[endpoint].options
    assert options["from_domain"] == "exotelt.pstn.exotel.com"
    assert options["send_pai"] == options["trust_id_outbound"] == "yes"
    assert options["media_encryption"] == encryption
    assert of_kind("transport")[options["transport"]].options["protocol"] == transport
    assert of_kind("aor")[options["aors"]].options["contact"].endswith(f";transport={transport}")


def test_ports_agree_with_the_default_configuration() -> None:
    listen = yaml.safe_load((REPO / "config" / "sipbot.yaml").read_text())["sip"]["listen"]
    contacts = {
        aor.options["contact"] for aor in of_kind("aor").values() if "contact" in aor.options
    }
    for contact in contacts:
        found = re.fullmatch(r"sip:(?:\w+@)?([\d.]+:\d+);transport=(\w+)", contact)
        assert found is not None, contact
        assert f"{found[2]}://{found[1]}" in listen
    ours = {str(url).rpartition(":")[2] for url in listen}
    for transport in of_kind("transport").values():
        assert transport.options["bind"].rpartition(":")[2] not in ours


def test_rtp_ports_do_not_meet() -> None:
    media = yaml.safe_load((REPO / "config" / "sipbot.yaml").read_text())["media"]["ports"]
    options = sections("rtp.conf")[0].options
    assert int(options["rtpstart"]) > int(str(media).partition("-")[2])
    assert int(options["rtpstart"]) < int(options["rtpend"])


@dataclass(slots=True)
class Context:
    name: str
    extensions: dict[str, list[str]] = field(default_factory=dict)  # name -> applications


def dialplan_sections() -> list[Context]:
    found: list[Context] = []
    current: list[str] = []
    for line in lines_of("extensions.conf"):
        if head := re.fullmatch(r"\[([^]]+)\]", line):
            found.append(Context(head[1]))
        elif first := re.fullmatch(r"exten => ([^,]+),1,(.+)", line):
            current = found[-1].extensions.setdefault(first[1], [])
            assert not current, f"{first[1]} stands twice"
            current.append(first[2])
        elif more := re.fullmatch(r"same => n(?:\(\w+\))?,(.+)", line):
            current.append(more[1])
        else:
            assert found[-1].name in ("general", "globals"), line
    return found


def test_dialplan_targets_exist() -> None:
    plan = {context.name: context for context in dialplan_sections()}
    endpoints = set(of_kind("endpoint"))
    everything = [
        application
        for context in plan.values()
        for applications in context.extensions.values()
        for application in applications
    ]
    for application in everything:
        assert application.count("(") == application.count(")")
        if subroutine := re.match(r"Gosub\(([\w-]+),(\w+),1\(([\w-]+)\)\)", application):
            assert subroutine[2] in plan[subroutine[1]].extensions
            assert subroutine[3] in endpoints
        if handler := re.search(r"b\(([\w-]+)\^(\w+)\^1\)", application):
            assert plan[handler[1]].extensions[handler[2]][-1] == "Return()"
        if dialled := re.match(r"Dial\(PJSIP/([\w-]+),", application):
            assert dialled[1] in endpoints
    assert sum(application.startswith("Gosub(") for application in everything) == 3


def test_exotel_headers_are_set() -> None:
    plan = {context.name: context for context in dialplan_sections()}
    text = "\n".join(plan["exotel-headers"].extensions["s"])
    for header in ("X-Exotel-CallSid", "X-Exotel-LegSid", "X-Exotel-TrunkSid", "P-Early-Media"):
        assert f"PJSIP_HEADER(add,{header})" in text


def test_transfer_target_of_the_reception_exists() -> None:
    plan = {context.name: context for context in dialplan_sections()}
    assert "front-desk" in plan["phones"].extensions
