"""The `roadseg` command, and the commands in it."""

import io
import sys
from typing import Annotated

import typer

import roadseg
from roadseg.cli import render
from roadseg.cli.commands.check import download_check
from roadseg.cli.commands.evaluate import evaluate
from roadseg.cli.commands.export import export
from roadseg.cli.commands.prune import prune
from roadseg.cli.commands.release import release
from roadseg.cli.commands.report import report
from roadseg.cli.commands.segment import segment
from roadseg.cli.commands.train import train
from roadseg.cli.commands.video import video
from roadseg.cli.group import RoadsegGroup

app = typer.Typer(
    cls=RoadsegGroup,
    help=roadseg.__doc__,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):  # a file name may hold what the terminal has no letters for
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()


def _version(value: bool) -> None:
    if value:
        render.out.print(f"roadseg {roadseg.__version__}")
        raise typer.Exit


@app.callback()
def options_of_all(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command("download-check")(download_check)
app.command()(train)
app.command()(release)
app.command()(export)
app.command()(prune)
app.command("eval")(evaluate)
app.command()(segment)
app.command()(video)
app.command()(report)
