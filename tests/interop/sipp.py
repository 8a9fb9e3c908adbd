"""SIPp as a peer: scenarios written in Python, run as one call with SIPp's own verdict.

A scenario is a list of steps; SIPp keeps the dialog (Call-ID, tags, Contact) itself. The exit code
is SIPp's: 0 when every step happened as written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self
from xml.sax.saxutils import quoteattr

from .ports import HOST, free_block
from .process import Program

EXIT_S = 30.0
_T1_MS = 500
_RECV_TIMEOUT_MS = 8000

OFFER = """\
v=0
o=sipp 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 8 0 96
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:96 telephone-event/8000
a=fmtp:96 0-15
a=ptime:20
a=sendrecv
"""


def offer(*, version: int = 1, direction: str = "sendrecv", formats: str = "8 0 96") -> str:
    """The usual offer with another o= version, direction or format list."""
    return (
        OFFER.replace("o=sipp 1 1 ", f"o=sipp 1 {version} ")
        .replace("a=sendrecv", f"a={direction}")
        .replace("RTP/AVP 8 0 96", f"RTP/AVP {formats}")
    )


@dataclass(slots=True)
class Scenario:
    """Steps of one SIPp call, in order. Every method returns the scenario itself."""

    user: str  # user part that is called
    steps: list[str] = field(default_factory=list)
    cseq: int = 0
    _variables: list[str] = field(default_factory=list)

    # requests

    def request(
        self,
        method: str,
        *,
        body: str = "",
        headers: tuple[str, ...] = (),
        in_dialog: bool = False,
        cseq: int | None = None,
        branch: str = "[branch]",
        content_type: str = "application/sdp",
        attributes: str = "",
    ) -> Self:
        """Send a request; ``headers`` are whole lines, added to the usual ones."""
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        target = "[next_url]" if in_dialog else f"sip:{self.user}@[remote_ip]:[remote_port]"
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch};rport",
            "From: <sip:sipp@[local_ip]:[local_port]>;tag=[pid]SIPp[call_number]",
            f"To: <sip:{self.user}@[remote_ip]:[remote_port]>"
            + ("[peer_tag_param]" if in_dialog else ""),
            "Call-ID: [call_id]",
            f"CSeq: {cseq} {method}",
            "Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>",
            "Max-Forwards: 70",
            *headers,
            *([f"Content-Type: {content_type}"] if body else []),
            "Content-Length: [len]",
        ]
        text = "\n".join(lines) + "\n\n" + body
        self.steps.append(f"<send {attributes}><![CDATA[\n\n{text}\n]]></send>")
        return self

    def invite(self, body: str = OFFER, **options: object) -> Self:
        return self.request("INVITE", body=body, attributes=_RESEND, **options)  # type: ignore[arg-type]

    def ack(self, *, body: str = "") -> Self:
        """Acknowledge the last INVITE's 2xx."""
        return self.request("ACK", in_dialog=True, cseq=self.cseq, body=body)

    def ack_failure(self) -> Self:
        """Acknowledge a final response that is no 2xx: same branch as the INVITE (17.1.1.3)."""
        lines = [
            f"ACK sip:{self.user}@[remote_ip]:[remote_port] SIP/2.0",
            "[last_Via:]",
            "[last_From:]",
            "[last_To:]",
            "Call-ID: [call_id]",
            f"CSeq: {self.cseq} ACK",
            "Max-Forwards: 70",
            "Content-Length: 0",
        ]
        self.steps.append("<send><![CDATA[\n\n" + "\n".join(lines) + "\n\n]]></send>")
        return self

    def bye(self) -> Self:
        self.request("BYE", in_dialog=True, attributes=_RESEND)
        return self.response(200)

    # what must come

    def response(
        self,
        status: int,
        *,
        optional: bool = False,
        matches: dict[str, str] | None = None,
        body_matches: str = "",
    ) -> Self:
        """Wait for a response. ``matches``: header name to a regular expression that it obeys."""
        checks = [
            self._check("hdr", pattern, f" header={quoteattr(name + ':')}")
            for name, pattern in (matches or {}).items()
        ]
        if body_matches:
            checks.append(self._check("body", body_matches, ""))
        action = f"<action>{''.join(checks)}</action>" if checks else ""
        # rrs: remember Contact and Record-Route, for [next_url]
        dialog = ' rrs="true"' if 180 <= status < 300 and not optional else ""
        flags = ' optional="true"' if optional else dialog
        self.steps.append(f'<recv response="{status}"{flags}>{action}</recv>')
        return self

    def _check(self, where: str, pattern: str, extra: str) -> str:
        name = f"v{len(self._variables)}"
        self._variables.append(name)
        return (
            f'<ereg regexp={quoteattr(pattern)} search_in="{where}"{extra} '
            f'check_it="true" assign_to="{name}"/>'
        )

    def ringing(self) -> Self:
        """Provisional responses that may or may not come before the final one."""
        return self.response(100, optional=True).response(180, optional=True)

    def answered(self, **checks: object) -> Self:
        return self.ringing().response(200, **checks)  # type: ignore[arg-type]

    def incoming(self, method: str) -> Self:
        """Wait for a request of the server and answer it with 200."""
        self.steps.append(f'<recv request="{method}"/>')
        lines = [
            "SIP/2.0 200 OK",
            "[last_Via:]",
            "[last_From:]",
            "[last_To:]",
            "[last_Call-ID:]",
            "[last_CSeq:]",
            "Content-Length: 0",
        ]
        self.steps.append("<send><![CDATA[\n\n" + "\n".join(lines) + "\n\n]]></send>")
        return self

    # time and sound

    def pause(self, milliseconds: int) -> Self:
        self.steps.append(f'<pause milliseconds="{milliseconds}"/>')
        return self

    def press(self, keys: str) -> Self:
        """Press keys as RFC 4733 events (SIPp sends payload type 96)."""
        self.steps.append(f'<nop><action><exec play_dtmf="{keys}"/></action></nop>')
        return self

    def xml(self) -> str:
        reference = ""
        if self._variables:
            reference = f'<Reference variables="{",".join(self._variables)}"/>'
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="test">\n'
            + "\n".join(self.steps)
            + f"\n{reference}\n</scenario>\n"
        )


_RESEND = f'retrans="{_T1_MS}"'


def run(
    scenario: Scenario,
    directory: Path,
    port: int,
    transport: Literal["udp", "tcp"] = "udp",
    *,
    calls: int = 1,
) -> None:
    """Run the scenario against 127.0.0.1:``port``; raise AssertionError with SIPp's own reasons."""
    path = directory / "scenario.xml"
    path.write_text(scenario.xml())
    errors = directory / "errors.log"
    local = free_block(6)
    command = ["sipp", f"{HOST}:{port}", "-sf", str(path), "-m", str(calls), "-nostdin"]
    command += ["-t", "u1" if transport == "udp" else "t1", "-i", HOST, "-p", str(local)]
    command += ["-mi", HOST, "-mp", str(local + 2)]
    command += ["-trace_err", "-error_file", str(errors)]
    command += ["-recv_timeout", str(_RECV_TIMEOUT_MS), "-timeout", f"{int(EXIT_S) - 5}s"]
    command += ["-timeout_error"]
    with Program(command, cwd=directory) as program:
        code = program.wait_exit(EXIT_S)
    if code != 0:
        told = errors.read_text(errors="replace") if errors.exists() else program.output()
        raise AssertionError(f"SIPp ended with {code}:\n{told[-4000:]}")
