"""The options of `roadseg release`."""

from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli import options
from roadseg.config import InferConfig


def release(
    checkpoints: Annotated[list[Path], typer.Argument(metavar="CHECKPOINT...", help="best.pt, last.pt, ...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .safetensors file.")],
    shares: Annotated[str, typer.Option(help="Of each in the mean, comma-separated; default: equal.")] = "",
    data: options.Data = [],  # noqa: B006
    dataset: options.Dataset = None,
    imgsz: options.Imgsz = None,
    classes: options.Classes = None,
    device: options.Device = InferConfig.device,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make weights to give away: the mean of checkpoints, calibrated on the val part of --data."""
    from roadseg.cli.releasing import run_release

    run_release(
        checkpoints,
        out,
        options.numbers("shares", shares),
        data,
        dataset,
        imgsz,
        classes,
        device,
        overwrite,
        json,
        quiet,
    )
