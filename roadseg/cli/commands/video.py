"""The options of `roadseg video`."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli import options
from roadseg.config import Audio, Codec, InferConfig, VideoConfig, View, parse_shard
from roadseg.errors import ConfigError


def video(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Video, folder of pictures, camera (0), or stream (rtsp://); or several videos, or a .txt "
            "list of them.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The video to write; default: NAME.roadseg.mp4 here. Of several: their folder; default: "
            "roadseg-out.",
        ),
    ] = None,
    weights: options.Weights = None,
    classes: options.Classes = None,
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
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave out what is done.")] = False,
    shard: options.Shard = "1/1",
    threshold: options.Threshold = InferConfig.threshold,
    imgsz: options.Imgsz = None,
    batch_size: options.AutoBatchSize = "auto",
    device: options.Device = InferConfig.device,
    ray: options.Ray = None,
    amp: options.Amp = InferConfig.amp,
    compile: options.Compile = False,
    html: options.Html = True,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find the road in a video: a video that plays anywhere, with its sound, and a table of its frames.

    The table has how consistent the road is from frame to frame: its IoU with the one before, moved along
    with the picture. That motion is looked for anyway to steady the masks; with --smooth 0 it takes
    about two milliseconds of one core a frame.
    """
    if end is not None and duration is not None:
        raise ConfigError("--end and --duration exclude each other; give one of them.")
    if duration is not None:
        end = float(Decimal(str(start)) + Decimal(str(duration)))  # 0.1 + 0.2 is 0.3
    if overwrite and skip_existing:
        raise ConfigError("--overwrite and --skip-existing exclude each other; give one of them.")
    from roadseg.cli.video import default_out, run_video
    from roadseg.cli.videos import Batch, run_videos

    batch = Batch(sources, parse_shard(shard), skip_existing, ray)
    several = batch != Batch(sources[:1]) or Path(sources[0]).suffix.lower() == ".txt"
    out = out or Path("roadseg-out" if several else default_out(sources[0]))
    config = VideoConfig(
        out=str(out), view=view, opacity=opacity, smooth=smooth, codec=codec, crf=crf,
        hardware=hardware, audio=audio, mask_video=str(mask_video) if mask_video else None,
        masks=str(masks) if masks else None, start=start, end=end,
        stride=stride, fps=fps, overwrite=overwrite, html=html,
    )  # fmt: skip
    infer = InferConfig(
        device=device, imgsz=imgsz, classes=classes, threshold=threshold, amp=amp, compile=compile,
        batch_size=options.batch_size_of(batch_size),
    )  # fmt: skip
    if several:
        raise typer.Exit(run_videos(batch, weights, config, infer, json, quiet))
    raise typer.Exit(run_video(sources[0], weights, config, infer, json, quiet))
