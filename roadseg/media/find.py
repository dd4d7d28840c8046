"""Which pictures the user means, and what their results will be called."""

import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from roadseg.errors import MediaError

IMAGE_SUFFIXES: Final = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

REPORT_NAME: Final = re.compile(r"report(-\d+of\d+)?\.json")
"""Of a whole run, and of a shard."""
# What the report of a run begins with.
_SCHEMA: Final = b'"schema": "roadseg/segment"'


@dataclass(frozen=True, slots=True)
class ImageJob:
    """A picture to read, and the path that its results go by: `relative` never leaves the output folder."""

    path: Path
    relative: Path


def find_images(
    *inputs: str | Path, exclude: Path | None = None, stdin: TextIO | None = None
) -> list[ImageJob]:
    """The pictures of all inputs, in the order of the inputs, each file once.

    An input is
    - a picture;
    - a folder: all pictures below it, frame9 before frame10; links are followed, what is hidden is left out.
      A folder below it that may not be listed stands for its pictures: reading it fails later, and alone;
    - a pattern such as `drive/**/*.png`, by the same rules;
    - a `.txt` list (UTF-8): a path per line, relative to the list's own folder, in the order of the list.
      Empty lines and lines that begin with # do not count. A listed file need not exist: reading it fails
      later, and alone;
    - `-`: such a list on standard input (`stdin`), relative to the current folder.

    `exclude` is a folder not to look into: the output folder, which may lie inside an input. With it, other
    folders below an input that `segment` wrote (masks, overlays) are passed over, too.

    Relative paths start from the input (a picture or a list: its folder; a pattern: the part before the first
    wildcard), and with several inputs from the folder that holds them all. A listed path outside of it keeps
    its absolute path without the root: /data/a.jpg -> data/a.jpg.

    MediaError when an input does not exist or leads to no picture: it says what was looked for.
    """
    found = [_expand(str(source), exclude, stdin or sys.stdin) for source in inputs]
    root = os.path.commonpath([os.path.abspath(start) for start, _ in found]) if found else ""
    jobs: dict[str, ImageJob] = {}
    taken: set[Path] = set()
    for path in (path for _, paths in found for path in paths):
        absolute = os.path.abspath(path)  # also takes every ".." out
        if absolute in jobs:
            continue
        relative = _relative(Path(absolute), Path(root))
        while relative in taken:  # below the root there is a folder of the same name
            relative = Path("outside") / relative
        taken.add(relative)
        jobs[absolute] = ImageJob(path, relative)
    return list(jobs.values())


def output_stems(jobs: Sequence[ImageJob]) -> list[Path]:
    """Path of each job's results without suffix: `city/a` for `city/a.jpg`, and never the same twice.

    Where a folder holds both a.jpg and a.png, they become `a.jpg` and `a.png` (so: masks/a.jpg.png). Names
    that differ in case only count as the same, since some disks hold them to be.
    """
    plain = [_plain(job.relative) for job in jobs]
    crowd = Counter(map(_folded, plain))
    stems: list[Path] = []
    taken: set[str] = set()
    for job, stem in zip(jobs, plain, strict=True):
        wanted = stem if crowd[_folded(stem)] == 1 else job.relative
        free, number = wanted, 1
        while _folded(free) in taken:  # `a.jpg.png` beside `a.jpg` and `a.png`
            number += 1
            free = wanted.with_name(f"{wanted.name}~{number}")
        taken.add(_folded(free))
        stems.append(free)
    return stems


def _plain(relative: Path) -> Path:
    stem = relative.stem
    return relative if stem.strip(".") == "" else relative.with_name(stem)  # "..jpg"


def _folded(path: Path) -> str:
    return path.as_posix().casefold()


def _relative(absolute: Path, root: Path) -> Path:
    return absolute.relative_to(root if absolute.is_relative_to(root) else absolute.anchor)


# ---------------------------------------------------------------- input -> (where it starts, its pictures)


