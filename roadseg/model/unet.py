"""EfficientUNet, a U-Net that spends its time where it counts, and the classic U-Net as its baseline.

Shapes: B batch, C channels, H W pixels of the network's input, K classes; h w pixels of a stage.
Both networks take `image_BCHW` uint8 or float RGB in 0..255, any height and width from 1 up, and return
`logits_BKHW` float at that same size: normalisation, padding and cropping are the model's own affair.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from roadseg.config import Norm, UNetConfig

# Mean and deviation of ImageNet's RGB pixels in 0..255, as torchvision's backbones use.
RGB_MEAN = (123.675, 116.28, 103.53)
RGB_STD = (58.395, 57.12, 57.375)


def _norm(kind: Norm, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    # Wu & He 2018 use 32 groups on wide nets; 8 channels a group suits narrow ones, and must divide them.
    groups = max(1, channels // 8)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)


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
        self.act = nn.ReLU(inplace=True) if act else nn.Identity()

    def fold(self) -> None:
        """Put an evaluated BatchNorm's scale and shift into the convolution."""
        if isinstance(self.norm, nn.BatchNorm2d) and isinstance(self.conv, nn.Conv2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


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


class RoadNet(nn.Module):
    """What both networks share: normalisation, padding to a workable size, and the crop back."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: UNetConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.num_classes = num_classes
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(RGB_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        height, width = image_BCHW.shape[-2:]
        x_BCHW = (image_BCHW.to(self.mean.dtype) - self.mean) / self.std
        down, right = -height % self.config.stride, -width % self.config.stride
        if down or right:
            x_BCHW = F.pad(x_BCHW, (0, right, 0, down), mode="replicate")
        return self.network(x_BCHW)[..., :height, :width]

    def network(self, x_BCHW: Tensor) -> Tensor:
        """Map normalised pixels, sides a multiple of the stride, to logits of the same size."""
        raise NotImplementedError

    def fold(self) -> "RoadNet":
        """Fold every BatchNorm into its convolution, in place, for inference: same result, less time."""
        self.eval()
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fold()
        return self


class EfficientUNet(RoadNet):
    """Space-to-depth stem, residual encoder, context, additive decoder, sub-pixel head (Shi et al. 2016)."""

    def __init__(self, config: UNetConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        widths, stem = config.widths, config.stem_stride
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(stem), ConvNorm(3 * stem * stem, widths[0], 3, norm=config.norm)
        )
        self.stages = nn.ModuleList()
        for i, (width, depth) in enumerate(zip(widths, config.depths, strict=True)):
            down = [ConvNorm(widths[i - 1], width, 3, norm=config.norm, stride=2)] if i else []
            self.stages.append(nn.Sequential(*down, *(Residual(width, config) for _ in range(depth))))
        self.context = Context(widths[-1], config.norm) if config.context else nn.Identity()
        self.joins = nn.ModuleList(
            Join(widths[i + 1], widths[i], config) for i in reversed(range(len(widths) - 1))
        )
        self.head = nn.Conv2d(widths[0], num_classes * stem * stem, 1)
        self.shuffle = nn.PixelShuffle(stem)

    def network(self, x_BCHW: Tensor) -> Tensor:
        x = self.stem(x_BCHW)
        fine: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            fine.append(x)
        x = self.context(fine.pop())
        for join in self.joins:
            x = join(x, fine.pop())
        out: Tensor = self.shuffle(self.head(x))
        return out


def _double(inputs: int, outputs: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(ConvNorm(inputs, outputs, 3, norm=norm), ConvNorm(outputs, outputs, 3, norm=norm))


class ClassicUNet(RoadNet):
    """The U-Net of Ronneberger et al. 2015 with padding and normalisation, as everyone runs it."""

    def __init__(self, config: UNetConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        widths = config.widths
        self.encoder = nn.ModuleList(
            _double(a, b, config.norm) for a, b in zip((3, *widths[:-1]), widths, strict=True)
        )
        pairs = list(zip(widths[::-1][:-1], widths[::-1][1:], strict=True))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairs)
        self.decoder = nn.ModuleList(_double(2 * b, b, config.norm) for _, b in pairs)
        self.head = nn.Conv2d(widths[0], num_classes, 1)

    def network(self, x_BCHW: Tensor) -> Tensor:
        x = self.encoder[0](x_BCHW)
        fine = [x]
        for stage in list(self.encoder)[1:]:
            x = stage(F.max_pool2d(x, 2))
            fine.append(x)
        fine.pop()
        for up, refine in zip(self.ups, self.decoder, strict=True):
            x = refine(torch.cat([up(x), fine.pop()], dim=1))
        out: Tensor = self.head(x)
        return out


def build_model(config: UNetConfig, num_classes: int) -> RoadNet:
    """Make the network of `config`, with fresh weights (He initialisation for ReLU)."""
    model = (EfficientUNet if config.architecture == "efficient" else ClassicUNet)(config, num_classes)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(model.head.weight, std=0.01)  # near-uniform first guess
    return model
