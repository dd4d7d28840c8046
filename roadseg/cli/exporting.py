"""How `roadseg export` runs and looks."""

from dataclasses import asdict
from pathlib import Path

from roadseg.cli import render
from roadseg.cli.checking import data_folders
from roadseg.config import ExportFormat, TrainConfig
from roadseg.dataset.samples import Sample, find_samples
from roadseg.documents import header
from roadseg.engine.evaluate import refuse_to_replace
from roadseg.engine.export import Export, export
from roadseg.errors import ConfigError
from roadseg.model.checkpoint import EXPORTED, find_weights, load_checkpoint
from roadseg.model.exported import files_of


def run_export(
    weights: Path | None,
    kind: ExportFormat,
    out: Path | None,
    data: list[Path],
    int8: bool,
    force: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Export the checkpoint, compare, write, and show how alike the two are."""
    suffix = next(suffix for suffix, of in EXPORTED.items() if of == kind)
    out = out or Path(find_weights(weights).stem + (".int8" if int8 else "") + suffix)
    if out.suffix.lower() != suffix:
        raise ConfigError(f"--out is {out}, but what is written as --format {kind} ends in {suffix}.")
    if force and not int8:
        raise ConfigError(
            "--force is for --int8, which may lose too much; to replace a file, give --overwrite."
        )
    if int8 and not data:
        raise ConfigError("--int8 needs labelled pictures to calibrate and to score on: --data DIR.")
    if not overwrite:
        refuse_to_replace(files_of(out))
    checkpoint = load_checkpoint(weights)
    fraction = checkpoint.recipe.get("val_fraction") or TrainConfig.val_fraction
    samples: list[Sample] = []
    for folder in data_folders(data) if data else []:
        samples += find_samples(folder, "val", None, val_fraction=fraction)
    with render.progress("Scoring", "pictures", quiet or as_json or not int8) as update:
        done = export(checkpoint, out, kind, samples=samples, int8=int8, force=force, progress=update)
    if as_json:
        report = {"files": [str(path) for path in done.files], "format": kind, "parity": asdict(done.parity)}
        cost = asdict(done.int8) if done.int8 else None
        render.print_json({**header("export"), **report, "int8": cost})
    else:
        _show(done)


def _show(done: Export) -> None:
    parity, cost = done.parity, done.int8
    if cost:
        rows = [
            ["float32", render.percent(cost.iou_fp32), f"{cost.ms_fp32:.1f}"],
            ["int8", render.percent(cost.iou), f"{cost.ms:.1f}"],
        ]
        title = f"{render.count(cost.pictures, 'picture')}; {cost.calibrated_on} others calibrated it"
        render.table(title, ["precision", "IoU %", "ms for a picture"], rows)
    render.out.print(
        f"{parity.equal:.4%} of the pixels are the checkpoint's{' in float32' if cost else ''}, in the worst "
        f"of {parity.comparisons} comparisons\nNetwork: {', '.join(map(str, done.files))}",
        markup=False,
    )
