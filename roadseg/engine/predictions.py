"""Masks that any tool made, scored as they are: which file is whose, what its values mean, what is missing.

Nothing is resized and nothing guessed. A picture without a usable prediction is missed as a whole: every
pixel of known truth counts as "no class", so that leaving out the hard ones gains nothing.
"""

import contextlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch

from roadseg.dataset.samples import Sample, read_label, read_raw_label
from roadseg.encodings import ENCODINGS, VOID, RawValue
from roadseg.engine.ahead import map_ahead
from roadseg.engine.evaluation import Evaluation, ImageResult, gather
from roadseg.engine.measures import Measures
from roadseg.engine.sources import evenly
from roadseg.errors import ConfigError, DatasetError, MediaError
from roadseg.labels import LabelScheme, UInt8Array, decode_label
from roadseg.media.find import find_images
from roadseg.metrics import ConfusionMatrix, scores
from roadseg.report.run import reports_in

Table = Mapping[RawValue, int]

# <city>_<sequence>_<frame>, whatever follows: the official script's pattern.
_CITYSCAPES_STEM: Final = re.compile(r"(.+_\d{6}_\d{6})(?!\d)")
_DOUBTFUL: Final = 0.1  # share of a prediction's pixels without a class
_MOST_LOOKED_AT: Final = 50  # files whose values tell the format; every file is checked when it is read


@dataclass(frozen=True)
class Format:
    """What the values in prediction files mean: raw value -> class index, or 255 for no class."""

    name: str
    table: Table
    scheme: LabelScheme

    def read(self, path: Path, size: tuple[int, int]) -> UInt8Array:
        """The mask_HW of a file. DatasetError: not of `size` (height, width), damaged, unknown values."""
        raw = read_raw_label(path, self.table)
        if raw.shape[:2] != size:
            raise DatasetError(
                f"{path}: is {raw.shape[1]}x{raw.shape[0]}, but the label is {size[1]}x{size[0]}; write "
                "predictions at the size of the labels: nothing is resized here"
            )
        # a scheme of these values: unknown ones are then reported under the name of the format
        reading = replace(self.scheme, name=self.name, values=self.table)
        return decode_label(raw, next(iter(ENCODINGS.values())), reading, str(path))


def formats(scheme: LabelScheme) -> dict[str, Format]:
    """Every way to write predictions of these classes, by name.

    index: class indices, 255 for none; color: the scheme's own colours; values: those of a JSON file's
    classes; and the encodings of data sets that have all of the classes. Where all but some classes are one
    (`road`), label ids and colours of Cityscapes that are void in the truth are in that one: who says
    "parking" says "no road".
    """
    index: dict[RawValue, int] = {VOID: VOID}
    index.update((k, k) for k in range(scheme.num_classes))
    color: dict[RawValue, int] = {(0, 0, 0): VOID}
    color.update((rgb, k) for k, rgb in enumerate(scheme.colors))
    tables: dict[str, Table] = {"index": index}
    if len(set(scheme.colors)) == scheme.num_classes:
        tables["color"] = color
    if scheme.values:
        tables["values"] = scheme.values
    else:
        for name, encoding in ENCODINGS.items():
            with contextlib.suppress(DatasetError):  # it lacks some of the classes
                table = scheme.table(encoding)
                if scheme.rest is not None and name in ("cityscapes-labelIds", "cityscapes-color"):
                    table = {value: scheme.rest if k == VOID else k for value, k in table.items()}
                tables[name] = table
    return {name: Format(name, table, scheme) for name, table in tables.items()}


def get_format(name: str, scheme: LabelScheme) -> Format:
    """The format of that name. ConfigError if there is none, or it cannot hold these classes."""
    known = formats(scheme)
    if name not in known:
        raise ConfigError(
            f"--prediction-format is {name!r}, but for the classes {scheme.name!r} it must be one of: "
            f"{', '.join(known)}."
        )
    return known[name]


