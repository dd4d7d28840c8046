"""The pictures that a run kept, for the page that compares runs: those in its own page, and its overlays."""

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import cv2
import numpy as np

from roadseg.errors import RoadsegError
from roadseg.media.images import read_rgb
from roadseg.report.compare import Run
from roadseg.report.html.album import LARGE, SMALL, fitted_uri
from roadseg.report.html.page import MARK

_JPEG: Final = "data:image/jpeg;base64,"


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture as the address of itself; `large` is shown when it is enlarged, empty: the same."""

    source: str
    large: str = ""
    difference: bool = False
    """Whether it shows what was missed and what was false; else what was found."""


class KeptPictures:
    """What a run kept of the pictures that are asked for. Whatever cannot be read was not kept."""

    def __init__(self, run: Run, names: Collection[str]) -> None:
        self.folder = run.path.parent
        self.scored = bool(run.counts)
        self._overlays = _overlays(run.document)
        self._small: dict[str, str] = {}
        self._large: dict[str, str] = {}
        for path in _pages(run.path):
            shots = _Shots(path, names)
            self._small = shots.small | self._small
            self._large = shots.large | self._large

    def shot(self, name: str, *, small: bool) -> Shot | None:
        """The picture of that name; None: it was not kept. small: as few bytes as there can be."""
        linked = self._small.get(name, "")
        # what a page links is large where it is the overlay itself
        thumbnail = "" if unquote(linked) == self._overlays.get(name) else self._embedded(linked)
        large = self._embedded(self._large.get(name, ""))
        if large and not (small and thumbnail):
            return Shot(_smaller(large) if small else large, difference=self.scored)
        overlay = self._overlay(name, SMALL if small else LARGE)
        if thumbnail:
            return Shot(thumbnail, "" if small else overlay, self.scored)
        return Shot(overlay) if overlay else None

    def _embedded(self, address: str) -> str:
        """A picture in a page as the address of itself; empty if there is none."""
        if address.startswith(_JPEG) or not address:
            return address
        if (path := self._below(unquote(address))) is None:
            return ""
        try:
            data = path.read_bytes()
        except OSError:
            return ""
        return _JPEG + base64.b64encode(data).decode() if data.startswith(b"\xff\xd8") else ""

    def _overlay(self, name: str, side: int) -> str:
        path = self._below(self._overlays.get(name, ""))
        try:
            return fitted_uri(read_rgb(path), side) if path else ""
        except RoadsegError:
            return ""

    def _below(self, relative: str) -> Path | None:
        """The file below the run's folder; None where a report names one from elsewhere."""
        try:
            path = (self.folder / relative).resolve()
            return path if relative and path.is_relative_to(self.folder.resolve()) else None
        except (OSError, ValueError):
            return None


def _smaller(uri: str) -> str:
    """A JPEG in a page made small; what is damaged stays as it is."""
    try:
        data = np.frombuffer(base64.b64decode(uri.removeprefix(_JPEG)), np.uint8)
        bgr_HWC = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
        return fitted_uri(cv2.cvtColor(bgr_HWC, cv2.COLOR_BGR2RGB).astype(np.uint8), SMALL)
    except (ValueError, TypeError, cv2.error):
        return uri


def _pages(document: Path) -> list[Path]:
    """The page beside a report, or, of shards that are put together, the pages of all of them."""
    names = ("report.json", "scores.json")
    whole = document.with_name("report.html") if document.name in names else document.with_suffix(".html")
    return [whole] if whole.is_file() else sorted(document.parent.glob("report-*of*.html"))


def _overlays(document: Mapping[str, object]) -> dict[str, str]:
    rows = document.get("rows")
    return {
        row["input"]: row["outputs"]["overlay"]
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row["outputs"].get("overlay"), str)
    }


class _Shots(HTMLParser):
    """Addresses of pictures in a page of ours, by their names: in its tables, and, larger, in galleries."""

    def __init__(self, page: Path, names: Collection[str]) -> None:
        super().__init__()
        self.small: dict[str, str] = {}
        self.large: dict[str, str] = {}
        self._names = names
        self._shot: tuple[str, dict[str, str]] | None = None
        try:
            text = page.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return
        if MARK in text[:2000]:
            self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the name of a shot, and the address of the picture in it."""
        given = dict(attrs)
        classes = (given.get("class") or "").split()
        name = given.get("data-name") or ""
        if tag == "button" and "shot" in classes and name in self._names:
            self._shot = name, self.small if "tiny" in classes else self.large
        elif tag == "img" and self._shot:
            (name, kept), self._shot = self._shot, None
            kept.setdefault(name, given.get("src") or "")
