"""How `roadseg release` makes one file of weights out of checkpoints."""

from pathlib import Path
from typing import Any

from roadseg.cli import render
from roadseg.cli.checking import data_folders
from roadseg.config import InferConfig, TrainConfig
from roadseg.dataset.samples import Sample, find_samples
from roadseg.documents import header
from roadseg.engine.joining import join_classes
from roadseg.engine.release import Calibration, calibrate, mean_of
from roadseg.errors import ConfigError, OutputError
from roadseg.model.checkpoint import load_checkpoint, save_checkpoint


def run_release(
    checkpoints: list[Path],
    out: Path,
    shares: list[float],
    data: list[Path],
    dataset: str | None,
    imgsz: int | None,
    classes: str | None,
    device: str,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Average, join classes, calibrate on the val parts of `data` if there are any, and write `out`."""
    if out.suffix != ".safetensors":
        raise ConfigError(f"out is {out}, but released weights end in .safetensors.")
    if out.exists() and not overwrite:
        raise OutputError(f"{out}: is there already; --overwrite replaces it, or choose another --out.")
    released = mean_of([load_checkpoint(path) for path in checkpoints], shares)
    if classes:
        released = join_classes(released, classes)
    released.imgsz = InferConfig(imgsz=imgsz).imgsz or released.imgsz
    released.scores = {}  # those of one of them would not be this one's
    calibration = None
    if data:
        fraction = released.recipe.get("val_fraction") or TrainConfig.val_fraction
        samples: list[Sample] = []
        for folder in data_folders(data):
            samples += find_samples(folder, "val", dataset, val_fraction=fraction)
        with render.progress("Calibrating", "pictures", quiet) as update:
            released, calibration = calibrate(released, samples, device=device, progress=update)
        render.note(calibration.told())
    save_checkpoint(released, out)
    if as_json:
        facts: dict[str, Any] = {"weights": str(out), "weights_sha256": released.digest()}
        facts |= calibration._asdict() if calibration else dict.fromkeys(Calibration._fields)
        checkpoint_names = [str(path) for path in checkpoints]
        render.print_json({**header("release"), "checkpoints": checkpoint_names, "shares": shares, **facts})
    else:
        render.out.print(f"Weights: {out}", markup=False)
