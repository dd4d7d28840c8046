"""From a folder to pairs of image and label, to splits without leaks, and to decoded labels."""

import random
import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from roadseg.config import TrainConfig
from roadseg.dataset.detect import detect_layout, require_folder
from roadseg.dataset.layouts import Form, Layout, get_layout
from roadseg.dataset.templates import Match, find_files
from roadseg.encodings import LabelEncoding, RawValue, UInt8Array, read_label_colors
from roadseg.errors import ConfigError, DatasetError
from roadseg.labels import LabelScheme, decode_label
from roadseg.media.images import FORMATS, max_pixels, read_rgb, too_large

Key = tuple[str, str]  # split, and key within it

# Of the choice of held-out groups. No setting: whoever scores a model must find the groups that it never saw.
_SPLIT_SEED: Final = 0
_GAP: Final = 0.05  # share of a single sequence between its train and its val


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with its label file.

    `group` is its city or sequence; `key` is a stable name within its split, such as
    "ulm/ulm_000000_000019".
    """

    image: Path
    label: Path
    encoding: LabelEncoding
    split: str
    group: str
    key: str


@dataclass(frozen=True)
class Scan:
    """What lies in a data set's folder, by official split; every list is sorted by split and key."""

    layout: Layout
    form: Form
    samples: list[Sample]
    unlabelled: list[Match]  # images without a label
    orphans: list[Match]  # labels without an image
    rivals: list[tuple[Match, Match]]  # two images, or two labels, of one key


def scan(root: Path, dataset: str | None = None) -> Scan:
    """Match the images below `root` with their labels, by name.

    `dataset` names the layout; without it, `detect_layout` finds it. DatasetError if there is none.
    """
    require_folder(root)
    layout = get_layout(dataset) if dataset else detect_layout(root)
    scans = []
    for form in layout.forms:
        scans.append(_scan_form(root, layout, form))
        if scans[-1].samples:
            return scans[-1]
    best = max(scans, key=lambda found: len(found.unlabelled) + len(found.orphans))
    if not best.unlabelled and not best.orphans:
        raise DatasetError(f"{root}: no {layout.title} here; leave out --dataset to have the layout found")
    return best


def _scan_form(root: Path, layout: Layout, form: Form) -> Scan:
    rivals: list[tuple[Match, Match]] = []
    images = _by_key(root, form, form.image, rivals)
    labels: dict[Key, tuple[Match, LabelEncoding]] = {}
    for template, encoding in form.labels:
        if layout.colors_file and encoding.is_color and (root / layout.colors_file).is_file():
            encoding = read_label_colors(root / layout.colors_file, encoding)
        for key, label in _by_key(root, form, template, rivals).items():
            labels.setdefault(key, (label, encoding))
    samples = []
    for key in sorted(images.keys() & labels.keys()):
        image, (label, encoding) = images[key], labels[key]
        samples.append(Sample(image.path, label.path, encoding, image.split, image.group, image.key))
    return Scan(
        layout,
        form,
        samples,
        unlabelled=[images[key] for key in sorted(images.keys() - labels.keys())],
        orphans=[labels[key][0] for key in sorted(labels.keys() - images.keys())],
        rivals=sorted(rivals, key=lambda pair: (pair[0].split, pair[0].key)),
    )


def _by_key(root: Path, form: Form, template: str, rivals: list[tuple[Match, Match]]) -> dict[Key, Match]:
    found: dict[Key, Match] = {}
    # sorted, so that of two rivals the same one wins everywhere
    for match in sorted(find_files(root, template, form.splits), key=lambda match: match.path):
        if match.path.name.endswith(form.not_labels):
            continue
        if form.is_val and form.is_val(match.key):
            match = replace(match, split="val")
        first = found.setdefault((match.split, match.key), match)
        if first is not match:
            rivals.append((first, match))
    return found


