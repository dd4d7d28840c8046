"""Starting a training in a folder of its own, and going on with one that was interrupted."""

from dataclasses import replace
from pathlib import Path

from roadseg.config import TrainConfig
from roadseg.engine.sources import find_sources
from roadseg.engine.train import Trainer, TrainListener, TrainResult
from roadseg.errors import CheckpointError, OutputError
from roadseg.model.checkpoint import Checkpoint, load_checkpoint, previous_of


def new_folder(parent: Path, name: str) -> Path:
    """Return `parent/name`, or `parent/name-2`, `-3`, ... where the ones before are taken."""
    folder, number = parent / name, 1
    while folder.exists():
        number += 1
        folder = parent / f"{name}-{number}"
    return folder


def start_training(config: TrainConfig, folder: Path, listener: TrainListener) -> TrainResult:
    """Train from the start into `folder`; raises OutputError when a run is there already."""
    if (folder / "last.pt").exists():
        raise OutputError(
            f"{folder}: holds a run already. Go on with it by --resume {folder}, or choose another --name."
        )
    return Trainer(config, find_sources(config), folder, listener).run()


def resume_training(folder: Path, listener: TrainListener, *, device: str, workers: int) -> TrainResult:
    """Go on with the run in `folder` by its own recipe; only device and workers are the machine's affair.

    Raises CheckpointError when there is no state to go on from.
    """
    checkpoint = _load_state(folder, listener)
    recipe = TrainConfig.from_dict(checkpoint.recipe)
    config = replace(recipe, device=device, workers=workers)
    trainer = Trainer(config, find_sources(config), folder, listener)
    trainer.restore(checkpoint)
    listener.message(f"Resumed {folder} after epoch {len(trainer.history)} of {config.epochs}.")
    return trainer.run()


def _load_state(folder: Path, listener: TrainListener) -> Checkpoint:
    """Read `last.pt`, or the one before it if that is damaged (and say so)."""
    last = folder / "last.pt"
    if not last.is_file():
        raise CheckpointError(
            f"{folder}: no last.pt in it, so there is nothing to resume. Give the folder of a run."
        )
    try:
        return load_checkpoint(last)
    except CheckpointError as error:
        if not previous_of(last).is_file():
            raise
        listener.message(f"{error} Going on from {previous_of(last).name}, one epoch earlier.")
        return load_checkpoint(previous_of(last))
