"""Fewer classes than a network tells apart: each of theirs is as likely as all of its own together."""

from dataclasses import dataclass

import torch
from torch import Tensor

from roadseg.encodings import LabelEncoding
from roadseg.errors import ConfigError
from roadseg.labels import SCHEMES, LabelScheme


@dataclass(frozen=True)
class Joining:
    """What becomes of a network's classes; `groups` has the indices of those that are one class now."""

    scheme: LabelScheme
    groups: tuple[tuple[int, ...], ...] | None
    """None: they stay as they are."""

    def join(self, logits_BKhw: Tensor) -> Tensor:
        """Logits of the groups, BGhw: their softmax is the sum of the members'."""
        if self.groups is None:
            return logits_BKhw
        return torch.stack([logits_BKhw[:, list(group)].logsumexp(1) for group in self.groups], 1)


def make_joining(own: LabelScheme, wanted: str | None) -> Joining:
    """Join the classes of `own` into those of the built-in scheme `wanted`, by their names.

    Raises ConfigError when there is no such scheme, and DatasetError when it cannot be made of them.
    """
    if wanted is None or wanted == own.name:
        return Joining(own, None)
    if wanted not in SCHEMES:
        raise ConfigError(
            f"classes is {wanted!r}, but a network's classes can be joined into: {', '.join(SCHEMES)}."
        )
    scheme = SCHEMES[wanted]
    table = scheme.table(LabelEncoding(f"{own.name} network's", dict(enumerate(own.classes))))
    members = [tuple(i for i in range(own.num_classes) if table[i] == k) for k in range(scheme.num_classes)]
    return Joining(scheme, tuple(members))
