"""Structured pruning: channels are removed, in blocks, so that a network really is smaller and faster.

Which channels of which layers can only go together, torch-pruning's dependency graph tells (Fang et al.,
"DepGraph", CVPR 2023). The importance of a channel is what the loss would change without it, to the first
order and squared, mean over batches (Molchanov et al., "Importance estimation for neural network pruning",
CVPR 2019), here at its gates: of y = w x + b, w dL/dw + b dL/db is y dL/dy. Blocks are ranked by that over
the time that goes with them, as `work` reckons it, and anew on the way, after each tenth of them. With
nothing finetuned, in blocks of 8, the fifth `road-base` has 89.93 and 80.84 % road IoU left on Cityscapes
and IDD Lite at 1.51 times the speed; ranked once (`STEPS` of 1) it has 80.79 and 77.70 at 1.46. Over the time
and not the multiplications alone: 74.57 and 76.73 at 1.50 in place of 72.95 and 67.17 at 1.53 (on another
machine, ranked once). Of the first one, with 0.7 of its multiplications left, 88 points of road IoU are left
on 60 pictures of Cityscapes val; by the L2 norm of the weights, none are.
"""

import copy
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from roadseg.engine.cost import work
from roadseg.errors import ConfigError, RoadsegError
from roadseg.model.pruned import sync_layers
from roadseg.model.unet import RoadNet

# oneDNN (by AVX2) and tensor cores compute blocks of 8, and our GroupNorms have groups of 8. With 0.6 of the
# bundled network's MACs left, it is 1.45 times as fast where channels go by eights, 1.23 where one by one.
BLOCK: Final = 8

# Rankings on the way to the smallest network, as many blocks apart: what a channel matters depends on which
# others are left.
STEPS: Final = 10

Loss = Callable[[RoadNet], Tensor]
"""What a network loses on a batch of its own: a scalar."""


@dataclass(frozen=True)
class Block:
    """Channels that go together: outputs of the convolution `layer`, and all that is coupled to them."""

    layer: str
    channels: tuple[int, ...]
    score: float


