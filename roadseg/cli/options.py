"""The options that several commands share: one name and one meaning everywhere; and how options are read."""

from pathlib import Path
from typing import Annotated

import typer

from roadseg.errors import ConfigError

Data = Annotated[
    list[Path],
    typer.Option("--data", help="Folder of a data set; may be given several times.", show_default=False),
]
Dataset = Annotated[
    str | None,
    typer.Option(help="Name of its layout, if looking at it is not to decide.", show_default=False),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        "-w",
        help="Checkpoint, or what `export` made of it, or the name of bundled weights.",
        show_default="road-small",
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        help="Join the network's classes into these (road, idd7, ...); default: its own.", show_default=False
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
BatchSize = Annotated[int, typer.Option(help="Pictures that the network sees at once.")]
AutoBatchSize = Annotated[
    str,
    typer.Option(
        "--batch-size",
        metavar="auto|N",
        help="Pictures that the network sees at once; halved where they do not fit in memory.",
    ),
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Compile the network with torch.compile: a long warm-up first.")
]
Imgsz = Annotated[
    int | None, typer.Option(help="Longer side of a picture as the network sees it; default: as trained.")
]
Tile = Annotated[
    int | None,
    typer.Option(
        help="See pictures at their own size (or --imgsz), in overlapping tiles of N x N pixels.",
        metavar="N",
        show_default=False,
    ),
]
Tta = Annotated[
    bool,
    typer.Option(
        "--tta",
        help="See each picture three times (as it is, mirrored, larger): better masks, slower.",
    ),
]
Threshold = Annotated[float, typer.Option(help="Road where its probability is at least this (two classes).")]
Amp = Annotated[bool, typer.Option("--amp/--no-amp", help="Half precision where the device has it.")]
Workers = Annotated[int, typer.Option(help="Threads or processes that read pictures.")]
Readers = Annotated[
    int | None,
    typer.Option(
        help="Threads of their own that read and write, for slow disks; default: on up to 8 cores of a CPU "
        "the network's do it, else two a core.",
        show_default=False,
    ),
]
Html = Annotated[bool, typer.Option("--html/--no-html", help="Also write a page to look at in a browser.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


MaxMegapixels = Annotated[
    int, typer.Option(min=1, max=1000, help="Refuse larger pictures: a small file may hold a huge one.")
]
Shard = Annotated[str, typer.Option(help="i/n: do the i-th of n parts of the inputs.")]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Work on this Ray cluster: auto, HOST:PORT, or local (needs `roadseg\\[ray]`).",
    ),
]


def batch_size_of(text: str) -> int | None:
    """`auto` -> None, `8` -> 8. ConfigError for anything else."""
    if text == "auto":
        return None
    if not text.isdecimal():
        raise ConfigError(f"batch_size is {text!r}, but must be auto or a number, such as 8.")
    return int(text)


def is_given(ctx: typer.Context, name: str) -> bool:
    """Whether a parameter was on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse_given(ctx: typer.Context, names: tuple[str, ...], why: str) -> None:
    """ConfigError if one of these options is on the command line."""
    given = [
        option.opts[0]
        for option in ctx.command.params
        if option.name in names and is_given(ctx, option.name or "")
    ]
    if given:
        raise ConfigError(f"{why}: leave out {', '.join(given)}.")


def numbers(name: str, text: str) -> list[float]:
    """The numbers of an option that are separated by commas. ConfigError: something else is in it."""
    try:
        return [float(number) for number in text.split(",") if number.strip()]
    except ValueError as error:
        raise ConfigError(f"{name} is {text!r}, but must be numbers with commas: 1,2.5") from error
