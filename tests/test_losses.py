"""The losses, against hand-worked numbers and other implementations."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from roadseg.config import Loss
from roadseg.engine.losses import SegmentationLoss, cross_entropy, dice, distillation, lovasz_softmax, ohem

KINDS: list[Loss] = ["ce", "ce+dice", "ohem", "ohem+dice", "ce+lovasz"]


def from_probability(road: list[float]) -> Tensor:
    """Logits 1 x 2 x 1 x N whose softmax gives these probabilities of class 1."""
    p = torch.tensor(road)
    return torch.stack([(1 - p).log(), p.log()])[None, :, None, :]


def test_cross_entropy_by_hand_with_void() -> None:
    logits = from_probability([0.5, 0.25, 0.9])
    label = torch.tensor([[[1, 0, 255]]], dtype=torch.uint8)
    # -ln 0.5 and -ln 0.75; the third pixel is void
    assert cross_entropy(logits, label).item() == pytest.approx((math.log(2) - math.log(0.75)) / 2)


def test_class_weights_weigh_the_mean() -> None:
    logits = from_probability([0.5, 0.25])
    label = torch.tensor([[[1, 0]]])
    expected = (3 * math.log(2) - math.log(0.75)) / 4
    assert cross_entropy(logits, label, torch.tensor([1.0, 3.0])).item() == pytest.approx(expected)
    torch.testing.assert_close(
        cross_entropy(logits, label, torch.tensor([1.0, 3.0])),
        F.cross_entropy(logits, label, torch.tensor([1.0, 3.0])),
    )


def test_dice_by_hand_with_void() -> None:
    logits = from_probability([0.8, 0.4, 0.99])
    label = torch.tensor([[[1, 0, 255]]], dtype=torch.uint8)
    road = 1 - 2 * 0.8 / (0.8 + 0.4 + 1)
    ground = 1 - 2 * 0.6 / (0.2 + 0.6 + 1)
    assert dice(logits, label).item() == pytest.approx((road + ground) / 2, rel=1e-5)


def test_dice_leaves_out_a_class_that_is_not_there() -> None:
    logits = from_probability([0.2, 0.4])
    label = torch.zeros(1, 1, 2, dtype=torch.uint8)
    # only class 0: both pixels are its own
    assert dice(logits, label).item() == pytest.approx(1 - 2 * (0.8 + 0.6) / (0.8 + 0.6 + 2), rel=1e-5)


def test_ohem_takes_the_hard_pixels() -> None:
    # probabilities of the truth: 0.9 and 0.8 are easy (above 0.7), 0.5 and 0.1 are hard
    logits = from_probability([0.9, 0.8, 0.5, 0.1])
    label = torch.ones(1, 1, 4, dtype=torch.uint8)
    expected = -(math.log(0.5) + math.log(0.1)) / 2
    assert ohem(logits, label).item() == pytest.approx(expected, rel=1e-5)


def test_ohem_takes_its_least_share_when_all_are_easy() -> None:
    logits = from_probability([0.9] * 31 + [0.8])
    label = torch.ones(1, 1, 32, dtype=torch.uint8)
    # 1/16 of 32 pixels are the two hardest: 0.8 and one 0.9
    assert ohem(logits, label).item() == pytest.approx(-(math.log(0.8) + math.log(0.9)) / 2, rel=1e-5)


def test_lovasz_is_the_jaccard_loss_on_hard_predictions() -> None:
    # Berman et al. 2018: on a vertex of the cube the Lovász extension equals the set function itself.
    label = torch.tensor([[[1, 1, 1, 0, 0, 255]]])
    predicted = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    logits = from_probability(predicted.clamp(1e-7, 1 - 1e-7).tolist())
    road, ground = 1 - 2 / 4, 1 - 1 / 3
    assert lovasz_softmax(logits, label).item() == pytest.approx((road + ground) / 2, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_void_changes_nothing(kind: Loss) -> None:
    loss = SegmentationLoss(kind)
    logits = torch.randn(2, 5, 6, 7)
    label = torch.randint(0, 5, (2, 6, 7), dtype=torch.uint8)
    label[:, :3] = 255
    before = loss(logits, label)
    logits[:, :, :3] = torch.randn(2, 5, 3, 7) * 50
    torch.testing.assert_close(loss(logits, label), before)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_void_is_zero_and_differentiable(kind: Loss) -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = SegmentationLoss(kind)(logits, torch.full((1, 4, 4), 255, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_logits_do_not_overflow(kind: Loss) -> None:
    logits = (torch.randn(1, 2, 512, 512) * 20).half()
    loss = SegmentationLoss(kind)(logits, torch.randint(0, 2, (1, 512, 512), dtype=torch.uint8))
    assert loss.dtype == torch.float32
    assert loss.isfinite()


@pytest.mark.parametrize("kind", KINDS)
def test_descending_the_loss_finds_the_truth(kind: Loss) -> None:
    label = torch.randint(0, 3, (1, 8, 8))
    logits = torch.zeros(1, 3, 8, 8, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.2)
    loss = SegmentationLoss(kind, (1.0, 2.0, 0.5), 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss(logits, label).backward()
        optimizer.step()
    assert (logits.argmax(1) == label).all()


def test_distillation_by_hand() -> None:
    # Teacher (3/4, 1/4), student (1/2, 1/2): KL = 3/4 ln(3/2) + 1/4 ln(1/2).
    student = torch.zeros(1, 2, 2, 3)
    teacher = torch.zeros(1, 2, 2, 3)
    teacher[:, 0] = math.log(3)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert distillation(student, teacher).item() == pytest.approx(expected, abs=1e-6)
    assert distillation(teacher, teacher).item() == pytest.approx(0, abs=1e-6)