def _expand(source: str, exclude: Path | None, stdin: TextIO) -> tuple[Path, list[Path]]:
    path = Path(source)
    if not source:
        raise MediaError("an empty name is given; name a picture, a folder, a pattern or a list")
    try:
        if source == "-":
            return Path(), _listed(stdin, "standard input", Path())
        if os.path.isdir(path):
            return path, _below(path, exclude)
        if path.suffix.lower() == ".txt" and os.path.isfile(path):
            with path.open(encoding="utf-8-sig") as lines:
                return path.parent, _listed(lines, source, path.parent)
        if os.path.lexists(path):
            return path.parent, [path]
        if glob.has_magic(source):
            return _matching(source, exclude)
    except UnicodeDecodeError as error:
        raise MediaError(f"{source}: the list is not UTF-8 ({error}); save it as UTF-8") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in a name
        raise MediaError(f"{source}: cannot be read ({error}); check the path and its permissions") from error
    raise MediaError(f"{source}: no such file or folder; check the path")


def _listed(lines: Iterable[str], name: str, folder: Path) -> list[Path]:
    entries = [line.lstrip("\ufeff").strip() for line in lines]
    paths = [folder / entry for entry in entries if entry and not entry.startswith("#")]
    if not paths:
        raise MediaError(f"{name}: lists no pictures; write one path per line")
    return paths


def _below(top: Path, exclude: Path | None) -> list[Path]:
    closed: list[Path] = []
    paths = [
        folder / name for folder, names in _walk(top, exclude, closed) for name in names if _is_picture(name)
    ]
    paths += closed
    if not paths:
        raise MediaError(
            f"{top}: no pictures found in it or below (looked for {_suffixes()}; hidden ones do not count, "
            "nor what `segment` wrote). Of videos, give the files themselves."
        )
    return sorted(paths, key=_natural)


def _matching(pattern: str, exclude: Path | None) -> tuple[Path, list[Path]]:
    """Like `glob.glob(recursive=True)`, but safe with links that lead back up."""
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed])
    *middle, last = (*parts[fixed:], "*") if parts[-1] == "**" else parts[fixed:]
    folders, closed = [root], list[Path]()
    for part in middle:
        if part == "**":
            folders = [below for folder in folders for below, _ in _walk(folder, exclude, closed)]
        else:
            matches = [folder / name for folder in folders for name in glob.glob(part, root_dir=folder)]
            folders = [match for match in matches if match.is_dir()]
    matches = [folder / name for folder in folders for name in glob.glob(last, root_dir=folder)]
    paths = {match for match in matches if _is_picture(match.name) and not match.is_dir()}
    paths.update(closed)
    if not paths:
        raise MediaError(
            f"{pattern}: no picture matches (looked for {_suffixes()}; what `segment` wrote does not count); "
            "check the pattern"
        )
    return root, sorted(paths, key=_natural)


def _walk(top: Path, exclude: Path | None, closed: list[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Every folder from `top` down with the names of its files, hidden ones left out; each folder once.

    Those below `top` that may not be listed are added to `closed`. OSError: `top` itself may not.
    """

    def complain(error: OSError) -> None:
        if Path(error.filename) == top:
            raise error
        closed.append(Path(error.filename))

    seen = {_identity(exclude)} - {_identity(top)} if exclude and exclude.exists() else set()
    for where, folders, names in os.walk(top, followlinks=True, onerror=complain):
        identity = _identity(Path(where))
        # a link that leads back up, or to what was seen elsewhere
        if identity in seen or (exclude and Path(where) != top and _is_result(Path(where))):
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(where), [name for name in names if not name.startswith(".")]


def _is_result(folder: Path) -> bool:
    """Whether a run of `segment` wrote it."""
    if not os.path.isdir(folder / "masks"):
        return False
    with suppress(OSError):
        for name in filter(REPORT_NAME.fullmatch, os.listdir(folder)):
            with (folder / name).open("rb") as file:
                if _SCHEMA in file.read(99):
                    return True
    return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def _suffixes() -> str:
    return " ".join(sorted(IMAGE_SUFFIXES))


def _natural(path: Path) -> tuple[list[list[str | int]], str]:
    """Sorts frame9 before frame10, and folder by folder; the text itself breaks ties (frame9, frame09)."""
    parts = [re.split(r"(\d+)", part.casefold()) for part in path.parts]
    return [[int(text) if i % 2 else text for i, text in enumerate(part)] for part in parts], str(path)
