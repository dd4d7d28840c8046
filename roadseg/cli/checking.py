"""How `roadseg download-check` looks, and which folder a command means when none is given."""

import os
from pathlib import Path

from roadseg.cli import render
from roadseg.dataset.check import DatasetCheck, Problem
from roadseg.dataset.counts import Count
from roadseg.dataset.layouts import default_root
from roadseg.errors import ConfigError

# Files of a problem that are listed on a terminal; --json has all of them.
SHOWN_FILES = 10
MARKS = {"error": "[bold red]error[/]", "warning": "[yellow]warning[/]", "note": "[dim]note[/]"}
VERDICTS = {
    0: "[bold green]Complete.[/]",
    3: "[bold yellow]Usable, but incomplete.[/]",
    1: "[bold red]Not usable.[/]",
}
UNCOUNTED = "[bold green]Usable; no official counts are known for this set.[/]"


def data_folders(given: list[Path]) -> list[Path]:
    """Return the folders of --data, else the one that CITYSCAPES_DATASET names; raises ConfigError."""
    if given:
        return [folder.expanduser() for folder in given]
    default = default_root()
    if default is None:
        raise ConfigError(
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
        named = {name or "–": count for name, count in split.groups.items() if name or len(split.groups) > 1}
        rows = [_counts(name, count) for name, count in named.items()]
        rows.append(_counts("all", split))
        render.table(f"\n{split.split}", ["group", "pictures", "with label", "official"], rows)
    for problem in check.problems:
        _show_problem(problem, check.root)
    # where something else lies, or nothing at all, the path is the mistake
    lost = any(problem.kind in ("no-folder", "no-data-set") for problem in check.problems)
    if check.exit_code and check.how_to_get and (not lost or check.archives):
        render.out.print(f"\nHow to get what is missing: {check.how_to_get}", markup=False)
    depth = (
        "everything decoded"
        if check.deep
        else f"{render.count(check.labels_decoded, 'label')} decoded; --deep decodes all"
    )
    pairs = render.count(check.headers_read, "pair")
    known = check.exit_code or check.has_official_counts
    verdict = VERDICTS[check.exit_code] if known else UNCOUNTED
    render.out.print(f"\n{verdict} [dim]({pairs} looked at, {depth})[/]")


def _counts(name: str, count: Count) -> list[str]:
    official = "" if count.official is None else str(count.official)
    return [name, str(count.images), str(count.pairs), official]


def _show_problem(problem: Problem, root: Path) -> None:
    remedy = f" → {problem.todo}" if problem.todo else ""
    render.out.print(f"\n{MARKS[problem.level]}: ", end="")
    render.out.print(problem.message + remedy, markup=False)
    for file in problem.files[:SHOWN_FILES]:
        name = os.path.relpath(file.path, root)
        render.say(f"  {name}" + (f": {file.why}" if file.why else ""))
    if len(problem.files) > SHOWN_FILES:
        render.out.print(
            f"  ... and {len(problem.files) - SHOWN_FILES} more (--json lists all)", markup=False
        )
