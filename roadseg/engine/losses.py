"""Losses of semantic segmentation. Void pixels never count; everything is computed in float32.

Shapes: `logits_BKHW` float, `label_BHW` uint8 or int64 with void = 255. Each returns a scalar, 0 for a batch
that is all void.

In a group of processes each has a part of the batch: cross-entropy and Dice are those of the whole batch,
from sums over the group; `ohem` and Lovász-Softmax, which sort pixels, are the mean of those of the parts.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roadseg.config import Loss
from roadseg.engine.distributed import ALONE, Group
from roadseg.labels import VOID


def pixel_cross_entropy(
    logits_BKHW: Tensor, label_BHW: Tensor, weight_K: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy of every pixel, 0 where void: BHW float32."""
    return F.cross_entropy(
        logits_BKHW.float(),
        label_BHW.long(),
        weight=weight_K,
        ignore_index=VOID,
        label_smoothing=smoothing,
        reduction="none",
    )


def cross_entropy(
    logits_BKHW: Tensor,
    label_BHW: Tensor,
    weight_K: Tensor | None = None,
    smoothing: float = 0.0,
    group: Group = ALONE,
) -> Tensor:
    """Mean cross-entropy over the pixels that are not void (weighted by class if `weight_K` is given)."""
    loss_BHW = pixel_cross_entropy(logits_BKHW, label_BHW, weight_K, smoothing)
    weight = group.total(pixel_weight(label_BHW, weight_K))
    return group.total(loss_BHW.sum()) / weight.clamp(min=1 if weight_K is None else 1e-6)


def pixel_weight(label_BHW: Tensor, weight_K: Tensor | None = None) -> Tensor:
    """How many pixels are not void, or the sum of their classes' weights: what the mean is taken over."""
    valid_BHW = label_BHW != VOID
    if weight_K is None:
        return valid_BHW.sum()
    return (weight_K[label_BHW.long().clamp(max=len(weight_K) - 1)] * valid_BHW).sum()


def ohem(
    logits_BKHW: Tensor,
    label_BHW: Tensor,
    weight_K: Tensor | None = None,
    smoothing: float = 0.0,
    *,
    confident: float = 0.7,
    least: float = 1 / 16,
) -> Tensor:
    """Cross-entropy over hard pixels only: truth less likely than `confident`, at least a share `least`.

    Online hard example mining (Shrivastava et al. 2016) with the numbers usual on Cityscapes (OCNet, HRNet).
    """
    loss_N = pixel_cross_entropy(logits_BKHW, label_BHW, weight_K, smoothing)[label_BHW != VOID]
    if loss_N.numel() == 0:
        return logits_BKHW.float().sum() * 0.0
    hardest_M = loss_N.topk(max(1, int(loss_N.numel() * least))).values
    border = -torch.log(torch.tensor(confident, device=loss_N.device))
    return torch.where(hardest_M[-1] > border, loss_N[loss_N > border].mean(), hardest_M.mean())


def dice(logits_BKHW: Tensor, label_BHW: Tensor, group: Group = ALONE) -> Tensor:
    """1 - soft Dice (Milletari et al. 2016) over the whole batch, mean of the classes in its truth."""
    valid_BHW = label_BHW != VOID
    prob_BKHW = logits_BKHW.float().softmax(1)
    # Of each pixel only the probability of its true class overlaps: one pass, whatever the number of classes.
    true_RW = torch.where(valid_BHW, label_BHW, 0).long().flatten(0, 1)
    right_RW = (prob_BKHW.gather(1, true_RW.view(label_BHW.shape)[:, None])[:, 0] * valid_BHW).flatten(0, 1)
    # Summed row by row first, so that no float32 grows too large to take up one more pixel.
    nothing_RK = prob_BKHW.new_zeros(len(true_RW), prob_BKHW.shape[1])
    overlap_K = nothing_RK.scatter_add(1, true_RW, right_RW).sum(0)
    truth_K = nothing_RK.scatter_add(1, true_RW, valid_BHW.flatten(0, 1).float()).sum(0)
    size_K = torch.einsum("bkhw,bhw->k", prob_BKHW, valid_BHW.float()) + truth_K
    overlap_K, size_K, truth_K = group.total(torch.stack([overlap_K, size_K, truth_K]))
    present_K = truth_K > 0
    loss_K = (1 - 2 * overlap_K / size_K.clamp(min=1)) * present_K
    loss: Tensor = loss_K.sum() / present_K.sum().clamp(min=1)
    return loss


