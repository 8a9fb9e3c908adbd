"""How a flow speaks in one call: variables, language, voice, interruption."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from sipbot.agent.flow.load import Flow
from sipbot.agent.flow.model import FlowFile, Spoken
from sipbot.agent.flow.text import fill, names_in
from sipbot.agent.keys import KeyReader
from sipbot.agent.level import until_speech
from sipbot.call.call import Call
from sipbot.call.speech import Said


def in_language(text: Spoken, language: str, file: FlowFile) -> str:
    """A text in a language; in the flow's own where it is not translated, else in any."""
    if isinstance(text, str):
        return text
    found = text.get(language) or text.get(file.language)
    return found if found is not None else next(iter(text.values()), "")


def voice_of(file: FlowFile, language: str) -> str | None:
    """The voice that a language is spoken with; None is the synthesiser's own."""
    known = file.languages.get(language)
    return (None if known is None else known.voice) or file.voice


def joined(texts: Iterable[str]) -> str:
    """Texts that are spoken in one go."""
    return " ".join(text for text in texts if text)


class Speaker:
    """Speaks for a flow. ``values`` are its variables, which change as the call goes on."""

    def __init__(self, flow: Flow, call: Call, keys: KeyReader, language: str) -> None:
        self.language = language
        self.values: dict[str, str] = {}
        self._flow, self._call, self._keys = flow, call, keys

    @property
    def interruptible_by_speech(self) -> bool:
        """Whether the flow lets callers cut it short by speaking."""
        return self._flow.file.interrupt == "speech"

    def text(self, text: Spoken) -> str:
        """What is spoken for ``text`` now."""
        return self.fill(in_language(text, self.language, self._flow.file))

    def fill(self, text: str) -> str:
        """``text`` with its variables."""
        return fill(text, self.values) if names_in(text) else text

    async def ask(self, texts: Sequence[Spoken]) -> None:
        """Speak a question as one text, until a key, or until somebody else clears it."""
        if filled := joined([self.text(text) for text in texts]):
            await self._saying(filled, interruptible=True)

    def _saying(self, text: str, *, interruptible: bool) -> Coroutine[Any, Any, Said]:
        voice = voice_of(self._flow.file, self.language)
        return self._call.say(text, voice=voice, interruptible=interruptible)

    async def say(self, text: Spoken, *, interruptible: bool = True) -> bool:
        """Speak; False when the caller cut it short, or had typed ahead of it."""
        filled = self.text(text)
        if not filled:
            return True
        if interruptible and self._keys.waiting:
            return False
        speaking = self._saying(filled, interruptible=interruptible)
        said = await (self._listening(speaking) if interruptible else speaking)
        return not said.interrupted

    async def play(self, name: str) -> None:
        """Play the sound of a node, unless the caller typed ahead."""
        sound = self._flow.sounds[name]
        if not self._keys.waiting:
            await self._listening(self._call.present(sound.pcm, sound.rate))

    async def _listening(self, speaking: Coroutine[Any, Any, Said]) -> Said:
        """Speak, and listen meanwhile where the caller's voice may interrupt."""
        if not self.interruptible_by_speech:
            return await speaking
        return await until_speech(self._call, speaking)
