"""``sipbot check``: a store that cannot be, callbacks that nobody could ask or everybody may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sipbot.ops.checks import Finding, Grade
from sipbot.ops.config import Config
from sipbot.runtime.preflight_exotel import check_exotel, check_store
from tests.databases import Postgres

TRUNKS: dict[str, Any] = {"exotel": {"profile": "exotel", "allow": ["203.0.113.7"]}}
DESK = {"desk": {"numbers": ["100"]}}
OPEN = "http://0.0.0.0:8080"
LOOPBACK = "http://127.0.0.1:8080"


def store(url: str) -> list[tuple[Grade, str]]:
    found = check_store(Config.model_validate({"store": {"url": url}}))
    return [(one.grade, one.message) for one in found]


def test_a_file_that_will_be_made_and_is_not_made_yet(tmp_path: Path) -> None:
    will_be = (Grade.OK, "will be made at the first start")
    assert store(f"sqlite:///{tmp_path}/deep/down/store.db") == [will_be]
    assert list(tmp_path.iterdir()) == []


def test_stores_that_are_there(sqlite_url: str, postgres: Postgres) -> None:
    for url in (sqlite_url, postgres.database()):
        assert store(url) == [(Grade.OK, "can be reached")]


def test_stores_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ((grade, message),) = store(f"sqlite:///{tmp_path}/file/store.db")
    assert (grade, message.endswith(f"cannot be made in {tmp_path}/file")) == (Grade.PROBLEM, True)
    ((grade, _),) = store(f"postgresql://sipbot@/nothing?host={tmp_path}")
    assert grade is Grade.PROBLEM


@pytest.mark.parametrize(
    ("settings", "grade", "part"),
    [
        ({"trunks": TRUNKS, "transfers": DESK}, Grade.WARNING, "need http.listen"),
        ({"trunks": TRUNKS, "http": {"listen": OPEN}}, Grade.WARNING, "without exotel.secret"),
        ({"trunks": TRUNKS, "http": {"listen": LOOPBACK}}, Grade.OK, "answered"),
        (
            {"trunks": TRUNKS, "http": {"listen": OPEN}, "exotel": {"secret": "s3cret-s3cret"}},
            Grade.OK,
            "answered",
        ),
    ],
)
def test_callbacks(settings: dict[str, Any], grade: Grade, part: str) -> None:
    (finding,) = check_exotel(Config.model_validate(settings))
    assert (finding.grade, part in finding.message) == (grade, True)


@pytest.mark.parametrize(
    "settings",
    [
        {"http": {"listen": OPEN}},
        {"trunks": TRUNKS},
        {"trunks": {"exotel": TRUNKS["exotel"] | {"transfer": "refer"}}, "transfers": DESK},
    ],
)
def test_where_exotel_asks_nothing_nothing_is_said(settings: dict[str, Any]) -> None:
    none: list[Finding] = []
    assert list(check_exotel(Config.model_validate(settings))) == none
