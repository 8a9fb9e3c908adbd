"""The trunk interface against the stand-in, with the traps of the real one."""

from __future__ import annotations

import json

import pytest

from sipbot.exotel.rest.errors import (
    Duplicate,
    InvalidRequest,
    NotFound,
    Refused,
    UnreadableAnswer,
)
from sipbot.exotel.rest.trunks import ALIAS
from sipbot.exotel.rest.values import (
    AllowedIp,
    Credential,
    Destination,
    Mode,
    NumberMap,
    PhoneNumber,
)
from sipbot.testing.exotel_api import FakeExotel, Fault
from tests.exotel.rest.kit import NUMBER, client

NAME = "sip.example.com:5061;transport=tls"


async def test_the_life_of_a_trunk() -> None:
    fake = FakeExotel()
    async with client(fake) as exotel:
        trunk = await exotel.trunks.create("front_desk")
        assert trunk.sid.startswith("trmum1")
        assert (trunk.name, trunk.status, trunk.nso_code) == ("front_desk", "active", "ANY-ANY")
        assert (trunk.domain, trunk.secure) == ("acme1.pstn.exotel.com", False)
        assert await exotel.trunks.get(trunk.sid) == trunk
        changed = await exotel.trunks.update(trunk.sid, name="front_desk", auth_type="CREDENTIALS")
        assert changed.auth_type == "CREDENTIALS"
        await exotel.trunks.delete(trunk.sid)
        assert await exotel.trunks.all() == ()
        with pytest.raises(NotFound):
            await exotel.trunks.get(trunk.sid)
        with pytest.raises(NotFound):
            await exotel.trunks.delete(trunk.sid)


async def test_bodies_are_json_with_the_documented_fields() -> None:
    fake = FakeExotel()
    async with client(fake) as exotel:
        trunk = await exotel.trunks.create("front_desk")
        await exotel.trunks.allow_ip(trunk.sid, "1.2.0.0/16")
    create, allow = fake.seen
    assert create.headers["content-type"] == "application/json"
    assert create.path == "/v2/accounts/acme1/trunks"
    assert json.loads(create.body) == {
        "trunk_name": "front_desk",
        "nso_code": "ANY-ANY",
        "domain_name": "acme1.pstn.exotel.com",
    }
    assert json.loads(allow.body) == {"ip": "1.2.0.0", "mask": 16}


@pytest.mark.parametrize("quiet", [True, False])
async def test_a_duplicate_is_told_as_one_whatever_http_says(quiet: bool) -> None:
    fake = FakeExotel()
    fake.trunks.quiet_duplicates = quiet
    async with client(fake) as exotel:
        trunk = await exotel.trunks.create("front_desk")
        with pytest.raises(Duplicate) as caught:
            await exotel.trunks.create("front_desk")
        assert caught.value.http_status == (200 if quiet else 409)
        await exotel.trunks.add_number(trunk.sid, NUMBER, Mode.PSTN)
        with pytest.raises(Duplicate):
            await exotel.trunks.add_number(trunk.sid, NUMBER, Mode.PSTN)
        await exotel.trunks.allow_ip(trunk.sid, "1.2.3.4")
        with pytest.raises(Duplicate):
            await exotel.trunks.allow_ip(trunk.sid, "1.2.3.4")
        await exotel.trunks.add_credential(trunk.sid, "desk", "secret1")
        with pytest.raises(Duplicate):
            await exotel.trunks.add_credential(trunk.sid, "desk", "secret1")


@pytest.mark.parametrize(
    ("name", "options"),
    [("front-desk", {}), ("a" * 17, {}), ("a", {"nso_code": "any any"}), ("a", {"domain": "b.c"})],
)
async def test_a_trunk_that_exotel_does_not_take(name: str, options: dict[str, str]) -> None:
    async with client(FakeExotel()) as exotel:
        with pytest.raises(InvalidRequest) as caught:
            await exotel.trunks.create(name, **options)
    assert caught.value.code == 1002


