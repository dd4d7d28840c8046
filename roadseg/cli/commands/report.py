"""The options of `roadseg report`."""

from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli import options


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folder or JSON file of eval, segment, video or train."),
    ],
    out: Annotated[
        list[Path],
        typer.Option("--out", "-o", help="File to write: .html, .json, .csv or .md; may be repeated."),
    ] = [],  # noqa: B006
    merge: Annotated[
        bool, typer.Option("--merge", help="Put shards together; by itself where all RUNs are shards.")
    ] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Do without shards that are missing or unfinished.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare runs picture by picture with the first one, or put the shards of one run together."""
    from roadseg.cli.reporting import run_report

    code = run_report(
        runs, out, merging=merge, partial=partial, seed=seed, overwrite=overwrite, as_json=json, quiet=quiet
    )
    raise typer.Exit(code)
