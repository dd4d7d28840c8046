"""The options of `roadseg eval`."""

from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli import options
from roadseg.config import InferConfig, SegmentConfig, TrainConfig, parse_shard


def evaluate(
    ctx: typer.Context,
    data: options.Data = [],  # noqa: B006
    dataset: options.Dataset = None,
    weights: options.Weights = None,
    split: Annotated[str, typer.Option(help="Split to score.")] = "val",
    out: Annotated[Path | None, typer.Option(help="Folder of the report; default: runs/eval/NAME.")] = None,
    save_predictions: Annotated[
        Path | None, typer.Option(help="Also write predictions here, as the official label ids.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Score the masks (PNG) in this folder, made by any tool.")
    ] = None,
    prediction_format: Annotated[
        str | None,
        typer.Option(help="index, color, road-mask (0/255), cityscapes-labelIds, ...", show_default=False),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Join the network's classes into these (road, idd7, ...); of --predictions: road, or these.",
            show_default=False,
        ),
    ] = None,
    boundary: Annotated[bool, typer.Option("--boundary/--no-boundary", help="Boundary IoU and F.")] = True,
    calib: Annotated[
        Path | None,
        typer.Option(
            help="Folder of calibrations (NAME.txt), for KITTI's scores in bird's-eye view; default: "
            "calib/ beside image_2/.",
            show_default=False,
            exists=True,
            file_okay=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
    imgsz: options.Imgsz = None,
    tile: options.Tile = None,
    tta: options.Tta = InferConfig.tta,
    max_megapixels: options.MaxMegapixels = SegmentConfig.max_megapixels,
    threshold: options.Threshold = InferConfig.threshold,
    batch_size: options.AutoBatchSize = "auto",
    workers: options.Workers = TrainConfig.workers,
    device: options.Device = InferConfig.device,
    shard: options.Shard = "1/1",
    ray: options.Ray = None,
    amp: options.Amp = InferConfig.amp,
    compile: options.Compile = False,
    html: options.Html = True,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Score a checkpoint, or masks of any tool, on a labelled split, by the official rules."""
    from roadseg.cli.evaluating import EvalOptions, run_evaluation, run_predictions
    from roadseg.media.images import allow_pixels

    part = parse_shard(shard)
    common = EvalOptions(
        data, dataset, split, out, overwrite, workers, boundary, calib, json, quiet, html, part, ray
    )
    if predictions:
        of_model = (
            "weights", "save_predictions", "imgsz", "tile", "tta", "threshold", "batch_size", "device", "amp",
            "compile", "calib", "shard", "ray",
        )  # fmt: skip
        options.refuse_given(ctx, of_model, "--predictions are scored without a model")
        with allow_pixels(max_megapixels * 10**6):
            raise typer.Exit(
                run_predictions(common, predictions, prediction_format, classes or TrainConfig.classes)
            )
    options.refuse_given(ctx, ("prediction_format",), "it belongs to --predictions")
    config = InferConfig(
        device=device, imgsz=imgsz, classes=classes, tile=tile, tta=tta, threshold=threshold, amp=amp,
        compile=compile, batch_size=options.batch_size_of(batch_size),
    )  # fmt: skip
    with allow_pixels(max_megapixels * 10**6):
        run_evaluation(common, weights, save_predictions, config)
