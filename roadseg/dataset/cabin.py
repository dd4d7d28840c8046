"""What a camera sees of its own car, imitated: bonnet or dashboard, and what the windscreen mirrors.

Pictures, labels and chance are those of `roadseg.dataset.augment`.
"""

from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from roadseg.dataset.chance import log_uniform, side_of_a_line, smooth_noise, to_uint8, uniform

# Pixels that the border of a bonnet out of focus is wide.
_SOFTEST = 6.0


class Bonnet(v2.Transform):
    """Another car's bonnet, or a dashboard, at the picture's foot, labelled `value`; with probability `p`.

    Its upper edge is a random parabola, sharp or out of focus. Its paint is of any colour, clean or dusty,
    dull or as glossy as a mirror: what it shows then is the scene above its edge, upside down and smeared.
    Sometimes a dark band lies below, of wipers or of a dashboard's end.
    """

    def __init__(self, value: int, p: float) -> None:
        super().__init__()
        self.value, self.p = value, p

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        if uniform(0, 1) >= self.p:
            return {"rows": 0}
        height, width = v2.functional.get_size(flat_inputs[0])
        y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(-1, 1, width)
        rise, middle = log_uniform(0.025, 0.35), uniform(-0.3, 0.3)
        edge_W = 1 - rise * (1 - uniform(0.0, 1.0) * (x - middle) ** 2) + uniform(-0.03, 0.03) * x
        depth_HW = (y - edge_W) * height  # pixels below the edge
        rows = int((depth_HW > -_SOFTEST).any(1).sum())
        return {"rows": rows, "depth_rW": depth_HW[height - rows :]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not params["rows"]:
            return inpt
        start, depth_rW = inpt.shape[-2] - params["rows"], params["depth_rW"]
        whole = inpt.as_subclass(Tensor).clone()
        if isinstance(inpt, tv_tensors.Mask):
            whole[..., start:, :][..., depth_rW >= 0] = self.value
        else:
            cover_rW = (depth_rW / log_uniform(0.5, _SOFTEST) + 0.5).clamp(0, 1)
            scene_CrW = whole[:, start:].float()
            paint_CrW = self._paint(whole, depth_rW)
            whole[:, start:] = to_uint8(scene_CrW + cover_rW * (paint_CrW - scene_CrW))
        return tv_tensors.wrap(whole, like=inpt)

    def _paint(self, image_CHW: Tensor, depth_rW: Tensor) -> Tensor:
        """The lower rows of the picture as they are if the bonnet fills them."""
        height, width = image_CHW.shape[-2:]
        rows = len(depth_rW)
        seen = max(1, round(height * uniform(0.3, 0.9)))  # how much of the scene the bonnet mirrors
        edge = max(seen, height - rows)
        scene = image_CHW[:, edge - seen : edge].flip(1).float()
        mirror = F.resize(scene, [max(1, seen // 8), max(1, width // int(uniform(2, 12)))], antialias=True)
        mirror_CrW = F.resize(mirror, [rows, width], antialias=True)
        color_C11 = torch.rand(3, 1, 1) * uniform(0, 80) + uniform(0, 200)
        light_r1 = torch.linspace(uniform(0.6, 1.4), uniform(0.4, 1.2), rows)[:, None]
        gloss = uniform(0, 0.9)
        painted_CrW = (1 - gloss) * color_C11 * light_r1 + gloss * mirror_CrW
        painted_CrW = painted_CrW + uniform(0, 25) * smooth_noise(rows, width, 8, 60)
        painted_CrW = painted_CrW + uniform(0, 15) * torch.randn(rows, width)  # dust
        rim_rW = torch.exp(-depth_rW.clamp(min=0) / log_uniform(1, 12))
        painted_CrW = painted_CrW + uniform(-60, 80) * rim_rW
        if uniform(0, 1) < 0.3:
            below_rW = (depth_rW - uniform(0.3, 0.9) * rows).clamp(0, 1)
            painted_CrW = painted_CrW + below_rW * (uniform(0, 60) - painted_CrW)
        return painted_CrW


def reflection(image_CHW: Tensor) -> Tensor:
    """The inside of a windscreen: light things lie over a part of the picture.

    Either over one side of a random soft line the picture itself, mirrored and smeared, as no other is at
    hand, or in its lower part the light patches of a dashboard and what lies on it. Light adds: the two are
    joined by `screen`, 1 - (1 - a)(1 - b).
    """
    height, width = image_CHW.shape[-2:]
    if uniform(0, 1) < 0.5:
        # one pixel alone, of uint8, crashes torch's resizing
        rough = [max(2, height // int(uniform(4, 24))), max(2, width // int(uniform(4, 24)))]
        mirrored = image_CHW.flip(1, 2) if uniform(0, 1) < 0.5 else image_CHW.flip(2)
        smeared_CHW = F.resize(F.resize(mirrored, rough, antialias=True), [height, width], antialias=True)
        light_CHW = smeared_CHW / 255 * uniform(0.2, 0.8) * side_of_a_line(height, width)
    else:
        patches_HW = smooth_noise(height, width, 20, 250)
        hard = log_uniform(1, 30)  # from a haze to things with edges
        patches_HW = torch.sigmoid(hard * (patches_HW - uniform(-0.5, 1.0)))
        ramp_H1 = torch.linspace(uniform(-1.0, 0.5), uniform(0.7, 1.5), height).clamp(0, 1)[:, None]
        tint_C11 = 1 + 0.1 * torch.randn(3, 1, 1)
        light_CHW = (uniform(0.05, 0.5) * ramp_H1 * (uniform(0, 0.5) + patches_HW) * tint_C11).clamp(0, 1)
    return to_uint8(255 - (255 - image_CHW.float()) * (1 - light_CHW))
