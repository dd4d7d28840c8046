"""What people see: tables on stdout, progress and errors on stderr. Every print of roadseg is in here."""

import shlex
import sys
import time
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from roadseg.documents import to_json

# They turn the text around that follows.
_WIDEST: Final = 10_000
_BIDI: Final = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

Update = Callable[[int, int], None]


class _Console(Console):
    """A console for texts with names from anywhere in them; each line stays one."""

    def print(self, *objects: Any, **options: Any) -> None:
        lines = (
            "\n".join(map(shown, each.split("\n"))) if isinstance(each, str) else each for each in objects
        )
        super().print(*lines, **options)


out = _Console(soft_wrap=True, highlight=False, emoji=False)
err = _Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)

# Without a terminal, progress is a line each time this many seconds have passed.
PLAIN_INTERVAL = 10.0
# The rate is that of the last so many seconds: the start is slow, and skipped inputs cost nothing.
PACE_SECONDS = 30.0


def command_line() -> str:
    """What was typed, for the records."""
    return shlex.join(["roadseg", *sys.argv[1:]])


def shown(text: str) -> str:
    """The text on one line: what would move the cursor, or is no character, as an escape (`\\n`, `\\x1b`).

    File names may hold anything, terminal commands and undecodable bytes included.
    """
    return "".join(c.encode("unicode_escape").decode() if _is_hidden(c) else c for c in text)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _BIDI


def error(text: str) -> None:
    """Print a mistake of the user's, on stderr."""
    err.print(Text.assemble(("error: ", "bold red"), shown(text)))


def note(text: str) -> None:
    """Print a line for people, on stderr."""
    err.print(Text(shown(text)))


def say(text: str) -> None:
    """Print a line of a result, on stdout."""
    out.print(Text(shown(text)))


def print_json(document: dict[str, Any]) -> None:
    """Print one machine-readable document, on stdout."""
    # a name that is no Unicode comes as lone surrogates: as in files, they become JSON's escape
    sys.stdout.write(to_json(document).encode("utf-8", "backslashreplace").decode())


class Pace:
    """How fast a job goes, of late, and how long it will still take."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self._seen: deque[tuple[float, int]] = deque([(time.perf_counter(), 0)])

    def text(self, done: int, total: int) -> str:
        """`8/24  3.2 pictures/s  5 s left`; without the end where it is reached, or not known (total 0)."""
        now = time.perf_counter()
        if done < self._seen[-1][1]:  # the next one of its kind, such as another data set
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > PACE_SECONDS:
            self._seen.popleft()
        (since, before) = self._seen[0]
        rate = (done - before) / max(1e-9, now - since)
        parts = [f"{done}/{total}" if total else f"{done}", f"{rate:.1f} {self.unit}/s"]
        if done < total and rate > 0:
            parts.append(f"{duration(max(1, round((total - done) / rate)))} left")
        return "  ".join(parts)


@contextmanager
def progress(title: str, unit: str, quiet: bool = False) -> Iterator[Update]:
    """Show how far a job is: a bar with rate and time left on a terminal, else now and then a plain line."""
    if quiet:
        yield lambda done, total: None
    elif not err.is_terminal:
        yield _plain(title, unit)
    else:
        # imported here: `roadseg --help` has no use for it
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[pace]}", markup=False),
        )
        with Progress(*columns, console=err, transient=True) as bar:
            task = bar.add_task(title, total=None, pace="")
            pace = Pace(unit)

            def update(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total or None, pace=pace.text(done, total))

            yield update


def _plain(title: str, unit: str) -> Update:
    pace, last, silent = Pace(unit), time.perf_counter(), True

    def update(done: int, total: int) -> None:
        nonlocal last, silent
        text, now = pace.text(done, total), time.perf_counter()
        # where nothing was said yet, the end of a short job needs no line either
        if now - last >= PLAIN_INTERVAL or (done == total and not silent):
            last, silent = now, False
            note(f"{title}: {text}")

    return update


def duration(seconds: float) -> str:
    """`2.5 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table on stdout; the first column is text, the others are numbers.

    A terminal cuts what is too wide for it; a file and a pipe get all.
    """
    grid = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for i, column in enumerate(columns):
        grid.add_column(Text(shown(column)), justify="left" if i == 0 else "right", header_style="dim")
    for row in rows:
        grid.add_row(*(Text(shown(cell)) for cell in row))
    if not out.is_terminal:
        grid.width = out.measure(grid, options=out.options.update(width=_WIDEST)).maximum
    out.print(grid)


def percent(value: float | None) -> str:
    """Return a share as a percentage, or a dash where it is undefined (None or NaN)."""
    return "–" if value is None or value != value else f"{100 * value:.2f}"


def count(number: int, noun: str) -> str:
    """Return `1 picture`, `2 pictures`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
