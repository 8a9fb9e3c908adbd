"""The ``sipbot`` command."""

from __future__ import annotations

import typer

from sipbot import __version__
from sipbot.cli import call as call_command
from sipbot.cli import campaign as campaign_command
from sipbot.cli import check as check_command
from sipbot.cli import config as config_command
from sipbot.cli import dial as dial_command
from sipbot.cli import exotel as exotel_command
from sipbot.cli import flow as flow_command
from sipbot.cli import run as run_command
from sipbot.cli import sim as sim_command
from sipbot.cli import test as test_command

app = typer.Typer(
    name="sipbot",
    help="A SIP voicebot server: point a phone trunk at it, give each caller to an agent.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: sipbot run -c sipbot.yaml",
)
app.command("run", epilog="Example: sipbot run -c sipbot.yaml")(run_command.run)
app.command("check", epilog="Example: sipbot check -c sipbot.yaml --json")(check_command.check)
app.command(
    "call",
    epilog="Example: sipbot call sip:reception@127.0.0.1:5070 --transport tcp --dtmf 1"
    " --record heard.wav --json",
)(call_command.call)
app.command("dial", epilog="Example: sipbot dial +919812345610 --agent survey --wait")(
    dial_command.dial
)
app.command("test", epilog="Example: sipbot test config/calls/*.yaml --html report")(
    test_command.run_calls
)
app.add_typer(campaign_command.app, name="campaign")
app.add_typer(config_command.app, name="config")
app.add_typer(exotel_command.app, name="exotel")
app.add_typer(flow_command.app, name="flow")
app.add_typer(sim_command.app, name="sim")


@app.command(epilog="Example: sipbot version")
def version() -> None:
    """Print the version."""
    typer.echo(f"sipbot {__version__}")


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
