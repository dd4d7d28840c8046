"""The one way from pixels to masks: resize, network, resize back, decide; in batches, on the device."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from roadseg.config import InferConfig
from roadseg.engine.backend import make_backend
from roadseg.engine.device import usable_cores
from roadseg.engine.joining import make_joining
from roadseg.engine.memory import Fitting, Note, silent
from roadseg.engine.prepared import require_finite
from roadseg.errors import ConfigError
from roadseg.media.resize import fit_size, resize_rgb
from roadseg.model.checkpoint import Checkpoint
from roadseg.model.exported import Exported

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]


class Predictor:
    """A network ready to run. The checkpoint's own model is left as it was."""

    def __init__(
        self, weights: Checkpoint | Exported, config: InferConfig | None = None, note: Note = silent
    ) -> None:
        """Put the network on the device of `config`.

        note: is told, a line at a time, what people should know of how it runs; by any thread.
        Raises ConfigError where there is no such device, or where the classes of `config` cannot be made of
        the network's or have no threshold, and ExtraError where nothing can compile.
        """
        self.config = config = config or InferConfig()
        self._joining = make_joining(weights.scheme, config.classes)
        self.scheme = self._joining.scheme
        if config.threshold != InferConfig.threshold and not self._binary:
            raise ConfigError(
                f"threshold is {config.threshold:g}, but of {self.scheme.num_classes} classes the likeliest "
                "is shown: leave it out, or see two of them (--classes road)."
            )
        self.imgsz = config.imgsz or weights.imgsz
        self.backend = make_backend(weights, config, note)
        self.device = self.backend.device
        self._network = Fitting(self.backend.logits, note)

    @cached_property
    def batch_size(self) -> int:
        """How many pictures to give it at once: as configured, or else as the device is fastest with."""
        return self.config.batch_size or self.backend.batch_size(self.imgsz)

    def facts(self) -> dict[str, Any]:
        """How it runs, in plain types, for the report."""
        fits = self._network.most
        return {
            **self.backend.facts(),
            "batch_size": self.batch_size if fits is None else min(fits, self.batch_size),
            "out_of_memory": fits is not None,
        }

    def input_size(self, height: int, width: int, imgsz: int | None = None) -> tuple[int, int]:
        """Return the (height, width) at which the network sees a picture of that size.

        imgsz: instead of the usual one.
        """
        return fit_size(height, width, imgsz or self.imgsz, self.backend.stride)

    @property
    def calls_ahead(self) -> int:
        """Batches to begin before they are asked for: when those in work end, others must not wait for us."""
        return self.backend.calls + 2

    @property
    def takes_all_cores(self) -> bool:
        """Whether `threads` are one for each core, so that more would only push them off it."""
        return self.device.type == "cpu" and self.backend.calls == usable_cores()

    def threads(self) -> ThreadPoolExecutor:
        """Threads to call `logits` in, for a pipeline whose other stages want the same cores."""
        return self.backend.threads()

    def predict(self, images: Sequence[UInt8]) -> list[UInt8]:
        """Map pictures to masks.

        images: rgb_HWC uint8 RGB 0..255, of any sizes, mixed as you like.
        Returns one mask_HW uint8 of class indices for each, at the picture's own size.
        """
        return [
            self.mask(logits_Khw, (image.shape[0], image.shape[1]))
            for image, logits_Khw in zip(images, self.logits(images), strict=True)
        ]

    @torch.inference_mode()
    def predict_with_probabilities(self, images: Sequence[UInt8]) -> list[tuple[UInt8, Float32]]:
        """Map pictures to (mask_HW, probability float32 0..1): of class 1 (HW) for two classes, else KHW."""
        results = []
        for image, logits_Khw in zip(images, self.logits(images), strict=True):
            logits_KHW = enlarge(logits_Khw, (image.shape[0], image.shape[1]))
            probability = logits_KHW[0].sigmoid() if self._binary else logits_KHW.softmax(0)
            results.append((self._decide(logits_KHW), probability.cpu().numpy()))
        return results

    @torch.inference_mode()
    def predict_with_road(self, images: Sequence[UInt8]) -> list[tuple[UInt8, Float32 | None]]:
        """Map pictures to (mask_HW, probability_HW of road, float32 0..1); None where no class is the road.

        For two classes it is the probability of class 1. Of more, what is enlarged is the margin of the road
        over all the rest, in one plane's time; the softmax of all enlarged logits is a little smoother.
        """
        road = 1 if self._binary else self.scheme.road_class
        results: list[tuple[UInt8, Float32 | None]] = []
        for image, logits_Khw in zip(images, self.logits(images), strict=True):
            size = (image.shape[0], image.shape[1])
            probability_HW = None
            if road is not None:
                margin_1hw = logits_Khw
                if not self._binary:
                    others = [k for k in range(len(logits_Khw)) if k != road]
                    margin_1hw = (logits_Khw[road] - logits_Khw[others].logsumexp(0))[None]
                probability_HW = self._enlarge_plane(margin_1hw, size).sigmoid().cpu().numpy()
            results.append((self.mask(logits_Khw, size), probability_HW))
        return results

    @torch.inference_mode()
    def logits(self, images: Sequence[UInt8], imgsz: int | None = None) -> list[Tensor]:
        """Return what the network says of each picture, at the size that it sees: float32 Khw, on the device.

        imgsz: instead of the usual one. For two classes it is one plane, the margin of class 1 over class 0
        (1hw). CheckpointError for NaN.
        """
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, rgb_HWC in enumerate(images):
            groups[self.input_size(rgb_HWC.shape[0], rgb_HWC.shape[1], imgsz)].append(i)
        results: dict[int, Tensor] = {}
        for size, members in groups.items():
            # stacked as they lie in memory, which is what networks read: a third of the time
            batch_BHWC = torch.stack([self._network_size(images[i], size) for i in members])
            logits_BKhw = self._joining.join(self._network(batch_BHWC.permute(0, 3, 1, 2)))
            require_finite(logits_BKhw)
            if self._binary:  # one plane to enlarge instead of two
                logits_BKhw = logits_BKhw[:, 1:] - logits_BKhw[:, :1]
            results.update(zip(members, logits_BKhw, strict=True))
        return [results[i] for i in range(len(images))]

    @torch.inference_mode()
    def mask(self, logits_Khw: Tensor, size: tuple[int, int]) -> UInt8:
        """Return the mask_HW of `size` (height, width) that `logits` of a picture mean."""
        if self.device.type != "cpu":
            return self._decide(enlarge(logits_Khw.to(self.device), size))
        if self._binary:
            return np.asarray(_enlarged(logits_Khw[0], size) >= self._border).view(np.uint8)
        return _argmax(_enlarged(plane_hw, size) for plane_hw in logits_Khw)

    def _enlarge_plane(self, plane_1hw: Tensor, size: tuple[int, int]) -> Tensor:
        if self.device.type != "cpu":
            return enlarge(plane_1hw.to(self.device), size)[0]
        return torch.from_numpy(_enlarged(plane_1hw[0], size))

    @property
    def _border(self) -> float:
        """What a margin must reach: p >= threshold, asked of the logit; 0 and 1 become -inf and inf."""
        return torch.tensor(self.config.threshold, dtype=torch.float64).logit().item()

    @property
    def _binary(self) -> bool:
        return self.scheme.num_classes == 2

    def _decide(self, logits_KHW: Tensor) -> UInt8:
        if self.device.type == "cpu" and not self._binary:
            return _argmax(plane_HW.numpy() for plane_HW in logits_KHW)
        mask_HW = logits_KHW[0] >= self._border if self._binary else logits_KHW.argmax(0)
        return mask_HW.to(torch.uint8).cpu().numpy()

    def _network_size(self, rgb_HWC: UInt8, size: tuple[int, int]) -> Tensor:
        writable = rgb_HWC if rgb_HWC.flags.writeable else rgb_HWC.copy()  # torch takes no read-only arrays
        image_CHW = torch.from_numpy(writable).to(self.device).permute(2, 0, 1)
        return resize_rgb(image_CHW, size).permute(1, 2, 0)  # HWC


