"""download-check: everything that is wrong with a data set's folder, not the first thing.

An *error* would stop training or evaluation, a *warning* means that something is missing or left out, a
*note* is good to know.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from roadseg.cores import available_cores
from roadseg.dataset.apart import Pair, inspect_apart
from roadseg.dataset.archives import Archive, find_archives
from roadseg.dataset.counts import SplitCount, count_pairs
from roadseg.dataset.inspect import Finding, Kind, inspect_pair
from roadseg.dataset.layouts import LAYOUTS, get_layout
from roadseg.dataset.samples import Sample, Scan, scan
from roadseg.dataset.templates import find_files, list_files
from roadseg.documents import header
from roadseg.errors import DatasetError
from roadseg.labels import SCHEMES, LabelScheme

Level = Literal["error", "warning", "note"]
Progress = Callable[[int, int], None]

# What the fast check looks at, spread evenly: the headers of all of Cityscapes' fine labels, the pixels of
# a few.
_MAX_HEADERS: Final = 5000
_MAX_DECODED: Final = 50


@dataclass(frozen=True)
class FileNote:
    """A file that a problem concerns, and why where that differs from file to file."""

    path: Path
    why: str = ""


@dataclass(frozen=True)
class Problem:
    """Something wrong: `kind` for programs, `message` for people, `todo` the remedy, and every file."""

    kind: str
    level: Level
    message: str
    todo: str = ""
    files: Sequence[FileNote] = ()


@dataclass(frozen=True, kw_only=True)
class DatasetCheck:
    """All that `check_dataset` found. `layout` is None if none fits; `how_to_get` is for what is missing."""

    root: Path
    layout: str | None
    title: str
    how_to_get: str
    classes: str
    deep: bool
    formats: dict[str, int] = field(default_factory=dict)  # label encoding -> files read as such
    splits: list[SplitCount] = field(default_factory=list)
    archives: list[Archive] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    headers_read: int = 0  # pairs
    labels_decoded: int = 0

    @property
    def exit_code(self) -> int:
        """0 complete as far as is known, 3 usable but incomplete, 1 unusable."""
        levels = {problem.level for problem in self.problems}
        return 1 if "error" in levels else 3 if "warning" in levels else 0

    @property
    def has_official_counts(self) -> bool:
        """Whether it is known how many pairs were published, so that 0 means that all are there."""
        return any(count.official is not None for count in self.splits)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for --json."""
        return {**header("download-check"), "exit_code": self.exit_code, **_plain(asdict(self))}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def check_dataset(
    root: Path,
    dataset: str | None = None,
    *,
    deep: bool = False,
    scheme: LabelScheme = SCHEMES["road"],
    progress: Progress | None = None,
) -> DatasetCheck:
    """Look for everything that is wrong with the data set in `root`.

    Fast by default: names, counts, the headers of up to 5000 pairs, and the label values of 50. `deep`
    decodes every image and label. `progress(done, total)` counts pairs. ConfigError for an unknown
    `dataset`; whatever is wrong with the folder goes into the answer.
    """
    named = get_layout(dataset) if dataset else None
    archives = find_archives(root)
    check = DatasetCheck(
        root=root,
        layout=None,
        title="no data set",
        how_to_get=named.how_to_get if named else f"for Cityscapes: {LAYOUTS[0].how_to_get}",
        classes=scheme.name,
        deep=deep,
        archives=archives,
        problems=[*_archive_problems(archives, root)],
    )
    try:
        found = scan(root, dataset)
    except DatasetError as error:
        return replace(check, problems=[_no_data_set(root, error), *check.problems])
    headers = _spread(found.samples, len(found.samples) if deep else _MAX_HEADERS)
    decoded = headers if deep else _spread(headers, _MAX_DECODED)
    splits = count_pairs(found)
    return replace(
        check,
        layout=found.layout.name,
        title=found.layout.title,
        how_to_get=found.layout.how_to_get,
        formats=dict(Counter(sample.encoding.name for sample in found.samples)),
        splits=splits,
        problems=[
            *check.problems,
            *_count_problems(found, splits),
            *_pair_problems(root, found),
            *_file_problems(headers, decoded, scheme, deep, progress),
        ],
        headers_read=len(headers),
        labels_decoded=len(decoded),
    )


