"""Weights to give away: the mean of several checkpoints, with calibrated probabilities.

The mean of the weights of one run's epochs, or of runs that started from the same weights, is often better
than each (Izmailov et al. 2018; Wortsman et al. 2022, "Model soups") and costs nothing at inference.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from roadseg.config import InferConfig
from roadseg.dataset.samples import Sample, read_pair
from roadseg.engine.predict import Predictor, enlarge
from roadseg.errors import CheckpointError, ConfigError, DatasetError
from roadseg.labels import VOID
from roadseg.model.checkpoint import Checkpoint

# Pixels of each picture that the temperature is fitted to, drawn by chance: neighbours say much the same.
_PIXELS = 4096


def mean_of(checkpoints: Sequence[Checkpoint], shares: Sequence[float] = ()) -> Checkpoint:
    """Return the first checkpoint with the mean of all weights (by `shares`; none: all the same).

    Raises CheckpointError when they are of different networks or classes, ConfigError when the shares are
    not one positive number each.
    """
    shares = shares or [1.0] * len(checkpoints)
    if len(shares) != len(checkpoints) or min(shares) <= 0:
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
    return replace(first, model=model, training=None)


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
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Checkpoint, float]:
    """Divide the logits by the temperature that makes the probabilities of `samples` most likely.

    Temperature scaling (Guo et al. 2017): no mask changes at threshold 0.5. Returns the calibrated checkpoint
    and the temperature, which is above 1 where the network was too sure. Raises DatasetError without samples.
    """
    if not samples:
        raise DatasetError("there are no pictures to calibrate on; choose a data set with a val split")
    predictor = Predictor(checkpoint, InferConfig(device=device))
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
    temperature = fit_temperature(torch.cat(logits), torch.cat(labels))
    model = copy.deepcopy(checkpoint.model)
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.div_(temperature)
    return replace(checkpoint, model=model), temperature


def fit_temperature(logits_NK: Tensor, label_N: Tensor) -> float:
    """Return the T > 0 that minimises the cross-entropy of `logits / T`, which is convex in 1 / T."""
    log_T = torch.zeros((), dtype=torch.float64, requires_grad=True)
    logits_NK = logits_NK.double()
    optimizer = torch.optim.LBFGS([log_T], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(logits_NK / log_T.exp(), label_N)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return float(log_T.detach().exp())
