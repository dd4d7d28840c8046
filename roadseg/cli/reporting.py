"""How `roadseg report` runs and looks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial as partial_of
from pathlib import Path
from typing import Any, Final

from roadseg.cli import render
from roadseg.documents import header, reading, to_json
from roadseg.engine.evaluate import per_image_table
from roadseg.engine.merge import merge
from roadseg.engine.merge_scores import merge_scores
from roadseg.errors import ConfigError, OutputError
from roadseg.media.output import write_text
from roadseg.report.compare import Comparison, compare
from roadseg.report.load import Document, find_documents, make_runs
from roadseg.report.present import method, notes, tables, tally_line, title, to_html, to_markdown
from roadseg.report.run import RunReport

SUFFIXES: Final = (".html", ".json", ".csv", ".md")


@dataclass(frozen=True)
class _Result:
    """What is shown, what is written, and the exit code."""

    comparison: Comparison
    document: dict[str, Any]
    to_csv: Callable[[], str]
    exit_code: int = 0


def run_report(
    places: Sequence[Path],
    outs: Sequence[Path],
    *,
    merging: bool,
    partial: bool,
    seed: int,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Compare the runs at `places`, or merge them if they are shards of one; return the exit code."""
    found = [find_documents(place, shards=merging) for place in places]
    every = [document for documents in found for document in documents]
    _check_outs(outs, every, overwrite)
    shards = all(document.get("shard") for _, document in every)
    # several folders of shards are several runs
    if merging or (shards and (len(places) == 1 or not any(place.is_dir() for place in places))):
        result = _merged(every, partial)
    else:
        result = _compared(places, found, partial, seed)
    texts = {
        ".html": lambda: to_html(result.comparison),
        ".md": lambda: to_markdown(result.comparison),
        ".json": lambda: to_json(result.document),
        ".csv": result.to_csv,
    }
    contents = [texts[out.suffix.lower()]() for out in outs]  # all of them, before the first is written
    for out, content in zip(outs, contents, strict=True):
        write_text(out, content)
    if as_json:
        render.print_json(result.document)
    else:
        _show(result.comparison)
    if not quiet:
        for out in outs:
            render.note(f"Written: {out}")
    return result.exit_code


def _merged(documents: Sequence[Document], partial: bool) -> _Result:
    to_csv: Callable[[], str]
    folder, only = documents[0][0].parent, "only what `--shard` left can be merged"
    if all(document["schema"] == header("scores")["schema"] for _, document in documents):
        with reading(documents[0][0], only):
            whole, document = merge_scores(documents, partial=partial)
        stopped, to_csv = "stopped_by" in document, partial_of(per_image_table, whole)
        place = folder / "scores.json"  # where the whole run would have left it
    else:
        shards = []
        for path, part in documents:
            with reading(path, only):
                shards.append((path, RunReport.from_dict(part)))
        report = merge(shards, partial=partial)
        document, stopped, to_csv = report.to_dict(), bool(report.stopped_by), report.to_csv
        place = folder / "report.json"
    return _Result(compare(make_runs([(place, document)])), document, to_csv, 3 if stopped else 0)


def _compared(
    places: Sequence[Path], found: Sequence[Sequence[Document]], partial: bool, seed: int
) -> _Result:
    """The runs side by side; a folder of shards is one run."""
    whole = [
        documents[0] if len(documents) == 1 else (place / "report.json", _merged(documents, partial).document)
        for place, documents in zip(places, found, strict=True)
    ]
    comparison = compare(make_runs(whole), seed)
    return _Result(comparison, comparison.to_dict(), comparison.to_csv)


def _check_outs(outs: Sequence[Path], documents: Sequence[Document], overwrite: bool) -> None:
    """Refuse what cannot be written, or must not be, before anything is done."""
    inputs = {path.resolve() for path, _ in documents}
    for i, out in enumerate(outs):
        if out.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"out is {out}, but must end in one of: {', '.join(SUFFIXES)}.")
        if out.resolve() in {other.resolve() for other in outs[:i]}:
            raise ConfigError(f"out is {out} twice; give each file once.")
        if out.resolve() in inputs:
            raise OutputError(f"{out}: is one of the reports that are read; choose another --out")
        if out.exists() and not overwrite:
            raise OutputError(
                f"{out}: is there already; choose another --out, or replace it with --overwrite"
            )


def _show(comparison: Comparison) -> None:
    for note in notes(comparison):
        render.note(note)
    for table in tables(comparison):
        render.table(table.title, list(table.columns), [list(row) for row in table.rows])
        for one in comparison.against:
            if title(one) == table.title:
                render.say(tally_line(comparison, one))
        render.out.print()
    if comparison.against:
        render.out.print(method(comparison), markup=False, style="dim")
