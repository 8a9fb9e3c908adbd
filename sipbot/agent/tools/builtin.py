"""Tools that act on the call: transfer, hang up, press keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sipbot.agent.ports import Tool
from sipbot.agent.tools.toolbox import RunnableTool, ToolFailed, ToolTurn
from sipbot.call.call import DTMF_DIGITS
from sipbot.call.events import CallEnded
from sipbot.errors import SipbotError

MAX_KEYS: Final = 32  # keys pressed at once


def transfer_tool(targets: Mapping[str, str]) -> RunnableTool:
    """``targets``: names that the model may choose from, and where each leads."""

    async def run(turn: ToolTurn, arguments: Mapping[str, Any]) -> str:
        target = targets.get(str(arguments["to"]))
        if target is None:
            raise ToolFailed(f"to must be one of {', '.join(targets)}")
        turn.close()
        await turn.spoken()
        try:
            await turn.call.transfer(target)
        except CallEnded:
            raise
        except SipbotError as error:  # refused, or this line cannot
            turn.reopen()
            raise ToolFailed("the transfer was refused; the caller is still here") from error
        turn.end()
        return "done"

    to = {"type": "string", "enum": list(targets), "description": "Who to hand the caller to."}
    return RunnableTool(
        Tool(
            "transfer_call",
            "Hand the caller on to somebody. Say so first. The conversation ends then.",
            {"type": "object", "properties": {"to": to}, "required": ["to"]},
        ),
        run,
        acts=True,
    )


def hang_up_tool() -> RunnableTool:
    """Ends the call after the last words."""

    async def run(turn: ToolTurn, arguments: Mapping[str, Any]) -> str:
        turn.close()
        await turn.spoken()
        turn.end()
        return "done"

    return RunnableTool(
        Tool(
            "hang_up",
            "End the call, when the caller wants nothing more. Say goodbye first.",
            {"type": "object", "properties": {}},
        ),
        run,
        acts=True,
    )


def press_keys_tool() -> RunnableTool:
    """Presses keys, to get through somebody else's menu."""

    async def run(turn: ToolTurn, arguments: Mapping[str, Any]) -> str:
        digits = str(arguments["keys"]).upper()
        if not digits or len(digits) > MAX_KEYS or not DTMF_DIGITS.issuperset(digits):
            raise ToolFailed(f"keys must be 1 to {MAX_KEYS} of 0-9, *, #, A-D")
        await turn.spoken()
        await turn.call.send_dtmf(digits)
        return "done"

    keys = {"type": "string", "description": "For example 12#."}
    return RunnableTool(
        Tool(
            "press_keys",
            "Press keys of the telephone towards the other side.",
            {"type": "object", "properties": {"keys": keys}, "required": ["keys"]},
        ),
        run,
        acts=True,
    )
