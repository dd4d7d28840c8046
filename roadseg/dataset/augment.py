"""Augmentation: joint transforms of picture and label, on torchvision.transforms.v2 and tv_tensors.

A picture is a `tv_tensors.Image` CHW uint8 RGB, its label a `tv_tensors.Mask` HW uint8. Labels are only ever
moved by nearest-neighbour filters, and what comes from outside the picture is void, or of the class of all
the rest where it is as dark as behind a fish-eye. All randomness comes from torch's global generator, which
the data set seeds for each picture and epoch.
"""

from collections.abc import Callable
from typing import Any

import cv2
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from roadseg.config import AugmentStrength
from roadseg.dataset.cabin import Bonnet, reflection
from roadseg.dataset.camera import Bars, Lens, caption, motion_blur
from roadseg.dataset.chance import any_of, log_uniform, to_uint8, uniform
from roadseg.dataset.weather import darkness, precipitation, shadows, veil, wet_ground
from roadseg.labels import VOID

# What lies outside a picture looks like ImageNet's mean colour, which the network normalises to about 0.
OUTSIDE = (124.0, 116.0, 104.0)
FILL: dict[Any, Any] = {tv_tensors.Image: OUTSIDE, tv_tensors.Mask: VOID}


class RandomView(v2.Transform):
    """Cut a random window of random zoom and aspect, and resize it to `size` in one step.

    At zoom 1 a picture's longer side is `side` pixels, as at inference. A window larger than the picture
    shows void around it; a smaller one lies anywhere inside it, so that the horizon stands high or low and
    the bonnet is in view or not.
    """

    def __init__(
        self, size: tuple[int, int], side: int, zoom: tuple[float, float], aspect: tuple[float, float]
    ) -> None:
        super().__init__()
        self.size, self.side, self.zoom, self.aspect = size, side, zoom, aspect

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = v2.functional.get_size(flat_inputs[0])
        scale = max(height, width) / self.side / log_uniform(*self.zoom)
        squeeze = log_uniform(*self.aspect) ** 0.5
        box_h = max(1, round(self.size[0] * scale * squeeze))
        box_w = max(1, round(self.size[1] * scale / squeeze))
        pad_h, pad_w = max(0, box_h - height), max(0, box_w - width)
        left, top = (int(uniform(0, pad + 1)) for pad in (pad_w, pad_h))
        padding = [left, top, pad_w - left, pad_h - top]
        return {
            "padding": padding,
            "top": int(uniform(0, height + pad_h - box_h + 1)),
            "left": int(uniform(0, width + pad_w - box_w + 1)),
            "height": box_h,
            "width": box_w,
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        box = {name: params[name] for name in ("top", "left", "height", "width")}
        if any(params["padding"]):
            fill = VOID if isinstance(inpt, tv_tensors.Mask) else OUTSIDE
            inpt = F.pad(inpt, params["padding"], fill=fill)
        return F.resized_crop(inpt, **box, size=list(self.size), antialias=True)


class ClassTransform(v2.Transform):
    """Changes pixels of one class, with probability `p`; in a share `whole` of these, of all the picture.

    The label stays: what a thing is must be seen by more than what is changed.
    """

    def __init__(self, change: Callable[[Tensor], Tensor], p: float, whole: float = 0.0) -> None:
        super().__init__()
        self.change, self.p, self.whole = change, p, whole

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        labels = [inpt.as_subclass(Tensor) for inpt in flat_inputs if isinstance(inpt, tv_tensors.Mask)]
        if uniform(0, 1) >= self.p or not labels:
            return {"where_HW": None}
        if uniform(0, 1) < self.whole:
            return {"where_HW": torch.ones_like(labels[0], dtype=torch.bool)}
        classes = [value for value in labels[0].unique().tolist() if value != VOID]
        return {"where_HW": labels[0] == any_of(classes) if classes else None}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        where_HW = params["where_HW"]
        if where_HW is None or not isinstance(inpt, tv_tensors.Image):
            return inpt
        image_CHW = inpt.as_subclass(Tensor)
        return tv_tensors.wrap(torch.where(where_HW, self.change(image_CHW), image_CHW), like=inpt)


class PictureTransform(v2.Transform):
    """Changes pixels of the picture with probability `p` and leaves the label alone."""

    def __init__(self, change: Callable[[Tensor], Tensor], p: float) -> None:
        super().__init__()
        self.change, self.p = change, p

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"apply": uniform(0, 1) < self.p}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not params["apply"] or not isinstance(inpt, tv_tensors.Image):
            return inpt
        return tv_tensors.wrap(self.change(inpt.as_subclass(Tensor)), like=inpt)


def white_balance_and_gamma(image_CHW: Tensor) -> Tensor:
    """Another camera: its own gain per channel (0.8..1.25) and tone curve (gamma 0.5..2)."""
    return _recolored(image_CHW, 0.8, 1.25)


def repaint(image_CHW: Tensor) -> Tensor:
    """Red asphalt, dry grass: gains of 0.6 to 1.6. Texture and shape stay."""
    return _recolored(image_CHW, 0.6, 1.6)


