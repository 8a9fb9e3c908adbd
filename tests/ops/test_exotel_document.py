"""The configuration in ``docs/exotel.md`` is taken as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from sipbot.ops.load import load

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "exotel.md").read_text(encoding="utf-8")


def test_examples_load(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    examples = [one for one in blocks if re.search(r"^trunks:", one, re.MULTILINE)]
    assert examples
    for example in examples:
        path = tmp_path / "sipbot.yaml"
        path.write_text(example)
        assert load(path, {}).config.trunks


def test_every_callback_and_refusal_is_named() -> None:
    for word in (
        *("/exotel/voicebot-url", "/exotel/stream-url", "/exotel/passthru", "/exotel/connect"),
        *("/exotel/status", "no-callsid", "unknown-destination", "store-unavailable"),
        *("listens-only", "wrong-secret", "unknown-flow", "unknown-agent", "call-end"),
        *("no-answer", "no-dial", "body-too-big", "body-too-slow"),
    ):
        assert word in TEXT
