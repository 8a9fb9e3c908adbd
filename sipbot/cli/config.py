"""``sipbot config``: what may stand in a configuration file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="What may stand in a configuration file.",
    no_args_is_help=True,
    epilog="Example: sipbot config schema > sipbot.schema.json",
)


@app.command(epilog="Example: sipbot config schema > sipbot.schema.json")
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors that complete and check YAML."""
    from sipbot.ops.schema import config_schema

    content = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **config_schema(),
        "title": "sipbot configuration",
    }
    typer.echo(json.dumps(content, indent=2))


@app.command(epilog="Example: sipbot config default > sipbot.yaml")
def default(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIRECTORY", help="Write the files there instead."),
    ] = None,
) -> None:
    """Print the commented default configuration, or write it with its flows to a directory."""
    from sipbot.cli.output import ExitCode, fail
    from sipbot.ops.load import EMBEDDED_DEFAULT

    if output is None:
        typer.echo(EMBEDDED_DEFAULT.read_text(encoding="utf-8"), nl=False)
        return
    base = EMBEDDED_DEFAULT.parent
    files = [EMBEDDED_DEFAULT, *sorted(base.glob("flows/*.yaml"))]
    targets = [output / file.relative_to(base) for file in files]
    present = [str(target) for target in targets if target.exists()]
    if present:
        fail(f"already there, not overwritten: {', '.join(present)}", ExitCode.FAILED)
    for file, target in zip(files, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
        typer.echo(str(target))