def find_samples(
    root: Path, split: str, dataset: str | None = None, *, val_fraction: float = TrainConfig.val_fraction
) -> list[Sample]:
    """The pairs of one split ("train", "val", "test", "train_extra"), sorted by key.

    The official split counts; a set that has no val gets one out of train, by `split_by_group`.
    DatasetError if there is no pair, if an image has no label, or if two files claim one key.
    """
    found = scan(root, dataset)
    samples = found.samples
    sources = {split}
    if found.form.holds_out and not any(sample.split == "val" for sample in samples):
        train = [sample for sample in samples if sample.split == "train"]
        samples = [sample for sample in samples if sample.split != "train"]
        samples += [sample for part in split_by_group(train, val_fraction) for sample in part]
        sources |= {"train"} if split == "val" else set()
    missing = [image.path for image in found.unlabelled if image.split in sources]
    if missing:
        raise DatasetError(
            f"{root}: images of {split} without a label: {len(missing)} ({_name_some(missing)}); add the "
            "labels or move the images away (`roadseg download-check` lists them all)"
        )
    for first, second in found.rivals:
        if first.split in sources:
            raise DatasetError(f"{second.path}: has the same name as {first.path}; keep one of the two")
    samples = [sample for sample in samples if sample.split == split]
    if not samples:
        there = ", ".join(sorted({sample.split for sample in found.samples})) or "nothing"
        raise DatasetError(
            f"{root}: no pairs of image and label for {split} ({found.layout.title}; there is {there}); "
            "`roadseg download-check` says what is missing"
        )
    return sorted(samples, key=lambda sample: sample.key)


def _name_some(paths: Sequence[Path], limit: int = 5) -> str:
    return ", ".join(str(path) for path in paths[:limit]) + (", ..." if len(paths) > limit else "")


def split_by_group(samples: Sequence[Sample], val_fraction: float) -> tuple[list[Sample], list[Sample]]:
    """(train, val) with no group on both sides; val comes as near to `val_fraction` as whole groups allow.

    Neighbouring frames look alike, so with one in train and one in val every score would flatter. Of a single
    group val is the last frames, in the order of the numbers in their names, and the 5 % before them (one at
    least, if train keeps one) are in neither part. The answer depends on groups and keys alone.
    """
    if not 0 < val_fraction < 1:
        raise ConfigError(f"the val fraction is {val_fraction}; give a number between 0 and 1")
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda sample: _natural(sample.key)):
        groups[sample.group].append(sample)
    target = val_fraction * len(samples)
    held_out: list[Sample] = []
    gap: list[Sample] = []
    if len(groups) == 1:
        (frames,) = groups.values()
        start = len(frames) - min(max(round(target), 1), len(frames) - 1)
        end = max(min(start, 1), start - max(round(_GAP * len(frames)), 1))
        gap, held_out = frames[end:start], frames[start:]
    elif groups:
        # the first one drawn stays in train, which must not run empty
        for name in random.Random(_SPLIT_SEED).sample(sorted(groups), len(groups))[1:]:
            if abs(len(held_out) + len(groups[name]) - target) < abs(len(held_out) - target):
                held_out += groups[name]
        # every group may be far larger than val should be
        held_out = held_out or min(groups.values(), key=len)
    val = {sample.key for sample in held_out}
    out = val | {sample.key for sample in gap}
    return (
        [replace(sample, split="train") for sample in samples if sample.key not in out],
        [replace(sample, split="val") for sample in samples if sample.key in val],
    )


