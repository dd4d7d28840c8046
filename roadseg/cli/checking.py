"""How `roadseg download-check` looks, and which folder a command means when none is given."""

import os
from pathlib import Path

from roadseg.cli import render
from roadseg.dataset.check import Count, DatasetCheck, Problem
from roadseg.dataset.layouts import default_root
from roadseg.errors import DatasetError

# Files of a problem that are listed on a terminal; --json has all of them.
SHOWN_FILES = 10
MARKS = {"error": "[bold red]error[/]", "warning": "[yellow]warning[/]", "note": "[dim]note[/]"}
VERDICTS = {
    0: "[bold green]Complete.[/]",
    3: "[bold yellow]Usable, but incomplete.[/]",
    1: "[bold red]Not usable.[/]",
}


def data_folders(given: list[Path]) -> list[Path]:
    """Return the folders of --data, else the one that CITYSCAPES_DATASET names; raises DatasetError."""
    if given:
        return [folder.expanduser() for folder in given]
    default = default_root()
    if default is None:
        raise DatasetError(
            "No data set was named. Give its folder with --data DIR, or set CITYSCAPES_DATASET."
        )
    return [default]


def show_check(check: DatasetCheck) -> None:
    """Print counts, problems with their remedies, and the verdict."""
    formats = ", ".join(f"{name} ({count})" for name, count in check.formats.items())
    render.out.print(
        f"{check.root}: {check.title}" + (f", labels: {formats}" if formats else ""), markup=False
    )
    for split in check.splits:
        rows = [_counts(name, count) for name, count in split.groups.items()]
        rows.append(_counts("all", split))
        render.table(f"\n{split.split}", ["group", "pictures", "with label", "official"], rows)
    for problem in check.problems:
        _show_problem(problem, check.root)
    if check.exit_code and check.how_to_get:
        render.out.print(f"\nHow to get what is missing: {check.how_to_get}", markup=False)
    depth = (
        "everything decoded"
        if check.deep
        else f"{render.count(check.labels_decoded, 'label')} decoded; --deep decodes all"
    )
    pairs = render.count(check.headers_read, "pair")
    render.out.print(f"\n{VERDICTS[check.exit_code]} [dim]({pairs} looked at, {depth})[/]")


def _counts(name: str, count: Count) -> list[str]:
    official = "" if count.official is None else str(count.official)
    return [name, str(count.images), str(count.pairs), official]


def _show_problem(problem: Problem, root: Path) -> None:
    remedy = f" → {problem.todo}" if problem.todo else ""
    render.out.print(f"\n{MARKS[problem.level]}: ", end="")
    render.out.print(problem.message + remedy, markup=False)
    for file in problem.files[:SHOWN_FILES]:
        name = os.path.relpath(file.path, root)
        render.out.print(f"  {name}" + (f": {file.why}" if file.why else ""), markup=False)
    if len(problem.files) > SHOWN_FILES:
        render.out.print(
            f"  ... and {len(problem.files) - SHOWN_FILES} more (--json lists all)", markup=False
        )
