"""SIPp as the callee: a trunk that asks for a password, rings, answers, waits for the BYE.

SIPp checks the digest by itself (``verifyauth``), of Authorization only: a wrong one gets a 403.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Self
from xml.sax.saxutils import quoteattr

from .ports import HOST, free_block, wait_bound
from .process import Program
from .sipp import OFFER

REALM: Final = "pstn.example"
BOUND_S: Final = 10.0  # seconds to listen
EXIT_S: Final = 40.0  # seconds for all calls
_HEADERS: Final = (
    "[last_Via:]",
    "[last_From:]",
    "[last_To:];tag=[pid]callee[call_number]",
    "[last_Call-ID:]",
    "[last_CSeq:]",
)
_CONTACT: Final = "Contact: <sip:callee@[local_ip]:[local_port];transport=[transport]>"
_ANSWER: Final = OFFER.replace("8 0 96", "8 96").replace("a=rtpmap:0 PCMU/8000\n", "")


@dataclass(slots=True)
class Callee:
    """Steps of one call that comes in, in order. Every method returns the scenario itself."""

    steps: list[str] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)

    def invited(self, **checks: str) -> Self:
        """Wait for an INVITE; ``checks`` are names of headers and regular expressions for them."""
        actions = [self._matches(name, pattern) for name, pattern in checks.items()]
        return self._receive("INVITE", *actions)

    def challenge(self, user: str, password: str) -> Self:
        """Ask for a password by 401, and go on only when the right one comes."""
        self._ask(401, "WWW-Authenticate")
        good = self._variable()
        verify = f'<verifyauth assign_to="{good}" username="{user}" password="{password}"/>'
        self._receive("INVITE", verify, attributes=f'test="{good}" next="{good}"')
        self._send("SIP/2.0 403 Wrong password")
        self._receive("ACK")
        self.steps.append('<nop next="end"/>')
        self.steps.append(f'<label id="{good}"/>')
        return self

    def challenge_as_proxy(self) -> Self:
        """Ask by 407. SIPp cannot check the answer: it writes it down, see ``answers``."""
        self._ask(407, "Proxy-Authenticate")
        answer = self._matches("Proxy-Authorization", "Digest .*")
        note = f'<log message="[${self.variables[-1]}]"/>'
        return self._receive("INVITE", answer, note)

    def _ask(self, status: int, header: str) -> None:
        digest = f'{header}: Digest realm="{REALM}", nonce="n{status}", algorithm=MD5, qop="auth"'
        self._send(f"SIP/2.0 {status} Who are you", digest)
        self._receive("ACK")

    def respond(self, status: int) -> Self:
        self._send(f"SIP/2.0 {status} Words", _CONTACT)
        return self

    def answer(self) -> Self:
        """200 with PCMA; wait for the ACK."""
        self._send("SIP/2.0 200 OK", _CONTACT, "Content-Type: application/sdp", body=_ANSWER)
        return self._receive("ACK")

    def refuse(self, status: int) -> Self:
        return self.respond(status)._receive("ACK")

    def hung_up(self) -> Self:
        """Wait for the BYE, and answer it."""
        self._receive("BYE")
        self._send("SIP/2.0 200 OK", tag=False)
        return self

    def xml(self) -> str:
        named = ",".join(self.variables)
        return "\n".join(
            [
                '<?xml version="1.0" encoding="UTF-8"?>',
                '<scenario name="callee">',
                *self.steps,
                '<label id="end"/>',
                *([f'<Reference variables="{named}"/>'] if named else []),
                "</scenario>",
                "",
            ]
        )

    def _receive(self, method: str, *actions: str, attributes: str = "") -> Self:
        action = f"<action>{''.join(actions)}</action>" if actions else ""
        self.steps.append(f'<recv request="{method}" {attributes}>{action}</recv>')
        return self

    def _send(self, *lines: str, body: str = "", tag: bool = True) -> None:
        first, *more = lines
        headers = [one if tag else one.partition(";tag")[0] for one in _HEADERS]
        text = "\n".join([first, *headers, *more, "Content-Length: [len]"]) + "\n\n" + body
        self.steps.append(f"<send><![CDATA[\n\n{text}\n]]></send>")

    def _matches(self, header: str, pattern: str) -> str:
        return (
            f'<ereg regexp={quoteattr(pattern)} search_in="hdr" header="{header}:" '
            'check_it="true" '
            f'assign_to="{self._variable()}"/>'
        )

    def _variable(self) -> str:
        self.variables.append(f"v{len(self.variables) + 1}")
        return self.variables[-1]


class SippCallee(Program):
    """SIPp that waits for ``calls`` calls. ``finish`` raises with SIPp's own reasons."""

    def __init__(
        self,
        scenario: Callee,
        directory: Path,
        transport: Literal["udp", "tcp"] = "udp",
        *,
        calls: int = 1,
    ) -> None:
        self.port = free_block(6)
        path = directory / f"callee-{self.port}.xml"
        path.write_text(scenario.xml())
        self._errors = directory / f"callee-{self.port}.log"
        command = ["sipp", "-sf", str(path), "-m", str(calls), "-nostdin"]
        command += ["-t", "u1" if transport == "udp" else "t1", "-i", HOST, "-p", str(self.port)]
        command += ["-mi", HOST, "-mp", str(self.port + 2)]
        command += ["-trace_err", "-error_file", str(self._errors)]
        self._notes = directory / f"callee-{self.port}.notes"
        command += ["-trace_logs", "-log_file", str(self._notes)]
        command += ["-timeout", f"{int(EXIT_S) - 5}s", "-timeout_error"]
        super().__init__(command, cwd=directory)
        self._transport = transport
        self.uri = f"sip:{HOST}:{self.port};transport={transport}"

    def start(self) -> Self:
        super().start()
        wait_bound(self.port, BOUND_S, self._transport)
        return self

    def answers(self) -> list[str]:
        """Values of the Proxy-Authorization headers that came."""
        return [line.strip() for line in self._notes.read_text().splitlines() if "Digest" in line]

    def finish(self) -> None:
        """Wait until all calls are over."""
        code = self.wait_exit(EXIT_S)
        if code != 0:
            told = self._errors.read_text(errors="replace") if self._errors.exists() else ""
            raise AssertionError(f"SIPp ended with {code}:\n{told[-4000:] or self.output()}")
