"""The commands of one SIP session, bound to the driver that carries them out."""

from __future__ import annotations

from sipbot.sip.uri import Uri
from sipbot.transport.driver import SipDriver


class SipControl:
    """What a leg may do with its session. Every method sends at once, or not at all."""

    def __init__(self, driver: SipDriver, session: str) -> None:
        self._driver = driver
        self.session = session

    def ring(self) -> None:
        driver = self._driver
        driver.perform(driver.agent.ring(self.session, driver.now()))

    def answer(self, body: bytes) -> None:
        driver = self._driver
        driver.perform(driver.agent.answer(self.session, body, driver.now()))

    def reject(
        self,
        status: int,
        *,
        reason: str = "",
        retry_after_s: int | None = None,
        warning: str | None = None,
    ) -> None:
        driver = self._driver
        driver.perform(
            driver.agent.reject(
                self.session,
                status,
                driver.now(),
                reason=reason,
                retry_after_s=retry_after_s,
                warning=warning,
            )
        )

    def accept_offer(self, body: bytes) -> None:
        driver = self._driver
        driver.perform(driver.agent.accept_offer(self.session, body, driver.now()))

    def refuse_offer(self, status: int, warning: str) -> None:
        driver = self._driver
        driver.perform(
            driver.agent.refuse_offer(self.session, status, driver.now(), warning=warning)
        )

    def reinvite(self, body: bytes) -> None:
        driver = self._driver
        driver.perform(driver.agent.reinvite(self.session, body, driver.now()))

    def bye(self) -> None:
        driver = self._driver
        driver.perform(driver.agent.bye(self.session, driver.now()))

    def refer(self, target: Uri) -> None:
        driver = self._driver
        driver.perform(driver.agent.refer(self.session, target, driver.now()))
