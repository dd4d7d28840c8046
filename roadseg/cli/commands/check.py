"""The options of `roadseg download-check`."""

from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli import options, render
from roadseg.config import TrainConfig


def download_check(
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data set; default: CITYSCAPES_DATASET.")
    ] = None,
    dataset: options.Dataset = None,
    classes: Annotated[
        str, typer.Option(help="Classes whose label values are checked.")
    ] = TrainConfig.classes,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every picture and label.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say what a data set lacks, what is wrong in it, and how to get it. Exit 0, 3 (usable) or 1."""
    from roadseg.cli.checking import data_folders, show_check
    from roadseg.dataset.check import check_dataset
    from roadseg.labels import get_scheme

    folder = data_folders([data] if data else [])[0]
    with render.progress("Checking", "pairs", quiet) as update:
        check = check_dataset(folder, dataset, deep=deep, scheme=get_scheme(classes), progress=update)
    if json:
        render.print_json(check.to_dict())
    else:
        show_check(check)
    raise typer.Exit(check.exit_code)
