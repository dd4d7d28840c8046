"""What augmentation draws by chance. All of it comes from torch's global generator."""

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

Thing = TypeVar("Thing")


def uniform(low: float, high: float) -> float:
    """Draw one number from [low, high)."""
    return float(torch.empty(1).uniform_(low, high))


def log_uniform(low: float, high: float) -> float:
    """Draw one number from [low, high), both above 0, each of its doublings as likely as the others."""
    return float(low * (high / low) ** uniform(0, 1))


def any_of(things: Sequence[Thing]) -> Thing:
    """Draw one of them, each as likely as the others."""
    return things[int(uniform(0, len(things)))]


def side_of_a_line(height: int, width: int) -> Tensor:
    """1 on one side of a random line and 0 on the other, with a soft border; HW float32."""
    angle = torch.tensor(uniform(0, 2 * torch.pi))
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    return torch.sigmoid((y * angle.sin() + x * angle.cos() - uniform(-0.8, 0.8)) / uniform(0.005, 0.1))


def smooth_noise(height: int, width: int, least: int, most: int) -> Tensor:
    """Noise whose lumps are `least` to `most` pixels large, of a deviation of 1 at most; HW float32.

    Each direction draws a size of its own.
    """
    sizes = [max(2, math.ceil(side / log_uniform(least, most))) for side in (height, width)]
    noise_1HW: Tensor = F.resize(torch.randn(1, *sizes), [height, width], antialias=True)
    return noise_1HW[0]


def to_uint8(image_CHW: Tensor) -> Tensor:
    """Cut off what is outside 0..255, and what is behind the point."""
    return image_CHW.clamp(0, 255).to(torch.uint8)
