"""The status inside counts; batches are judged item by item; lists come in pages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.exotel.rest import envelope, v1
from sipbot.exotel.rest.errors import (
    AuthenticationFailed,
    Duplicate,
    ExotelError,
    InvalidRequest,
    NotAllowed,
    NotFound,
    PartlyRefused,
    RateLimited,
    Refused,
    ServerFault,
    UnreadableAnswer,
    clean,
    refusal_class,
)
from sipbot.exotel.rest.requester import Answer, Request

REQUEST = Request("do it", "POST", "https://api.in.exotel.com/x", secrets=("s3cret",))


def answer(content: Any, status: int = 200) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Answer(status, {}, body)


def inner(code: int, status: str, error: Any = None, data: Any = None) -> dict[str, Any]:
    return {"code": code, "status": status, "error_data": error, "data": data}


def whole(response: Any, http_code: int = 200, **more: Any) -> dict[str, Any]:
    return {"request_id": "abc", "http_code": http_code, "response": response, **more}


DUPLICATE = {"code": 1008, "message": "Duplicate resource", "description": "Unable to create"}


def test_a_failure_within_http_200() -> None:
    content = whole(inner(409, "failure", DUPLICATE))
    with pytest.raises(Duplicate) as caught:
        envelope.one(REQUEST, answer(content))
    error = caught.value
    assert (error.http_status, error.status, error.code, error.request_id) == (
        200,
        409,
        1008,
        "abc",
    )
    assert str(error) == (
        "cannot do it: Duplicate resource: Unable to create"
        " (HTTP 200, status 409 inside, code 1008, request abc)"
    )


def test_a_success() -> None:
    content = whole(inner(200, "success", data={"id": "1"}))
    assert envelope.one(REQUEST, answer(content)) == {"id": "1"}


@pytest.mark.parametrize("content", [whole(inner(200, "success")), b"", {}, whole(None)])
def test_a_success_without_data(content: Any) -> None:
    assert envelope.one(REQUEST, answer(content)) == {}


def test_success_said_within_a_failed_http_status_is_none() -> None:
    with pytest.raises(ServerFault):
        envelope.one(REQUEST, answer(whole(inner(200, "success")), 500))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, 1000, InvalidRequest),  # the documents disagree about the codes: the status counts
        (409, 1002, Duplicate),
        (404, 1003, NotFound),
        (403, 1011, NotAllowed),
        (401, 1010, AuthenticationFailed),
        (415, 1011, InvalidRequest),
        (422, 1020, InvalidRequest),
        (429, 1030, RateLimited),
        (503, 1000, ServerFault),
        (200, 1008, Duplicate),
        (402, None, Refused),
    ],
)
def test_classes(status: int, code: int | None, kind: type[Refused]) -> None:
    assert refusal_class(status, code) is kind


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"Authorization failed", "Authorization failed"),
        (b"<html>nope</html>", "Exotel gave no reason"),
        (b'{"message": "no such key"}', "no such key"),
        (b"", "Exotel gave no reason"),
    ],
)
def test_a_plain_401(body: bytes, text: str) -> None:
    with pytest.raises(AuthenticationFailed, match=text):
        envelope.one(REQUEST, answer(body, 401))


def test_a_batch_with_failures() -> None:
    bad = {
        "code": 1002,
        "message": "Invalid parameter",
        "description": "Destination not whitelisted",
    }
    response = [inner(200, "success", data={"id": "1"}), inner(400, "failure", bad)]
    with pytest.raises(PartlyRefused, match=r"1 of 2 refused: .*not whitelisted") as caught:
        envelope.batch(REQUEST, answer(whole(response, 207), 207))
    assert (caught.value.done, [one.code for one in caught.value.failed]) == (1, [1002])


def test_a_batch_of_one_fails_with_its_own_class() -> None:
    response = [inner(400, "failure", {"code": 1002, "message": "Invalid parameter"})]
    with pytest.raises(InvalidRequest):
        envelope.batch(REQUEST, answer(whole(response, 207), 207))


def test_pages() -> None:
    uri = "/v2/accounts/a/trunks?offset=50&page_size=50"
    content = whole([inner(200, "success", data={"id": "1"})], metadata={"next_page_uri": uri})
    page = envelope.page(REQUEST, answer(content))
    assert (page.items, page.next_offset) == (({"id": "1"},), 50)
    assert envelope.page(REQUEST, answer(whole([]))) == envelope.Page((), None)
    single = envelope.page(REQUEST, answer(whole(inner(200, "success", data={"username": "t"}))))
    assert single.items == ({"username": "t"},)


@pytest.mark.parametrize("uri", [None, 5, "", "http://[", "?offset=x", "?page=2"])
def test_a_next_page_that_cannot_be_read_is_none(uri: Any) -> None:
    content = whole([], metadata={"next_page_uri": uri})
    assert envelope.page(REQUEST, answer(content)).next_offset is None


def test_what_exotel_says_is_cleaned() -> None:
    text = "number +919812345610 at 44.248.146.10, trunk trmum15f77c83605998cdb9d1a1n\n s3cret\x1b"
    cleaned = clean(text, ("s3cret",))
    assert cleaned == (
        "number +9198******10 at 44.248.146.10, trunk trmum15f77c83605998cdb9d1a1n [redacted]?"
    )
    assert len(clean("x" * 1000)) == 300


def test_v1_in_both_forms() -> None:
    xml = b"""<?xml version="1.0"?><TwilioResponse><Call><Sid>a</Sid><Price/>
        <Details><Legs><Leg><Id>1</Id></Leg><Leg><Id>2</Id></Leg></Legs></Details>
        </Call></TwilioResponse>"""
    tree = v1.tree(REQUEST, answer(xml))
    assert (tree["Call"]["Sid"], tree["Call"]["Price"]) == ("a", None)
    legs = tree["Call"]["Details"]["Legs"]
    assert v1.records(legs) == ({"Id": "1"}, {"Id": "2"})
    assert v1.records([{"Leg": {"Id": 1}}, {"Leg": {"Id": 2}}]) == ({"Id": 1}, {"Id": 2})
    assert v1.records(None) == v1.records("text") == ()
    assert v1.tree(REQUEST, answer({"Call": {"Sid": "a"}})) == {"Call": {"Sid": "a"}}
    assert v1.tree(REQUEST, answer(b"<TwilioResponse/>")) == {}


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    "body",
    [
        (
            b"<TwilioResponse><RestException><Status>400</Status><Message>Bad s3cret</Message>"
            b"<Code>34001</Code></RestException></TwilioResponse>"
        ),
        b'{"RestException": {"Status": "400", "Message": "Bad s3cret", "Code": 34001}}',
    ],
    ids=["xml", "json"],
)
def test_v1_exceptions(body: bytes, status: int) -> None:
    with pytest.raises(InvalidRequest, match=r"Bad \[redacted\]") as caught:
        v1.tree(REQUEST, answer(body, status))
    assert (caught.value.http_status, caught.value.code) == (status, 34001)


def test_an_exception_is_no_success_whatever_it_says() -> None:
    with pytest.raises(InvalidRequest):
        v1.tree(REQUEST, answer({"RestException": {"Status": 200, "Message": "odd"}}))


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><TwilioResponse>&a;</TwilioResponse>',
        b"<TwilioResponse>",
        b"<a>" * 2000 + b"</a>" * 2000,
        b"hello",
        b"[1]",
        b"",
    ],
    ids=["entities", "open", "deep", "text", "list", "empty"],
)
def test_v1_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableAnswer):
        v1.tree(REQUEST, answer(body))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["response", "code", "status", "data", "error_data", "metadata"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_answer_is_read_or_refused(body: bytes) -> None:
    for status in (200, 207, 401, 500):
        for read in (envelope.one, envelope.page, envelope.batch, v1.tree):
            try:
                read(REQUEST, Answer(status, {}, body))
            except ExotelError:
                continue