def lovasz_softmax(logits_BKHW: Tensor, label_BHW: Tensor) -> Tensor:
    """Lovász-Softmax (Berman et al. 2018, algorithm 1): a surrogate of the mean IoU of classes present."""
    valid_BHW = label_BHW != VOID
    prob_NK = logits_BKHW.float().softmax(1).permute(0, 2, 3, 1)[valid_BHW]
    label_N = label_BHW[valid_BHW].long()
    losses = []
    for k in torch.unique(label_N).tolist():
        truth_N = (label_N == k).float()
        error_N, order_N = (truth_N - prob_NK[:, k]).abs().sort(descending=True)
        truth_N = truth_N[order_N]
        total = truth_N.sum()
        jaccard_N = 1 - (total - truth_N.cumsum(0)) / (total + (1 - truth_N).cumsum(0))
        gradient_N = torch.cat([jaccard_N[:1], jaccard_N.diff()])
        losses.append(error_N @ gradient_N)
    return torch.stack(losses).mean() if losses else logits_BKHW.float().sum() * 0.0


def distillation(logits_BKHW: Tensor, teacher_BKHW: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the teacher's probabilities (Hinton et al. 2015, temperature 1).

    Mean over all pixels, void ones too: of those the teacher is the only one who says something.
    """
    student_BKHW = logits_BKHW.float().contiguous().log_softmax(1)
    truth_BKHW = teacher_BKHW.float().contiguous().log_softmax(1)
    return F.kl_div(student_BKHW, truth_BKHW, reduction="none", log_target=True).sum(1).mean()


class SegmentationLoss(nn.Module):
    """The loss named by `TrainConfig.loss`; the mixed ones are plain sums."""

    weight_K: Tensor | None

    def __init__(
        self,
        kind: Loss,
        class_weights: tuple[float, ...] = (),
        smoothing: float = 0.0,
        group: Group = ALONE,
    ) -> None:
        super().__init__()
        self.kind, self.smoothing, self.group = kind, smoothing, group
        self.register_buffer("weight_K", torch.tensor(class_weights) if class_weights else None)

    def forward(self, logits_BKHW: Tensor, label_BHW: Tensor) -> Tensor:
        logits_BKHW = logits_BKHW.contiguous()  # from channels_last: softmax over K is far faster in NCHW
        if self.kind.startswith("ohem"):
            loss = self.group.mean(ohem(logits_BKHW, label_BHW, self.weight_K, self.smoothing))
        else:
            loss = cross_entropy(logits_BKHW, label_BHW, self.weight_K, self.smoothing, self.group)
        if self.kind.endswith("dice"):
            loss = loss + dice(logits_BKHW, label_BHW, self.group)
        if self.kind.endswith("lovasz"):
            loss = loss + self.group.mean(lovasz_softmax(logits_BKHW, label_BHW))
        return loss

    def shares(self, labels: Sequence[Tensor]) -> list[Tensor]:
        """What each of several batches counts in their mean: its share of the pixels that are not void."""
        if len(labels) == 1:
            return [torch.ones((), device=labels[0].device)]
        weights_A = torch.stack([pixel_weight(label_BHW, self.weight_K) for label_BHW in labels])
        weights_A = self.group.total(weights_A).double()
        return list((weights_A / weights_A.sum().clamp(min=1e-6)).float())
