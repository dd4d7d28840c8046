"""The options of `roadseg export`."""

from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli import options
from roadseg.config import ExportFormat


def export(
    weights: options.Weights = None,
    format: Annotated[ExportFormat, typer.Option(help="onnx (for ONNX Runtime), or openvino.")] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The .onnx or .xml file; default: the weights' name, here."),
    ] = None,
    data: options.Data = [],  # noqa: B006
    int8: Annotated[
        bool,
        typer.Option("--int8", help="In 8-bit integers, calibrated and scored on the val part of --data."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write int8 even if it loses more than 0.5 points of IoU.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a model for another runtime; --weights of segment, video and eval takes the file."""
    from roadseg.cli.exporting import run_export

    run_export(weights, format, out, data, int8, force, overwrite, json, quiet)
