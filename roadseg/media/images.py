"""Pictures from files: decoded whole, upright, RGB, or refused.

`find_images`, `write_mask` and their kin live in the files beside this one and can be imported from here.
"""

import io
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from roadseg.errors import MediaError
from roadseg.labels import UInt8Array
from roadseg.media import jpeg, png
from roadseg.media.find import IMAGE_SUFFIXES, ImageJob, find_images, output_stems
from roadseg.media.output import atomic_write, write_mask, write_rgb, write_text

__all__ = [
    "IMAGE_SUFFIXES",
    "ImageJob",
    "allow_pixels",
    "atomic_write",
    "find_images",
    "output_stems",
    "read_rgb",
    "write_mask",
    "write_rgb",
    "write_text",
]

MAX_BYTES: Final = 1 << 30  # what 89 million pixels, the border of suspicion, take as 16-bit RGB, twice

# Not all that Pillow knows: the rest are rarely tested, and some call other programs (EPS).
FORMATS: Final = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_EXIF_ORIENTATION: Final = 0x0112
_PHOTOMETRIC: Final = 262  # TIFF 6.0: 0 is white; Pillow heeds it for 8 bits and not for 16
# Exif 2.32, table 6: what makes each orientation upright.
_UPRIGHT: Final[dict[int, Callable[[cv2.typing.MatLike], cv2.typing.MatLike]]] = {
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: cv2.transpose,
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.flip(cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE), 0),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


# Pillow warns of pictures behind its border, and opens them; here they are refused.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def max_pixels() -> int:
    """The most pixels that a picture or a label may have: 89 million, if nobody has allowed more.

    A small file can hold any number of pixels, and would take all memory that there is.
    """
    return Image.MAX_IMAGE_PIXELS or 0  # Pillow's own number, because its decoders look at it, too


@contextmanager
def allow_pixels(count: int) -> Iterator[None]:
    """Let pictures and labels have up to `count` pixels, in all threads."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, count
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def too_large(path: Path) -> str:
    """What to tell of a picture with more pixels than are allowed."""
    return (
        f"{path}: has more than {max_pixels() // 10**6} million pixels; scale it down, cut it up, or, if you "
        "trust it, allow `segment` or `eval` more with --max-megapixels (and --tile)"
    )


def read_rgb(path: Path) -> UInt8Array:
    """Read a picture as rgb_HWC uint8 RGB 0..255: upright, contiguous, yours to write into.

    - Grey, 1-bit, palette, CMYK and YCbCr become RGB. 16-bit pixels keep their high byte.
    - What is transparent shows black: the colour stored under it is often junk, and black is how cameras'
      rectified pictures mark "nothing here".
    - Of several frames or pages the first is read.

    MediaError for whatever is no whole picture: missing, empty, truncated, damaged, a folder, a pipe, an
    unknown format, pixels without a known range (float, 32-bit), or more of them than are allowed.
    """
    data = _read_bytes(path)
    # Pillow's decoders raise about anything on damaged files: SyntaxError, struct.error, IndexError, ...
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > max_pixels():
                raise MediaError(too_large(path))
            if picture.format == "PNG":
                rgb_HWC = png.decode(data)
                if rgb_HWC is not None:
                    return rgb_HWC
                # load() alone leaves the checksums of the pixels unread
                with Image.open(io.BytesIO(data), formats=("PNG",)) as twin:
                    twin.verify()
            rgb_HWC = _fast_jpeg(picture, data, path)
            if rgb_HWC is None:
                picture.load()
                rgb_HWC = _to_rgb(picture, path)
            orientation = _orientation(picture)
    except MediaError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MediaError(too_large(path)) from error
    except UnidentifiedImageError as error:
        raise MediaError(f"{path}: is no picture that can be read here ({', '.join(FORMATS)})") from error
    except Exception as error:
        raise MediaError(f"{path}: the picture is damaged ({error}); fetch or make it again") from error
    if orientation in _UPRIGHT:
        return np.ascontiguousarray(_UPRIGHT[orientation](rgb_HWC), np.uint8)
    return rgb_HWC


def _read_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            if not os.access(path, os.R_OK | os.X_OK):
                raise MediaError(f"{path}: this folder cannot be listed; check its permissions")
            raise MediaError(f"{path}: is a folder, not a picture; give it as an input of its own")
        if not stat.S_ISREG(status.st_mode):  # a pipe would block for ever, /dev/zero never end
            raise MediaError(f"{path}: is no regular file; save the picture to a file first")
        if status.st_size > MAX_BYTES:
            raise MediaError(
                f"{path}: {status.st_size >> 20} MiB is too large for a picture (1024); scale it down"
            )
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise MediaError(f"{path}: no such file; check the name") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise MediaError(f"{path}: cannot be read ({error}); check the file and its permissions") from error
    if not data:
        raise MediaError(f"{path}: the file is empty; fetch or make it again")
    return data


def _fast_jpeg(picture: Image.Image, data: bytes, path: Path) -> UInt8Array | None:
    """The pixels as stored, or None where Pillow must decode (another format, CMYK, odd segments)."""
    # MPO: a JPEG with more pictures behind it, as phones and stereo cameras write; the first one counts
    if picture.format not in ("JPEG", "MPO"):
        return None
    state = jpeg.walk(data)
    if state == "cut":
        raise MediaError(f"{path}: the JPEG is truncated; fetch or make it again")
    if state == "bomb":
        raise MediaError(f"{path}: the JPEG has hundreds of scans, to take for ever; save it anew elsewhere")
    return jpeg.decode(data) if state == "whole" and picture.mode in ("L", "RGB") else None


def _to_rgb(picture: Image.Image, path: Path) -> UInt8Array:
    mode = picture.mode
    if mode.startswith("I;16") or (mode == "I" and picture.format in ("PNG", "PPM")):
        # "I" would be 32 bits, but not in these formats
        grey_HW = (np.asarray(picture) >> 8).astype(np.uint8)
        if isinstance(picture, TiffImagePlugin.TiffImageFile) and picture.tag_v2.get(_PHOTOMETRIC) == 0:
            grey_HW = ~grey_HW
        return cv2.cvtColor(grey_HW, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)
    if mode in ("I", "F"):
        kind = "floats" if mode == "F" else "32-bit numbers"
        raise MediaError(f"{path}: its pixels are {kind} of unknown range; save it with 8 or 16 bits")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        picture = Image.new("RGB", rgba.size)
        picture.paste(rgba, mask=rgba.getchannel("A"))
    return np.array(picture.convert("RGB"))  # a copy: PyTorch warns of read-only arrays


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1..8 (1 = upright). Pillow has already turned TIFFs, and says so here."""
    try:
        return int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block is no reason to refuse sound pixels
        return 1
