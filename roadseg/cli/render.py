"""What people see: tables on stdout, progress and errors on stderr. Every print of roadseg is in here."""

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

Update = Callable[[int, int], None]

out = Console(soft_wrap=True, highlight=False, emoji=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)

# Without a terminal, progress is a line each time this many seconds have passed.
PLAIN_INTERVAL = 10.0


def command_line() -> str:
    """What was typed, for the records."""
    return shlex.join(["roadseg", *sys.argv[1:]])


def error(text: str) -> None:
    """Print a mistake of the user's, on stderr."""
    err.print(Text.assemble(("error: ", "bold red"), text))


def note(text: str) -> None:
    """Print a line for people, on stderr."""
    err.print(Text(text))


def print_json(document: dict[str, Any]) -> None:
    """Print one machine-readable document, on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def progress(title: str, unit: str, quiet: bool = False) -> Iterator[Update]:
    """Show how far a job is: a bar with rate and time left on a terminal, else now and then a plain line."""
    if quiet:
        yield lambda done, total: None
    elif not err.is_terminal:
        yield _plain(title, unit)
    else:
        # imported here: `roadseg --help` has no use for it
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=err, transient=True) as bar:
            task = bar.add_task(title, total=None, rate="")
            started = time.perf_counter()

            def update(done: int, total: int) -> None:
                rate = f"{done / max(1e-9, time.perf_counter() - started):.1f} {unit}/s"
                bar.update(task, completed=done, total=total, rate=rate)

            yield update


def _plain(title: str, unit: str) -> Update:
    started = last = time.perf_counter()

    def update(done: int, total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        quick = last == started  # nothing was said yet, so the end of a short job needs no line either
        if now - last < PLAIN_INTERVAL and (done < total or quick):
            return
        last = now
        rate = done / max(1e-9, now - started)
        left = f", {(total - done) / rate:.0f} s left" if done < total else ""
        note(f"{title}: {done}/{total} ({rate:.1f} {unit}/s{left})")

    return update


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table on stdout; the first column is text, the others are numbers."""
    grid = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for i, column in enumerate(columns):
        grid.add_column(column, justify="left" if i == 0 else "right", header_style="dim")
    for row in rows:
        grid.add_row(*map(Text, row))
    out.print(grid)


def percent(value: float | None) -> str:
    """Return a share as a percentage, or a dash where it is undefined (None or NaN)."""
    return "–" if value is None or value != value else f"{100 * value:.2f}"


def count(number: int, noun: str) -> str:
    """Return `1 picture`, `2 pictures`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
