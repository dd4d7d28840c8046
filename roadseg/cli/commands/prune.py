"""The options of `roadseg prune`."""

from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli import options
from roadseg.config import AugmentStrength, PruneConfig, TrainConfig


def prune(
    data: options.Data = [],  # noqa: B006
    dataset: options.Dataset = None,
    weights: options.Weights = None,
    keep: Annotated[float | None, typer.Option(help="Share of the channels that are left, 0..1.")] = None,
    speedup: Annotated[float | None, typer.Option(help="Prune until it is this many times as fast.")] = None,
    unstructured: Annotated[
        bool,
        typer.Option("--unstructured", help="A baseline: zeros instead, which are no faster; not finetuned."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the run; default: runs/prune/NAME.")
    ] = None,
    epochs: Annotated[
        int, typer.Option(help="Of finetuning, with the whole network as teacher; 0: none.")
    ] = PruneConfig.epochs,
    lr: Annotated[float, typer.Option(help="Highest learning rate of the finetuning.")] = PruneConfig.lr,
    augment: Annotated[
        AugmentStrength, typer.Option(help="light: nearer to the data at hand; strong: to other roads.")
    ] = TrainConfig.augment,
    imgsz: options.Imgsz = None,
    crop: Annotated[int | None, typer.Option(help="Width of a training crop; default: imgsz.")] = None,
    batch_size: options.BatchSize = TrainConfig.batch_size,
    workers: options.Workers = TrainConfig.workers,
    device: options.Device = TrainConfig.device,
    amp: options.Amp = TrainConfig.amp,
    seed: Annotated[int, typer.Option()] = TrainConfig.seed,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a network smaller and faster: remove channels, finetune, and measure both networks."""
    config = PruneConfig(keep=keep, speedup=speedup, unstructured=unstructured, epochs=epochs, lr=lr)
    from roadseg.cli.pruning import run_prune

    run_prune(
        weights,
        data,
        dataset,
        out,
        config,
        augment,
        imgsz,
        crop,
        batch_size,
        workers,
        device,
        amp,
        seed,
        json,
        quiet,
    )
