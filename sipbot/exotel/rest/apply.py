"""Makes plans against Exotel, carries them out, and looks whether they had their effect."""

from __future__ import annotations

from collections.abc import Callable

from sipbot.exotel.rest import plan as planning
from sipbot.exotel.rest import state as states
from sipbot.exotel.rest.client import ExotelClient
from sipbot.exotel.rest.errors import Duplicate, StillDiffers, clean
from sipbot.exotel.rest.plan import Kind, Plan, Step, Verb
from sipbot.exotel.rest.trunkfile import TrunkSection


async def plan(
    exotel: ExotelClient, wanted: TrunkSection, *, rotate_passwords: bool = False
) -> Plan:
    """What would have to be done. Reads only. Raises an ``ExotelError``."""
    trunk = await states.find(exotel, wanted.name)
    state = await states.read(exotel, trunk)
    numbers = [one.number for one in wanted.numbers or ()]
    elsewhere = await states.mapped_elsewhere(exotel, state, numbers)
    return planning.make(wanted, state, elsewhere=elsewhere, rotate_passwords=rotate_passwords)


async def apply(
    exotel: ExotelClient, wanted: TrunkSection, steps: Plan, done: Callable[[Step], None]
) -> str:
    """Carry out a plan without problems; ``done`` is told each step. Returns the trunk's sid.

    Raises the ``ExotelError`` of the first step that fails: what was done stays, and a new plan
    holds the rest. "It is there already" is success, since somebody may have been quicker; at the
    end the state is read again, and ``StillDiffers`` raised when it is not as the file says.
    """
    sid = steps.sid or ""
    for step in steps.steps:
        try:
            sid = await step.act(exotel.trunks, sid) or sid
        except Duplicate:
            if step.kind is Kind.TRUNK or step.verb is not Verb.CREATE:
                raise
        done(step)
    left = await plan(exotel, wanted)
    if left.steps:
        texts = [f"{one.verb.value} {one.kind.value} {clean(one.subject)}" for one in left.steps]
        text = f"Exotel took every step, but these are still open: {'; '.join(texts)}"
        raise StillDiffers("bring the trunk to the state of the file", text)
    return sid