def _recolored(image_CHW: Tensor, least_gain: float, most_gain: float) -> Tensor:
    levels = torch.arange(256) / 255
    gamma = log_uniform(0.5, 2.0)
    curves = torch.stack([levels**gamma * uniform(least_gain, most_gain) for _ in range(3)])
    table_C256 = to_uint8(curves * 255)
    return torch.stack([table_C256[c][image_CHW[c].long()] for c in range(3)])


def noise(image_CHW: Tensor) -> Tensor:
    """Sensor noise, Gaussian, deviation 2..20 levels, sometimes the same in all three channels."""
    shape = image_CHW.shape if uniform(0, 1) < 0.7 else (1, *image_CHW.shape[1:])
    return to_uint8(image_CHW + torch.randn(shape) * uniform(2, 20))


def low_resolution(image_CHW: Tensor) -> Tensor:
    """A picture that was once 1/4 to 3/4 as large, as small and zoomed cameras give."""
    height, width = image_CHW.shape[-2:]
    scale = uniform(0.25, 0.75)
    small = F.resize(image_CHW, [max(1, int(height * scale)), max(1, int(width * scale))], antialias=True)
    return F.resize(small, [height, width], antialias=True)


def sharpened(image_CHW: Tensor) -> Tensor:
    """An unsharp mask, as cameras have it; pictures of data sets that are stored small are soft."""
    soft_CHW = F.gaussian_blur(image_CHW, [5, 5], [uniform(0.6, 1.6)] * 2).float()
    return to_uint8(image_CHW + (image_CHW - soft_CHW) * uniform(0.5, 3.0))


def jpeg(image_CHW: Tensor) -> Tensor:
    """A picture that was saved as a JPEG of quality 25..90."""
    rgb_HWC = image_CHW.permute(1, 2, 0).contiguous().numpy()
    # Which channel is called red matters to chroma subsampling alone: encoder and decoder agree.
    _, data = cv2.imencode(".jpg", rgb_HWC, [cv2.IMWRITE_JPEG_QUALITY, int(uniform(25, 91))])
    return torch.from_numpy(cv2.imdecode(data, cv2.IMREAD_COLOR)).permute(2, 0, 1)


def crop_sizes(strength: AugmentStrength, width: int) -> list[tuple[int, int]]:
    """Return the sizes (height, width) of the crops that steps draw from, `width` being that of the first.

    `strong` has crops of 3.5:1, 4:3 and 1:1 in half of its steps, of about as many pixels: where pictures
    are higher than any crop, a network misses road at their foot. Below a width of 128 there are too few
    strides of 32 to choose from.
    """
    wide = (width // 2, width)
    if strength != "strong" or width < 128:
        return [wide]
    sides = [(width * (rows / 2) ** 0.5, width * (0.5 / rows) ** 0.5) for rows in (0.3, 0.75, 1.0)]
    return [wide] * len(sides) + [(_to_32(height), _to_32(across)) for height, across in sides]


def _to_32(side: float) -> int:
    """To the nearest multiple of 32, which the networks' strides divide."""
    return 32 * round(side / 32)


def make_augmentation(
    strength: AugmentStrength,
    imgsz: int,
    crop: tuple[int, int],
    bonnet: int = VOID,
    rest: int = VOID,
) -> v2.Transform:
    """Return the training transform: (Image CHW uint8, Mask HW uint8) -> the same at `crop` (height, width).

    At zoom 1 the longer side of the whole picture is `imgsz`. `none` only resizes and cuts. `strong` is made
    for roads, cameras, weather and light that the data set does not have; `light` does the same, less often
    and less far: it fits the data set at hand sooner. `bonnet` is the class of the own car, `rest` that of
    what is nothing else.
    """
    if strength == "none":
        return RandomView(crop, imgsz, (1.0, 1.0), (1.0, 1.0))
    strong = strength == "strong"
    often = 1.0 if strong else 0.25
    return v2.Compose(
        [
            RandomView(crop, imgsz, (0.8, 1.7), (0.75, 1.4) if strong else (0.85, 1.2)),
            v2.RandomHorizontalFlip(),
            v2.RandomApply(
                [v2.RandomAffine(degrees=15 if strong else 6, shear=6, fill=FILL)], p=0.15 * often
            ),
            Lens(rest, OUTSIDE, p=0.2 * often),
            ClassTransform(repaint, p=0.15 * often),
            ClassTransform(wet_ground, p=0.1 * often, whole=0.5),
            Bonnet(bonnet, p=0.25 * often),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.5, 0.06)], p=0.5 if strong else 0.3),
            PictureTransform(white_balance_and_gamma, p=0.2 * often),
            v2.RandomGrayscale(p=0.03 * often),
            PictureTransform(shadows, p=0.16 * often),
            PictureTransform(veil, p=0.08 * often),
            PictureTransform(precipitation, p=0.06 * often),
            PictureTransform(reflection, p=0.08 * often),
            PictureTransform(darkness, p=0.1 * often),
            v2.RandomApply([v2.GaussianBlur(5, sigma=(0.3, 2.0))], p=0.08 * often),
            PictureTransform(motion_blur, p=0.08 * often),
            PictureTransform(low_resolution, p=0.08 * often),
            PictureTransform(sharpened, p=0.2 * often),
            PictureTransform(noise, p=0.1 * often),
            Bars(rest, p=0.08 * often),
            PictureTransform(caption, p=0.12 * often),
            PictureTransform(jpeg, p=0.1 * often),
        ]
    )
