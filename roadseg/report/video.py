"""What a video run found: a row a frame (CSV), the whole (JSON), and a picture of both (PNG)."""

import io
import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from roadseg.documents import header, read_document, to_json
from roadseg.labels import UInt8Array
from roadseg.media.output import atomic_write, write_text
from roadseg.media.resize import fit_size
from roadseg.media.table import csv_text
from roadseg.metrics.confusion import mean_defined

THUMBNAILS: Final = 8
_THUMBNAIL_SIDE: Final = 640  # the longer one, at most
COLUMNS: Final = ("frame", "seconds", "road_percent", "confidence", "changed_percent", "consistency")


@dataclass(frozen=True, slots=True)
class Earlier:
    """What the report of an earlier run says of it."""

    outputs: list[Path]
    finished: bool
    fresh: bool
    """Whether there was no video before it: one that is there without a finished report is its own."""


def earlier_run(report: Path) -> Earlier | None:
    """Read a report of `VideoReport`; None if there is none, or if it is something else."""
    try:
        kind, data = read_document(report)
        if kind != "video":
            return None
        finished = data.get("finished", True) is True
        outputs = [Path(name) for name in data["outputs"].values()]
        return Earlier(outputs, finished, data.get("fresh") is True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


class Thumbnails:
    """Evenly spread small pictures of a video of unknown length: never more than twice `THUMBNAILS` kept."""

    def __init__(self) -> None:
        self._kept: list[tuple[float, UInt8Array]] = []
        self._every, self._seen = 1, 0

    def wanted(self) -> bool:
        """Whether the next frame is to be added; ask once a frame."""
        self._seen += 1
        return (self._seen - 1) % self._every == 0

    def add(self, seconds: float, rgb_HWC: UInt8Array) -> None:
        """Keep a picture (rgb uint8), made small where it is not."""
        height, width = rgb_HWC.shape[:2]
        rows, columns = fit_size(height, width, min(_THUMBNAIL_SIDE, max(height, width)))
        small = cv2.resize(rgb_HWC, (columns, rows), interpolation=cv2.INTER_AREA)
        self._kept.append((seconds, np.asarray(small, np.uint8)))
        if len(self._kept) == 2 * THUMBNAILS:
            self._kept, self._every = self._kept[::2], 2 * self._every

    def chosen(self) -> list[tuple[float, UInt8Array]]:
        """At most `THUMBNAILS` of them, from the first to the last, with their times."""
        if len(self._kept) <= THUMBNAILS:
            return self._kept
        places = np.linspace(0, len(self._kept) - 1, THUMBNAILS).round().astype(int)
        return [self._kept[i] for i in places]


@dataclass(kw_only=True)
class VideoReport:
    """The record of one video; plain numbers a frame, so that an hour takes a few megabytes."""

    settings: Mapping[str, Any]
    """Plain types: input, weights, device, ..."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Plain types that the run finds out: sizes, counts, times."""
    stopped_by: str | None = None
    thumbnails: Thumbnails = field(default_factory=Thumbnails)
    frames: "array[int]" = field(default_factory=lambda: array("q"))
    seconds: "array[float]" = field(default_factory=lambda: array("d"))
    road: "array[float]" = field(default_factory=lambda: array("f"))
    confidence: "array[float]" = field(default_factory=lambda: array("f"))
    changed: "array[float]" = field(default_factory=lambda: array("f"))
    consistency: "array[float]" = field(default_factory=lambda: array("f"))
    """IoU of the road with that of the frame before, moved along; NaN: that is not known."""

    def add(
        self, frame: int, seconds: float, road: float, confidence: float, changed: float, consistency: float
    ) -> None:
        """Add a frame: its number and time, and shares 0..1; NaN: there is none of it."""
        self.frames.append(frame)
        self.seconds.append(seconds)
        self.road.append(road)
        self.confidence.append(confidence)
        self.changed.append(changed)
        self.consistency.append(consistency)

    @property
    def exit_code(self) -> int:
        """0: all well; 3: damage was passed over, or frames are missing; 130: interrupted."""
        if self.stopped_by:
            return 130
        return 3 if self.facts.get("damaged") or self.facts.get("missing") else 0

    def to_dict(self) -> dict[str, Any]:
        """Everything but the rows, as plain types."""
        count, steady, road = len(self.frames), mean_defined(self.consistency), mean_defined(self.road)
        means = {
            "mean_road_percent": None if math.isnan(road) else round(100 * road, 3),
            "mean_confidence": round(sum(self.confidence) / count, 4) if count else None,
            "mean_changed_percent": round(100 * sum(self.changed) / count, 3) if count else None,
            "mean_consistency": None if math.isnan(steady) else round(steady, 4),
        }
        return {
            **header("video"),
            "settings": dict(self.settings),
            **self.facts,
            **means,
            "finished": True,
            "stopped_by": self.stopped_by,
            "exit_code": self.exit_code,
        }

    def announce(self, path: Path, outputs: Mapping[str, str], fresh: bool = False) -> None:
        """Write to `path` what a report says before its run is finished. Raises OutputError.

        fresh: as in `Earlier`.
        """
        document = {
            **header("video"),
            "settings": dict(self.settings),
            "outputs": dict(outputs),
            "finished": False,
            "fresh": fresh,
        }
        write_text(path, to_json(document))

    def write(self, stem: Path, finished: bool = True) -> None:
        """Write `stem`.csv, .png and .json, over those of an earlier run. Raises OutputError.

        Not finished: more is to be made from them; `finish` says in .json when that is done.
        """
        write_text(stem.with_name(stem.name + ".csv"), self._table())
        atomic_write(stem.with_name(stem.name + ".png"), self._picture())
        document = self.to_dict() if finished else {**self.to_dict(), "finished": False, "fresh": True}
        write_text(stem.with_name(stem.name + ".json"), to_json(document))

    def finish(self, stem: Path) -> None:
        """Say in `stem`.json that nothing more is to come. Raises OutputError."""
        write_text(stem.with_name(stem.name + ".json"), to_json(self.to_dict()))

    def _table(self) -> str:
        columns = (self.frames, self.seconds, self.road, self.confidence, self.changed, self.consistency)
        return csv_text(
            COLUMNS,
            (
                (
                    frame,
                    round(seconds, 6),
                    None if math.isnan(road) else round(100 * road, 3),
                    round(sure, 4),
                    round(100 * changed, 3),
                    None if math.isnan(steady) else round(steady, 4),
                )
                for frame, seconds, road, sure, changed, steady in zip(*columns, strict=True)
            ),
        )

    def _picture(self) -> bytes:
        """A strip of thumbnails above the road's share over time."""
        from matplotlib.figure import Figure  # a second to import, and only the end needs it

        shown = self.thumbnails.chosen()
        figure = Figure(figsize=(12, 4.4), layout="constrained")
        grid = figure.add_gridspec(2, max(1, len(shown)), height_ratios=(1, 2.2))
        for i, (seconds, rgb_HWC) in enumerate(shown):
            axes = figure.add_subplot(grid[0, i])
            axes.imshow(rgb_HWC)
            axes.set_title(f"{seconds:.1f} s", fontsize=8)
            axes.set_axis_off()
        axes = figure.add_subplot(grid[1, :])
        if not all(math.isnan(share) for share in self.road):
            axes.plot(self.seconds, [100 * share for share in self.road], color="#009E73", label="road")
        changed = [100 * share for share in self.changed]
        axes.fill_between(
            self.seconds, changed, color="#D55E00", alpha=0.5, label="changed since the frame before"
        )
        axes.set(xlabel="seconds", ylabel="% of the picture", ylim=(0, None))
        axes.margins(x=0)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize="small")
        image = io.BytesIO()
        figure.savefig(image, format="png")
        return image.getvalue()
