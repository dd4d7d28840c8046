"""Fewer classes than a network tells apart: at every call, or once and for all in its weights."""

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from roadseg.encodings import LabelEncoding
from roadseg.errors import ConfigError, DatasetError
from roadseg.labels import SCHEMES, LabelScheme
from roadseg.model.checkpoint import Checkpoint


@dataclass(frozen=True)
class Joining:
    """What becomes of a network's classes; `groups` has the indices of those that are one class now."""

    scheme: LabelScheme
    groups: tuple[tuple[int, ...], ...] | None
    """None: they stay as they are."""

    def join(self, logits_BKhw: Tensor) -> Tensor:
        """Logits of the groups, BGhw: each is as likely as its members together."""
        if self.groups is None:
            return logits_BKhw
        return torch.stack([logits_BKhw[:, list(group)].logsumexp(1) for group in self.groups], 1)


def make_joining(own: LabelScheme, wanted: str | None) -> Joining:
    """Join the classes of `own` into those of the built-in scheme `wanted`, by their names.

    None: they stay as they are. ConfigError, which names the schemes that can be made of `own`, for others.
    """
    if wanted is None:
        return Joining(own, None)
    possible = {name: groups for name, scheme in SCHEMES.items() if (groups := _groups(own, scheme))}
    if wanted not in possible:
        choices = f"can be joined into: {', '.join(possible)}" if possible else "cannot be joined"
        raise ConfigError(f"--classes is {wanted!r}, but the network's classes ({own.name}) {choices}.")
    scheme = SCHEMES[wanted]
    return Joining(scheme, None if scheme.classes == own.classes else possible[wanted])


def _groups(own: LabelScheme, scheme: LabelScheme) -> tuple[tuple[int, ...], ...] | None:
    """The classes of `own` that each class of `scheme` is made of; None where it cannot be made."""
    try:
        table = scheme.table(LabelEncoding(own.name, dict(enumerate(own.classes))))
    except DatasetError:
        return None
    return tuple(tuple(i for i in range(own.num_classes) if table[i] == k) for k in range(scheme.num_classes))


def join_classes(checkpoint: Checkpoint, wanted: str) -> Checkpoint:
    """Return a checkpoint of the classes `wanted`, whose head still tells those of `checkpoint` apart.

    The logit of a class is the largest of its members' (`UNetConfig.members`), which costs next to nothing.
    Errors as `make_joining`; ConfigError also where the network's classes have been joined before.
    """
    joining = make_joining(checkpoint.scheme, wanted)
    if joining.groups is None:
        return checkpoint
    if checkpoint.model.config.members:
        raise ConfigError(
            f"{checkpoint.source}: its classes were joined before; join those of the checkpoint that it was "
            "made from."
        )
    model = copy.deepcopy(checkpoint.model)
    order = [i for group in joining.groups for i in group]
    with torch.no_grad():
        for parameter in model.head.parameters():
            of_class = parameter.view(model.num_classes, -1, *parameter.shape[1:])
            parameter.copy_(of_class[order].flatten(0, 1))
    model.config = replace(model.config, members=tuple(len(group) for group in joining.groups))
    model.num_classes = len(joining.groups)
    return replace(checkpoint, model=model, scheme=joining.scheme, training=None)
