from __future__ import annotations

from sipbot.sip.ids import MAGIC_COOKIE, CountingIds


def test_counting_ids_never_repeat() -> None:
    ids = CountingIds("x")
    assert [ids.token(), ids.token()] == ["x1", "x2"]
    assert [ids.number(), ids.number()] == [1, 2]


def test_cookie_is_the_one_of_the_rfc() -> None:
    assert MAGIC_COOKIE == "z9hG4bK"
