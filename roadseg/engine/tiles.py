"""Huge pictures in overlapping tiles: memory for a few tiles and a band of logits, and no seam to see.

Without tiles a picture is made as small as `imgsz` says. With them it is seen at its own size (or at `imgsz`,
where the user gives one), and the network gets squares of `tile` pixels of it. Tiles begin where the grid of
the network's strides does, so that each of them computes what the whole would. What differs are the border of
a tile, which is not used, and a look at all of the picture (`UNetConfig.context`), which sees the tile alone.

Shapes: h w pixels of the picture as it is seen, H W of the picture itself, S rows of it, K planes of logits.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise, product
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from roadseg.config import InferConfig
from roadseg.engine.ahead import map_ahead
from roadseg.engine.memory import Note, silent
from roadseg.engine.predict import Float32, Predictor, UInt8
from roadseg.engine.views import ViewsPredictor
from roadseg.errors import ConfigError
from roadseg.media.resize import fit_size
from roadseg.model.checkpoint import Checkpoint
from roadseg.model.exported import Exported

_OVERLAP: Final = 4  # neighbours share a quarter of a tile: half of that fades, the rest is not used
_NUMBERS: Final = 1 << 24  # in a strip of enlarged logits


def make_predictor(weights: Checkpoint | Exported, config: InferConfig, note: Note = silent) -> Predictor:
    """Return what runs `weights` as `config` says, in tiles, in several views, or plainly. ConfigError."""
    kind = TiledPredictor if config.tile else ViewsPredictor if config.tta else Predictor
    return kind(weights, config, note)


class TiledPredictor(Predictor):
    """A Predictor whose network sees no more than `config.tile` pixels squared of a picture at once."""

    def __init__(self, weights: Checkpoint | Exported, config: InferConfig, note: Note = silent) -> None:
        """Raises ConfigError also where the tiles would be too small for the network's stride."""
        super().__init__(weights, config, note)
        assert config.tile
        stride = self.backend.stride
        self._tile = config.tile // stride * stride
        if self._tile < 4 * stride:
            raise ConfigError(f"tile is {config.tile}, but must be {4 * stride} or more for this network.")

    @cached_property
    def batch_size(self) -> int:
        """How many tiles to give it at once."""
        return self.config.batch_size or self.backend.batch_size(self._tile)

    def input_size(self, height: int, width: int, imgsz: int | None = None) -> tuple[int, int]:
        """A tile is seen as it is."""
        return height, width

    @property
    def calls_ahead(self) -> int:
        """One picture is read while another one is seen: more of them would fill the memory."""
        return 2

    @property
    def takes_all_cores(self) -> bool:
        """No: those threads are within a picture."""
        return False

    def threads(self) -> ThreadPoolExecutor:
        """One picture at a time: its tiles have all the cores."""
        return ThreadPoolExecutor(1)

    def predict(self, images: Sequence[UInt8]) -> list[UInt8]:
        """As Predictor."""
        return [self._paint(rgb_HWC)[0] for rgb_HWC in images]

    def predict_with_probabilities(self, images: Sequence[UInt8]) -> list[tuple[UInt8, Float32]]:
        """As Predictor."""

        def each(logits_KSW: Tensor) -> Tensor:
            return logits_KSW[0].sigmoid() if self._binary else logits_KSW.softmax(0)

        return [self._paint(rgb_HWC, each) for rgb_HWC in images]

    def predict_with_road(self, images: Sequence[UInt8]) -> list[tuple[UInt8, Float32 | None]]:
        """As Predictor; of more than two classes it is the softmax of all enlarged logits."""
        road = 1 if self._binary else self.scheme.road_class
        if road is None:
            return [(mask_HW, None) for mask_HW in self.predict(images)]

        def of_road(logits_KSW: Tensor) -> Tensor:
            return logits_KSW[0].sigmoid() if self._binary else logits_KSW.softmax(0)[road]

        return [self._paint(rgb_HWC, of_road) for rgb_HWC in images]

    @torch.inference_mode()
    def _paint(
        self, rgb_HWC: UInt8, probability: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[UInt8, Float32]:
        """The mask, and what `probability` makes of logits_KSW (SW or KSW), put together (or nothing)."""
        height, width = rgb_HWC.shape[:2]
        mask_HW = np.empty((height, width), np.uint8)
        found = np.empty(0, np.float32)
        top = 0
        with closing(self._bands(rgb_HWC)) as bands:
            for logits_KSW in enlarged(bands, self._seen_size(height, width), (height, width)):
                rows = slice(top, top + logits_KSW.shape[1])
                mask_HW[rows] = self._decide(logits_KSW)
                if probability:
                    part = probability(logits_KSW).cpu().numpy()
                    if not found.size:
                        found = np.empty((*part.shape[:-2], height, width), np.float32)
                    found[..., rows, :] = part
                top = rows.stop
        return mask_HW, found

    def _seen_size(self, height: int, width: int) -> tuple[int, int]:
        if self.config.imgsz is None:
            return height, width
        return fit_size(height, width, self.config.imgsz, self.backend.stride)

    def _bands(self, rgb_HWC: UInt8) -> Generator[Tensor, None, None]:
        """The logits of the picture as it is seen, from the top down, in bands: Kbw."""
        size = self._seen_size(rgb_HWC.shape[0], rgb_HWC.shape[1])
        seen_hwC = rgb_HWC
        if size != rgb_HWC.shape[:2]:
            seen_hwC = self._network_size(rgb_HWC, size).cpu().numpy()
        rows, columns = (cover(length, self._tile, self.backend.stride) for length in size)
        tiles = iter([seen_hwC[y.tile, x.tile] for y, x in product(rows, columns)])
        batches = iter(lambda: list(islice(tiles, self.batch_size)), [])
        with (
            self.backend.threads() as pool,
            closing(map_ahead(pool, self.logits, batches, super().calls_ahead)) as done,
        ):
            logits = (logits_Kyx for batch in done for logits_Kyx in batch)
            yield from blended(logits, rows, columns)


@dataclass(frozen=True, slots=True)
class Span:
    """Where a tile lies along one side of the picture, and the part of it that counts."""

    tile: slice
    used: slice
    """Within `tile`, in the picture's coordinates."""
    weights: Tensor
    """Of the used part, float32: neighbours fade into each other, and add up to 1 everywhere."""


def cover(length: int, tile: int, stride: int) -> list[Span]:
    """Spread tiles evenly over `length` pixels: each of `tile` at most, from multiples of `stride` on."""
    shared = tile // _OVERLAP
    count = 1 + max(0, -(-(length - tile) // (tile - shared - stride)))
    last = -(-max(0, length - tile) // stride)  # in strides, as all starts
    starts = [i * last // max(1, count - 1) * stride for i in range(count)]
    ends = [min(start + tile, length) for start in starts]
    cuts = [(end + start) / 2 for end, start in zip(ends, starts[1:], strict=False)]
    fade = min(((end - cut) / 2 for end, cut in zip(ends, cuts, strict=False)), default=0.0)
    x = torch.arange(length) + 0.5
    # What lies behind each cut; a tile's weights are what lies behind the first of its two, less the second.
    behind = [torch.ones(length), *((0.5 + (x - cut) / (2 * fade)).clamp(0, 1) for cut in cuts)]
    shares = [left - right for left, right in pairwise([*behind, torch.zeros(length)])]
    spans = []
    for start, end, share in zip(starts, ends, shares, strict=True):
        inside = share.nonzero()[[0, -1], 0].tolist()
        used = slice(inside[0], inside[1] + 1)
        spans.append(Span(slice(start, end), used, share[used]))
    return spans


def blended(tiles: Iterator[Tensor], rows: Sequence[Span], columns: Sequence[Span]) -> Iterator[Tensor]:
    """Yield bands Kbw, from the top down, that the logits Kyx of tiles, row by row, blend into."""
    width = columns[-1].used.stop
    held: Tensor | None = None  # rows that the next tiles add to
    top = 0  # where they begin
    for number, row in enumerate(rows):
        for column, logits_Kyx in zip(columns, islice(tiles, len(columns)), strict=True):
            if held is None:
                held = logits_Kyx.new_zeros(len(logits_Kyx), 0, width)
            if held.shape[1] < row.used.stop - top:
                held = F.pad(held, (0, 0, 0, row.used.stop - top - held.shape[1]))
            y, x = (
                slice(span.used.start - span.tile.start, span.used.stop - span.tile.start)
                for span in (row, column)
            )
            weights = (row.weights[:, None] * column.weights).to(held.device)
            place = slice(row.used.start - top, row.used.stop - top)
            held[:, place, column.used] += logits_Kyx[:, y, x] * weights
        assert held is not None
        done = rows[number + 1].used.start if number + 1 < len(rows) else row.used.stop
        if done > top:
            yield held[:, : done - top]
            held, top = held[:, done - top :].clone(), done


def enlarged(bands: Iterator[Tensor], seen: tuple[int, int], size: tuple[int, int]) -> Iterator[Tensor]:
    """Yield strips KSW of the logits at `size` (H, W), from bands Kbw of them at the size `seen` (h, w).

    The same bilinear filter as `predict.enlarge`, without all of the enlarged logits in memory.
    """
    if seen == size:
        yield from bands
        return
    height, (rows, columns) = seen[0], size
    y = ((torch.arange(rows, dtype=torch.float64) + 0.5) * height / rows - 0.5).clamp(0, height - 1)
    above = y.long()
    below = (above + 1).clamp(max=height - 1)
    held: Tensor | None = None
    first = top = 0  # the first row that is held, and the next one to make
    for band in bands:
        held = band if held is None else torch.cat([held, band], 1)
        ready = int(torch.searchsorted(below, first + held.shape[1]))
        step = max(1, _NUMBERS // (len(held) * columns))
        for start in range(top, ready, step):
            strip = slice(start, min(start + step, ready))
            part = (y[strip] - above[strip]).to(held)[:, None]
            upper, lower = (held[:, (line[strip] - first).to(held.device)] for line in (above, below))
            strip_KSw = torch.lerp(upper, lower, part)
            yield F.interpolate(strip_KSw[None], (strip_KSw.shape[1], columns), mode="bilinear")[0]
        top = ready
        if top < rows:  # what lies above the next row's place is done with
            done = min(int(above[top]) - first, held.shape[1])
            held, first = held[:, done:], first + done
