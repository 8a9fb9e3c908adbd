"""The configuration reference is made from the models and is current."""

from __future__ import annotations

from pathlib import Path

from sipbot.ops.reference import reference

ROOT = Path(__file__).resolve().parents[2]


def test_the_document_is_current() -> None:
    path = ROOT / "docs" / "configuration.md"
    assert path.read_text(encoding="utf-8") == reference(), "run scripts/gen-config-docs"


def test_the_packaged_defaults_are_current() -> None:
    config, defaults = ROOT / "config", ROOT / "sipbot" / "defaults"
    sources = [config / "sipbot.yaml", *sorted((config / "flows").glob("*.yaml"))]
    copies = [defaults / source.relative_to(config) for source in sources]
    assert [copy.read_bytes() for copy in copies] == [one.read_bytes() for one in sources], (
        "run scripts/gen-config-docs"
    )
    extra = set(defaults.rglob("*.yaml")) - set(copies)
    assert extra == set()


def test_every_section_and_unit_is_there() -> None:
    text = reference()
    for heading in ("sip.tls", "media", "trunks.NAME", "agents.NAME (type: python)", "routes[]"):
        assert f"## `{heading}`" in text
    assert "| `timeout_s` | number, above 0 to 86400 | `30` |" in text
    assert "| `ports` | text | `10000-20000` |" in text
    assert "None" not in text
