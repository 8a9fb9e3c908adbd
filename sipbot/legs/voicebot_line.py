"""What the other end of a stream of messages has of our audio, and how much of it was played.

Messages play one after the other in real time, so the clock alone tells where the peer is. Marks
that come back tell it better: nothing before an outstanding mark counts as played in full until it
comes back, and how late it comes shifts the reckoning. A mark that does not come back within
``MARK_WAIT_S`` is given up, and from then on the clock decides alone until one comes back again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

MARK_WAIT_S: Final = 1.0  # seconds that a mark may be late
MAX_MARKS: Final = 64  # marks that have not come back; then the oldest is given up
MAX_MESSAGES: Final = 64  # kept before those that were played are forgotten
_ROUNDING: Final = 1e-3  # samples


class _Message(NamedTuple):
    before: int  # samples sent before it
    samples: int  # of its own, without padding
    start: float  # seconds on the clock when the peer begins to play it
    end: float


@dataclass(frozen=True, slots=True)
class _Mark:
    position: int  # samples sent before it
    due: float  # when they have been played, by the clock


class PlayLine:
    """Times are seconds on one clock; ``rate`` is samples a second.

    ``end`` is when the peer has played everything that it has, by the clock.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.sent = 0  # samples that the peer got and that were not cleared there
        self.end = 0.0
        self.lag = 0.0  # how far the peer is behind the clock, as the last mark said
        self.marks_returned = self.marks_lost = 0
        self._messages: deque[_Message] = deque()
        self._marks: dict[str, _Mark] = {}
        self._trusted = True  # whether marks come back
        self._finished = 0  # samples of messages played in full
        self._shown = 0  # the highest position ever told

    def add(self, samples: int, padding: int, now: float) -> None:
        """One message leaves: ``samples`` of audio, then ``padding`` of silence."""
        start = max(now, self.end)
        self.end = start + (samples + padding) / self.rate
        self._messages.append(_Message(self.sent, samples, start, self.end))
        self.sent += samples
        if len(self._messages) > MAX_MESSAGES:
            self._reached(now - self.lag)  # forgets those that were played

    def mark(self, name: str) -> None:
        """A mark leaves."""
        if len(self._marks) >= MAX_MARKS:
            self._give_up(next(iter(self._marks)))
        self._marks[name] = _Mark(self.sent, self.end)

    def returned(self, name: str, now: float) -> bool:
        """A mark came back. False for one that nobody waits for."""
        mark = self._marks.get(name)
        if mark is None:
            return False
        for earlier in list(self._marks):  # marks come back in order: those before it are answered
            del self._marks[earlier]
            self.marks_returned += 1
            if earlier == name:
                break
        self._trusted = True
        self.lag = min(max(now - mark.due, 0.0), MARK_WAIT_S)
        self._show(mark.position if now >= mark.due else 0)
        return True

    def played(self, now: float) -> int:
        """Samples that were played. Never decreases."""
        self._expire(now)
        reached = self._reached(now - self.lag)
        if self._trusted and self._marks:
            # The last sample before a mark is played when the mark is back.
            reached = min(reached, next(iter(self._marks.values())).position - 1)
        return self._show(reached)

    def when(self, position: int, now: float) -> float | None:
        """When ``played`` may have reached ``position``; None when more must be sent first.

        It may turn out later: ask again then.
        """
        if position > self.sent:
            return None
        if self._trusted and self._marks:
            mark = next(iter(self._marks.values()))
            if position >= mark.position:
                return mark.due + MARK_WAIT_S
        for message in self._messages:
            if position <= message.before + message.samples:
                return message.start + (position - message.before) / self.rate + self.lag
        return now

    def clear(self, now: float) -> int:
        """Messages that the peer has not begun to play are dropped; returns their samples.

        The one that it is playing goes on to its end (that is how Exotel documents it), so all of
        it counts as played from now on.
        """
        self.played(now)
        cut = now - self.lag
        dropped = 0
        while self._messages and self._messages[-1].start > cut:
            dropped += self._messages.pop().samples
        self.end = self._messages[-1].end if self._messages else min(self.end, now)
        self.sent -= dropped
        self._messages.clear()
        self._marks.clear()
        self._finished = self.sent
        self._show(self.sent)
        return dropped

    def _reached(self, then: float) -> int:
        messages = self._messages
        while messages and messages[0].end <= then:
            first = messages.popleft()
            self._finished = first.before + first.samples
        if not messages or messages[0].start >= then:
            return self._finished
        inside = int((then - messages[0].start) * self.rate + _ROUNDING)
        return messages[0].before + min(inside, messages[0].samples)

    def _expire(self, now: float) -> None:
        while self._marks:
            name, mark = next(iter(self._marks.items()))
            if now < mark.due + MARK_WAIT_S:
                return
            self._give_up(name)

    def _give_up(self, name: str) -> None:
        del self._marks[name]
        self.marks_lost += 1
        self._trusted = False

    def _show(self, position: int) -> int:
        self._shown = max(self._shown, min(position, self.sent))
        return self._shown
