"""A trunk brought to the state of a file: steps, order, idempotence, failures half-way."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from sipbot.exotel.rest import apply as applying
from sipbot.exotel.rest import state, trunkfile
from sipbot.exotel.rest.client import ExotelClient
from sipbot.exotel.rest.errors import (
    Duplicate,
    InvalidRequest,
    OutcomeUnknown,
    ServerFault,
    StillDiffers,
)
from sipbot.exotel.rest.plan import Plan, Step
from sipbot.exotel.rest.state import AmbiguousName
from sipbot.exotel.rest.trunkfile import TrunkSection
from sipbot.exotel.rest.values import Mode
from sipbot.testing.exotel_api import FakeExotel, Fault
from tests.exotel.rest.kit import NUMBER, OTHER_NUMBER, Cutting, client

WHOLE = """
  name: front_desk
  numbers: [{number: "+918012345678"}, {number: "+918012345679", mode: flow}]
  allowed_ips: [1.2.3.4, 1.3.0.0/24]
  destinations:
    - {uri: sip.example.com:5061;transport=tls}
    - {uri: 1.2.3.4:5060;transport=tcp, priority: 1, weight: 5}
  credentials: [{user_name: desk, password: s3cret_1, friendly_name: desk_phone}]
  alias: "+918012345678"
"""


def wanted(tmp_path: Path, trunk: str) -> TrunkSection:
    path = tmp_path / "trunk.yaml"
    path.write_text(f"trunk:\n{trunk}")
    return trunkfile.load(path, {}).trunk


def short(plan: Plan) -> list[str]:
    return [f"{one.verb.value} {one.kind.value} {one.subject}" for one in plan.steps]


async def bring(
    exotel: ExotelClient, want: TrunkSection, *, rotate: bool = False
) -> tuple[str, list[str]]:
    plan = await applying.plan(exotel, want, rotate_passwords=rotate)
    assert plan.problems == ()
    done: list[Step] = []
    sid = await applying.apply(exotel, want, plan, done.append)
    assert tuple(done) == plan.steps
    return sid, short(plan)


async def test_a_new_trunk_in_the_documented_order(tmp_path: Path) -> None:
    fake = FakeExotel()
    want = wanted(tmp_path, WHOLE)
    async with client(fake) as exotel:
        sid, steps = await bring(exotel, want)
        assert steps == [
            "create trunk front_desk",
            "create number +918012345678",
            "create number +918012345679",
            "create allowed address 1.2.3.4/32",
            "create allowed address 1.3.0.0/24",
            "create destination sip.example.com:5061;transport=tls",
            "create destination 1.2.3.4:5060;transport=tcp",
            "create credentials desk",
            "create alias +918012345678",
        ]
        found = await state.read(exotel, await state.find(exotel, "front_desk"))
    assert found.trunk is not None
    assert found.trunk.sid == sid
    assert [(one.number, one.mode) for one in found.numbers] == [
        (NUMBER, Mode.PSTN),
        (OTHER_NUMBER, Mode.FLOW),
    ]
    assert [(one.uri, one.priority, one.weight) for one in found.destinations] == [
        ("sip.example.com:5061;transport=tls", 0, 1),
        ("1.2.3.4:5060;transport=tcp", 1, 5),
    ]
    assert [one.friendly_name for one in found.credentials] == ["desk_phone"]
    assert found.alias == NUMBER


async def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    fake = FakeExotel()
    want = wanted(tmp_path, WHOLE)
    async with client(fake) as exotel:
        await bring(exotel, want)
        fake.seen.clear()
        _, steps = await bring(exotel, want)
    assert steps == []
    assert {one.method for one in fake.seen} == {"GET"}


async def test_changes_and_removals(tmp_path: Path) -> None:
    fake = FakeExotel()
    async with client(fake) as exotel:
        sid, _ = await bring(exotel, wanted(tmp_path, WHOLE))
        fake.trunks.trunks[sid]["nso_code"] = "OTHER"
        changed = """
  name: front_desk
  numbers: [{number: "+918012345678", mode: flow}]
  allowed_ips: [1.3.0.0/24]
  destinations: [{uri: sip.example.com:5061;transport=tls, weight: 9}]
  credentials: [{user_name: desk, password: s3cret_1, friendly_name: other}]
  alias: "+918012345679"
