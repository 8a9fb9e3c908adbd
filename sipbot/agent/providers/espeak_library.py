"""The espeak-ng library through ctypes: blocking, and for one thread only.

The constants and signatures are those of ``speak_lib.h``, API version 12.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from sipbot.call.leg import Pcm
from sipbot.errors import SpeechError

BUFFER_MS: Final = 100  # milliseconds of speech that the library hands over at once
INSTALL_HINT: Final = "install the Python package espeakng-loader, which carries the library"

_OUTPUT_SYNCHRONOUS: Final = 2
_DONT_EXIT: Final = 0x8000  # report a missing data folder instead of ending the process
_CHARS_UTF8: Final = 1
_POSITION_CHARACTER: Final = 1
_RATE, _VOLUME, _PITCH = 1, 2, 3  # espeak_PARAMETER

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class _Voice(ctypes.Structure):
    """``espeak_VOICE``."""

    _fields_: ClassVar = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


class EspeakLibrary:
    """The loaded and initialised library. All methods belong to the thread that made it.

    Raises ``SpeechError`` when the library or its data are missing.
    """

    def __init__(self) -> None:
        self._library, data = _load()
        self._sink: Callable[[Pcm], bool] | None = None
        self._voice = ""
        self._callback = _Callback(self._on_samples)  # kept: the library calls it
        self.rate: int = self._library.espeak_Initialize(
            _OUTPUT_SYNCHRONOUS, BUFFER_MS, str(data).encode(), _DONT_EXIT
        )
        if self.rate <= 0:
            raise SpeechError(f"espeak-ng cannot read its data; {INSTALL_HINT}")
        self._library.espeak_SetSynthCallback(self._callback)

    def set_voice(self, voice: str) -> None:
        """Choose a voice by name or language, for example ``en-gb``, ``hi``, ``en-in+f3``.

        A language that has no voice of its own gets a near one (``en-in`` that of ``en-gb``).
        Raises ``SpeechError`` when there is none.
        """
        if voice == self._voice:
            return
        self._voice = ""
        if not (self._named(voice) or self._near(*voice.partition("+"))):
            raise SpeechError(f"espeak-ng has no voice {voice!r}")
        self._voice = voice

    def _named(self, name: str) -> bool:
        return not self._library.espeak_SetVoiceByName(name.encode())

    def _near(self, language: str, plus: str, variant: str) -> bool:
        wanted = _Voice(languages=language.encode())
        if self._library.espeak_SetVoiceByProperties(ctypes.byref(wanted)):
            return False
        found = self._library.espeak_GetCurrentVoice().contents.identifier.decode()
        return not plus or self._named(f"{found}+{variant}")

    def set_manner(self, words_per_minute: int, volume: int, pitch: int) -> None:
        """``volume`` 0 to 200 with 100 as usual, ``pitch`` 0 to 100 with 50 as usual."""
        for parameter, value in ((_RATE, words_per_minute), (_VOLUME, volume), (_PITCH, pitch)):
            self._library.espeak_SetParameter(parameter, value, 0)

    def speak(self, text: str, sink: Callable[[Pcm], bool]) -> None:
        """Make speech; ``sink`` gets chunks of ``int16`` at ``rate`` and stops it with False."""
        data = text.encode("utf-8", "replace") + b"\0"
        self._sink = sink
        try:
            failed = self._library.espeak_Synth(
                data, len(data), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
            )
        finally:
            self._sink = None
        if failed:
            raise SpeechError("espeak-ng failed to speak")

    def _on_samples(self, samples: Any, count: int, _: Any) -> int:
        """Called by the library for each buffer; 0 goes on, 1 stops."""
        if self._sink is None:
            return 1
        if not samples or count <= 0:
            return 0
        pcm = np.ctypeslib.as_array(samples, (count,)).copy()
        pcm.setflags(write=False)
        return 0 if self._sink(pcm) else 1


def _load() -> tuple[Any, Path]:
    try:
        loader: Any = importlib.import_module("espeakng_loader")  # the rest works without it
    except ImportError as error:
        raise SpeechError(f"espeak-ng is missing; {INSTALL_HINT}") from error
    try:
        library = ctypes.CDLL(loader.get_library_path())
        data = Path(loader.get_data_path())
    except (OSError, RuntimeError) as error:
        raise SpeechError(f"espeak-ng cannot be loaded; {INSTALL_HINT}") from error
    _declare(library)
    return library, data


def _declare(library: Any) -> None:
    number, text, pointer = ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p
    library.espeak_Initialize.argtypes = [number, number, text, number]
    library.espeak_SetSynthCallback.argtypes = [_Callback]
    library.espeak_SetVoiceByName.argtypes = [text]
    library.espeak_SetVoiceByProperties.argtypes = [ctypes.POINTER(_Voice)]
    library.espeak_GetCurrentVoice.restype = ctypes.POINTER(_Voice)
    library.espeak_SetParameter.argtypes = [number, number, number]
    place = [ctypes.c_uint, number, ctypes.c_uint, ctypes.c_uint]  # position, kind, end, flags
    library.espeak_Synth.argtypes = [text, ctypes.c_size_t, *place, pointer, pointer]