def enlarge(logits_Khw: Tensor, size: Sequence[int]) -> Tensor:
    """Return logits_KHW of `size` (height, width), by the filter that masks are made with."""
    return F.interpolate(logits_Khw[None], size=tuple(size), mode="bilinear", align_corners=False)[0]


def _enlarged(plane_hw: Tensor, size: tuple[int, int]) -> Float32:
    """The same as `enlarge` of one plane on the CPU, for a third of its time."""
    plane_HW = cv2.resize(plane_hw.numpy(), size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(plane_HW, np.float32)


def _argmax(planes_HW: Iterable[Float32]) -> UInt8:
    """Return which of at most 256 planes is the largest, for each pixel; of equal ones the first. No NaN.

    One plane after another: for 19 of 1280x720 pixels, a tenth of the time of torch's argmax.
    """
    planes_HW = iter(planes_HW)
    largest_HW = next(planes_HW).copy()
    number_HW: UInt8 = np.zeros(largest_HW.shape, np.uint8)
    for number, plane_HW in enumerate(planes_HW, 1):
        larger_HW = np.asarray(cv2.compare(plane_HW, largest_HW, cv2.CMP_GT), np.uint8)  # 0 or 255
        cv2.max(number_HW, larger_HW & number, number_HW)  # above all numbers before it
        cv2.max(largest_HW, plane_HW, largest_HW)
    return number_HW
