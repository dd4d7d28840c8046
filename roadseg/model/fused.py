"""A convolution and its activation as one kernel, for inference on a CPU.

torch's own convolution writes its result to memory, its activation reads and writes it all again, and the
weights are laid out anew in each call. oneDNN, which computes it, can do without both, by operators that
torch's compiler uses, and that have no public name. `road-small` takes 0.67 and `road-base` 0.64 of the time
so, on one core, with `RoadNet.merge_stem` too.
"""

import platform
from collections.abc import Callable, Collection
from typing import Any, Final

import torch
from torch import Tensor, nn

from roadseg.model.relu6 import ReLU6

# Activation -> what oneDNN calls it, and its numbers.
ACTIVATIONS: Final[dict[type[nn.Module], tuple[str, list[float]]]] = {
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),  # of torchvision's networks
    ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.Hardswish: ("hardswish", []),
}  # SiLU is slower there: efficientnet_b0 takes 1.35 times as long


# Shapes of input that a weight is laid out for, each a copy of it more, for as long as the network lives.
_MOST_SHAPES: Final = 4


def can_fuse() -> bool:
    """Whether this is an x86 CPU, for which torch's compiler fuses so too, and torch has oneDNN for it."""
    operators = ("_convolution_pointwise", "_reorder_convolution_weight")
    return (
        platform.machine().lower() in ("x86_64", "amd64")
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and all(hasattr(torch.ops.mkldnn, operator) for operator in operators)
    )


class FusedConv(nn.Module):
    """x_BChw float32, channels last -> act(conv(x)), the same. No gradients, and it can only be run.

    NaN become what the activation makes of a small number, where torch's would stay NaN.
    act: one of `ACTIVATIONS`.
    """

    def __init__(self, conv: nn.Conv2d, act: nn.Module) -> None:
        super().__init__()
        self.out_channels = conv.out_channels
        self._place = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self._act = (*ACTIVATIONS[type(act)], "")
        self._bias = None if conv.bias is None else conv.bias.detach()
        self._weight = conv.weight.detach()
        self._laid_out: dict[torch.Size, Tensor] = {}

    def forward(self, x_BChw: Tensor) -> Tensor:
        result: Tensor = torch.ops.mkldnn._convolution_pointwise.default(
            x_BChw, self._weight_for(x_BChw.shape), self._bias, *self._place, *self._act
        )
        return result

    def _weight_for(self, shape: torch.Size) -> Tensor:
        """As oneDNN wants it for such an input; of more shapes as it is, laid out in each call."""
        if shape not in self._laid_out and len(self._laid_out) < _MOST_SHAPES:
            self._laid_out[shape] = torch.ops.mkldnn._reorder_convolution_weight(
                self._weight, *self._place, shape
            )
        return self._laid_out.get(shape, self._weight)


# Numbers as wide as 1, 2 and 4 of float32.
_WIDE: Final = {1: torch.float32, 2: torch.float64, 4: torch.complex128}


class RowShuffle(nn.Module):
    """`PixelShuffle` by 1, 2 or 4 of channels_last float32 features, fresh from a layer; it gives planes.

    The pixels of a row that a position becomes lie together in memory, and move as one wide number: a tenth
    of the time of torch's.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor, self._wide = factor, _WIDE[factor]

    def forward(self, x_BChw: Tensor) -> Tensor:
        (batch, channels, height, width), factor = x_BChw.shape, self.factor
        classes = channels // factor**2
        # flat, to be seen as other numbers: the strides of sides of 1 may be any
        rows_N = x_BChw.permute(0, 2, 3, 1).reshape(-1).view(self._wide)
        rows_BhwKr = rows_N.view(batch, height, width, classes, factor)
        planes_N = rows_BhwKr.permute(0, 3, 1, 4, 2).reshape(-1).view(torch.float32)
        return planes_N.view(batch, classes, factor * height, factor * width)


def merge_pairs(body: Any, followers: Collection[type[nn.Module]], merge: Callable[..., nn.Module]) -> None:
    """Make one layer of each convolution of a traced network (GraphModule) and what alone reads it, in place.

    followers: what it must be read by; merge: of both makes the layer.
    """
    modules = dict(body.named_modules())
    for node in list(body.graph.nodes):
        if node.op != "call_module" or not isinstance(modules[node.target], nn.Conv2d):
            continue
        (reader, *others) = node.users
        if others or reader.op != "call_module" or type(modules[reader.target]) not in followers:
            continue
        body.set_submodule(node.target, merge(modules[node.target], modules[reader.target]))
        reader.replace_all_uses_with(node)
        body.graph.erase_node(reader)
    body.delete_all_unused_submodules()
    body.recompile()
