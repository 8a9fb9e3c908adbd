"""The examples of the documentation are taken as they stand."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from sipbot.cli.main import app
from sipbot.exotel.rest import trunkfile

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "exotel.md").read_text(encoding="utf-8")


def test_the_trunk_file(tmp_path: Path) -> None:
    examples = [
        one for one in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL) if "trunk:\n" in one
    ]
    trunks = [one for one in examples if "\ntrunk:\n" in f"\n{one}"]
    assert trunks
    for index, example in enumerate(trunks):
        path = tmp_path / f"{index}.yaml"
        path.write_text(example)
        assert trunkfile.load(path, {"SIP_PASSWORD": "s3cret"}).trunk.name


def test_the_commands() -> None:
    lines = re.findall(r"^sipbot (exotel[^#\n\\]*)", TEXT, re.MULTILINE)
    assert len(lines) > 8
    for line in lines:
        words = [word for word in line.split() if re.fullmatch(r"[a-z]+", word)]
        command = words[: 3 if words[1] in ("trunk", "call") else 2]
        result = CliRunner().invoke(app, [*command, "--help"])
        assert result.exit_code == 0, line
