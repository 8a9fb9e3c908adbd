"""``sipbot flow``: looks flow files through and draws them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from sipbot.cli.output import ExitCode, fail, indented
from sipbot.errors import ConfigError

app = typer.Typer(help="Check and draw flows: spoken menus in YAML.", no_args_is_help=True)

FlowFiles: TypeAlias = Annotated[
    list[Path], typer.Argument(metavar="FILE...", exists=True, dir_okay=False, help="Flow files.")
]
FlowFile: TypeAlias = Annotated[
    Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A flow file.")
]


@app.command(epilog="Example: sipbot flow check config/flows/reception.yaml --strict")
def check(
    files: FlowFiles,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 for what is only doubtful.")
    ] = False,
) -> None:
    """Find mistakes, unreachable nodes, dead ends, missing texts.

    Exit code 0 when there are no mistakes, 2 when there are.
    """
    from sipbot.runtime.flows import check as look_through

    doubtful = False
    for path in files:
        try:
            found = look_through(path)
        except ConfigError as error:
            fail(f"the flow is wrong\n{indented(error)}", ExitCode.USAGE)
        for doubt in found.doubts:
            typer.echo(f"warning: {doubt}")
        typer.echo(f"{path}: {found.nodes} nodes, no mistakes")
        doubtful = doubtful or bool(found.doubts)
    if strict and doubtful:
        raise typer.Exit(ExitCode.FAILED)


@app.command(epilog="Example: sipbot flow draw config/flows/reception.yaml -o reception.svg")
def draw(
    file: FlowFile,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="Default: to stdout."),
    ] = None,
) -> None:
    """Draw a flow as SVG.

    Unreachable nodes are dashed; red nodes lead to no end of the call.
    """
    from sipbot.runtime.flows import picture

    try:
        svg = picture(file)
    except ConfigError as error:
        fail(f"the flow is wrong\n{indented(error)}", ExitCode.USAGE)
    if output is None:
        typer.echo(svg, nl=False)
        return
    try:
        output.write_text(svg, encoding="utf-8")
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror}", ExitCode.USAGE)
