"""What Connect applets are answered, attempt by attempt, and the URLs of streams."""

from __future__ import annotations

import pytest

from sipbot.exotel.applets import (
    Contact,
    Destination,
    MusicOnHold,
    Playback,
    connect_answer,
    from_json,
    next_attempt,
    stream_url,
    to_json,
)

FULL = Destination(
    numbers=("+918012345678", "+918012345679"),
    trunk="trmum1a",
    caller_id="08012345670",
    custom_params={"ticket": "7", "lang": "hi"},
    record=True,
    recording_channels="dual",
    max_ringing_s=45,
    max_conversation_s=3600,
    music_on_hold=MusicOnHold("custom", "https://m.example/x.wav"),
    playback=Playback("both", "text", "One moment"),
    parallel_attempts=2,
    events_url="https://bot.example/events",
    sticky_agent=True,
)
NOBODY = {"fetch_after_attempt": False, "destination": {"numbers": []}}


def test_everything_that_exotel_documents() -> None:
    assert connect_answer(FULL, 0) == {
        "fetch_after_attempt": False,
        "destination": {"numbers": ["+918012345678", "+918012345679"], "trunk": "trmum1a"},
        "outgoing_phone_number": "08012345670",
        "custom_params": "ticket=7&lang=hi",
        "record": True,
        "recording_channels": "dual",
        "max_ringing_duration": 45,
        "max_conversation_duration": 3600,
        "music_on_hold": {"type": "custom", "value": "https://m.example/x.wav"},
        "start_call_playback": {"playback_to": "both", "type": "text", "value": "One moment"},
        "parallel_ringing": {"activate": True, "max_parallel_attempts": 2},
        "dial_passthru_event_url": "https://bot.example/events",
    }


def test_what_is_not_set_is_not_said() -> None:
    answer = connect_answer(Destination(trunk="trmum1a"), 0)
    assert answer == {"fetch_after_attempt": False, "destination": {"trunk": "trmum1a"}}
    silent = connect_answer(Destination(numbers=("1",), record=False), 0)
    assert silent["record"] is False


def test_one_by_one_asks_again_while_there_is_another() -> None:
    destination = Destination(numbers=("1", "2"), one_by_one=True)
    assert [connect_answer(destination, attempt) for attempt in range(3)] == [
        {"fetch_after_attempt": True, "destination": {"numbers": ["1"]}},
        {"fetch_after_attempt": False, "destination": {"numbers": ["2"]}},
        NOBODY,
    ]
    assert connect_answer(FULL, 1) == NOBODY


def test_contact_centres_get_users() -> None:
    contacts = (Contact("sip:asha@x", "sip:desk7@x"), Contact("+918012345678"))
    answer = connect_answer(Destination(contacts=contacts, sticky_agent=False), 0, " 1.1")
    assert answer == {
        "fetch_after_attempt": False,
        "destination_type": "user",
        "destination": [
            {"contact_uri": "sip:asha@x", "device_contact_uri": "sip:desk7@x"},
            {"contact_uri": "+918012345678"},
        ],
        "sticky_agent": False,
    }
    one_by_one = Destination(numbers=("1", "2"), one_by_one=True)
    assert connect_answer(one_by_one, 1, "1.1")["destination"] == [{"contact_uri": "2"}]
    assert connect_answer(one_by_one, 0, "1.0")["destination"] == {"numbers": ["1"]}


@pytest.mark.parametrize(
    ("given", "dialled", "attempt"),
    [
        (0, "08012345678", 1),  # the first, in another form
        (0, "+918012345679", 2),
        (1, "08012345678", 1),  # asked again for what was answered
        (0, "+918099999999", None),
        (0, "", None),
        (0, "sip:desk@x", 3),
    ],
)
def test_the_number_dialled_last_tells_the_attempt(
    given: int, dialled: str, attempt: int | None
) -> None:
    numbers = ("+918012345678", "918012345679", "sip:desk@x")
    destination = Destination(numbers=numbers, one_by_one=True)
    assert next_attempt(destination, given, dialled) == attempt
    assert next_attempt(Destination(numbers=numbers), given, dialled) is None


def test_destinations_survive_as_json() -> None:
    for one in (FULL, Destination(), Destination(contacts=(Contact("a"),), one_by_one=True)):
        assert from_json(to_json(one)) == one
    with pytest.raises(ValueError, match="numbers"):
        from_json({"numbers": 7})


def test_urls_of_streams() -> None:
    path = ["exotel", "voicebot", "front desk", "sid/1"]
    assert stream_url("https://bot.example/", path, {"sample-rate": "16000"}, ("k:1", "t@2")) == (
        "wss://k%3A1:t%402@bot.example/exotel/voicebot/front%20desk/sid%2F1?sample-rate=16000"
    )
    assert stream_url("http://127.0.0.1:8080/base", ["a"], {}, None) == "ws://127.0.0.1:8080/base/a"
