"""What is in the files of a pair: do they decode, fit each other, and hold known values?"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

from PIL import Image

from roadseg.dataset.samples import Sample, read_raw_label
from roadseg.errors import DatasetError, MediaError, RoadsegError
from roadseg.labels import LabelScheme, decode_label
from roadseg.media.images import FORMATS, read_rgb

Kind = Literal["undecodable-image", "undecodable-label", "unknown-values", "size"]

_ORIENTATION: Final = 0x0112  # EXIF; from 5 on, the picture lies on its side


class Finding(NamedTuple):
    """What is wrong with a file."""

    kind: Kind
    path: Path
    why: str


class _Header(NamedTuple):
    size: tuple[int, int]  # width and height, upright
    mode: str  # as Pillow calls it


def inspect_pair(
    sample: Sample, scheme: LabelScheme | None, *, deep: bool, decode: bool
) -> Iterator[Finding]:
    """Everything that is wrong with an image and its label.

    `deep` decodes the image, `decode` the label, too; else the headers have to do, unless one is suspicious.
    Without a `scheme`, any values are good.
    """
    image = None if deep else _read_header(sample.image)
    label = None if decode else _read_header(sample.label)
    image_size = image.size if image else None
    label_size = label.size if label else None
    if not image:
        try:
            height, width, _ = read_rgb(sample.image).shape
            image_size = (width, height)
        except MediaError as error:
            yield _finding("undecodable-image", sample.image, error)
    if not label or label.mode not in (("RGB", "RGBA", "P") if sample.encoding.is_color else ("L", "P")):
        try:
            values = scheme.table(sample.encoding) if scheme else sample.encoding.values
            raw = read_raw_label(sample.label, values)
            label_size = (raw.shape[1], raw.shape[0])
        except DatasetError as error:
            header = _read_header(sample.image)
            swapped = header and header.mode in ("1", "L", "P") and not sample.encoding.is_color
            hint = "; its image has one channel: are images and labels swapped?" if swapped else ""
            finding = _finding("undecodable-label", sample.label, error)
            yield finding._replace(why=finding.why + hint)
        else:
            try:
                if scheme:
                    decode_label(raw, sample.encoding, scheme, str(sample.label))
            except DatasetError as error:
                yield _finding("unknown-values", sample.label, error)
    if image_size and label_size and image_size != label_size:
        sizes = "{}x{}, but its image is {}x{}".format(*label_size, *image_size)
        yield Finding("size", sample.label, sizes)


def _finding(kind: Kind, path: Path, error: RoadsegError) -> Finding:
    return Finding(kind, path, str(error).removeprefix(f"{path}: "))


def _read_header(path: Path) -> _Header | None:
    """The header of a picture; None where only decoding can tell: it is damaged, or seems to be cut short."""
    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as picture:
            width, height = picture.size
            # of a PNG, looking for EXIF that its header does not have would decode it all
            has_exif = picture.format != "PNG" or "exif" in picture.info
            if has_exif and picture.getexif().get(_ORIENTATION, 1) >= 5:
                width, height = height, width
            file.seek(-12, os.SEEK_END)
            tail = file.read()
            ends = {"PNG": tail[4:8] == b"IEND", "JPEG": tail.endswith(b"\xff\xd9")}
            return _Header((width, height), picture.mode) if ends.get(picture.format or "", True) else None
    except Exception:  # Pillow raises about anything on damaged files; decoding will say what is wrong
        return None