async def test_numbers_and_their_modes() -> None:
    fake = FakeExotel()
    async with client(fake) as exotel:
        trunk = await exotel.trunks.create("front_desk")
        added = await exotel.trunks.add_number(trunk.sid, NUMBER, Mode.PSTN)
        assert added == PhoneNumber(added.id, NUMBER, Mode.PSTN)
        assert fake.trunks.rows[trunk.sid]["phone-numbers"][0]["mode"] is None  # the trap
        await exotel.trunks.change_number(trunk.sid, added.id, NUMBER, Mode.FLOW)
        (found,) = await exotel.trunks.numbers(trunk.sid)
        assert found.mode is Mode.FLOW
        assert await exotel.trunks.maps(NUMBER) == (NumberMap(NUMBER, trunk.sid, Mode.FLOW),)
        await exotel.trunks.remove_number(trunk.sid, added.id)
        assert await exotel.trunks.maps(NUMBER) == ()
        with pytest.raises(NotFound):
            await exotel.trunks.remove_number(trunk.sid, NUMBER)
        with pytest.raises(InvalidRequest, match=r"E\.164"):
            await exotel.trunks.add_number(trunk.sid, "08012345678", Mode.PSTN)
        with pytest.raises(NotFound):
            await exotel.trunks.add_number("trmum1none", NUMBER, Mode.PSTN)


async def test_an_unknown_map_path_means_no_maps() -> None:
    fake = FakeExotel()
    fake.faults.append(Fault(404))
    async with client(fake) as exotel:
        assert await exotel.trunks.maps(NUMBER) == ()


async def test_allowed_addresses() -> None:
    async with client(FakeExotel()) as exotel:
        trunk = await exotel.trunks.create("front_desk")
        one = await exotel.trunks.allow_ip(trunk.sid, "1.2.3.4")
        assert one == AllowedIp(one.id, "1.2.3.4/32")
        await exotel.trunks.allow_ip(trunk.sid, "1.3.0.0/24")
        assert [ip.network for ip in await exotel.trunks.allowed_ips(trunk.sid)] == [
            "1.2.3.4/32",
            "1.3.0.0/24",
        ]
        with pytest.raises(InvalidRequest, match="between 16 and 32"):
            await exotel.trunks.allow_ip(trunk.sid, "1.0.0.0/8")
        await exotel.trunks.remove_ip(trunk.sid, one.id)
        assert len(await exotel.trunks.allowed_ips(trunk.sid)) == 1


async def test_destinations() -> None:
    async with client(FakeExotel()) as exotel:
        trunk = await exotel.trunks.create("front_desk")
        added = await exotel.trunks.add_destination(trunk.sid, NAME)
        assert added == Destination(added.id, NAME, 0, 1)  # Exotel adds sip:
        await exotel.trunks.change_destination(trunk.sid, added.id, priority=2, weight=5)
        assert await exotel.trunks.destinations(trunk.sid) == (Destination(added.id, NAME, 2, 5),)
        for uri, reason in (
            ("1.2.3.4:5060;transport=tcp", "not whitelisted"),
            ("10.0.0.1:5060;transport=tcp", "not a valid Ip"),
            ("203.0.113.5:5060;transport=tcp", "not a valid Ip"),
            ("sip.example.com:5060;transport=udp", "not a valid Ip"),
        ):
            with pytest.raises(InvalidRequest, match=reason) as caught:
                await exotel.trunks.add_destination(trunk.sid, uri)
            assert (caught.value.http_status, caught.value.status) == (207, 400)
        await exotel.trunks.allow_ip(trunk.sid, "1.2.3.4")
        await exotel.trunks.add_destination(trunk.sid, "1.2.3.4:5060;transport=tcp")
        await exotel.trunks.remove_destination(trunk.sid, added.id)
        assert len(await exotel.trunks.destinations(trunk.sid)) == 1