def rank(model: RoadNet, losses: Iterable[Loss]) -> list[Block]:
    """Return every block that can be removed, the least important first; of each layer one is not here.

    A group norm's blocks are its groups, so that the others stay the same.
    """
    library = _library()
    network = copy.deepcopy(model)
    groups = list(_groups(library, _graph(library, network), network))
    scores = _importance(network, groups, losses)
    blocks: list[Block] = []
    for name, group, channels in groups:
        modules = [step.target.module for step, _ in group]
        if any(_has_wide_groups(module) for module in modules):
            continue  # RegNet's: a group could go only as a whole
        grouped = any(isinstance(module, nn.GroupNorm) for module in modules)
        if grouped and channels % BLOCK:
            continue  # its groups have another size: nothing can go without touching the rest
        order = torch.arange(channels) if grouped else scores[name].argsort()
        parts = torch.split(order, [BLOCK] * (channels // BLOCK) if grouped else _sizes(channels, _vector()))
        sums = [(float(scores[name][part].mean()), part.tolist()) for part in parts]
        sums.sort(key=lambda pair: pair[0])  # of a layer without groups they are sorted: equal ones stay
        blocks += [Block(name, tuple(part), value) for value, part in sums[:-1]]
    saved = _saved(model, blocks)
    blocks = [replace(block, score=block.score / saved[block.layer]) for block in blocks]
    return sorted(blocks, key=lambda block: block.score)


def _vector() -> int:
    """Channels that the CPU computes at once: in blocks of them a convolution is fastest.

    With AVX-512, 24 channels of a 3x3 convolution take 0.8 of the time of 32, and 40 take 0.85 of that of 48.
    In blocks of 16, `road-small` has 82.0 and 77.7 % road IoU left on Cityscapes and IDD Lite at 1.52 times
    the speed, with nothing finetuned; in blocks of 8, 70.2 and 53.3 % at 1.50.
    """
    return 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else BLOCK


def _sizes(channels: int, vector: int) -> list[int]:
    """Sizes of a layer's blocks in the order in which they go: odd ones first, so that whole ones are left.

    The last of them is of `BLOCK`: narrow layers may get as narrow as that.
    """
    sizes = []
    while channels > BLOCK:
        whole = vector if channels > vector else BLOCK
        sizes.append(channels % whole or whole)
        channels -= sizes[-1]
    return [*sizes, channels]


def _importance(
    network: RoadNet, groups: Sequence[tuple[str, Any, int]], losses: Iterable[Loss]
) -> dict[str, Tensor]:
    """Layer -> the importance of each of its outputs and of what is coupled to it, summed over the losses."""
    layers = dict(network.named_modules())
    gates = {
        name: _gates(layers[name], [step.target.module for step, _ in group]) for name, group, _ in groups
    }
    importance = {name: torch.zeros(channels) for name, _, channels in groups}
    for loss in losses:
        network.zero_grad()
        loss(network).backward()  # type: ignore[no-untyped-call]
        for name, norms in gates.items():
            importance[name] += torch.stack([_change(norm) for norm in norms]).sum(0).square()
    return importance


def _gates(layer: Any, coupled: Sequence[nn.Module]) -> list[nn.Module]:
    """The norms of the outputs of `layer` and of all that is coupled to it; without one, itself."""
    norms = [module for module in coupled if isinstance(module, nn.BatchNorm2d | nn.GroupNorm)]
    return [norm for norm in dict.fromkeys(norms) if len(norm.weight) == layer.out_channels] or [layer]


@torch.no_grad()
def _change(layer: Any) -> Tensor:
    """What the loss changes, to the first order, without each output of `layer`, which has its gradients."""
    change: Tensor = layer.weight * layer.weight.grad
    if isinstance(layer, nn.ConvTranspose2d):
        change = change.transpose(0, 1)
    change = change.flatten(1).sum(1) if change.ndim > 1 else change
    if layer.bias is not None:
        change = change + layer.bias * layer.bias.grad
    return change


def _saved(model: RoadNet, blocks: Sequence[Block]) -> dict[str, float]:
    """Layer -> the `work` that goes with each of its channels."""
    size = (2 * model.config.stride,) * 2
    whole = work(model, size)
    one_of_each = {block.layer: block for block in blocks}
    return {
        name: max(1, whole - work(remove(model, [block]), size)) / len(block.channels)
        for name, block in one_of_each.items()
    }


def remove(model: RoadNet, blocks: Sequence[Block]) -> RoadNet:
    """Return a copy of `model` without the channels of `blocks`."""
    library = _library()
    smaller = copy.deepcopy(model)
    graph = _graph(library, smaller)
    going: dict[str, list[int]] = defaultdict(list)
    for block in blocks:
        going[block.layer] += block.channels
    layers = dict(smaller.named_modules())
    for name, channels in going.items():
        graph.get_pruning_group(layers[name], library.prune_conv_out_channels, sorted(channels)).prune()
    sync_layers(smaller)
    smaller.pruned = smaller.pruned or bool(blocks)
    return smaller


def count_channels(model: RoadNet) -> int:
    """Return how many channels all layers have together, coupled ones counted once."""
    library = _library()
    network = copy.deepcopy(model)
    return sum(count for _, _, count in _groups(library, _graph(library, network), network))


def keep_channels(model: RoadNet, keep: float, losses: Sequence[Loss]) -> RoadNet:
    """Return `model` with at most the share `keep` of its channels. ConfigError when a layer would vanish."""
    whole = count_channels(model)

    def refusal(smallest: RoadNet) -> ConfigError:
        return ConfigError(
            f"keep is {keep:g}, but a layer would vanish: with the fewest channels that each can have, "
            f"{count_channels(smallest) / whole:.2f} of all are left. Keep more than that."
        )

    return _remove_until(lambda smaller: count_channels(smaller) <= keep * whole, model, losses, refusal)


def reach_speed(
    model: RoadNet, speedup: float, speed: Callable[[RoadNet], float], losses: Sequence[Loss]
) -> RoadNet:
    """Return `model` with as few blocks less as make it `speedup` times as fast, by `speed`, which measures.

    RoadsegError when it never gets that fast.
    """

    measured = 0.0

    def enough(smaller: RoadNet) -> bool:
        nonlocal measured
        measured = speed(smaller)
        return measured >= speedup

    def refusal(smallest: RoadNet) -> RoadsegError:
        return RoadsegError(
            f"Pruning makes this network at most {measured:.2f} times as fast here (with {BLOCK} channels of "
            f"each layer left), not {speedup:g} times. Ask for less, or train a smaller --model."
        )

    return _remove_until(enough, model, losses, refusal)


def _remove_until(
    enough: Callable[[RoadNet], bool],
    model: RoadNet,
    losses: Sequence[Loss],
    refusal: Callable[[RoadNet], RoadsegError],
) -> RoadNet:
    """Remove as few blocks as are `enough`, ranked anew after each step.

    Raises `refusal` of the smallest network where that one is not enough.
    """
    blocks = rank(model, losses)
    smallest = remove(model, blocks)
    if not enough(smallest):
        raise refusal(smallest)
    step = math.ceil(len(blocks) / STEPS)
    while len(blocks) > step and not enough(next_one := remove(model, blocks[:step])):
        model = next_one
        blocks = rank(model, losses)
    some = range(min(step, len(blocks)))
    high = bisect_left(some, True, key=lambda count: enough(remove(model, blocks[:count])))
    # asked anew: of many measurements near the goal, a lucky one decides
    while not enough(found := remove(model, blocks[:high])):
        if high == len(blocks):
            raise refusal(found)
        high += 1
    return found


def zero_weights(model: RoadNet, keep: float) -> RoadNet:
    """Return a copy of `model` whose smallest weights, but for the share `keep`, are 0 (Han et al. 2015).

    It has as many weights as before, and takes as long.
    """
    zeroed = copy.deepcopy(model).eval()
    layers = [(m, "weight") for m in zeroed.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=1 - keep)
    for layer, name in layers:
        prune.remove(layer, name)  # type: ignore[no-untyped-call]
    return zeroed


def require_library() -> None:
    """RoadsegError where torch-pruning is not installed."""
    _library()


def _library() -> Any:
    try:
        import torch_pruning
    except ImportError as error:
        raise RoadsegError(
            "Pruning needs torch-pruning, which is not installed: pip install 'roadseg[prune]'"
        ) from error
    return torch_pruning


def _has_wide_groups(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and 1 < module.groups < module.in_channels


def _graph(library: Any, model: RoadNet) -> Any:
    side = 2 * model.config.stride
    picture = torch.zeros(1, 3, side, side)
    config = model.config
    # the head's outputs as they are: of the largest of each class's members the library loses its way
    model.config = replace(config, members=())
    try:
        return library.DependencyGraph().build_dependency(model.eval().requires_grad_(), picture)
    finally:
        model.config = config


def _groups(library: Any, graph: Any, model: RoadNet) -> Iterator[tuple[str, Any, int]]:
    """Yield (layer, all that its outputs are coupled to, their number), each coupled set once.

    The logits stay. Depthwise convolutions follow those that they read.
    """
    seen: set[nn.Module] = {model.head}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.groups == 1 and layer not in seen:
            channels = layer.out_channels
            group = graph.get_pruning_group(layer, library.prune_conv_out_channels, list(range(channels)))
            seen |= {step.target.module for step, _ in group if graph.is_out_channel_pruning_fn(step.handler)}
            yield name, group, channels
