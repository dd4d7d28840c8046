"""How large a network sees a picture, and the one filter that makes it so (training and inference alike)."""

import torchvision.transforms.v2.functional as F
from torch import Tensor


def fit_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Return (height, width) with the longer side `side` and the shape kept, at least 1 pixel each."""
    scale = side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_rgb(image_CHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize `image_CHW` uint8 to `size` (height, width), bilinear, anti-aliased when it shrinks."""
    if tuple(image_CHW.shape[-2:]) == size:
        return image_CHW
    resized: Tensor = F.resize(image_CHW, list(size), antialias=True)
    return resized
