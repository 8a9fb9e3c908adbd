from __future__ import annotations

import warnings

import numpy as np
import pytest

from sipbot.errors import LocalProtocolError
from sipbot.rtp import g711

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "'audioop' is deprecated", DeprecationWarning)
    import audioop

CODECS = ("PCMA", "PCMU")
ALL_CODES = bytes(range(256))
ALL_SAMPLES = np.arange(-32_768, 32_768).astype(np.int16)


@pytest.mark.parametrize("codec", CODECS)
def test_decodes_every_code_as_audioop_does(codec: str) -> None:
    to_linear = {"PCMA": audioop.alaw2lin, "PCMU": audioop.ulaw2lin}[codec]
    assert g711.decode(codec, ALL_CODES).tobytes() == to_linear(ALL_CODES, 2)


@pytest.mark.parametrize("codec", CODECS)
def test_encodes_every_sample_as_audioop_does(codec: str) -> None:
    to_code = {"PCMA": audioop.lin2alaw, "PCMU": audioop.lin2ulaw}[codec]
    assert g711.encode(codec, ALL_SAMPLES).tobytes() == to_code(ALL_SAMPLES.tobytes(), 2)


@pytest.mark.parametrize("codec", CODECS)
def test_every_code_survives_a_round_trip_but_for_the_second_zero(codec: str) -> None:
    back = g711.encode(codec, g711.decode(codec, ALL_CODES))
    changed = np.flatnonzero(back != np.arange(256))
    # mu-law has a negative zero, 0x7F, which decodes to 0 as 0xFF does.
    assert changed.tolist() == ([0x7F] if codec == "PCMU" else [])


@pytest.mark.parametrize("codec", CODECS)
def test_silence_is_the_code_of_zero(codec: str) -> None:
    assert g711.encode(codec, np.zeros(1, dtype=np.int16))[0] == g711.SILENCE[codec]
    assert abs(int(g711.DECODE[codec][g711.SILENCE[codec]])) <= 8


@pytest.mark.parametrize("codec", CODECS)
def test_keeps_shape_and_accepts_strided_views(codec: str) -> None:
    codes = np.arange(512, dtype=np.uint16).astype(np.uint8).reshape(4, 128)
    pcm = g711.decode(codec, codes[:, ::2])
    assert pcm.shape == (4, 64)
    assert pcm.dtype == np.int16
    assert g711.encode(codec, pcm[1:, ::2]).shape == (3, 32)
    assert g711.decode(codec, b"").shape == (0,)


def test_quantisation_error_is_within_half_a_step() -> None:
    for codec in CODECS:
        error = np.abs(
            g711.decode(codec, g711.encode(codec, ALL_SAMPLES)).astype(int) - ALL_SAMPLES
        )
        assert error.max() <= 644  # the widest segment's step is 1024, and mu-law clips at 32635
        assert np.all(error <= np.abs(ALL_SAMPLES.astype(int)) / 16 + 16)


def test_tables_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        g711.DECODE["PCMA"][0] = 1


def test_refuses_other_codecs() -> None:
    with pytest.raises(LocalProtocolError):
        g711.decode("G729", b"\0")
    with pytest.raises(LocalProtocolError):
        g711.encode("G729", ALL_SAMPLES)
