"""Optimizer, learning-rate schedule and running average of the weights, all of torch's own parts."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, PolynomialLR, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from roadseg.config import TrainConfig

Tensors = tuple[Tensor, ...] | list[Tensor]

# Validations without progress before `plateau` halves the learning rate.
PLATEAU_PATIENCE = 4


def make_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """Return the optimizer; weight decay is for convolutions, not for norms and biases (He et al. 2019)."""
    groups: list[dict[str, Any]] = []
    for encoder, lr in ((False, config.lr), (True, config.lr * config.encoder_lr)):
        parameters = [p for name, p in model.named_parameters() if name.startswith("encoder.") == encoder]
        groups += [
            {"params": [p for p in parameters if p.ndim > 1], "lr": lr, "weight_decay": config.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "lr": lr, "weight_decay": 0.0},
        ]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "sgd":
        return SGD(groups, lr=config.lr, momentum=0.9, nesterov=True, fused=True)
    return (AdamW if config.optimizer == "adamw" else Adam)(groups, lr=config.lr, fused=True)


class Schedule:
    """A linear warm-up chained with cosine or polynomial decay (by step), or with halving on a plateau."""

    def __init__(self, optimizer: Optimizer, config: TrainConfig, steps_per_epoch: int) -> None:
        self.steps_per_epoch = steps_per_epoch
        steps = max(1, config.epochs * steps_per_epoch)
        warmup = max(1, round(config.warmup_epochs * steps_per_epoch))
        self.warmup = LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
        self.plateau: ReduceLROnPlateau | None = None
        self.decay: CosineAnnealingLR | PolynomialLR | None = None
        if config.schedule == "plateau":
            self.plateau = ReduceLROnPlateau(optimizer, "max", factor=0.5, patience=PLATEAU_PATIENCE)
        elif config.schedule == "cosine":
            self.decay = CosineAnnealingLR(optimizer, T_max=steps)
        else:
            self.decay = PolynomialLR(optimizer, total_iters=steps, power=0.9)  # as DeepLab has it

    def step(self) -> None:
        """Call after each optimizer step."""
        self.warmup.step()
        if self.decay:
            self.decay.step()

    def validated(self, score: float) -> None:
        """Call after each validation; higher scores are better."""
        if self.plateau:
            self.plateau.step(score)

    def _parts(self) -> dict[str, Any]:
        parts = {"warmup": self.warmup, "plateau": self.plateau, "decay": self.decay}
        return {name: part for name, part in parts.items() if part is not None}

    def state_dict(self) -> dict[str, Any]:
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return {"steps_per_epoch": self.steps_per_epoch, **parts}

    def load_state_dict(self, state: dict[str, Any], epochs: int) -> None:
        """Go on to the bit; or, where an epoch has other steps by now (a group of another size), after as
        many epochs, with the learning rate of a run that always had these steps.
        """
        if state.get("steps_per_epoch", self.steps_per_epoch) == self.steps_per_epoch:
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
            return
        if self.plateau:  # it counts validations, and has set the rate by them
            self.plateau.load_state_dict(state["plateau"])
            self.warmup.last_epoch = self.warmup.total_iters
            return
        for group in self.warmup.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.warmup.start_factor
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # these are no steps of the optimizer
            for _ in range(epochs * self.steps_per_epoch):
                self.step()


def make_average(model: nn.Module, decay: float) -> AveragedModel | None:
    """Return the exponential moving average of weights and buffers, or None for decay 0.

    The decay grows from 0.1 as (1 + n) / (10 + n) after n steps (as in TensorFlow's moving averages), so that
    the first, random weights are soon forgotten.
    """
    if decay == 0:
        return None

    @torch.no_grad()
    def average(averaged: Tensors, current: Tensors, steps: Tensor | int) -> None:
        n = int(steps)
        step = get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))  # type: ignore[no-untyped-call]
        step(averaged, current, steps)

    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)
