"""What other cameras and recorders make of a scene, imitated: lens, shutter, bars and captions.

Pictures, labels and chance are those of `roadseg.dataset.augment`.
"""

import math
import string
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from roadseg.dataset.chance import any_of, log_uniform, uniform
from roadseg.labels import VOID

_FONTS: Final = (
    cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX
)  # fmt: skip
_CAPTION_COLORS: Final = ((255, 255, 255), (255, 230, 0), (255, 140, 0), (255, 30, 30), (0, 255, 60))
_CHARACTERS: Final = string.digits * 3 + string.ascii_letters + " :/-.,"


class Lens(v2.Transform):
    """The bent lines of a wide lens, now and then of a long one; with probability `p`.

    A pixel at r from the centre, in halves of the width, is the one at r (1 + k r^2) / (1 + k m^2) of the
    straight picture (the first term of Brown 1966): nothing moves at r = m. What lies outside is void and
    mean grey or, as with a fish-eye, black and of the class `rest`.
    """

    def __init__(self, rest: int, fill: tuple[float, float, float], p: float) -> None:
        super().__init__()
        self.rest, self.fill, self.p = rest, fill, p

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        if uniform(0, 1) >= self.p:
            return {"x_HW": None}
        height, width = v2.functional.get_size(flat_inputs[0])
        bend = log_uniform(0.05, 0.9) if uniform(0, 1) < 0.85 else -uniform(0.03, 0.12)
        middle = uniform(-0.3, 0.3), uniform(-0.2, 0.2)  # a crop's is not the picture's
        half = width / 2
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        x, y = (x - half) / half - middle[0], (y - height / 2) / half - middle[1]
        stretch = (1 + bend * (x * x + y * y)) / (1 + bend * uniform(0.6, 1.1) ** 2)
        return {
            "x_HW": (x * stretch + middle[0]) * half + half,
            "y_HW": (y * stretch + middle[1]) * half + height / 2,
            "dark": uniform(0, 1) < 0.5,
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if params["x_HW"] is None:
            return inpt
        is_label = isinstance(inpt, tv_tensors.Mask)
        if params["dark"]:
            outside: Any = self.rest if is_label else (0, 0, 0)
        else:
            outside = VOID if is_label else self.fill
        bent = cv2.remap(
            _pixels(inpt),
            params["x_HW"],
            params["y_HW"],
            cv2.INTER_NEAREST if is_label else cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=outside,
        )
        return tv_tensors.wrap(_tensor(bent), like=inpt)


class Bars(v2.Transform):
    """Bars beside, above or below the scene, of the class `rest`, with probability `p`.

    As films in another format, and banners of recorders, have them: black, of any colour, or the scene itself
    as a blur.
    """

    def __init__(self, rest: int, p: float) -> None:
        super().__init__()
        self.rest, self.p = rest, p

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        if uniform(0, 1) >= self.p:
            return {"covered": []}
        height, width = v2.functional.get_size(flat_inputs[0])
        upright = uniform(0, 1) < 0.4
        length = width if upright else height
        first = round(length * log_uniform(0.03, 0.3))
        last = first if uniform(0, 1) < 0.5 else round(length * log_uniform(0.03, 0.3))
        which = uniform(0, 1)  # a crop may have one of them
        parts = [slice(0, first)] * (which < 0.75) + [slice(length - last, length)] * (which > 0.25)
        whole = slice(None)
        return {"covered": [(whole, part) if upright else (part, whole) for part in parts]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not params["covered"]:
            return inpt
        whole = inpt.as_subclass(Tensor).clone()
        paint: Any = self.rest if isinstance(inpt, tv_tensors.Mask) else self._paint(whole)
        for rows, columns in params["covered"]:
            part = whole[..., rows, columns]
            part.copy_(paint[:, rows, columns] if isinstance(paint, Tensor) else torch.tensor(paint))
        return tv_tensors.wrap(whole, like=inpt)

    def _paint(self, image_CHW: Tensor) -> Tensor:
        kind = uniform(0, 1)
        if kind < 0.2:
            height, width = image_CHW.shape[-2:]
            middle_hwC = _pixels(image_CHW)[height // 4 : -(height // 4) or None]
            soft = cv2.GaussianBlur(middle_hwC, (0, 0), uniform(4, 16))
            return _tensor(cv2.resize(soft, (width, height)))
        color_C11 = torch.zeros(3, 1, 1) if kind < 0.7 else torch.rand(3, 1, 1) * 255
        return color_C11.to(torch.uint8).expand_as(image_CHW)


def caption(image_CHW: Tensor) -> Tensor:
    """One to three lines of text, near the picture's edges, as recorders and editors put them there.

    The label stays: road is seen between the letters.
    """
    height, width = image_CHW.shape[-2:]
    rgb_HWC = _pixels(image_CHW).copy()
    for _ in range(int(uniform(1, 4))):
        text = "".join(any_of(_CHARACTERS) for _ in range(int(uniform(4, 40))))
        font, thickness = any_of(_FONTS), int(uniform(1, 3.5))
        (_, tall), _ = cv2.getTextSize(text, font, 1.0, thickness)
        scale = height * log_uniform(0.02, 0.09) / tall
        (across, tall), below = cv2.getTextSize(text, font, scale, thickness)
        inset = uniform(0.0, 0.12) * height
        y = tall + inset if uniform(0, 1) < 0.35 else height - below - inset
        place = int(uniform(0, 1) * max(1, width - across)), int(y)
        color = any_of(_CAPTION_COLORS)
        if uniform(0, 1) < 0.4:
            cv2.putText(rgb_HWC, text, place, font, scale, (0, 0, 0), thickness + 2, cv2.LINE_AA)
        cv2.putText(rgb_HWC, text, place, font, scale, color, thickness, cv2.LINE_AA)
    return _tensor(rgb_HWC)


def motion_blur(image_CHW: Tensor) -> Tensor:
    """A camera that moves while its shutter is open: smeared along a line of 3 to 17 pixels."""
    kernel = smear_kernel(log_uniform(3, 17), uniform(-90, 90) if uniform(0, 1) < 0.5 else uniform(-15, 15))
    return _tensor(cv2.filter2D(_pixels(image_CHW), -1, kernel, borderType=cv2.BORDER_REFLECT))


def smear_kernel(length: float, degrees: float) -> NDArray[np.float32]:
    """A kernel that smears along a line: a square of odd side, its sum 1."""
    side = 2 * math.ceil(length / 2) + 1
    kernel = np.zeros((side, side), np.float32)
    across, up = (length / 2 * math.cos(math.radians(degrees)), length / 2 * math.sin(math.radians(degrees)))
    start, end = ((round(side // 2 + way * across), round(side // 2 - way * up)) for way in (-1, 1))
    cv2.line(kernel, start, end, 1.0, 1)
    return np.asarray(kernel / kernel.sum(), np.float32)


def _pixels(image: Tensor) -> NDArray[np.uint8]:
    """CHW or HW -> HWC or HW, as OpenCV takes it."""
    plain = image.as_subclass(Tensor)
    return (plain.permute(1, 2, 0) if plain.ndim == 3 else plain).contiguous().numpy()


def _tensor(pixels: Any) -> Tensor:
    """The way back."""
    tensor = torch.from_numpy(pixels)
    return tensor.permute(2, 0, 1).contiguous() if tensor.ndim == 3 else tensor
