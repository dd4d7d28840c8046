"""Validation by a group of processes: each predicts its share, and the counts add up to those of one."""

from collections.abc import Callable, Sequence

import torch

from roadseg.dataset.samples import Sample
from roadseg.engine.distributed import Group
from roadseg.engine.evaluate import Evaluation, ImageResult, MaskPredictor, evaluate
from roadseg.engine.evaluation import gather
from roadseg.labels import LabelScheme
from roadseg.metrics import ConfusionMatrix, scores


def validate(
    group: Group,
    predictor: MaskPredictor,
    samples: Sequence[Sample],
    scheme: LabelScheme,
    *,
    batch_size: int,
    workers: int,
    progress: Callable[[int, int], None],
) -> Evaluation:
    """What `evaluate` finds on all samples, in every process of the group, to the last pixel."""
    own = samples[group.rank :: group.size]
    done: Evaluation | None = None
    if own or group.size == 1:
        done = evaluate(
            predictor, own, scheme, batch_size=batch_size, workers=max(1, workers), progress=progress
        )
    if group.size == 1 and done:
        return done
    number = scheme.num_classes
    counts_NKL = torch.zeros(
        len(samples), number, number + 1, dtype=torch.int64, device=predictor.device
    )  # K classes; L: and one column for what is no class
    if done:
        counts_NKL[group.rank :: group.size] = torch.stack([image.matrix.counts for image in done.images]).to(
            counts_NKL.device
        )
    images = []
    for sample, counts_KL in zip(samples, group.total(counts_NKL).cpu(), strict=True):
        matrix = ConfusionMatrix.from_counts(counts_KL)
        images.append(ImageResult(sample.key, matrix, scores(matrix, scheme.classes)))
    return gather(scheme, images)