def find_format(paths: Sequence[Path], scheme: LabelScheme) -> Format:
    """The one format in which these files make sense: it knows all of their values, as two classes or more.

    Two formats that agree on every value found are as good as one. DatasetError where there is none, or more
    than one: 255 is road in one format and nothing in another.
    """
    files = [_values(path) for path in evenly(paths, _MOST_LOOKED_AT)]
    found = set().union(*files)
    if not found:
        read_raw_label(paths[0], (255,))  # raises, and says why it cannot be read
    known = formats(scheme)
    # Of how many files each format makes two classes or more: one odd value must not decide for all of them.
    sense = {
        name: sum(len(_classes_of(each, values)) >= 2 for values in files) for name, each in known.items()
    }
    meanings: dict[tuple[int, ...], list[Format]] = defaultdict(list)
    for name, each in known.items():
        if found <= each.table.keys() and sense[name] == max(sense.values()):
            meaning = tuple(each.table[value] for value in sorted(found, key=str))
            if len(set(meaning) - {VOID}) >= 2:
                meanings[meaning].append(each)
    if len(meanings) == 1:
        ((first, *_),) = meanings.values()
        return first
    shown = ", ".join(map(str, sorted(found, key=str)[:8])) + (", ..." if len(found) > 8 else "")
    fitting = " or ".join(each.name for equal in meanings.values() for each in equal)
    why = f"they may be {fitting}" if fitting else f"nothing makes classes {scheme.name!r} of them"
    raise DatasetError(
        f"{paths[0].parent}: what its values mean cannot be told from them ({shown}): {why}; say it with "
        f"--prediction-format ({', '.join(formats(scheme))})"
    )


def _classes_of(form: Format, values: set[RawValue]) -> set[int]:
    """The classes that the values mean; none at all where one of them is unknown."""
    return {form.table[value] for value in values} - {VOID} if values <= form.table.keys() else set()


def _values(path: Path) -> set[RawValue]:
    """The values in a file: numbers if it can be read so, else colours; none if it is damaged."""
    with contextlib.suppress(DatasetError):
        raw = read_raw_label(path, (255,))
        return set(np.flatnonzero(np.bincount(raw.ravel(), minlength=256)).tolist())
    with contextlib.suppress(DatasetError):
        colors = read_raw_label(path, ((0, 0, 0),)).reshape(-1, 3)
        return {(r, g, b) for r, g, b in np.unique(colors, axis=0).tolist()}
    return set()


# ---------------------------------------------------------------- which file is whose


