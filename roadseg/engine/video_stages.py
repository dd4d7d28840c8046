"""The stages of a video between its decoder and its encoder: network, smoothing, drawing.

Each is a generator that takes frames in their order; what is no frame (packets of sound) passes through in
its place.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from roadseg.config import VideoConfig
from roadseg.engine.ahead import map_ahead
from roadseg.engine.predict import Predictor
from roadseg.engine.smoothing import TemporalSmoother
from roadseg.labels import UInt8Array
from roadseg.media.flow import Float32
from roadseg.media.planes import Planes, draw_planes
from roadseg.media.video_frame import Frame


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame and what the network says of it, smoothed: Khw, float32."""

    frame: Frame
    logits_Khw: Float32
    places_hw2: Float32 | None
    """Where its pixels were in the frame before, as `TemporalSmoother` knows it; of a smaller picture."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A frame's mask (class indices), and the picture that the video shows of it."""

    seen: Seen
    mask_HW: UInt8Array
    planes: Planes


def predict(
    items: Iterable[Frame | Any], predictor: Predictor, smoother: TemporalSmoother, batch_size: int
) -> Iterator[Seen | Any]:
    """Frames with their logits, in batches; what is no frame passes through in its place."""

    def look(batch: list[Frame | Any]) -> tuple[list[Frame | Any], Iterator[Tensor]]:
        smalls = [item.small_HWC for item in batch if isinstance(item, Frame)]
        return batch, iter(predictor.logits(smalls))

    with (
        predictor.threads() as pool,
        closing(map_ahead(pool, look, _batches(items, batch_size), predictor.calls_ahead)) as seen,
    ):
        for batch, logits in seen:
            for item in batch:
                if isinstance(item, Frame):
                    logits_Khw = smoother.update(next(logits).cpu().numpy(), item.small_HWC)
                    yield Seen(item, logits_Khw, smoother.places_hw2)
                else:
                    yield item


def _batches(items: Iterable[Frame | Any], size: int) -> Iterator[list[Frame | Any]]:
    """`size` frames each, with what lies between them; the last has what is left."""
    batch: list[Frame | Any] = []
    frames = 0
    for item in items:
        batch.append(item)
        frames += isinstance(item, Frame)
        if frames == size:
            yield batch
            batch, frames = [], 0
    yield batch


def draw(items: Iterable[Seen | Any], predictor: Predictor, config: VideoConfig) -> Iterator[Drawn | Any]:
    """Frames with mask and drawing; what is no frame passes through in its place."""
    for item in items:
        if isinstance(item, Seen):
            planes = item.frame.planes
            mask_HW = predictor.mask(torch.from_numpy(item.logits_Khw), planes.size)
            yield Drawn(
                item, mask_HW, draw_planes(planes, mask_HW, predictor.scheme, config.opacity, config.view)
            )
        else:
            yield item