def _natural(key: str) -> list[tuple[int, str]]:
    """Sorts frame9 before frame10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", key)]


def read_label(sample: Sample, scheme: LabelScheme) -> UInt8Array:
    """The label of a sample as classes: HW uint8, class index or 255 (void).

    Palette files are read as indices where labels are numbers. DatasetError names the file if it is damaged,
    of another kind, or holds values that the scheme does not know.
    """
    raw = read_raw_label(sample.label, scheme.table(sample.encoding))
    return decode_label(raw, sample.encoding, scheme, str(sample.label))


def read_pair(sample: Sample, scheme: LabelScheme) -> tuple[UInt8Array, UInt8Array]:
    """The picture and the label of a sample, as large as they are: rgb_HWC uint8, label_HW as `read_label`.

    MediaError or DatasetError naming the file; also where the two differ in size.
    """
    rgb_HWC, label_HW = read_rgb(sample.image), read_label(sample, scheme)
    if rgb_HWC.shape[:2] != label_HW.shape:
        (height, width), (label_height, label_width) = rgb_HWC.shape[:2], label_HW.shape
        raise DatasetError(
            f"{sample.label}: the label is {label_width}x{label_height}, but its picture {sample.image.name} "
            f"is {width}x{height}; they must have one size (`roadseg download-check` lists all such pairs)"
        )
    return rgb_HWC, label_HW


def read_instances(sample: Sample) -> NDArray[np.integer] | None:
    """The objects of a Cityscapes sample, HW integers as in its `*_instanceIds.png`; None without that file.

    DatasetError if it cannot be read.
    """
    stem = sample.label.stem
    ending = next((ids for ids in ("_labelIds", "_labelTrainIds") if stem.endswith(ids)), None)
    if ending is None:
        return None
    path = sample.label.with_name(f"{stem.removesuffix(ending)}_instanceIds.png")
    return np.asarray(_load(path)) if path.is_file() else None


def read_raw_label(path: Path, values: Collection[RawValue]) -> UInt8Array:
    """The pixels of a label file as they are: HW uint8, or HW3 uint8 RGB where `values` are colours."""
    if isinstance(next(iter(values)), tuple):
        return _read_colors(path)
    return _read_numbers(path, white=1 if 1 in values else 255)


def _load(path: Path) -> Image.Image:
    if path.exists() and not path.is_file():  # a pipe would block for ever
        raise DatasetError(f"{path}: is no regular file; save the label to a file first")
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > max_pixels():
                raise DatasetError(too_large(path))
            picture.verify()  # the checksums of a PNG, which loading it does not look at
        with Image.open(path, formats=FORMATS) as picture:
            picture.load()
            return picture
    except DatasetError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DatasetError(too_large(path)) from error
    except UnidentifiedImageError as error:
        raise DatasetError(f"{path}: is no picture; fetch or make it again") from error
    # Pillow's decoders raise about anything on damaged files: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        why = getattr(error, "strerror", None) or error
        raise DatasetError(f"{path}: cannot be read ({why}); fetch or make it again") from error


def _read_colors(path: Path) -> UInt8Array:
    """HW3 uint8 RGB. By way of RGBA, which takes every kind of palette."""
    picture = _load(path)
    if picture.mode[0] in "IF":  # Pillow would clip the numbers, and make colours of them
        raise DatasetError(
            f"{path}: a picture of 16 bits or more where colours belong; save it as an 8-bit RGB PNG"
        )
    return np.asarray(picture.convert("RGBA"))[..., :3]


def _read_numbers(path: Path, white: int) -> UInt8Array:
    """HW uint8; `white` is what the white of 1-bit files stands for."""
    picture = _load(path)
    raw = np.asarray(picture)
    if picture.mode in ("L", "P"):
        return raw
    if picture.mode == "1":
        return raw.astype(np.uint8) * np.uint8(white)
    if picture.mode.startswith("I") and raw.min(initial=0) >= 0 and raw.max(initial=0) <= 255:
        return raw.astype(np.uint8)
    if picture.mode in ("LA", "RGB", "RGBA"):  # fine if it is grey, saved as colour
        channels_HWC = raw[..., : 1 if picture.mode == "LA" else 3]
        if (channels_HWC == channels_HWC[..., :1]).all():
            return np.ascontiguousarray(channels_HWC[..., 0])
    if picture.mode.startswith("I"):
        raise DatasetError(
            f"{path}: has values up to {raw.max()} where 8-bit class numbers belong; save it as an 8-bit PNG "
            "of class numbers (divide by 257 if white is 65535), and of Cityscapes give labelIds, not "
            "instanceIds"
        )
    raise DatasetError(
        f"{path}: a picture of mode {picture.mode} where 8-bit class numbers belong; give the label files "
        "that hold ids"
    )