"""
        same, steps = await bring(exotel, wanted(tmp_path, changed))
        assert same == sid
        assert steps == [
            "change trunk front_desk",
            "change number +918012345678",
            "change destination sip.example.com:5061;transport=tls",
            "change credentials desk",
            "change alias +918012345679",
            "remove destination 1.2.3.4:5060;transport=tcp",
            "remove allowed address 1.2.3.4/32",
            "remove number +918012345679",
        ]
        nothing = "  {name: front_desk, numbers: [], allowed_ips: [], destinations: [],"
        nothing += " credentials: [], alias: null}"
        _, steps = await bring(exotel, wanted(tmp_path, nothing))
        assert steps == [
            "remove alias +918012345679",
            "remove destination sip.example.com:5061;transport=tls",
            "remove allowed address 1.3.0.0/24",
            "remove credentials desk",
            "remove number +918012345678",
        ]
    assert fake.trunks.rows[sid] == {name: [] for name in fake.trunks.rows[sid]}


async def test_what_the_file_leaves_out_is_left_alone(tmp_path: Path) -> None:
    async with client(FakeExotel()) as exotel:
        await bring(exotel, wanted(tmp_path, WHOLE))
        plan = await applying.plan(exotel, wanted(tmp_path, "  name: front_desk"))
    assert (plan.steps, plan.problems) == ((), ())


async def test_destinations_that_stand_twice_are_thinned_out(tmp_path: Path) -> None:
    async with client(FakeExotel()) as exotel:
        want = wanted(tmp_path, "  {name: a, destinations: [{uri: b.example.com:1;transport=tcp}]}")
        sid, _ = await bring(exotel, want)
        await exotel.trunks.add_destination(sid, "b.example.com:1;transport=tcp")
        _, steps = await bring(exotel, want)
        assert steps == ["remove destination b.example.com:1;transport=tcp"]


async def test_passwords_are_set_again_only_when_asked(tmp_path: Path) -> None:
    fake = FakeExotel()
    async with client(fake) as exotel:
        text = "  {name: a, credentials: [{user_name: desk, password: one}]}"
        await bring(exotel, wanted(tmp_path, text))
        want = wanted(tmp_path, text.replace("one", "two"))
        assert (await bring(exotel, want))[1] == []
        plan = await applying.plan(exotel, want, rotate_passwords=True)
        assert [one.detail for one in plan.steps] == ["new password"]
        assert "two" not in repr(plan)
        await bring(exotel, want, rotate=True)
    assert list(fake.trunks.passwords.values()) == ["two"]


async def test_a_number_of_another_trunk_is_a_problem(tmp_path: Path) -> None:
    async with client(FakeExotel()) as exotel:
        other = await exotel.trunks.create("other")
        await exotel.trunks.add_number(other.sid, NUMBER, Mode.PSTN)
        want = wanted(tmp_path, '  {name: a, numbers: [{number: "+918012345678"}]}')
        plan = await applying.plan(exotel, want)
    assert plan.problems == (
        f"the number {NUMBER} belongs to the trunk {other.sid}; unmap it there first",
    )


async def test_other_problems(tmp_path: Path) -> None:
    async with client(FakeExotel()) as exotel:
        await exotel.trunks.create("a")
        text = "  {name: a, domain: b.c, destinations: [{uri: 1.2.3.4:5060;transport=tcp}]}"
        plan = await applying.plan(exotel, wanted(tmp_path, text))
    assert plan.problems == (
        "the domain of a trunk cannot be changed: it is acme1.pstn.exotel.com",
        "the destination 1.2.3.4:5060;transport=tcp needs its address in allowed_ips",
    )


async def test_a_failure_half_way_and_the_run_after_it(tmp_path: Path) -> None:
    fake = FakeExotel()
    want = wanted(tmp_path, WHOLE)
    fake.faults.append(Fault(500, method="POST", path="whitelisted-ips", after=True))
    async with client(fake) as exotel:
        plan = await applying.plan(exotel, want)
        done: list[Step] = []
        with pytest.raises(ServerFault):
            await applying.apply(exotel, want, plan, done.append)
        assert len(done) == 3
        _, steps = await bring(exotel, want)
        assert steps[0] == "create allowed address 1.3.0.0/24"  # the first one was done after all


async def test_a_creation_without_an_answer_is_found_by_the_next_run(tmp_path: Path) -> None:
    fake = FakeExotel()
    cutting = Cutting(fake)
    want = wanted(tmp_path, "  name: front_desk")
    async with client(fake, transport=cutting) as exotel:
        plan = await applying.plan(exotel, want)
        cutting.script.append(httpx.ReadError("reset"))
        with pytest.raises(OutcomeUnknown):
            await applying.apply(exotel, want, plan, lambda _: None)
        assert (await bring(exotel, want))[1] == []
    assert len(fake.trunks.trunks) == 1


async def test_what_somebody_else_added_meanwhile_is_no_failure(tmp_path: Path) -> None:
    fake = FakeExotel()
    want = wanted(tmp_path, '  {name: a, numbers: [{number: "+918012345678"}]}')
    async with client(fake) as exotel:
        trunk = await exotel.trunks.create("a")
        plan = await applying.plan(exotel, want)
        await exotel.trunks.add_number(trunk.sid, NUMBER, Mode.PSTN)
        assert await applying.apply(exotel, want, plan, lambda _: None) == trunk.sid


async def test_a_trunk_that_somebody_else_made_meanwhile_is_one(tmp_path: Path) -> None:
    want = wanted(tmp_path, "  name: a")
    async with client(FakeExotel()) as exotel:
        plan = await applying.plan(exotel, want)
        await exotel.trunks.create("a")
        with pytest.raises(Duplicate):
            await applying.apply(exotel, want, plan, lambda _: None)


async def test_a_success_without_effect_is_noticed(tmp_path: Path) -> None:
    fake = FakeExotel()
    want = wanted(tmp_path, '  {name: a, numbers: [{number: "+918012345678"}]}')
    good = b'{"response": {"code": 200, "status": "success", "data": {"id": "1"}}}'
    fake.faults.append(Fault(200, good, method="POST", path="phone-numbers"))
    async with client(fake) as exotel:
        plan = await applying.plan(exotel, want)
        with pytest.raises(StillDiffers, match=r"create number \+9180\*{6}78"):
            await applying.apply(exotel, want, plan, lambda _: None)


async def test_an_alias_that_does_not_give_way_is_removed_first(tmp_path: Path) -> None:
    fake = FakeExotel()
    async with client(fake) as exotel:
        await bring(exotel, wanted(tmp_path, '  {name: a, alias: "+918012345678"}'))
        fake.faults.append(Fault(409, method="POST", path="settings"))
        await bring(exotel, wanted(tmp_path, '  {name: a, alias: "+918012345679"}'))
        found = await state.read(exotel, await state.find(exotel, "a"))
    assert found.alias == OTHER_NUMBER


async def test_settings_that_are_not_found_are_none(tmp_path: Path) -> None:
    fake = FakeExotel()
    async with client(fake) as exotel:
        await exotel.trunks.create("a")
        fake.faults.append(Fault(404, path="settings"))
        plan = await applying.plan(exotel, wanted(tmp_path, '  {name: a, alias: "+918012345679"}'))
    assert short(plan) == ["create alias +918012345679"]


async def test_refusals_of_a_creation_reach_the_caller(tmp_path: Path) -> None:
    want = wanted(tmp_path, "  {name: a, domain: b.c}")
    async with client(FakeExotel()) as exotel:
        plan = await applying.plan(exotel, want)
        with pytest.raises(InvalidRequest, match="domain_name"):
            await applying.apply(exotel, want, plan, lambda _: None)


async def test_a_trunk_with_another_way_to_authenticate(tmp_path: Path) -> None:
    fake = FakeExotel()
    want = wanted(tmp_path, "  {name: a, auth_type: CREDENTIALS}")
    async with client(fake) as exotel:
        sid, _ = await bring(exotel, want)
    assert fake.trunks.trunks[sid]["auth_type"] == "CREDENTIALS"


async def test_two_trunks_of_one_name() -> None:
    fake = FakeExotel()
    async with client(fake) as exotel:
        first = await exotel.trunks.create("a")
        second = await exotel.trunks.create("b")
        fake.trunks.trunks[second.sid]["trunk_name"] = "a"
        with pytest.raises(AmbiguousName, match=second.sid):
            await state.find(exotel, "a")
        found = await state.find(exotel, first.sid)
    assert found is not None
    assert found.sid == first.sid
