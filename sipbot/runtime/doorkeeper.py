"""Lets SIP in by source address, and makes every refusal visible without flooding the log."""

from __future__ import annotations

from sipbot.ops.admission import Admission
from sipbot.ops.counters import Counters
from sipbot.ops.logs import Logger
from sipbot.runtime.say_once import SayOnce
from sipbot.sip.effects import Transport


class Doorkeeper:
    """Admission with counters, and one log line for each address and rule.

    ``admit`` and ``dropped`` fit the callbacks of ``SipEndpoint``.
    """

    def __init__(self, admission: Admission, counters: Counters, log: Logger) -> None:
        self._admission, self._counters, self._log = admission, counters, log
        self._once = SayOnce()

    def adopt(self, admission: Admission) -> None:
        """Take other rules; refusals are named anew."""
        self._admission = admission
        self._once.clear()

    def admit(self, ip: str, transport: Transport) -> bool:
        """Whether ``ip`` may talk to us at all."""
        verdict = self._admission.allowed(ip)
        if not verdict.ok:
            self._refused(verdict.rule, ip, transport)
        return verdict.ok

    def dropped(self, rule: str, ip: str) -> None:
        """The transports dropped something from ``ip``."""
        self._refused(rule, ip, None)

    def _refused(self, rule: str, ip: str, transport: Transport | None) -> None:
        self._counters.count("dropped", rule=rule)
        if self._once.is_first(rule, ip):
            self._log.warning("dropped", rule=rule, peer=ip, transport=transport or "", first=True)
