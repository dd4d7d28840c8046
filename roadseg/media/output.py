"""Files that are whole or not there: masks, pictures and texts."""

import contextlib
import errno
import io
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, Final

import cv2
import numpy as np
from PIL import Image

from roadseg.errors import BusyError, LongNameError, MediaError, OutputError
from roadseg.labels import RGB, UInt8Array

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: what a killed run leaves stays, and two runs at one place are not told apart
    fcntl = None

JPEG_SIDE: Final = 65500  # libjpeg's limit
JPEG_QUALITY: Final = 90  # 200 kB for 1280x720; lane markings keep their edges

_REMEDIES: Final = {
    errno.ENOSPC: "free some space there, or choose another output folder",
    errno.EDQUOT: "free some of your quota, or choose another output folder",
    errno.EACCES: "choose an output folder that you may write to",
    errno.EPERM: "choose an output folder that you may write to",
    errno.EROFS: "choose an output folder on a disk that can be written to",
    errno.ENAMETOOLONG: "choose an output folder with a shorter path, or shorten the name",
    errno.EISDIR: "a folder is in its place: move it away, or choose another output folder",
    errno.ENOTDIR: "a file is in the place of its folder: move it away, or choose another output folder",
    errno.EEXIST: "a file is in the place of its folder: move it away, or choose another output folder",
}


_INNER_LOCK: Final = ".roadseg.lock"
_SCRATCH: Final = re.compile(r"\.roadseg-[0-9a-f]{32}\.partial")


def atomic_write(path: Path, data: bytes | memoryview) -> None:
    """Write `data` to `path`, over what was there, and make its folder. OutputError if that fails."""
    try:
        with replacing(path) as file:
            file.write(data)
    except OSError as error:
        raise cannot_write(path, error) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that becomes `path` at the end, over what was there; its folder is made. OSError.

    The bytes go to a temporary name in the same folder first (hidden, `.partial`), so whatever happens,
    Ctrl-C and `kill -9` included, `path` is the old file, the new one, or still absent. What a killed process
    left of its own in a folder goes when the next one first writes there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep_once(path.parent)
    scratch, file = _new_scratch(path.parent)
    try:
        with file:
            yield file
            file.flush()
            if fcntl is None:  # Windows renames no open file
                file.close()
            os.replace(scratch, path)
    except BaseException:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise


def sweep(folder: Path) -> None:
    """Remove the temporary files in `folder` that are ours (by their names), of dead writers (no locks)."""
    if fcntl is None or not os.path.isdir(folder):
        return
    for name in filter(_SCRATCH.fullmatch, os.listdir(folder)):
        with contextlib.suppress(OSError), (folder / name).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (folder / name).unlink(missing_ok=True)


@lru_cache(maxsize=4096)
def _sweep_once(folder: Path) -> None:
    sweep(folder)


def scratch_name(folder: Path) -> Path:
    """A temporary name in `folder` that `sweep` knows for ours.

    It owes nothing to the final name: two processes never share it, and a long name grows no longer.
    """
    return folder / f".roadseg-{uuid.uuid4().hex}.partial"


def _new_scratch(folder: Path) -> tuple[Path, BinaryIO]:
    """A new file, locked for as long as it is open: the lock goes when the process does."""
    while True:
        scratch = scratch_name(folder)
        file = scratch.open("xb")
        if fcntl is None:
            return scratch, file
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return scratch, file
        file.close()  # swept in the moment before it was locked


@contextlib.contextmanager
def alone_at(place: Path) -> Iterator[None]:
    """Keep other runs of roadseg off a file or folder, which need not exist. BusyError, OutputError.

    The lock is a hidden file beside it (in it, where nobody may write beside it), and the system's: it goes
    when the process does. Parents that are made for it go again if they stay empty.
    """
    try:
        place = place.resolve()  # one place may have several names
        lock = place.parent / f".{place.name}.lock"
        missing = [parent for parent in place.parents if not os.path.lexists(parent)]
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir() and not os.access(place.parent, os.W_OK):
            lock = place / _INNER_LOCK
        handle = _open_locked(lock)
    except BlockingIOError as error:
        raise BusyError(
            f"{place}: another run of roadseg is writing it; wait for it, or choose another name"
        ) from error
    except OSError as error:
        raise cannot_write(place, error) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()
        os.close(handle)
        with contextlib.suppress(OSError):  # not empty
            for parent in missing:
                parent.rmdir()


