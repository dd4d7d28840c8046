"""The `roadseg` command: options become a config, one engine call does the work, the result is shown."""

import errno
import io
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import roadseg
from roadseg.cli import options, render
from roadseg.config import (
    DEFAULT_MODEL,
    Audio,
    AugmentStrength,
    Cache,
    Codec,
    Ids,
    InferConfig,
    Loss,
    Optimizer,
    PruneConfig,
    Schedule,
    SegmentConfig,
    TrainConfig,
    VideoConfig,
    View,
    parse_shard,
)
from roadseg.errors import ConfigError, RoadsegError

NO_LIBGL = (
    "OpenCV needs libGL, which this machine lacks. Use its build without windows: "
    "pip uninstall -y opencv-python && pip install opencv-python-headless"
)


class RoadsegGroup(TyperGroup):
    """Turns a user's mistake into one line and an exit code; a bug of ours keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except RoadsegError as error:
            render.error(str(error))
            raise typer.Exit(error.exit_code) from error
        except ImportError as error:
            if "libGL" not in str(error):
                raise
            render.error(NO_LIBGL)
            raise typer.Exit(1) from error
        except OSError as error:
            if error.filename or error.errno not in (errno.ENOSPC, errno.EPIPE):
                raise
            render.error(f"the results cannot be printed ({error.strerror}); send them to another place.")
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            render.note("Interrupted.")
            raise typer.Exit(130) from error


app = typer.Typer(
    cls=RoadsegGroup,
    help=roadseg.__doc__,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):  # a file name may hold what the terminal has no letters for
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()


def _version(value: bool) -> None:
    if value:
        render.out.print(f"roadseg {roadseg.__version__}")
        raise typer.Exit


@app.callback()
def options_of_all(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command("download-check")
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
    with render.progress("Checking", "pairs", quiet or json) as update:
        check = check_dataset(folder, dataset, deep=deep, scheme=get_scheme(classes), progress=update)
    if json:
        render.print_json(check.to_dict())
    else:
        show_check(check)
    raise typer.Exit(check.exit_code)


@app.command()
def train(
    ctx: typer.Context,
    data: options.Data = [],  # noqa: B006
    dataset: options.Dataset = None,
    classes: Annotated[
        str, typer.Option(help="road, cityscapes19, cityscapes-category7, camvid11, idd7, or a JSON file.")
    ] = TrainConfig.classes,
    model: Annotated[
        str | None, typer.Option(help="nano, small, base or unet; default: that of --weights, or small.")
    ] = TrainConfig.model,
    weights: Annotated[
        Path | None, typer.Option("--weights", "-w", help="Start a new run from these weights.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Settings to start from: road-small, or a JSON file (a run's config.json)."),
    ] = None,
    encoder_weights: Annotated[
        str | None, typer.Option(help="For a model with an EfficientNet encoder: imagenet, or a file.")
    ] = None,
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
    imgsz: Annotated[
        int, typer.Option(help="Longer side of a picture as the network sees it.")
    ] = TrainConfig.imgsz,
    crop: Annotated[
        int | None, typer.Option(help="Width of a training crop (half as high); default: imgsz.")
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
    quiet: options.Quiet = False,
) -> None:
    """Train a model; leaves checkpoints, results.csv, curves and pictures in runs/train/NAME."""
    given = locals()
    from roadseg.cli.training import TrainDisplay
    from roadseg.engine.runs import named_folder, new_folder, read_recipe, resume_training, start_training

    heeded = ("resume", "device", "workers", "quiet")
    others = [option for option in ctx.command.params if option.name not in heeded]
    ignored = [option.opts[0] for option in others if _is_given(ctx, option.name or "")]
    if resume and ignored:
        raise ConfigError(
            f"--resume goes on by the run's own recipe: leave out {', '.join(ignored)}, or start a new run."
        )
    with TrainDisplay(quiet) as display:
        if resume:
            result = resume_training(resume, display, device=device, workers=workers)
        else:
            own = read_recipe(recipe) if recipe else {}
            given["data"] = data or [Path(folder) for folder in own.get("data", [])]
            settings = _settings(given)
            settings |= {k: v for k, v in own.items() if k != "data" and not _is_given(ctx, k)}
            config = TrainConfig.from_dict(settings)
            network = config.model or (Path(config.weights).stem if config.weights else DEFAULT_MODEL)
            auto = f"{Path(config.classes).stem}-{network}"
            folder = new_folder(runs, auto) if name is None else named_folder(runs, name)
            result = start_training(config, folder, display)
    display.finished(result)


def _is_given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """The options of `train` that are settings of TrainConfig, in its plain types.

    Paths are made absolute, so that a run says what it was made of wherever one reads it.
    """
    from roadseg.cli.checking import data_folders
    from roadseg.labels import SCHEMES

    settings = {key: value for key, value in given.items() if key in TrainConfig.__dataclass_fields__}
    settings["data"] = [str(folder.resolve()) for folder in data_folders(given["data"])]
    for name in ("weights", "teacher"):
        settings[name] = str(given[name].resolve()) if given[name] else None
    if given["encoder_weights"] and Path(given["encoder_weights"]).is_file():
        settings["encoder_weights"] = str(Path(given["encoder_weights"]).resolve())
    if given["classes"] not in SCHEMES and Path(given["classes"]).is_file():
        settings["classes"] = str(Path(given["classes"]).resolve())
    settings["class_weights"] = _numbers("class_weights", given["class_weights"])
    return settings


def _numbers(name: str, text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",") if number.strip()]
    except ValueError as error:
        raise ConfigError(f"{name} is {text!r}, but must be numbers with commas: 1,2.5") from error


@app.command()
def release(
    checkpoints: Annotated[list[Path], typer.Argument(metavar="CHECKPOINT...", help="best.pt, last.pt, ...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .safetensors file.")],
    shares: Annotated[str, typer.Option(help="Of each in the mean, comma-separated; default: equal.")] = "",
    data: options.Data = [],  # noqa: B006
    imgsz: options.Imgsz = None,
    device: options.Device = InferConfig.device,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Make weights to give away: the mean of checkpoints, calibrated on the val part of --data."""
    from roadseg.cli.releasing import run_release

    run_release(checkpoints, out, _numbers("shares", shares), data, imgsz, device, overwrite, quiet)


