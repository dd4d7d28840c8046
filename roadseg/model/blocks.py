"""The layers that the networks are built of.

Shapes: B batch, C channels, h w pixels of a stage.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from roadseg.config import Norm, UNetConfig
from roadseg.model.fused import FusedConv

# Mean and deviation of ImageNet's RGB pixels in 0..255, as torchvision's backbones use.
RGB_MEAN = (123.675, 116.28, 103.53)
RGB_STD = (58.395, 57.12, 57.375)


def norm_groups(channels: int) -> int:
    """Return how many groups a GroupNorm has: of 8 channels each, or more where 8 does not divide them.

    Wu & He 2018 use 32 groups on wide nets; 8 channels a group suits narrow ones.
    """
    groups = max(1, channels // 8)
    while channels % groups:
        groups -= 1
    return groups


def _norm(kind: Norm, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(norm_groups(channels), channels)


class ConvNorm(nn.Sequential):
    """Convolution (no bias) -> normalisation -> ReLU (optional); `same` padding."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        norm: Norm,
        stride: int = 1,
        groups: int = 1,
        dilation: int = 1,
        act: bool = True,
    ) -> None:
        super().__init__()
        pad = dilation * (kernel // 2)
        self.conv: nn.Module = nn.Conv2d(
            inputs, outputs, kernel, stride, pad, dilation=dilation, groups=groups, bias=False
        )
        self.norm: nn.Module = _norm(norm, outputs)
        self.act: nn.Module = nn.ReLU(inplace=True) if act else nn.Identity()

    def fold(self) -> None:
        """Put an evaluated BatchNorm's scale and shift into the convolution."""
        if isinstance(self.norm, nn.BatchNorm2d) and isinstance(self.conv, nn.Conv2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()

    def unshuffle_inside(self, factor: int) -> None:
        """Read what `pixel_unshuffle` by `factor` would be given, and compute the same.

        On a CPU, unshuffling a picture takes twice the time of the stem that reads it.
        """
        narrow = self.conv
        assert isinstance(narrow, nn.Conv2d)
        wide = nn.Conv2d(
            narrow.in_channels // factor**2,
            narrow.out_channels,
            factor * narrow.kernel_size[0],
            factor * narrow.stride[0],
            factor * int(narrow.padding[0]),
            bias=narrow.bias is not None,
            device="meta",  # no numbers by chance
        )
        wide.weight = nn.Parameter(F.pixel_shuffle(narrow.weight.detach(), factor))
        wide.bias = narrow.bias
        self.conv = wide

    def fused(self) -> nn.Module:
        """Return one kernel of the convolution and, where no norm is between them, the activation."""
        assert isinstance(self.conv, nn.Conv2d)
        if isinstance(self.norm, nn.Identity):
            return FusedConv(self.conv, self.act)
        return nn.Sequential(FusedConv(self.conv, nn.Identity()), self.norm, self.act)


class Residual(nn.Module):
    """Two convolutions and the identity (He et al. 2016); separable: depthwise then pointwise, once each."""

    def __init__(self, channels: int, config: UNetConfig) -> None:
        super().__init__()
        if config.block == "plain":
            first = ConvNorm(channels, channels, 3, norm=config.norm)
            second = ConvNorm(channels, channels, 3, norm=config.norm, act=False)
        else:
            first = ConvNorm(channels, channels, 3, norm=config.norm, groups=channels)
            second = ConvNorm(channels, channels, 1, norm=config.norm, act=False)
        self.body = nn.Sequential(first, second)

    def forward(self, x_BChw: Tensor) -> Tensor:
        return F.relu(x_BChw + self.body(x_BChw), inplace=not self.training)


class Context(nn.Module):
    """A view of the whole picture at the lowest resolution, for little time.

    Depthwise 3x3 convolutions with dilations 1, 2 and 4 (after ASPP, Chen et al. 2017) and the global mean
    (ParseNet, Liu et al. 2015), mixed by one pointwise convolution and added.
    """

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.views = nn.ModuleList(
            ConvNorm(channels, channels, 3, norm=norm, groups=channels, dilation=d) for d in (1, 2, 4)
        )
        self.mean = nn.Conv2d(channels, channels, 1)
        self.mix = ConvNorm(3 * channels, channels, 1, norm=norm, act=False)

    def forward(self, x_BChw: Tensor) -> Tensor:
        near = self.mix(torch.cat([view(x_BChw) for view in self.views], dim=1))
        whole = self.mean(x_BChw.mean((2, 3), keepdim=True))
        return F.relu(x_BChw + near + whole)


class Join(nn.Module):
    """A decoder step: the coarse features, doubled in size, meet the encoder's at the finer size."""

    def __init__(self, coarse: int, fine: int, config: UNetConfig) -> None:
        super().__init__()
        self.skip = config.skip
        self.project = ConvNorm(coarse, fine, 1, norm=config.norm)
        inputs = fine if config.skip == "sum" else 2 * fine
        if config.block == "plain":
            self.refine: nn.Module = ConvNorm(inputs, fine, 3, norm=config.norm)
        else:
            self.refine = nn.Sequential(
                ConvNorm(inputs, inputs, 3, norm=config.norm, groups=inputs),
                ConvNorm(inputs, fine, 1, norm=config.norm),
            )

    def forward(self, coarse_BChw: Tensor, fine_BChw: Tensor) -> Tensor:
        # Nearest, not bilinear: as good before a 3x3 convolution, faster, and deterministic on CUDA.
        up = F.interpolate(self.project(coarse_BChw), scale_factor=2.0, mode="nearest")
        both = up + fine_BChw if self.skip == "sum" else torch.cat([up, fine_BChw], dim=1)
        refined: Tensor = self.refine(both)
        return refined