def is_empty(folder: Path) -> bool:
    """Whether an existing folder holds nothing, but for the lock of whoever is at it."""
    return all(path.name == _INNER_LOCK for path in folder.iterdir())


def _open_locked(lock: Path) -> int:
    """A handle of the file, which is made and locked. BlockingIOError where another process holds it."""
    while True:
        handle = os.open(lock, os.O_CREAT | os.O_RDWR)
        try:
            if fcntl:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not kept by processes that it forks
        except (BlockingIOError, PermissionError) as error:  # which of them, differs between systems
            os.close(handle)
            raise BlockingIOError from error
        except OSError:  # a file system without locks
            return handle
        if not fcntl or os.fstat(handle).st_nlink:
            return handle
        os.close(handle)  # its last holder removed it in the moment before it was locked


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The error that tells what the system's own means for `path`, and what to do."""
    kind = LongNameError if error.errno == errno.ENAMETOOLONG else OutputError
    remedy = _REMEDIES.get(error.errno or 0, "choose another output folder")
    return kind(f"{path}: cannot be written ({error.strerror or error}); {remedy}")


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all. OutputError.

    File names that are no Unicode come as lone surrogates: they are written as `\\udcNN`, JSON's own escape.
    """
    atomic_write(path, text.encode("utf-8", "backslashreplace"))


def write_mask(path: Path, mask_HW: UInt8Array, palette: Sequence[RGB] | None = None) -> None:
    """Write `mask_HW` uint8 as an 8-bit PNG with exactly these values, whole or not at all. OutputError.

    Without `palette` the PNG is grey (a road mask of 0 and 255; label ids). With it, it is a palette PNG:
    pixels hold the class index, and viewers show `palette[index]` (black past its end).
    """
    if mask_HW.dtype != np.uint8 or mask_HW.ndim != 2:
        raise ValueError(f"a mask is HW uint8, not {mask_HW.shape} {mask_HW.dtype}")
    if palette is None:
        atomic_write(path, _encode(path, mask_HW, ".png"))
        return
    picture = Image.fromarray(mask_HW)
    # All 256 entries: for a shorter palette Pillow packs pixels into fewer bits, and a 255 would be cut off.
    picture.putpalette([part for color in palette for part in color] + [0] * 3 * (256 - len(palette)))
    data = io.BytesIO()
    picture.save(data, "PNG", compress_level=1)  # 6 ms for 2048x1024; level 6 takes twice as long
    atomic_write(path, data.getbuffer())


def write_rgb(path: Path, rgb_HWC: UInt8Array) -> None:
    """Write `rgb_HWC` uint8 RGB as JPEG or PNG, by the suffix of `path`, whole or not at all. OutputError."""
    if rgb_HWC.dtype != np.uint8 or rgb_HWC.ndim != 3 or rgb_HWC.shape[2] != 3:
        raise ValueError(f"a picture is HWC uint8 RGB, not {rgb_HWC.shape} {rgb_HWC.dtype}")
    suffix = path.suffix.lower()
    if suffix not in (".jpg", ".jpeg", ".png"):
        raise ValueError(f"{path}: pictures are written as .jpg or .png")
    atomic_write(path, _encode(path, cv2.cvtColor(rgb_HWC, cv2.COLOR_RGB2BGR), suffix))


def _encode(path: Path, pixels: cv2.typing.MatLike, suffix: str) -> memoryview:
    """The file's bytes; MediaError where it cannot hold as large a picture.

    PNG keeps OpenCV's default: its fast RLE mode, 5 ms for a mask of 2048x1024. Measured beside it: 9 ms for
    Pillow at level 1, and 18 ms for OpenCV as soon as any level is given.
    """
    height, width = pixels.shape[:2]
    if suffix != ".png" and max(height, width) > JPEG_SIDE:
        raise OutputError(f"{path}: {width}x{height} is too large for JPEG ({JPEG_SIDE}); make it a PNG")
    options = [] if suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, data = cv2.imencode(suffix, pixels, options)
    if not done:  # libpng's limit is a million pixels a side
        raise MediaError(f"{path}: {width}x{height} is too large for a {suffix} file; cut the picture up")
    return data.data
