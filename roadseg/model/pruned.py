"""Networks with fewer channels than their configuration says, because some were pruned.

A checkpoint holds the configuration of the whole network; how many channels are left of each layer is what
the shapes of its weights say.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from roadseg.config import UNetConfig
from roadseg.model.blocks import norm_groups
from roadseg.model.unet import RoadNet, build_model


def restore_model(
    config: UNetConfig, num_classes: int, weights: Mapping[str, Tensor], *, pruned: bool = False
) -> RoadNet:
    """Return the network of `config` with copies of `weights`; of a `pruned` one, cut to their shapes.

    Takes no more memory than `weights` do, whatever `config` and the shapes claim. Raises ValueError,
    TypeError or RuntimeError when they do not fit one another.
    """
    with torch.device("meta"):
        model = build_model(config, num_classes)
    whole = model.state_dict()
    for name, tensor in weights.items():
        _require_real(name, tensor)
        if pruned and name in whole:
            _require_part(name, tensor.shape, whole[name].shape)
    if pruned:
        for name, module in model.named_modules():
            _cut(name, module, weights)
    copies = {
        name: tensor.to(whole[name].dtype if name in whole else tensor.dtype, copy=True)
        for name, tensor in weights.items()
    }
    model.load_state_dict(copies, assign=True)
    if pruned:
        model.pruned = True
        _require_flow(model)
    return model


def sync_layers(model: nn.Module) -> None:
    """Make what each layer says of its channels agree with the weights that it has."""
    for module in model.modules():
        _describe(module)


def _require_real(name: str, tensor: Tensor) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} is no tensor")
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():  # one number, repeated
        raise ValueError(f"{name} claims more numbers than it holds")


def _require_part(name: str, shape: torch.Size, whole: torch.Size) -> None:
    """ValueError unless `shape` is that of a layer with fewer channels, the first two dimensions."""
    fits = len(shape) == len(whole) and shape[2:] == whole[2:]
    if not fits or not all(1 <= part <= full for part, full in zip(shape, whole, strict=True)):
        raise ValueError(f"{name} has the shape {tuple(shape)}, which is no part of {tuple(whole)}")


def _cut(name: str, module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give `module` the shapes, on the meta device, that its weights have."""
    for key, own in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
        given = weights.get(f"{name}.{key}")
        if given is not None and given.shape != own.shape:
            cut = torch.empty(given.shape, dtype=own.dtype, device="meta")
            setattr(module, key, nn.Parameter(cut) if isinstance(own, nn.Parameter) else cut)
    _describe(module)


def _describe(module: nn.Module) -> None:
    """Set the channel counts of `module` to those of its weights."""
    if isinstance(module, nn.ConvTranspose2d):
        module.in_channels, module.out_channels = module.weight.shape[:2]
    elif isinstance(module, nn.Conv2d):
        module.out_channels, inputs = module.weight.shape[:2]
        if module.groups > 1:  # ours have as many outputs as inputs, mostly one in a group (depthwise)
            module.groups = module.out_channels // inputs
        module.in_channels = inputs * module.groups
    elif isinstance(module, nn.BatchNorm2d):
        module.num_features = len(module.weight)
    elif isinstance(module, nn.GroupNorm):
        module.num_channels = len(module.weight)
        module.num_groups = norm_groups(module.num_channels)


@torch.no_grad()
def _require_flow(model: RoadNet) -> None:
    """ValueError or RuntimeError unless a picture goes through `model`, layer by layer, to its classes."""
    side = model.config.stride
    logits_BKHW = model.eval()(torch.zeros(1, 3, side, side))
    if logits_BKHW.shape != (1, model.num_classes, side, side):
        raise ValueError(f"the logits of a picture have the shape {tuple(logits_BKHW.shape)}")
