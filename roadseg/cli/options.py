"""The options that several commands share: one name and one meaning everywhere."""

from pathlib import Path
from typing import Annotated

import typer

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
        "--weights", "-w", help="Checkpoint, or what `export` made of it, instead of the bundled road model."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
BatchSize = Annotated[int, typer.Option(help="Pictures that the network sees at once.")]
Imgsz = Annotated[
    int | None, typer.Option(help="Longer side of a picture as the network sees it; default: as trained.")
]
Threshold = Annotated[float, typer.Option(help="Road where its probability is at least this.")]
Amp = Annotated[bool, typer.Option("--amp/--no-amp", help="Half precision where the device has it.")]
Workers = Annotated[int, typer.Option(help="Threads or processes that read pictures.")]
Html = Annotated[bool, typer.Option("--html/--no-html", help="Also write a page to look at in a browser.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
