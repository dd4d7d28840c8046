"""Starting a training in a folder of its own, and going on with one that was interrupted."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from roadseg.config import TrainConfig
from roadseg.documents import parse_json
from roadseg.engine.distributed import ALONE, Group
from roadseg.engine.listener import TrainListener, TrainResult
from roadseg.engine.memory import out_of_memory
from roadseg.engine.sources import find_sources
from roadseg.engine.steps import stopping_in_order
from roadseg.engine.train import Trainer
from roadseg.errors import (
    CheckpointError,
    ConfigError,
    DatasetError,
    MediaError,
    MemoryLimitError,
    OutputError,
)
from roadseg.media.output import cannot_write, is_empty, sweep
from roadseg.model.checkpoint import Checkpoint, load_checkpoint, previous_of, put_back_previous

CONFIG: Final = "config.json"
PRUNED: Final = "pruned.pt"
"""What `prune` leaves for the finetuning to start from."""
_LONGEST_NAME: Final = 200  # bytes; a file's name has 255 at most, and the lock's is longer than the folder's


def read_recipe(name: str) -> dict[str, Any]:
    """Return the settings of a recipe: one of the package's by its name, or a JSON file's.

    A run's `config.json` is one as well. Raises ConfigError when there is none, or it holds something else.
    """
    own = resources.files("roadseg") / "recipes"
    path = Path(str(own / f"{name}.json")) if Path(name).name == name else Path(name)
    if not os.path.isfile(path):  # which takes a name that is too long, too
        path = Path(name)
    try:
        settings = parse_json(path.read_bytes())
    except OSError as error:
        names = ", ".join(sorted(Path(entry.name).stem for entry in own.iterdir()))
        raise ConfigError(f"recipe is {name!r}, but must be a JSON file, or one of: {names}.") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is not JSON ({error}).") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: is no JSON object of settings, such as a run's config.json is.")
    try:
        TrainConfig.typed(settings)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return settings


@contextmanager
def new_folder(parent: Path, name: str) -> Iterator[Path]:
    """Make `parent/name`, or `parent/name-2`, `-3`, ... where the ones before are taken. OutputError.

    What starts at the same time gets another one. What is empty of it at the end, its parents too, goes.
    """
    missing = [place for place in (parent, *parent.parents) if not os.path.lexists(place)]
    folder, number = parent / name, 1
    while True:
        try:
            folder.mkdir(parents=True)
            break
        except OSError as error:
            if not os.path.lexists(folder):
                raise cannot_write(folder, error) from error
        number += 1
        folder = parent / f"{name}-{number}"
    try:
        yield folder
    finally:
        with suppress(OSError):  # it is not empty
            for place in (folder, *missing):
                place.rmdir()


@contextmanager
def unnamed_folder(parent: Path, name: str, config: TrainConfig, group: Group) -> Iterator[Path]:
    """The folder of a training that was given none: a new one, as rank 0 chooses it.

    Under torchrun, which starts a command again, that of the last run if it was interrupted.
    """
    last = latest_folder(parent, name)
    goes_on = not group.writes or (group.elastic and is_interrupted(last, config))
    with nullcontext(last) if goes_on else new_folder(parent, name) as folder:
        yield group.agree(folder)


def named_folder(parent: Path, name: str) -> Path:
    """Return `parent/name`; ConfigError when `name` is a path, too long, or taken by the picture cache."""
    if name in ("", ".", "..") or Path(name).name != name:
        raise ConfigError(
            f"name is {name!r}, but must be a name, not a path; --runs is the folder of the runs."
        )
    if len(os.fsencode(name)) > _LONGEST_NAME:
        raise ConfigError(f"name has {len(name)} letters, too many for a folder's; choose a shorter --name.")
    if name.casefold() == "cache":  # beside the runs, so that they share it
        raise ConfigError(f"name is {name!r}, but the picture cache has that folder; choose another --name.")
    return parent / name


def latest_folder(parent: Path, name: str) -> Path:
    """Return the last folder that `new_folder` made, or `parent/name` if it made none."""
    folder, number = parent / name, 1
    while os.path.exists(further := parent / f"{name}-{number + 1}"):
        folder, number = further, number + 1
    return folder


def is_interrupted(folder: Path, config: TrainConfig) -> bool:
    """Whether a run of just these settings (but for the machine's affairs) is in `folder`, and unfinished."""
    try:
        settings = parse_json((folder / CONFIG).read_bytes())
        report = folder / "report.json"
        finished = report.exists() and parse_json(report.read_bytes())["finished"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    own = {"device": config.device, "workers": config.workers}
    return not finished and {**settings, **own} == config.to_dict()


def start_training(
    config: TrainConfig, folder: Path, listener: TrainListener, group: Group = ALONE
) -> TrainResult:
    """Train from the start into `folder`; raises OutputError when a run, or anything else, is in it.

    Under torchrun a run of the same settings that was interrupted there goes on: torchrun starts the command
    again as it is when a process has died.
    """
    if group.agree(group.elastic and is_interrupted(folder, config)):
        if _has_state(folder):
            return resume_training(
                folder, listener, device=config.device, workers=config.workers, group=group
            )
        _require_no_best(folder)
        listener.message(f"{folder}: was interrupted before its first epoch was done; it starts again.")
    elif group.writes:
        _require_empty(folder)
    return run_trainer(Trainer(config, find_sources(config), folder, listener, group=group))


def _has_state(folder: Path) -> bool:
    """Whether there is a training to go on with: its `last.pt`, or the one before that."""
    last = folder / "last.pt"
    return os.path.exists(last) or os.path.exists(previous_of(last))


def _require_no_best(folder: Path) -> None:
    """CheckpointError where a training that begins again would replace weights of more than an epoch.

    One that was killed while it saved its first epoch may have a best.pt, and no last.pt yet.
    """
    best = folder / "best.pt"
    there = [path for path in (best, previous_of(best)) if os.path.exists(path)]
    if there and _epochs_told(folder) != 1:
        raise CheckpointError(
            f"{folder}: no last.pt in it to go on from, but {there[0].name}, which beginning again would "
            f"replace. Start a new run from it by --weights {there[0]}, or move it away."
        )


def _epochs_told(folder: Path) -> object:
    """How many epochs the report in `folder`, written before any checkpoint, tells of; None: it cannot."""
    try:
        return parse_json((folder / "report.json").read_bytes())["epochs"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _require_empty(folder: Path) -> None:
    if _has_state(folder):
        raise OutputError(
            f"{folder}: holds a run already. Go on with it by --resume {folder}, or choose another --name."
        )
    sweep(folder)  # of a run that was killed before it had anything to keep
    if _is_begun(folder):
        _require_no_best(folder)
        raise OutputError(
            f"{folder}: holds a run that was stopped before its first epoch was done. Begin it again by "
            f"--resume {folder}, or choose another --name."
        )
    if os.path.isfile(folder) or (os.path.isdir(folder) and not is_empty(folder)):
        raise OutputError(
            f"{folder}: is not empty, and holds no run to go on with. Choose another --name, or empty it."
        )


def _is_begun(folder: Path) -> bool:
    """Whether a run wrote its settings there; somebody's own `config.json` holds others."""
    try:
        TrainConfig.from_dict(read_recipe(str(folder / CONFIG)))
    except ConfigError:
        return False
    return True


def resume_training(
    folder: Path, listener: TrainListener, *, device: str, workers: int, group: Group = ALONE
) -> TrainResult:
    """Go on with the run in `folder` by its own recipe; only device and workers are the machine's affair.

    `folder` may also be the `last.pt` in it. Classes and weights come from there, so that the files of
    --classes and --weights need not be there any more. A run that was stopped before its first checkpoint
    begins again, by its `config.json`. Raises CheckpointError when there is nothing to go on from.
    """
    if folder.name == "last.pt" and os.path.isfile(folder):
        folder = folder.parent
    sweep(folder)
    if not _has_state(folder) and os.path.isfile(folder / CONFIG):
        _require_no_best(folder)
        recipe = TrainConfig.from_dict(read_recipe(str(folder / CONFIG)))
        config = replace(recipe, device=device, workers=workers)
        listener.message(f"{folder}: no epoch of it was done; it begins again.")
        pruned = folder / PRUNED
        start = load_checkpoint(pruned) if pruned.is_file() else None
        return run_trainer(Trainer(config, find_sources(config), folder, listener, start=start, group=group))
    checkpoint = _load_state(folder, listener, group)
    recipe = TrainConfig.from_dict(checkpoint.recipe)
    config = replace(recipe, device=device, workers=workers)
    trainer = Trainer(config, find_sources(config), folder, listener, restored=checkpoint, group=group)
    listener.message(f"Resumed {folder} after epoch {len(trainer.history)} of {config.epochs}.")
    return run_trainer(trainer)


def run_trainer(trainer: Trainer) -> TrainResult:
    """Run it; what stops it from outside says how to go on."""
    try:
        with stopping_in_order():
            return trainer.run()
    except (KeyboardInterrupt, OutputError, MediaError, DatasetError) as error:
        folder, epochs = trainer.folder, trainer.config.epochs
        if trainer.kept:
            error.add_note(
                f"{folder} keeps {trainer.kept} of {epochs} epochs: roadseg train --resume {folder} goes on."
            )
        elif (folder / CONFIG).exists():
            error.add_note(f"No epoch is done: roadseg train --resume {folder} begins again.")
        else:
            error.add_note("Nothing is done yet: the same command begins again.")
        raise
    except Exception as error:
        if "more than 1 value per channel" in str(error):  # torch's BatchNorm, of a single one
            raise ConfigError(
                f"With crops of {trainer.config.crop or trainer.config.imgsz} pixels and batches of "
                f"{trainer.config.batch_size}, a batch is a single pixel where the network sees it coarsest, "
                "which cannot be normalised. Give a larger --crop or --batch-size."
            ) from error
        if isinstance(error, MemoryLimitError) or not out_of_memory(error):
            raise
        raise _too_large(trainer.config, trainer.group.size) from error


def _too_large(config: TrainConfig, size: int) -> MemoryLimitError:
    """size: how many processes train; one alone halves its batches, so it was not they."""
    if size == 1:
        return MemoryLimitError("out of memory; give --cache disk, fewer --workers or a smaller --crop")
    half = max(1, config.batch_size // 2)
    return MemoryLimitError(
        f"out of memory with batches of {config.batch_size}; begin anew with --batch-size {half} "
        f"--accumulate {2 * config.accumulate}, whose steps have as many pictures, or with a smaller --crop"
    )


def _load_state(folder: Path, listener: TrainListener, group: Group) -> Checkpoint:
    """Read `last.pt`; where that is gone or damaged, the one before it (and say so), which takes its place.

    Else the next epoch would make the damaged file the one before.
    """
    last = folder / "last.pt"
    if not _has_state(folder):
        raise CheckpointError(
            f"{folder}: no last.pt in it, so there is nothing to resume. Give the folder of a run."
        )
    try:
        return load_checkpoint(last)
    except CheckpointError as error:
        if not previous_of(last).is_file():
            raise
        why = str(error) if last.exists() else f"{last}: is not there any more."
    checkpoint = load_checkpoint(previous_of(last))
    listener.message(f"{why} Going on from {previous_of(last).name}, one epoch earlier.")
    if group.writes:
        put_back_previous(last)
    return checkpoint
