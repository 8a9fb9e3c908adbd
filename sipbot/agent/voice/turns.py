"""Who has the turn: the state table of a conversation, and what counts as taking the turn.

::

    LISTENING ──speech──► CALLER ──turn──► ANSWERING ──audible──► SPEAKING ──done──► LISTENING
                                               │ speech               │ speech, as the policy says
                                               └──────► INTERRUPTED ◄─┘
                          ANSWERING ◄──turn──────┘    └──nothing──► SPEAKING (goes on)

No clock and no task is here.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from enum import Enum, auto
from typing import Final

from sipbot.agent.listening.holds import words_of
from sipbot.agent.voice.settings import MAX_BACK_CHANNEL_WORDS, BargeIn


class Turn(Enum):
    LISTENING = auto()  # nobody speaks
    CALLER = auto()  # the caller speaks, or has just stopped
    ANSWERING = auto()  # an answer is made; nothing of it was heard
    SPEAKING = auto()  # it is heard
    INTERRUPTED = auto()  # it was stopped, and what the caller says decides
    CLOSING = auto()  # last words, or a transfer: nothing stops them


class Input(Enum):
    SPEECH = auto()  # the caller speaks, in a way that counts
    TURN = auto()  # they said something, and are done
    NOTHING = auto()  # it was a cough, or only showed that they listen
    ANSWER = auto()  # the bot says something by itself
    AUDIBLE = auto()  # the first of an answer was heard
    DONE = auto()  # all of it was
    CLOSE = auto()


class Action(Enum):
    NONE = auto()
    HUSH = auto()  # stop the audio, keep the answer
    RESUME = auto()  # go on where it was stopped
    REPLACE = auto()  # drop the answer under way, if any, and make a new one


TURNS: Final[dict[tuple[Turn, Input], tuple[Turn, Action]]] = {
    (Turn.LISTENING, Input.SPEECH): (Turn.CALLER, Action.NONE),
    (Turn.LISTENING, Input.TURN): (Turn.ANSWERING, Action.REPLACE),
    (Turn.LISTENING, Input.ANSWER): (Turn.ANSWERING, Action.REPLACE),
    (Turn.CALLER, Input.TURN): (Turn.ANSWERING, Action.REPLACE),
    (Turn.CALLER, Input.NOTHING): (Turn.LISTENING, Action.NONE),
    (Turn.CALLER, Input.ANSWER): (Turn.ANSWERING, Action.REPLACE),
    (Turn.ANSWERING, Input.SPEECH): (Turn.INTERRUPTED, Action.HUSH),
    (Turn.ANSWERING, Input.TURN): (Turn.ANSWERING, Action.REPLACE),
    (Turn.ANSWERING, Input.ANSWER): (Turn.ANSWERING, Action.REPLACE),
    (Turn.ANSWERING, Input.AUDIBLE): (Turn.SPEAKING, Action.NONE),
    (Turn.ANSWERING, Input.DONE): (Turn.LISTENING, Action.NONE),
    (Turn.SPEAKING, Input.SPEECH): (Turn.INTERRUPTED, Action.HUSH),
    (Turn.SPEAKING, Input.TURN): (Turn.ANSWERING, Action.REPLACE),
    (Turn.SPEAKING, Input.ANSWER): (Turn.ANSWERING, Action.REPLACE),
    (Turn.SPEAKING, Input.DONE): (Turn.LISTENING, Action.NONE),
    (Turn.INTERRUPTED, Input.NOTHING): (Turn.SPEAKING, Action.RESUME),
    (Turn.INTERRUPTED, Input.TURN): (Turn.ANSWERING, Action.REPLACE),
    (Turn.INTERRUPTED, Input.ANSWER): (Turn.ANSWERING, Action.REPLACE),
    (Turn.INTERRUPTED, Input.DONE): (Turn.CALLER, Action.NONE),
    **{(turn, Input.CLOSE): (Turn.CLOSING, Action.NONE) for turn in Turn},
}  # a pair that is missing changes nothing


def step(turn: Turn, what: Input) -> tuple[Turn, Action]:
    """The next state, and what to do."""
    return TURNS.get((turn, what), (turn, Action.NONE))


def only_listening(text: str, back_channels: AbstractSet[str]) -> bool:
    """Whether a text is empty, or says no more than that somebody listens ("haan", "ok")."""
    words = words_of(text)
    return len(words) <= MAX_BACK_CHANNEL_WORDS and all(word in back_channels for word in words)


def takes_turn(
    policy: BargeIn, text: str, words_needed: int, back_channels: AbstractSet[str]
) -> bool:
    """Whether what was said while the bot speaks stops it, now that it is known."""
    if policy is BargeIn.OFF or only_listening(text, back_channels):
        return False
    return policy is not BargeIn.AFTER_WORDS or len(words_of(text)) >= words_needed
