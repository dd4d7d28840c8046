"""EfficientUNet, a U-Net that spends its time where it counts, and the classic U-Net as its baseline.

Shapes: B batch, C channels, H W pixels of the network's input, K classes; h w pixels of a stage.
All networks take `image_BCHW` uint8 or float RGB in 0..255, any height and width from 1 up, and return
`logits_BKHW` float at that same size: normalisation, padding and cropping are the model's own affair.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roadseg.config import Norm, UNetConfig
from roadseg.errors import ConfigError
from roadseg.model.backbone import NODES, TorchvisionEncoder
from roadseg.model.blocks import RGB_MEAN, RGB_STD, Context, ConvNorm, Join, Residual
from roadseg.model.encoder import LiteEncoder
from roadseg.model.fused import FusedConv, RowShuffle, can_fuse

Encoder = LiteEncoder | TorchvisionEncoder


class RoadNet(nn.Module):
    """What both networks share: normalisation, padding to a workable size, and the crop back."""

    mean: Tensor
    std: Tensor
    head: nn.Conv2d
    """The last layer: its outputs are the logits, but for their order, and for `UNetConfig.members`."""
    pruned: bool = False
    """Whether layers have fewer channels than `config` says."""

    def __init__(self, config: UNetConfig, num_classes: int) -> None:
        super().__init__()
        if config.members and len(config.members) != num_classes:
            raise ConfigError(f"members is {config.members}, but there are {num_classes} classes.")
        self.config = config
        self.num_classes = num_classes
        for name, values in (("mean", RGB_MEAN), ("std", RGB_STD)):
            # real numbers even where a network is built on the meta device, to get its weights from a file
            value = torch.tensor(values, device="cpu").view(1, 3, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        height, width = image_BCHW.shape[-2:]
        x_BCHW = self._normalised(image_BCHW)
        down, right = -height % self.config.stride, -width % self.config.stride
        # A trace, from which files are exported, must hold the padding whatever the size of its example.
        if torch.onnx.is_in_onnx_export() or down or right:
            x_BCHW = F.pad(x_BCHW, (0, right, 0, down), mode="replicate")
        return self.network(x_BCHW)[..., :height, :width]

    def _normalised(self, image_BCHW: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return (image_BCHW.to(self.mean.dtype) - self.mean) / self.std
        # Of rows of the constants, not of three values again and again: on a CPU a picture takes 2 to 6 %
        # less with the bundled weights, and has the same bits.
        mean_1C1W, std_1C1W = (
            value.expand(-1, -1, -1, image_BCHW.shape[-1]).contiguous(memory_format=torch.channels_last)
            for value in (self.mean, self.std)
        )
        return image_BCHW.to(self.mean.dtype, copy=True).sub_(mean_1C1W).div_(std_1C1W)

    def network(self, x_BCHW: Tensor) -> Tensor:
        """Map normalised pixels, sides a multiple of the stride, to logits of the same size."""
        raise NotImplementedError

    def renew_head(self, num_classes: int) -> None:
        """Make the last layer anew, for other classes; all else stays, and the channels that it reads."""
        self.head = nn.Conv2d(self.head.in_channels, self._each * num_classes, 1)
        self.num_classes, self.config = num_classes, replace(self.config, members=())
        _init_head(self.head)

    @property
    def _each(self) -> int:
        """Outputs of the head that one member of a class has: its pixels."""
        return self.head.out_channels // _outputs(self.config, self.num_classes)

    def outputs_of(self, class_index: int) -> slice:
        """Where the outputs of the head are that count as a class."""
        members = self.config.members or (1,) * self.num_classes
        start = sum(members[:class_index])
        return slice(start * self._each, (start + members[class_index]) * self._each)

    def answer(self, x_BChw: Tensor) -> Tensor:
        """What the head says of each class: of its members the largest."""
        out_BChw: Tensor = self.head(x_BChw)
        if not self.config.members:
            return out_BChw
        classes = [
            _largest(out_BChw[:, self.outputs_of(k)], count) for k, count in enumerate(self.config.members)
        ]
        return torch.cat(classes, 1)

    def fold(self) -> "RoadNet":
        """Fold every BatchNorm into its convolution, in place, for inference: same result, less time."""
        self.eval()
        for module in list(self.modules()):
            if isinstance(module, ConvNorm | TorchvisionEncoder):
                module.fold()
        return self

    def merge_stem(self) -> "RoadNet":
        """Have the first layer read the picture as it is, not unshuffled, in place: the same, but sooner."""
        return self

    def fuse(self) -> "RoadNet":
        """Fold, merge the stem, and make one kernel of convolutions and activations, in place, for a CPU.

        The result can only be run: no more trained, copied, moved or saved. Where torch has no oneDNN, each
        layer keeps its kernel.
        """
        self.fold().merge_stem()
        for name, module in list(self.named_children()):
            if isinstance(module, nn.PixelShuffle):
                setattr(self, name, RowShuffle(module.upscale_factor))
        if can_fuse():
            for module in list(self.modules()):
                for name, part in list(module.named_children()):
                    if isinstance(part, ConvNorm):
                        setattr(module, name, part.fused())
                    elif isinstance(part, TorchvisionEncoder):
                        part.fuse()
            self.head = FusedConv(self.head, nn.Identity())  # type: ignore[assignment]
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
        self.head = nn.Conv2d(widths[0], _outputs(config, num_classes) * stem * stem, 1)
        self.shuffle = nn.PixelShuffle(stem)

    def merge_stem(self) -> RoadNet:
        first = self.stem[-1]
        assert isinstance(first, ConvNorm)
        if len(self.stem) > 1:
            first.unshuffle_inside(self.config.stem_stride)
            self.stem = nn.Sequential(first)
        return self

    def network(self, x_BCHW: Tensor) -> Tensor:
        x = self.stem(x_BCHW)
        fine: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            fine.append(x)
        x = self.context(fine.pop())
        for join in self.joins:
            x = join(x, fine.pop())
        out: Tensor = self.shuffle(self.answer(x))
        return out


class PretrainedUNet(RoadNet):
    """EfficientUNet with a pretrained encoder, whose features, narrowed, are the skips."""

    def __init__(self, config: UNetConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        assert config.encoder is not None
        widths = config.widths
        if config.encoder in NODES:
            self.encoder: Encoder = TorchvisionEncoder(config.encoder, len(widths), config.stem_stride)
        else:
            self.encoder = LiteEncoder(config.encoder, config.depths, config.stem_stride)
        self.laterals = nn.ModuleList(
            ConvNorm(a, b, 1, norm=config.norm) for a, b in zip(self.encoder.channels, widths, strict=True)
        )
        self.context = Context(widths[-1], config.norm) if config.context else nn.Identity()
        self.joins = nn.ModuleList(
            Join(widths[i + 1], widths[i], config) for i in reversed(range(len(widths) - 1))
        )
        self.head = nn.Conv2d(widths[0], _outputs(config, num_classes) * config.stem_stride**2, 1)
        self.shuffle = nn.PixelShuffle(config.stem_stride)

    def merge_stem(self) -> RoadNet:
        if isinstance(self.encoder, LiteEncoder):
            self.encoder.merge_stem()
        return self

    def network(self, x_BCHW: Tensor) -> Tensor:
        fine = [narrow(x) for narrow, x in zip(self.laterals, self.encoder(x_BCHW), strict=True)]
        x = self.context(fine.pop())
        for join in self.joins:
            x = join(x, fine.pop())
        out: Tensor = self.shuffle(self.answer(x))
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
        self.head = nn.Conv2d(widths[0], _outputs(config, num_classes), 1)

    def network(self, x_BCHW: Tensor) -> Tensor:
        x = self.encoder[0](x_BCHW)
        fine = [x]
        for stage in list(self.encoder)[1:]:
            x = stage(F.max_pool2d(x, 2))
            fine.append(x)
        fine.pop()
        for up, refine in zip(self.ups, self.decoder, strict=True):
            x = refine(torch.cat([up(x), fine.pop()], dim=1))
        return self.answer(x)


def _outputs(config: UNetConfig, num_classes: int) -> int:
    return sum(config.members) or num_classes


def _largest(x_BChw: Tensor, count: int) -> Tensor:
    """The largest of `count` equal parts of the channels, pixel by pixel.

    By halves: on a CPU, with channels last, a third of the time of `amax`, and a sixth of that of the sum of
    probabilities (logsumexp), which is larger by log(count) at most.
    """
    while count > 1:
        half = x_BChw.shape[1] // count * (count // 2)
        larger_BChw = torch.maximum(x_BChw[:, :half], x_BChw[:, half : 2 * half])
        x_BChw = torch.cat([larger_BChw, x_BChw[:, 2 * half :]], 1) if count % 2 else larger_BChw
        count -= count // 2
    return x_BChw


def build_model(config: UNetConfig, num_classes: int) -> RoadNet:
    """Make the network of `config`, with fresh weights (He initialisation for ReLU)."""
    if config.architecture == "classic":
        model: RoadNet = ClassicUNet(config, num_classes)
    else:
        model = (PretrainedUNet if config.encoder else EfficientUNet)(config, num_classes)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            if not module.weight.is_meta:  # which torch would load its compiler for, in 2 s
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    _init_head(model.head)
    return model


def _init_head(head: nn.Conv2d) -> None:
    if not head.weight.is_meta:
        nn.init.normal_(head.weight, std=0.01)  # near-uniform first guess
    if head.bias is not None:
        nn.init.zeros_(head.bias)