@app.command()
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
        weights, data, dataset, out, config, imgsz, crop, batch_size, workers, device, amp, seed, json, quiet
    )


@app.command("eval")
def evaluate(
    data: options.Data = [],  # noqa: B006
    dataset: options.Dataset = None,
    weights: options.Weights = None,
    split: Annotated[str, typer.Option(help="Split to score.")] = "val",
    out: Annotated[Path | None, typer.Option(help="Folder of the report; default: runs/eval/NAME.")] = None,
    save_predictions: Annotated[
        Path | None, typer.Option(help="Also write predictions here, as the official label ids.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
    imgsz: options.Imgsz = None,
    threshold: options.Threshold = InferConfig.threshold,
    batch_size: options.BatchSize = InferConfig.batch_size,
    workers: options.Workers = TrainConfig.workers,
    device: options.Device = InferConfig.device,
    amp: options.Amp = InferConfig.amp,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Score a checkpoint on a labelled split: IoU and more, by the official rules, at label resolution."""
    from roadseg.cli.evaluating import run_evaluation

    config = InferConfig(device=device, imgsz=imgsz, threshold=threshold, batch_size=batch_size, amp=amp)
    run_evaluation(
        data, dataset, weights, split, out, save_predictions, overwrite, config, workers, json, quiet
    )


@app.command()
def segment(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Picture, folder, glob, .txt list, or - for stdin."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for masks/, overlays/, report.*.")] = Path(
        "roadseg-out"
    ),
    weights: options.Weights = None,
    overlay: Annotated[
        bool, typer.Option("--overlay/--no-overlay", help="Also draw the road on the picture.")
    ] = True,
    opacity: Annotated[float, typer.Option(help="Of the overlay's colour.")] = SegmentConfig.opacity,
    save_probs: Annotated[
        bool, typer.Option("--save-probs", help="Also write probabilities, 0..255.")
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
    shard: Annotated[str, typer.Option(help="i/n: do the i-th of n parts of the inputs.")] = "1/1",
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.")] = False,
    threshold: options.Threshold = InferConfig.threshold,
    imgsz: options.Imgsz = None,
    batch_size: options.BatchSize = InferConfig.batch_size,
    workers: options.Workers = SegmentConfig.workers,
    device: options.Device = InferConfig.device,
    amp: options.Amp = InferConfig.amp,
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
        shard=parse_shard(shard), fail_fast=fail_fast, batch_size=batch_size, workers=workers,
    )  # fmt: skip
    infer = InferConfig(device=device, imgsz=imgsz, threshold=threshold, batch_size=batch_size, amp=amp)
    raise typer.Exit(run_segment(inputs, weights, config, infer, json, quiet))


@app.command()
def video(
    source: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="Video, folder of pictures, camera (0), or stream (rtsp://)."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The video to write; default: NAME.roadseg.mp4 here.")
    ] = None,
    weights: options.Weights = None,
    view: Annotated[View, typer.Option(help="What the video shows.")] = VideoConfig.view,
    opacity: Annotated[float, typer.Option(help="Of the overlay's colour.")] = VideoConfig.opacity,
    smooth: Annotated[
        float, typer.Option(help="Share of the past in a mask where nothing moves; 0: off.")
    ] = VideoConfig.smooth,
    mask_video: Annotated[
        Path | None, typer.Option(help="Also a lossless video of the masks (.mkv).")
    ] = None,
    masks: Annotated[Path | None, typer.Option(help="Also a folder of PNG masks, one a frame.")] = None,
    codec: Annotated[Codec, typer.Option(help="Of the video.")] = VideoConfig.codec,
    crf: Annotated[
        int | None, typer.Option(help="Constant quality, lower is better; default: a good one.")
    ] = None,
    hardware: Annotated[bool, typer.Option("--hardware", help="Encode on a GPU.")] = False,
    audio: Annotated[Audio, typer.Option(help="Sound and subtitles.")] = VideoConfig.audio,
    start: Annotated[float, typer.Option(help="Seconds from the beginning.")] = VideoConfig.start,
    end: Annotated[float | None, typer.Option(help="Seconds from the beginning.")] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds from the start, as for cameras.")] = None,
    stride: Annotated[int, typer.Option(help="Every how manieth frame.")] = VideoConfig.stride,
    fps: Annotated[float, typer.Option(help="Of a folder of pictures.")] = VideoConfig.fps,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
    threshold: options.Threshold = InferConfig.threshold,
    imgsz: options.Imgsz = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Frames that the network sees at once; default: as the device likes.")
    ] = None,
    device: options.Device = InferConfig.device,
    amp: options.Amp = InferConfig.amp,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find the road in a video: a video that plays anywhere, with its sound, and a table of its frames."""
    if end is not None and duration is not None:
        raise ConfigError("--end and --duration exclude each other; give one of them.")
    from roadseg.cli.video import default_out, run_video

    config = VideoConfig(
        out=str(out or default_out(source)), view=view, opacity=opacity, smooth=smooth, codec=codec, crf=crf,
        hardware=hardware, audio=audio, mask_video=str(mask_video) if mask_video else None,
        masks=str(masks) if masks else None, start=start, end=end if duration is None else start + duration,
        stride=stride, fps=fps, overwrite=overwrite, batch_size=batch_size,
    )  # fmt: skip
    infer = InferConfig(device=device, imgsz=imgsz, threshold=threshold, amp=amp)
    raise typer.Exit(run_video(source, weights, config, infer, json, quiet))
