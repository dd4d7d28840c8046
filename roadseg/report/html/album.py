"""The pictures of a page: a small one of every input while a run goes, and large ones of a few at its end."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

import cv2
import numpy as np

from roadseg.errors import MediaError, RoadsegError
from roadseg.labels import LabelScheme, UInt8Array
from roadseg.media.output import atomic_write
from roadseg.media.overlay import difference, draw
from roadseg.media.resize import fit_size
from roadseg.report.html.page import address

# Up to here small pictures are in the page itself: a page of 500 pictures stays below 5 MB. Of further ones
# the page shows the overlay that lies beside it, or, where there is none, a small one from a folder.
EMBEDDED: Final = 500
EMBEDDED_BYTES: Final = 2_300_000  # base64 makes 4 bytes of 3
SMALL: Final = 256  # longer side
LARGE: Final = 1024
_SMALL_QUALITY: Final = 60
_LARGE_BYTES: Final = 80_000
_LARGE_QUALITIES: Final = (82, 70, 55, 40)
OPACITY: Final = 0.45

Seen = tuple[UInt8Array, UInt8Array | None, UInt8Array]
"""rgb_HWC, truth_HW (None: there is none) and mask_HW, all of one size."""


class Pictures(Protocol):
    """Where a page gets its pictures from: an address (a data URI, or a path below the page), or None."""

    def small(self, key: str) -> str | None: ...
    def large(self, key: str) -> str | None: ...


class NoPictures:
    """For a page that is made from documents alone."""

    def small(self, key: str) -> str | None:
        """None."""
        return None

    def large(self, key: str) -> str | None:
        """None."""
        return None


@dataclass(frozen=True, slots=True)
class Overlay:
    """A picture with its mask on it, which is written already; path: below the page's folder."""

    rgb_HWC: UInt8Array
    path: str


class Album:
    """Collects pictures by the key of their input. Safe in threads.

    Memory is bounded: what comes after `EMBEDDED` pictures is linked, or goes to the folder
    `<page>_thumbnails` at once.
    """

    def __init__(self, page: Path, scheme: LabelScheme) -> None:
        self.folder = page.with_name(f"{page.stem}_thumbnails")
        self.scheme = scheme
        self.reopen: Callable[[str], Seen] | None = None
        """Brings a picture back by its key, for a large view; it may raise RoadsegError."""
        self._small: dict[str, bytes | str] = {}
        self._bytes = 0
        self._lock = Lock()

    def add(
        self,
        key: str,
        rgb_HWC: UInt8Array,
        truth_HW: UInt8Array | None,
        mask_HW: UInt8Array,
        overlay: Overlay | None = None,
    ) -> None:
        """Keep a small picture (under a millisecond of work for 2048x1024). Raises OutputError.

        overlay: the picture with its mask on it, where that is drawn already; not used with a truth.
        """
        if overlay is None or truth_HW is not None:
            small_HWC, linked = self._drawn((rgb_HWC, truth_HW, mask_HW), SMALL), ""
        else:
            with self._lock:
                if not self._has_room():
                    self._small[key] = overlay.path
                    return
            small_HWC, linked = _shrink(overlay.rgb_HWC, SMALL), overlay.path
        self.keep(key, _jpeg(small_HWC, _SMALL_QUALITY), linked)

    def keep(self, key: str, data: bytes, linked: str = "") -> None:
        """Keep a small picture that is drawn already, a JPEG. Raises OutputError.

        linked: a larger one, as a path below the page's folder, which the page shows when it has no room.
        """
        with self._lock:
            if self._has_room(len(data)):
                self._small[key], self._bytes = data, self._bytes + len(data)
                return
            number = len(self._small)
            self._small[key] = linked or f"{self.folder.name}/{number:06d}.jpg"
        if not linked:
            atomic_write(self.folder / f"{number:06d}.jpg", data)

    def _has_room(self, more: int = 0) -> bool:
        return len(self._small) < EMBEDDED and self._bytes + more <= EMBEDDED_BYTES

    def small(self, key: str) -> str | None:
        """The address of a small picture; None where none was added."""
        kept = self._small.get(key)
        return _uri(kept) if isinstance(kept, bytes) else kept and address(kept)

    def large(self, key: str) -> str | None:
        """The address of a large picture; None where it cannot be had (its file may be gone by now)."""
        if self.reopen is None:
            return None
        try:
            seen = self.reopen(key)
        except RoadsegError:
            return None
        return fitted_uri(self._drawn(seen, LARGE), LARGE)

    def _drawn(self, seen: Seen, side: int) -> UInt8Array:
        rgb_HWC, truth_HW, mask_HW = (None if part is None else _shrink(part, side) for part in seen)
        assert rgb_HWC is not None
        assert mask_HW is not None
        if truth_HW is None:
            return draw(rgb_HWC, mask_HW, self.scheme, OPACITY)
        return difference(rgb_HWC, truth_HW, mask_HW, self.scheme.num_classes)


