"""pyVoIP 1.6.8 calls through ``scripts/softphone.py``: a stranger with late and odd ACKs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from .harness import BotConfig, BotProcess
from .ports import HOST, free_block
from .process import REPO, Program
from .tone import level_db, measure_tone, read_wav, sine, write_wav

pytestmark = pytest.mark.interop

TONE_HZ = 440.0
_EXIT_S = 45.0
_SHORT_T1_MS = 125


def softphone(bot: BotProcess, user: str, *options: str) -> tuple[int, dict[str, Any]]:
    script = str(REPO / "scripts" / "softphone.py")
    command = [sys.executable, script, f"sip:{user}@{HOST}:{bot.config.sip_port}", "--json"]
    command += ["--rtp-port", str(free_block(210)), *options]
    with Program(command) as program:
        code = program.wait_exit(_EXIT_S)
    lines = [line for line in program.lines if line.startswith("{")]
    assert lines, program.output()
    result: dict[str, Any] = json.loads(lines[-1])
    return code, result


def test_echo_holds_the_tone(bot: BotProcess, tmp_path: Path) -> None:
    sent = sine(TONE_HZ, 10.0)
    played = write_wav(tmp_path / "tone.wav", sent)
    record = tmp_path / "heard.wav"
    code, result = softphone(
        bot, "echo", "--play", str(played), "--record", str(record), "--seconds", "4"
    )
    assert code == 0
    assert result["answered"] is True
    assert result["ended_by"] == "us"
    heard = measure_tone(read_wav(record), TONE_HZ)
    assert heard.seconds > 3.0
    assert heard.level_db == pytest.approx(level_db(sent), abs=1.0)
    assert heard.longest_gap_ms <= 40


def test_unknown_number(bot: BotProcess) -> None:
    code, result = softphone(bot, "nobody", "--seconds", "1")
    assert code == 1
    assert result["status"] == 404
    assert result["answered"] is False


def test_late_and_wrong_ack_does_not_cost_the_call(tmp_path: Path) -> None:
    """Longer than 64*T1: an ACK that is never recognised would end the call by then."""
    config = BotConfig.free(rtp_pairs=8, **{"sip.timers": {"t1_ms": _SHORT_T1_MS}})
    seconds = 64 * _SHORT_T1_MS / 1000 + 2
    with BotProcess(config, tmp_path) as bot:
        code, result = softphone(bot, "echo", "--seconds", str(seconds))
    assert code == 0
    assert result["ended_by"] == "us"