async def test_credentials() -> None:
    fake = FakeExotel()
    async with client(fake) as exotel:
        trunk = await exotel.trunks.create("front_desk")
        assert await exotel.trunks.credentials(trunk.sid) == ()  # an empty list without metadata
        added = await exotel.trunks.add_credential(trunk.sid, "desk", "secret1", "desk_phone")
        assert await exotel.trunks.credentials(trunk.sid) == (
            Credential(added.id, "desk", "desk_phone"),
        )
        await exotel.trunks.change_credential(trunk.sid, added.id, password="secret2")
        assert fake.trunks.passwords[added.id] == "secret2"
        with pytest.raises(InvalidRequest):  # the documents' own example would fail so
            await exotel.trunks.change_credential(trunk.sid, added.id, friendly_name="a-b")
        await exotel.trunks.remove_credential(trunk.sid, added.id)
        assert fake.seen[-1].query == {"id": added.id}
        assert await exotel.trunks.credentials(trunk.sid) == ()


async def test_credentials_in_the_older_shape() -> None:
    fake = FakeExotel()
    body = {
        "response": {"code": 200, "status": "success", "data": {"username": "t", "password": "x"}}
    }
    async with client(fake) as exotel:
        fake.faults.append(Fault(200, json.dumps(body).encode()))
        assert await exotel.trunks.credentials("t") == (Credential("", "t", ""),)


async def test_settings() -> None:
    async with client(FakeExotel()) as exotel:
        trunk = await exotel.trunks.create("front_desk")
        await exotel.trunks.set_setting(trunk.sid, ALIAS, NUMBER)
        (setting,) = await exotel.trunks.settings(trunk.sid)
        assert (setting.name, setting.value) == (ALIAS, NUMBER)
        with pytest.raises(InvalidRequest):
            await exotel.trunks.set_setting(trunk.sid, "colour", "red")
        await exotel.trunks.remove_setting(trunk.sid, ALIAS)
        assert await exotel.trunks.settings(trunk.sid) == ()


async def test_lists_are_read_to_their_end() -> None:
    fake = FakeExotel()
    async with client(fake) as exotel:
        for index in range(120):
            await exotel.trunks.create(f"t{index}")
        fake.seen.clear()
        assert [one.name for one in await exotel.trunks.all()] == [f"t{n}" for n in range(120)]
    assert [one.query["offset"] for one in fake.seen] == ["0", "50", "100"]


async def test_a_list_that_leads_in_circles_ends() -> None:
    fake = FakeExotel()
    row = {"code": 200, "status": "success", "data": {"trunk_sid": "t"}}
    circle = {"response": [row], "metadata": {"next_page_uri": "/x?offset=0"}}
    fake.faults.append(Fault(200, json.dumps(circle).encode()))
    async with client(fake) as exotel:
        assert len(await exotel.trunks.all()) == 1


async def test_ids_cannot_lead_elsewhere() -> None:
    fake = FakeExotel()
    async with client(fake) as exotel:
        with pytest.raises(Refused):
            await exotel.trunks.numbers("../../v1/Accounts")
    assert fake.seen[0].path == "/v2/accounts/acme1/trunks/..%2F..%2Fv1%2FAccounts/phone-numbers"


async def test_a_foreign_account_and_a_wrong_key() -> None:
    fake = FakeExotel(account_sid="other1")
    async with client(fake) as exotel:
        with pytest.raises(Refused) as caught:
            await exotel.trunks.all()
    assert (caught.value.status, caught.value.code) == (403, 1003)


@pytest.mark.parametrize("body", [b"{}", b'{"response": []}'])
async def test_a_creation_without_a_sid_is_not_taken_for_one(body: bytes) -> None:
    fake = FakeExotel()
    fake.faults.extend([Fault(200, body), Fault(200, body)])
    async with client(fake) as exotel:
        with pytest.raises(UnreadableAnswer, match="trunk_sid"):
            await exotel.trunks.create("front_desk")
        with pytest.raises(UnreadableAnswer, match="no id"):
            await exotel.trunks.add_destination("t", NAME)
