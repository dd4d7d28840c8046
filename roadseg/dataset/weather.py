"""Weather and light, imitated: fog, rain and snow, wet ground, night, shadows.

Pictures and chance are those of `roadseg.dataset.augment`; labels stay as they are.
"""

from typing import Final

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from roadseg.dataset.camera import smear_kernel
from roadseg.dataset.chance import any_of, log_uniform, side_of_a_line, smooth_noise, to_uint8, uniform

# White, yellow (sodium), red, green.
_LAMPS: Final = ((1.0, 1.0, 0.95), (1.0, 0.95, 0.8), (1.0, 0.7, 0.3), (1.0, 0.15, 0.1), (0.2, 1.0, 0.6))


def veil(image_CHW: Tensor) -> Tensor:
    """Fog, rain or a dirty screen: the picture fades to grey, more towards a horizon of random height."""
    height = image_CHW.shape[-2]
    rows_H = torch.linspace(0, 1, height)
    horizon, depth = uniform(0.2, 0.6), uniform(0.15, 0.6)
    share_H = uniform(0.2, 0.8) * torch.exp(-(rows_H - horizon).clamp(min=0) / depth)
    grey = uniform(120, 240)
    return to_uint8(image_CHW + (grey - image_CHW.float()) * share_H[:, None])


def precipitation(image_CHW: Tensor) -> Tensor:
    """Rain or snow that falls before the camera: light streaks or flakes, and less contrast behind them."""
    height, width = image_CHW.shape[-2:]
    seeds_HW = (torch.rand(height, width) < log_uniform(0.0005, 0.006)).float().numpy()
    snow = uniform(0, 1) < 0.4
    length, thick = (uniform(1, 5), uniform(0.8, 2.2)) if snow else (uniform(6, 28), uniform(0.5, 1.0))
    streaks_HW = cv2.filter2D(seeds_HW, -1, length * smear_kernel(length, 90 + uniform(-35, 35)))
    streaks_HW = cv2.GaussianBlur(streaks_HW, (0, 0), thick) * (thick * 2.5)
    grey = uniform(0, 0.3)
    faded_CHW = image_CHW * (1 - grey) + 150 * grey
    return to_uint8(faded_CHW + torch.from_numpy(streaks_HW) * uniform(20, 140))


def wet_ground(image_CHW: Tensor) -> Tensor:
    """What a wet road shows: below a horizon of random height the scene above it, upside down and smeared.

    The ground itself is darker, as far as it is not a mirror; often only parts of it are one, as puddles.
    """
    height, width = image_CHW.shape[-2:]
    horizon = max(1, round(height * uniform(0.25, 0.6)))
    below = height - horizon
    scene_Chw = image_CHW[:, max(0, horizon - below) : horizon].flip(1)
    rough = [max(1, round(below / log_uniform(2, 16))), max(1, round(width / log_uniform(1, 4)))]
    mirror_CrW = F.resize(F.resize(scene_Chw, rough, antialias=True), [below, width], antialias=True).float()
    share_rW = torch.full((below, width), uniform(0.2, 0.8))
    if uniform(0, 1) < 0.5:
        share_rW *= torch.sigmoid(
            log_uniform(2, 20) * (smooth_noise(below, width, 10, 200) - uniform(-0.8, 0.4))
        )
    dry_CrW = image_CHW[:, horizon:].float()
    ground_CrW = dry_CrW * uniform(0.5, 1.0)
    wet_CrW = ground_CrW + share_rW * (mirror_CrW * uniform(0.8, 1.3) - ground_CrW)
    near_r1 = (torch.arange(below) / (0.1 * height)).clamp(max=1)[:, None]  # no edge at the horizon
    return torch.cat([image_CHW[:, :horizon], to_uint8(dry_CrW + near_r1 * (wet_CrW - dry_CrW))], 1)


def darkness(image_CHW: Tensor) -> Tensor:
    """Dusk to night: little light, a colour cast, own headlamps on the lower middle, other lamps, noise."""
    height, width = image_CHW.shape[-2:]
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    lamp_HW = torch.exp(-((y - uniform(0.3, 0.8)) ** 2 / 0.3 + (x - uniform(-0.2, 0.2)) ** 2 / 0.5))
    light_HW = uniform(0.08, 0.4) + uniform(0.0, 0.5) * lamp_HW
    cast_C11 = torch.tensor([uniform(0.8, 1.2), uniform(0.85, 1.05), uniform(0.7, 1.1)])[:, None, None]
    dark_CHW = image_CHW * light_HW * cast_C11 + torch.randn(image_CHW.shape) * uniform(1, 8)
    return to_uint8(dark_CHW + lamps(height, width) if uniform(0, 1) < 0.6 else dark_CHW)


def lamps(height: int, width: int) -> Tensor:
    """Light to add at night, CHW float32: lamps of all sizes with halos, some mirrored by a wet road.

    They lie about a horizon of random height; as lenses and dirty screens spread it, light falls off in two
    bells, a narrow and a wide one.
    """
    spots_HWC = np.zeros((height, width, 3), np.float32)
    horizon = uniform(0.25, 0.55)
    for _ in range(int(uniform(2, 25))):
        far = uniform(0, 1)  # near lamps are larger, and further from the horizon
        place = int(uniform(0, width)), int(height * (horizon + (1 - far) * uniform(-0.25, 0.12)))
        strength = uniform(100, 400)
        color = [part * strength for part in any_of(_LAMPS)]
        cv2.circle(spots_HWC, place, round(height * (0.004 + 0.02 * (1 - far) * uniform(0, 1))), color, -1)
    halo_HWC = cv2.GaussianBlur(spots_HWC, (0, 0), height * log_uniform(0.008, 0.05))
    light_HWC = cv2.GaussianBlur(spots_HWC, (0, 0), 0.8) + halo_HWC * uniform(0.3, 1.5)
    if uniform(0, 1) < 0.4:
        wet_HWC = cv2.blur(spots_HWC, (1, 2 * round(height * uniform(0.05, 0.2)) + 1))
        light_HWC += np.roll(wet_HWC, round(height * 0.15), 0) * uniform(0.5, 2.0)
    return torch.from_numpy(light_HWC).permute(2, 0, 1)


def shadows(image_CHW: Tensor) -> Tensor:
    """The shadow of a wall, on one side of a random soft line, or the dappled one of leaves."""
    height, width = image_CHW.shape[-2:]
    if uniform(0, 1) < 0.4:
        shade_HW = side_of_a_line(height, width)
    else:
        hard = log_uniform(2, 25)
        shade_HW = torch.sigmoid(hard * (smooth_noise(height, width, 4, 80) - uniform(-0.5, 0.5)))
    return to_uint8(image_CHW * (1 - uniform(0.3, 0.75) * shade_HW))