def match_predictions(folder: Path, samples: Sequence[Sample]) -> dict[str, Path]:
    """The PNG below `folder` that is the prediction for each sample, by key; without one, it is left out.

    A file is a picture's if it is called as the picture, its label or its key, or as `segment` and
    `eval --save-predictions` call it; for Cityscapes' names, if it begins with city, sequence and frame. Its
    folder does not matter, unless pictures in several folders share a name. Of a folder that `segment` wrote,
    masks/ is looked into. DatasetError: no folder, no file that is anybody's, or two for one picture.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder of predictions; check the path")
    root = _root_of(folder)
    files = _png_files(root)
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        official = _CITYSCAPES_STEM.match(path.stem)
        by_name[official[1] if official else path.stem].append(path)

    crowd = Counter(Path(sample.key).name for sample in samples)
    matches: dict[str, Path] = {}
    for sample in samples:
        key = Path(sample.key)
        names = dict.fromkeys(_names(sample))
        found = dict.fromkeys(path for name in names for path in by_name.get(name, ()))
        if crowd[key.name] > 1:
            found = {path: None for path in found if _is_at(path.parent, root, key.parent)}
        if len(found) > 1:
            first, second, *_ = found
            raise DatasetError(
                f"{second}: and {first} are both predictions for {sample.key}; keep one of them, or give the "
                "folder of one"
            )
        if found:
            matches[sample.key] = next(iter(found))
    if not matches:
        there = f"has {files[0].relative_to(root)}" if files else "has no PNG"
        raise DatasetError(
            f"{root}: no prediction for any of the {len(samples)} pictures is in it (it {there}, looked for "
            f"such as {samples[0].key}.png); check that it is of the same data set and split"
        )
    return matches


def _root_of(folder: Path) -> Path:
    masks = folder / "masks"
    return masks if masks.is_dir() and reports_in(folder) else folder


def _png_files(root: Path) -> list[Path]:
    try:
        jobs = find_images(root)
    except MediaError:
        return []
    for job in jobs:
        if job.path.is_dir():  # its predictions would count as missed
            raise DatasetError(f"{job.path}: this folder cannot be listed; check its permissions")
    return [job.path for job in jobs if job.path.suffix.lower() == ".png"]


def _is_at(folder: Path, root: Path, wanted: Path) -> bool:
    """Whether `folder` ends like `wanted`; what is in no folder must lie in `root` itself."""
    parts = wanted.parts
    return folder.parts[-len(parts) :] == parts if parts else folder == root


def _names(sample: Sample) -> list[str]:
    name = Path(sample.key).name
    official = _CITYSCAPES_STEM.fullmatch(name)
    if official:
        return [official[1]]
    return [name, f"{name}_labelIds", sample.image.stem, sample.image.name, sample.label.stem]


# ---------------------------------------------------------------- the score


def score_predictions(
    files: Mapping[str, Path],
    form: Format,
    samples: Sequence[Sample],
    measures: Measures,
    *,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Count every sample's pixels against its prediction, at the label's size.

    files: key of a sample -> its prediction, as from `match_predictions`. A prediction that is not there, is
    damaged, of another size, or holds unknown values makes its picture missed, and is noted in its result.
    ConfigError: a negative number of workers. DatasetError: a bad label; or no prediction can be used at all
    (the error is the first one's).
    """
    if workers < 0:
        raise ConfigError(f"workers is {workers}, but must be 0 or more.")
    scheme = form.scheme
    results: list[ImageResult] = []

    def score(sample: Sample) -> ImageResult:
        label_HW = read_label(sample, scheme)
        path, error = files.get(sample.key), None
        mask_HW = np.full(label_HW.shape, VOID, np.uint8)
        if path is not None:
            try:
                mask_HW = form.read(path, (label_HW.shape[0], label_HW.shape[1]))
            except DatasetError as reason:
                error = str(reason)
        matrix = ConfusionMatrix(scheme.num_classes)
        matrix.update(torch.tensor(mask_HW), torch.tensor(label_HW))
        extras = measures.count(sample, mask_HW, label_HW)
        return ImageResult(
            sample.key, matrix, scores(matrix, scheme.classes), extras, missing=path is None, error=error
        )

    threads = max(1, workers)
    with (
        ThreadPoolExecutor(threads) as pool,
        closing(map_ahead(pool, score, samples, 2 * threads)) as scored,
    ):
        for result in scored:
            results.append(result)
            if progress:
                progress(len(results), len(samples))
    errors = [result.error for result in results if result.error]
    if errors and all(result.missing or result.error for result in results):
        others = f" (and {len(errors) - 1} more like it)" if len(errors) > 1 else ""
        raise DatasetError(f"no prediction can be used{others}: {errors[0]}")
    if files:
        _require_sense(form, list(files.values()), results)
    return gather(scheme, results, measures.outlined)


def _require_sense(form: Format, paths: Sequence[Path], results: Sequence[ImageResult]) -> None:
    """DatasetError where several values all mean one class, and the truth has more: the format is wrong."""
    counts = torch.stack([result.matrix.counts for result in results if not result.missing]).sum(0)
    predicted, true = counts[:, :-1].sum(0).count_nonzero(), counts.sum(1).count_nonzero()
    if predicted >= 2 or true < 2:
        return
    values = set().union(*(_values(path) for path in evenly(paths, _MOST_LOOKED_AT)))
    if len(values) >= 2:
        shown = ", ".join(map(str, sorted(values, key=str)[:8])) + (", ..." if len(values) > 8 else "")
        raise DatasetError(
            f"{paths[0]}: its values and those of the others ({shown}) are one class only when they are read "
            f"as {form.name}, so they mean something else; say it with --prediction-format"
        )


def doubtful(evaluation: Evaluation, files: Mapping[str, Path]) -> list[Path]:
    """The predictions that leave many of the pixels that count without a class: of another format, perhaps.

    A 0/255 mask that is read as `index`, say: all of its road is void.
    """
    found = []
    for image in evaluation.images:
        counts = image.matrix.counts
        nothing, judged = int(counts[:, -1].sum()), int(counts.sum())
        if image.key in files and not image.error and nothing > _DOUBTFUL * judged:
            found.append(files[image.key])
    return found


def strays(folder: Path, matches: Mapping[str, Path]) -> list[Path]:
    """The PNG files below `folder` that are the prediction of no picture."""
    used = set(matches.values())
    return [path for path in _png_files(_root_of(folder)) if path not in used]
