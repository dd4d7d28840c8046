"""The options of `roadseg train`."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from roadseg.cli import options, render
from roadseg.config import (
    DEFAULT_MODEL,
    MODELS,
    AugmentStrength,
    Cache,
    Encoder,
    Loss,
    Optimizer,
    Schedule,
    TrainConfig,
)
from roadseg.errors import CheckpointError, ConfigError, RoadsegError

# What a network starts from is one choice: the option that makes it replaces these of a recipe, too.
REPLACES = {
    "weights": ("encoder", "encoder_weights"),
    "encoder": ("weights",),
    "encoder_weights": ("weights",),
}


def train(
    ctx: typer.Context,
    data: options.Data = [],  # noqa: B006
    dataset: options.Dataset = None,
    classes: Annotated[
        str,
        typer.Option(help="road, drivable, cityscapes19, cityscapes-category7, camvid11, idd7, a JSON file."),
    ] = TrainConfig.classes,
    model: Annotated[
        str | None, typer.Option(help="nano, small, base or unet; default: that of --weights, or small.")
    ] = TrainConfig.model,
    weights: Annotated[
        Path | None, typer.Option("--weights", "-w", help="Start a new run from these weights.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Settings to start from: road-small, road-base, cityscapes19-small, cityscapes19-base-512, "
            "cityscapes19-base (from the former's weights), or a JSON file (a run's)."
        ),
    ] = None,
    encoder: Annotated[
        Encoder | None,
        typer.Option(metavar="NAME", help=f"Another encoder for the model: {', '.join(get_args(Encoder))}."),
    ] = None,
    encoder_weights: Annotated[str | None, typer.Option(help="Of the encoder: imagenet, or a file.")] = None,
    encoder_lr: Annotated[
        float, typer.Option(help="Learning rate of that encoder, as a share of --lr.")
    ] = TrainConfig.encoder_lr,
    teacher: Annotated[
        Path | None, typer.Option(help="Learn from this larger model as well (distillation).")
    ] = None,
    teacher_share: Annotated[
        float, typer.Option(help="How much the teacher counts against the labels, 0..1.")
    ] = TrainConfig.teacher_share,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the run in this folder, by its own recipe.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run; default: CLASSES-MODEL, numbered.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/train"),
    epochs: Annotated[int, typer.Option()] = TrainConfig.epochs,
    batch_size: options.BatchSize = TrainConfig.batch_size,
    accumulate: Annotated[
        int, typer.Option(help="Batches that make one step together.")
    ] = TrainConfig.accumulate,
    imgsz: Annotated[
        int, typer.Option(help="Longer side of a picture as the network sees it.")
    ] = TrainConfig.imgsz,
    crop: Annotated[
        int | None,
        typer.Option(help="Width of a 2:1 crop (with --augment strong some are wider or narrower)."),
    ] = None,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = TrainConfig.lr,
    weight_decay: Annotated[float, typer.Option()] = TrainConfig.weight_decay,
    optimizer: Annotated[Optimizer, typer.Option()] = TrainConfig.optimizer,
    schedule: Annotated[Schedule, typer.Option()] = TrainConfig.schedule,
    warmup_epochs: Annotated[float, typer.Option()] = TrainConfig.warmup_epochs,
    loss: Annotated[Loss, typer.Option()] = TrainConfig.loss,
    class_weights: Annotated[str, typer.Option(help="One weight a class, comma-separated.")] = "",
    label_smoothing: Annotated[float, typer.Option()] = TrainConfig.label_smoothing,
    clip_grad: Annotated[
        float, typer.Option(help="Largest norm of the gradient; 0: any.")
    ] = TrainConfig.clip_grad,
    max_bad_steps: Annotated[
        int, typer.Option(help="NaN steps in a row that are left out before it stops.")
    ] = TrainConfig.max_bad_steps,
    ema: Annotated[
        float, typer.Option(help="Decay of the average of the weights; 0: none.")
    ] = TrainConfig.ema,
    augment: Annotated[AugmentStrength, typer.Option()] = TrainConfig.augment,
    patience: Annotated[
        int, typer.Option(help="Validations without progress before stopping; 0: never.")
    ] = TrainConfig.patience,
    val_every: Annotated[
        int, typer.Option(help="Epochs from one validation to the next.")
    ] = TrainConfig.val_every,
    val_fraction: Annotated[
        float, typer.Option(help="Share held out where the data set has no val split.")
    ] = TrainConfig.val_fraction,
    cache: Annotated[
        Cache, typer.Option(help="Where decoded pictures wait between epochs.")
    ] = TrainConfig.cache,
    workers: options.Workers = TrainConfig.workers,
    device: options.Device = TrainConfig.device,
    amp: options.Amp = TrainConfig.amp,
    seed: Annotated[int, typer.Option()] = TrainConfig.seed,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same bits again, as far as the device can.")
    ] = TrainConfig.deterministic,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also log for TensorBoard, into the run's folder.")
    ] = TrainConfig.tensorboard,
    html: options.Html = True,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a model; leaves checkpoints, results.csv, curves and pictures in runs/train/NAME."""
    given = locals()
    from roadseg.cli.training import TrainDisplay, page_if_stopped
    from roadseg.engine.best import report_best
    from roadseg.engine.distributed import joined
    from roadseg.engine.listener import TrainListener
    from roadseg.engine.runs import (
        named_folder,
        read_recipe,
        resume_training,
        start_training,
        unnamed_folder,
    )

    heeded = ("resume", "device", "workers", "html", "json", "quiet")
    others = [option for option in ctx.command.params if option.name not in heeded]
    ignored = [option.opts[0] for option in others if options.is_given(ctx, option.name or "")]
    if resume and ignored:
        raise ConfigError(
            f"--resume goes on by the run's own recipe: leave out {', '.join(ignored)}, or start a new run."
        )
    given_folder: Path | None
    if resume:
        given_folder = resume.parent if os.path.isfile(resume) else resume
    else:
        own = read_recipe(recipe) if recipe else {}
        given["data"] = data or [Path(folder) for folder in own.get("data", [])]
        settings = _settings(given)
        replaced = {k for name, keys in REPLACES.items() if options.is_given(ctx, name) for k in keys}
        kept = own.keys() - replaced - {"data"}
        settings |= {k: own[k] for k in kept if not options.is_given(ctx, k)}
        left_out = [k for k in sorted(replaced) if own.get(k)]
        if "weights" in left_out and settings["model"] is None:
            settings["model"] = _network_of(own["weights"])
        if left_out:
            was = ", ".join(f"{k.replace('_', ' ')} {own[k]}" for k in left_out)
            render.note(f"Of recipe {recipe} this is left out, for what is given in its place: {was}.")
        try:
            config = TrainConfig.from_dict(settings)
        except ConfigError as error:
            raise ConfigError(f"{error} (--recipe {recipe})" if recipe else f"{error}") from error
        network = config.model or (Path(config.weights).stem if config.weights else DEFAULT_MODEL)
        auto = f"{Path(config.classes).stem}-{network}"[:60]  # a folder's name, whatever the classes are
        given_folder = None if name is None else named_folder(runs, name)
    lost: RoadsegError | None = None
    with TrainDisplay(quiet) as display, joined(device) as group:
        listener = display if group.writes else TrainListener()
        html = html and group.writes
        place = nullcontext(given_folder) if given_folder else unnamed_folder(runs, auto, config, group)
        with place as folder, _alone(folder, group.writes, bool(resume)), page_if_stopped(folder, html):
            if resume:
                result = resume_training(resume, listener, device=device, workers=workers, group=group)
            else:
                result = start_training(config, folder, listener, group)
            if html:
                try:
                    report_best(result, render.command_line(), display.measuring)
                except RoadsegError as error:  # the training is done all the same
                    lost = error
        if not group.writes:
            return
    if json:
        render.print_json(result.report)
    else:
        display.finished(result, html and not lost)
    if lost:
        render.error(str(lost))
        raise typer.Exit(lost.exit_code)


