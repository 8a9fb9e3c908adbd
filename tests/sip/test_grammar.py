from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipbot.errors import SipSyntaxError
from sipbot.sip import grammar
from sipbot.sip.grammar import (
    decode_text,
    find_parameter,
    format_parameters,
    is_token,
    parse_parameters,
    parse_port,
    quote,
    set_parameter,
    split_list,
    unfold,
    unquote,
)
from tests.sip.samples import assert_linear, header_parameters


@pytest.mark.parametrize("text", ["INVITE", "a-.!%*_+`'~9"])
def test_tokens(text: str) -> None:
    assert is_token(text)


@pytest.mark.parametrize("text", ["", "a b", "a:b", "a@b", "é", "a\x00", "a\n"])
def test_no_tokens(text: str) -> None:
    assert not is_token(text)


@given(st.text())
def test_quote_round_trip(text: str) -> None:
    assert unquote(quote(text)) == text


@pytest.mark.parametrize(
    ("text", "content"),
    [('"a"', "a"), ('"\\a\\""', 'a"'), ("plain", "plain"), ('"', '"'), ('""', "")],
)
def test_unquote(text: str, content: str) -> None:
    assert unquote(text) == content


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        ("", [""]),
        (" a ", ["a"]),
        ("a,b", ["a", "b"]),
        ("a ,\t b", ["a", "b"]),
        (",,a,", ["", "", "a", ""]),
        ('"x,y" <sip:a,b@c>, z', ['"x,y" <sip:a,b@c>', "z"]),
        ('"a\\",b",c', ['"a\\",b"', "c"]),
        ('a,"b,c', ["a", '"b,c']),
        ("a,<b,c", ["a", "<b,c"]),
        ('x"y,z', ['x"y,z']),
    ],
)
def test_split_list(value: str, elements: list[str]) -> None:
    assert split_list(value) == elements


@pytest.mark.parametrize("element", ["a", "<a>", '"a"'])
def test_split_list_stops_at_its_limit(element: str) -> None:
    limit = grammar.MAX_LIST_VALUES
    assert split_list(",".join([element] * limit)) == [element] * limit
    rest = ",".join([element] * 9)
    assert split_list(",".join([element] * (limit + 9))) == [element] * limit + [rest]


@given(st.lists(st.text('ab"<>\\ ;', max_size=6), max_size=6))
def test_split_list_loses_nothing_but_blanks(parts: list[str]) -> None:
    value = ",".join(parts)
    joined = ",".join(split_list(value))
    assert joined.replace(" ", "") == value.replace(" ", "")


@given(header_parameters)
def test_parameters_round_trip(parameters: grammar.Parameters) -> None:
    assert parse_parameters(format_parameters(parameters)) == parameters


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("", ()),
        ("  ", ()),
        (";lr", (("lr", None),)),
        (" ; a = b ;c ", (("a", "b"), ("c", None))),
        (';n="x;y,\\"z"', (("n", '"x;y,\\"z"'),)),
        (";r=[2001:db8::1]:5060", (("r", "[2001:db8::1]:5060"),)),
    ],
)
def test_parse_parameters(text: str, parameters: grammar.Parameters) -> None:
    assert parse_parameters(text) == parameters


@pytest.mark.parametrize("text", [";", ";;", "a", ";a=", ";a=b c", ';a="b', ";a,b", ";é=1", ";a=é"])
def test_bad_parameters(text: str) -> None:
    with pytest.raises(SipSyntaxError) as caught:
        parse_parameters(text)
    assert caught.value.status == 400


def test_too_many_parameters() -> None:
    assert len(parse_parameters(";a" * grammar.MAX_PARAMETERS)) == grammar.MAX_PARAMETERS
    with pytest.raises(SipSyntaxError) as caught:
        parse_parameters(";a" * (grammar.MAX_PARAMETERS + 1))
    assert caught.value.status == 513


def test_find_and_set_parameter() -> None:
    parameters: grammar.Parameters = (("Tag", "1"), ("lr", None), ("tag", "2"))
    assert find_parameter(parameters, "TAG") == "1"
    assert find_parameter(parameters, "LR") == ""
    assert find_parameter(parameters, "x") is None
    assert set_parameter(parameters, "tag", "9") == (("Tag", "9"), ("lr", None))
    assert set_parameter((), "rport", None) == (("rport", None),)


def test_parse_port() -> None:
    assert parse_port(None) is None
    assert parse_port("005060") == 5060
    assert parse_port("65535") == 65535
    for text in ("0", "65536", "9" * 5000, "000"):
        with pytest.raises(SipSyntaxError):
            parse_port(text)


def test_decode_text() -> None:
    assert decode_text("größe".encode()) == "größe"
    assert decode_text("größe".encode("latin-1")) == "größe"


def test_unfold() -> None:
    head = "A: 1\r\n 2\r\n\t3\r\nB: 4\n  5\nC: 6"
    assert unfold(head) == ["A: 1 2 3", "B: 4 5", "C: 6"]


@pytest.mark.parametrize(
    "head", ["A: 1\rB: 2", "A: 1\r", "A\x00", "\x07A", "A: \\\\\x00", "A: \x7f"]
)
def test_unfold_refuses(head: str) -> None:
    with pytest.raises(SipSyntaxError):
        unfold(head)


def test_unfold_keeps_quoted_control_characters() -> None:
    assert unfold('A: "\\\x00\\\x07\\\\\\\x7f"') == ['A: "\\\x00\\\x07\\\\\\\x7f"']


@pytest.mark.parametrize(
    "unit", [",", '"', "<", ">", "\\", '"\\', '",', "<,", "a,", " ", ",<", '\\"', "a<b>", '"a"']
)
def test_split_list_is_linear(unit: str) -> None:
    assert_linear(lambda size: split_list(unit * (size // len(unit)) + ","))


@pytest.mark.parametrize("unit", [" ", ";", '"', "\\", "\t;", "a"])
def test_parse_parameters_is_linear(unit: str) -> None:
    def run(size: int) -> None:
        with pytest.raises(SipSyntaxError):
            parse_parameters(";a=" + unit * (size // len(unit)) + "\x00")

    assert_linear(run)


@pytest.mark.parametrize("unit", ["\n ", " ", "\n", "\\", "\\\\\n", "\r\n\t", "\t\n"])
def test_unfold_is_linear(unit: str) -> None:
    assert_linear(lambda size: unfold("a:" + unit * (size // len(unit))))


def test_bare_control_search_is_linear() -> None:
    def run(size: int) -> None:
        with pytest.raises(SipSyntaxError):
            unfold("\\\x01" * size + "\x01")

    assert_linear(run)
