"""The options of `roadseg segment`."""

from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli import options
from roadseg.config import Ids, InferConfig, SegmentConfig, parse_shard
from roadseg.errors import ConfigError


def segment(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Picture, folder, glob, .txt list, or - for stdin."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for masks/, overlays/, report.*.")] = Path(
        "roadseg-out"
    ),
    weights: options.Weights = None,
    classes: options.Classes = None,
    overlay: Annotated[
        bool, typer.Option("--overlay/--no-overlay", help="Also draw the road on the picture.")
    ] = True,
    opacity: Annotated[float, typer.Option(help="Of the overlay's colour.")] = SegmentConfig.opacity,
    save_probs: Annotated[
        bool,
        typer.Option(
            "--save-probs",
            help="Also write probabilities, 0..255: of road, or of many classes that of the one shown.",
        ),
    ] = False,
    ids: Annotated[
        Ids, typer.Option(help="What a mask's pixels hold: classes, or official Cityscapes labelIds.")
    ] = "classes",
    labels: Annotated[Path | None, typer.Option(help="Folder of true labels, to score against.")] = None,
    label_format: Annotated[
        str, typer.Option(help="road-mask (0/255), cityscapes-labelIds, ...")
    ] = SegmentConfig.label_format,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave out what is done.")] = False,
    shard: options.Shard = "1/1",
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.")] = False,
    threshold: options.Threshold = InferConfig.threshold,
    imgsz: options.Imgsz = None,
    tile: options.Tile = None,
    tta: options.Tta = InferConfig.tta,
    max_megapixels: options.MaxMegapixels = SegmentConfig.max_megapixels,
    batch_size: options.AutoBatchSize = "auto",
    workers: options.Readers = None,
    device: options.Device = InferConfig.device,
    ray: options.Ray = None,
    amp: options.Amp = InferConfig.amp,
    compile: options.Compile = False,
    html: options.Html = True,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find the road in pictures: a mask and an overlay for each, and a report for all."""
    if overwrite and skip_existing:
        raise ConfigError("--overwrite and --skip-existing exclude each other; give one of them.")
    from roadseg.cli.segmenting import run_segment

    config = SegmentConfig(
        out=str(out), overlay=overlay, opacity=opacity, save_probs=save_probs, ids=ids,
        existing="overwrite" if overwrite else "skip" if skip_existing else "refuse",
        labels=str(labels) if labels else None, label_format=label_format,
        shard=parse_shard(shard), fail_fast=fail_fast, html=html, max_megapixels=max_megapixels,
        batch_size=1 if tile else None,  # tiles are for huge pictures
        workers=1 if tile and workers is None else workers,
    )  # fmt: skip
    infer = InferConfig(
        device=device, imgsz=imgsz, classes=classes, tile=tile, tta=tta, threshold=threshold, amp=amp,
        compile=compile, batch_size=options.batch_size_of(batch_size),
    )  # fmt: skip
    raise typer.Exit(run_segment(inputs, weights, config, infer, json, quiet, ray))
