"""Weights to give away: the mean of several checkpoints, with calibrated probabilities.

The mean of the weights of one run's epochs, or of runs that started from the same weights, is often better
than each (Izmailov et al. 2018; Wortsman et al. 2022, "Model soups") and costs nothing at inference.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from roadseg.config import InferConfig
from roadseg.dataset.samples import Sample, read_pair
from roadseg.engine.predict import Predictor, enlarge
from roadseg.errors import CheckpointError, ConfigError, DatasetError
from roadseg.labels import VOID
from roadseg.model.checkpoint import Checkpoint, shareable

# Pixels of each picture that the calibration is fitted to, drawn by chance: neighbours say much the same.
_PIXELS = 4096
# What the square of log T, below T = 1, adds to the loss, which is some 0.05 otherwise.
_SHARPENING = 1e-5


class Calibration(NamedTuple):
    """What makes logits calibrated: division by `temperature`, and then `bias` added to those of class 1."""

    temperature: float
    """Above 1 where the network was too sure."""
    bias: float
    """Above 0 where it saw too little of class 1, the road; 0 for more than two classes."""

    def told(self) -> str:
        """Return a line about it."""
        border = f", and the road's get {self.bias:+.3f}" if self.bias else ""
        return f"Logits are divided by the temperature {self.temperature:.3f}{border}."


def mean_of(checkpoints: Sequence[Checkpoint], shares: Sequence[float] = ()) -> Checkpoint:
    """Return the first checkpoint with the mean of all weights (by `shares`; none: all the same).

    Its recipe is the first one's; all of them are its `parts`.

    Raises CheckpointError when they are of different networks or classes, ConfigError when the shares are
    not one positive number each.
    """
    shares = shares or [1.0] * len(checkpoints)
    if len(shares) != len(checkpoints) or not all(0 < share < math.inf for share in shares):
        raise ConfigError(f"shares are {list(shares)}, but must be a positive number for each checkpoint.")
    first = checkpoints[0]
    for other in checkpoints[1:]:
        if _kind(other) != _kind(first):
            raise CheckpointError(
                f"{other.source}: is of another network, or of other classes, than {first.source}; only the "
                "same can be averaged."
            )
    states = [checkpoint.model.state_dict() for checkpoint in checkpoints]
    model = copy.deepcopy(first.model)
    model.load_state_dict({name: _mean([state[name] for state in states], shares) for name in states[0]})
    parts = _parts(checkpoints, shares)
    return replace(shareable(first), model=model, training=None, parts=parts if len(parts) > 1 else [])


def _parts(checkpoints: Sequence[Checkpoint], shares: Sequence[float]) -> list[dict[str, Any]]:
    """The trainings behind a mean; of one that is a mean itself, those behind that one."""
    parts = []
    for checkpoint, share in zip(checkpoints, shares, strict=True):
        own = checkpoint.parts or [{"share": 1.0, "recipe": shareable(checkpoint).recipe}]
        parts += [{**part, "share": part["share"] * share / sum(shares)} for part in own]
    return parts


def _kind(checkpoint: Checkpoint) -> object:
    """What checkpoints that can be averaged share; pruned networks of one configuration differ in shapes."""
    shapes = {name: tensor.shape for name, tensor in checkpoint.model.state_dict().items()}
    return checkpoint.model.config, checkpoint.scheme.classes, shapes


def _mean(tensors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    if not tensors[0].is_floating_point():  # a count of batches
        return tensors[0]
    total = torch.stack([share * t.double() for share, t in zip(shares, tensors, strict=True)]).sum(0)
    return (total / sum(shares)).to(tensors[0].dtype)


def calibrate(
    checkpoint: Checkpoint,
    samples: Sequence[Sample],
    *,
    device: str = "auto",
    amp: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Checkpoint, Calibration]:
    """Change the last layer such that the probabilities of `samples` are most likely.

    Of two classes also the border between them moves to where both are as likely, and masks with it (Platt
    1999); of more, only the temperature is fitted (Guo et al. 2017), and no mask changes. Raises DatasetError
    without samples.
    """
    if not samples:
        raise DatasetError("there are no pictures to calibrate on; choose a data set with a val split")
    predictor = Predictor(checkpoint, InferConfig(device=device, amp=amp))
    logits, labels = [], []
    chance = torch.Generator().manual_seed(0)
    for i, sample in enumerate(samples):
        rgb_HWC, label_HW = read_pair(sample, checkpoint.scheme)
        logits_Khw = predictor.logits([rgb_HWC])[0].cpu()
        if len(logits_Khw) == 1:  # the margin of class 1 over class 0
            logits_Khw = torch.cat([torch.zeros_like(logits_Khw), logits_Khw])
        logits_KHW = enlarge(logits_Khw, (label_HW.shape[0], label_HW.shape[1]))
        label_N = torch.tensor(label_HW).flatten()
        known_N = (label_N != VOID).nonzero().flatten()
        drawn_M = (
            known_N[torch.randint(len(known_N), (_PIXELS,), generator=chance)] if len(known_N) else known_N
        )
        logits.append(logits_KHW.flatten(1)[:, drawn_M].T)
        labels.append(label_N[drawn_M].long())
        if progress:
            progress(i + 1, len(samples))
    fitted = fit_calibration(torch.cat(logits), torch.cat(labels))
    model = copy.deepcopy(checkpoint.model)
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.div_(fitted.temperature)
        if fitted.bias:
            assert model.head.bias is not None
            model.head.bias[model.outputs_of(1)] += fitted.bias
    return replace(checkpoint, model=model), fitted


def fit_calibration(logits_NK: Tensor, label_N: Tensor) -> Calibration:
    """Minimise the cross-entropy of `logits / T`, of two classes with a bias added to the second one's.

    That is convex in 1 / T and the bias. Where a few pictures are told apart without a fault, T would become
    0 but for `_SHARPENING`; where there is one class alone, or none, nothing is to be fitted: (1, 0).
    """
    if not len(label_N) or label_N.min() == label_N.max():
        return Calibration(1.0, 0.0)
    log_T, bias = (torch.zeros((), dtype=torch.float64, requires_grad=True) for _ in range(2))
    logits_NK = logits_NK.double()
    two = logits_NK.shape[1] == 2
    optimizer = torch.optim.LBFGS(
        [log_T, bias] if two else [log_T], max_iter=50, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        calm_NK = logits_NK / log_T.exp()
        value = F.cross_entropy(calm_NK + torch.stack([-bias, bias]) / 2 if two else calm_NK, label_N)
        value = value + _SHARPENING * log_T.clamp(max=0).square()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return Calibration(float(log_T.detach().exp()), float(bias.detach()))