def _alone(folder: Path, writes: bool, resumes: bool) -> AbstractContextManager[None]:
    """Keep other processes off the run's folder; one to go on with that is not there needs none."""
    from roadseg.media.output import alone_at

    return alone_at(folder) if writes and (not resumes or os.path.isdir(folder)) else nullcontext()


def _network_of(weights: str) -> str:
    """The `--model` that a recipe's weights are of."""
    from roadseg.model.checkpoint import find_weights, load_checkpoint

    config = replace(load_checkpoint(find_weights(Path(weights))).model.config, members=())
    for name, known in MODELS.items():
        if known == config:
            return name
    raise ConfigError(f"{weights}, which the recipe begins with, is of none of our networks; give --model.")


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """The options of `train` that are settings of TrainConfig, in its plain types.

    Paths are made absolute, so that a run says what it was made of wherever one reads it.
    """
    from roadseg.cli.checking import data_folders
    from roadseg.labels import SCHEMES
    from roadseg.model.checkpoint import find_weights

    settings = {key: value for key, value in given.items() if key in TrainConfig.__dataclass_fields__}
    settings["data"] = [str(folder.resolve()) for folder in data_folders(given["data"])]
    for name in ("weights", "teacher"):
        try:
            settings[name] = str(find_weights(given[name]).resolve()) if given[name] else None
        except CheckpointError as error:
            raise CheckpointError(f"--{name} {error}") from error
    if given["encoder_weights"] and os.path.isfile(given["encoder_weights"]):
        settings["encoder_weights"] = str(Path(given["encoder_weights"]).resolve())
    if given["classes"] not in SCHEMES and os.path.isfile(given["classes"]):
        settings["classes"] = str(Path(given["classes"]).resolve())
    settings["class_weights"] = options.numbers("class_weights", given["class_weights"])
    return settings
