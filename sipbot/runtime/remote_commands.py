"""Carries out, on the edge's leg, what a worker's leg was told to do."""

from __future__ import annotations

from sipbot.errors import SipbotError
from sipbot.legs.sip import SipLeg
from sipbot.runtime.link import messages as msg


async def perform(leg: SipLeg, command: msg.Command) -> msg.Reply | None:
    """Do it; returns the reply, where the worker awaits one.

    What the leg refuses goes into the reply, or is dropped where nobody waits for one.
    """
    try:
        return await _perform(leg, command)
    except SipbotError as error:
        if isinstance(command, msg.Answer | msg.Transfer | msg.Press):
            return msg.Reply(command.call, command.request, str(error), False)
        return None


async def _perform(leg: SipLeg, command: msg.Command) -> msg.Reply | None:
    match command:
        case msg.Ring():
            await leg.ring()
        case msg.Answer():
            await leg.answer()
            return msg.Reply(command.call, command.request)
        case msg.Reject():
            await leg.reject(command.status, command.reason)
        case msg.HangUp():
            await leg.hangup(command.reason)
        case msg.Transfer():
            result = await leg.transfer(command.target)
            return msg.Reply(
                command.call, command.request, accepted=result.accepted, detail=result.detail
            )
        case msg.Press():
            await leg.send_dtmf(command.digits, command.duration_ms, command.gap_ms)
            return msg.Reply(command.call, command.request)
        case msg.LoopBack():
            leg.loopback(command.on)
    return None