def _spread(samples: Sequence[Sample], limit: int) -> list[Sample]:
    count = min(limit, len(samples))
    return [samples[i * len(samples) // count] for i in range(count)]


# ---------------------------------------------------------------- folders, archives, counts


def _no_data_set(root: Path, error: DatasetError) -> Problem:
    if root.is_dir() and not any(list_files(root)):
        return Problem("empty", "error", f"{root}: the folder is empty", "unpack the data set into it")
    return Problem("no-data-set" if root.is_dir() else "no-folder", "error", str(error))


def _archive_problems(archives: Sequence[Archive], root: Path) -> Iterator[Problem]:
    packed = [archive for archive in archives if archive.state == "packed"]
    if packed:
        message = f"archives that are not unpacked: {len(packed)}"
        files = [FileNote(archive.path, archive.unpack_command(root)) for archive in packed]
        yield Problem("packed-archive", "warning", message, "unpack them", files)
    broken = [archive for archive in archives if archive.state in ("damaged", "unfinished")]
    if broken:
        message = f"archives that are damaged, or not downloaded to the end: {len(broken)}"
        files = [FileNote(archive.path, archive.state) for archive in broken]
        yield Problem("broken-archive", "warning", message, "fetch them again", files)


def _count_problems(found: Scan, splits: Sequence[SplitCount]) -> Iterator[Problem]:
    pairs = {count.split: count.pairs for count in splits}
    if not found.samples:
        yield Problem("no-pairs", "error", "there is no image with a label")
    elif not pairs.get("train"):
        yield Problem("no-train", "warning", "no pairs of train: this can be evaluated, not trained on")
    elif not pairs.get("val") and found.form.holds_out and pairs["train"] == 1:
        message = "there is one pair alone: training needs another one to choose its best epoch"
        yield Problem("no-val", "warning", message)
    elif not pairs.get("val") and found.form.holds_out:
        message = "there is no val: training holds out whole groups of train, or the end of a single one"
        yield Problem("held-out-val", "note", message)
    elif not pairs.get("val"):
        yield Problem("no-val", "warning", "no pairs of val: training needs them to choose its best epoch")
    for count in splits:
        secret = count.split in found.form.secret
        by_group = {name: group.shortfall(secret) for name, group in count.groups.items()}
        missing = sum(by_group.values()) or count.shortfall(secret)
        if missing:
            where = ", ".join(f"{name} {number}" for name, number in by_group.items() if number)
            message = f"{count.split}: of the official {count.official} pairs, {missing} are missing"
            message += f" ({where})" if where else ""
            message += "; their labels are not public, and only the benchmark uses them" if secret else ""
            yield Problem("incomplete", "warning", message)
        extra = [name for name, group in count.groups.items() if group.official == 0]
        if extra:
            message = f"{count.split}: {', '.join(extra)} officially do not belong to it"
            yield Problem("unofficial-groups", "note", message)


def _pair_problems(root: Path, found: Scan) -> Iterator[Problem]:
    form = found.form
    bare = [FileNote(image.path) for image in found.unlabelled if image.split not in form.secret]
    if bare:
        message = f"images without a label: {len(bare)}"
        yield Problem("unlabelled", "error", message, "add the labels, or move the images away", bare)
    wanted = {(image.split, image.key) for image in found.unlabelled}
    lossy = [
        label.path
        for template, _ in form.labels
        if "{mask}" in template
        for label in find_files(root, template.replace("{mask}", "{lossy}"), form.splits)
        if (label.split, label.key) in wanted
    ]
    if lossy:
        message = f"labels saved as JPEG or WebP, which blurs class numbers into others: {len(lossy)}"
        todo = "save them as PNG from their source; what is lost cannot be converted back"
        yield Problem("lossy-label", "error", message, todo, [FileNote(path) for path in sorted(lossy)])
    if found.orphans:
        message = f"labels without an image: {len(found.orphans)}"
        files = [FileNote(label.path) for label in found.orphans]
        yield Problem("no-image", "warning", message, "fetch the images, or leave it at that", files)
    if found.rivals:
        message = f"names that are taken twice: {len(found.rivals)}"
        files = [FileNote(second.path, f"beside {first.path.name}") for first, second in found.rivals]
        yield Problem("rivals", "error", message, "keep one of each two", files)
    known = {sample.image for sample in found.samples} | {image.path for image in found.unlabelled}
    known |= {second.path for _, second in found.rivals}
    strays = sorted({match.path for match in find_files(root, form.any_image, form.splits)} - known)
    if strays:
        message = (
            f"pictures among the images that have no name of this layout, and are left out: {len(strays)}"
        )
        todo = f"name them as in {form.image}"
        yield Problem("stray", "warning", message, todo, [FileNote(path) for path in strays])


# ---------------------------------------------------------------- files

_FILE_PROBLEMS: Final[Mapping[Kind, tuple[str, str]]] = {
    "undecodable-image": ("images that cannot be read", "fetch or make them again"),
    "undecodable-label": (
        "label files that cannot be used",
        "fetch them again, and give those that hold classes",
    ),
    "unknown-values": (
        "label files with values that their format does not know",
        "check the format (a plain folder's is declared with --dataset folder:FORMAT) and the classes",
    ),
    "size": ("labels that are not of the size of their image", "make them again, at the size of the image"),
}


def _file_problems(
    headers: Sequence[Sample],
    decoded: Sequence[Sample],
    scheme: LabelScheme,
    deep: bool,
    progress: Progress | None,
) -> Iterator[Problem]:
    schemes: dict[str, LabelScheme] = {}
    for encoding in {sample.encoding.name: sample.encoding for sample in headers}.values():
        try:
            scheme.table(encoding)
            schemes[encoding.name] = scheme
        except DatasetError as error:
            yield Problem("classes", "error", str(error))
    pairs = [(sample, schemes.get(sample.encoding.name)) for sample in headers]
    findings: dict[Kind, list[FileNote]] = {kind: [] for kind in _FILE_PROBLEMS}
    looked = inspect_apart(pairs) if deep else _inspect_fast(pairs, {sample.label for sample in decoded})
    for done, found in enumerate(looked, 1):
        for finding in found:
            findings[finding.kind].append(FileNote(finding.path, finding.why))
        if progress:
            progress(done, len(headers))
    for kind, files in findings.items():
        text, todo = _FILE_PROBLEMS[kind]
        if files:
            yield Problem(kind, "error", f"{text}: {len(files)}", todo, sorted(files, key=lambda f: f.path))


def _inspect_fast(pairs: Sequence[Pair], to_decode: Collection[Path]) -> Iterator[list[Finding]]:
    """Headers; the pixels only of the labels `to_decode`, in this process."""

    def look(pair: Pair) -> list[Finding]:
        sample, scheme = pair
        return list(inspect_pair(sample, scheme, deep=False, decode=sample.label in to_decode))

    with ThreadPoolExecutor(min(8, available_cores())) as pool:
        yield from pool.map(look, pairs)