@dataclass(frozen=True, slots=True)
class Shelf:
    """The pictures of one data set in an album that several share: its keys need differ in it alone."""

    album: Album
    name: str

    def add(self, key: str, rgb_HWC: UInt8Array, truth_HW: UInt8Array | None, mask_HW: UInt8Array) -> None:
        """As `Album.add`."""
        self.album.add(f"{self.name}/{key}", rgb_HWC, truth_HW, mask_HW)

    def small(self, key: str) -> str | None:
        """As `Album.small`."""
        return self.album.small(f"{self.name}/{key}")

    def large(self, key: str) -> str | None:
        """As `Album.large`."""
        return self.album.large(f"{self.name}/{key}")


Sketch = tuple[bytes, str]
"""A small picture as `Album.keep` is to be given it, and what it is to link."""


class Sketches(Album):
    """Small pictures on their way to the album of another process."""

    def __init__(self, scheme: LabelScheme) -> None:
        super().__init__(Path("sketches"), scheme)
        self.drawn: dict[str, Sketch] = {}

    def keep(self, key: str, data: bytes, linked: str = "") -> None:
        """Until it is sent."""
        self.drawn[key] = data, linked


def _shrink(pixels: UInt8Array, side: int) -> UInt8Array:
    """Not larger than `side`; classes (HW) and small pictures by the nearest pixel, large ones by areas."""
    height, width = pixels.shape[:2]
    if max(height, width) <= side:
        return pixels
    rows, columns = fit_size(height, width, side)
    if pixels.ndim == 2:
        return _resize(pixels, rows, columns, cv2.INTER_NEAREST)
    if max(height, width) > 2 * side:  # a pixel in each fourth of a new one: six times as fast
        pixels = _resize(pixels, 2 * rows, 2 * columns, cv2.INTER_NEAREST)
    return _resize(pixels, rows, columns, cv2.INTER_AREA)


def _resize(pixels: UInt8Array, height: int, width: int, how: int) -> UInt8Array:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), np.uint8)


def _jpeg(rgb_HWC: UInt8Array, quality: int) -> bytes:
    bgr_HWC = cv2.cvtColor(rgb_HWC, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr_HWC, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        height, width = rgb_HWC.shape[:2]
        raise MediaError(f"a picture of {width}x{height} is too large for a page; make it smaller")
    return data.tobytes()


def fitted_uri(rgb_HWC: UInt8Array, side: int) -> str:
    """A picture not larger than `side`, nor much above `_LARGE_BYTES`, as the address of itself."""
    rgb_HWC = _shrink(rgb_HWC, side)
    data = _jpeg(rgb_HWC, _LARGE_QUALITIES[0])
    for quality in _LARGE_QUALITIES[1:]:
        if len(data) > _LARGE_BYTES:
            data = _jpeg(rgb_HWC, quality)
    if len(data) > _LARGE_BYTES:  # noise: nobody can see much in it anyway
        data = _jpeg(_shrink(rgb_HWC, LARGE // 2), _LARGE_QUALITIES[-1])
    return _uri(data)


def jpeg_uri(rgb_HWC: UInt8Array) -> str:
    """A picture as the address of itself."""
    return _uri(_jpeg(rgb_HWC, _LARGE_QUALITIES[0]))


def _uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
