"""Confusion matrices and scores: worked by hand, against torchmetrics, and at the edges."""

import json
import math

import pytest
import torch
from torch import Tensor

from roadseg.metrics import ConfusionMatrix, PerImageScores, Scores, per_image, scores

NAN = float("nan")
VOID = 255


def matrix_of(prediction: list[int], label: list[int], classes: int) -> ConfusionMatrix:
    matrix = ConfusionMatrix(classes)
    matrix.update(torch.tensor(prediction, dtype=torch.uint8), torch.tensor(label, dtype=torch.uint8))
    return matrix


def random_pair(seed: int, classes: int = 5, shape: tuple[int, ...] = (3, 17, 23)) -> tuple[Tensor, Tensor]:
    """Prediction and label that agree on most pixels; a tenth of the label is void."""
    rng = torch.Generator().manual_seed(seed)
    label = torch.randint(0, classes, shape, generator=rng, dtype=torch.uint8)
    prediction = torch.randint(0, classes, shape, generator=rng, dtype=torch.uint8)
    prediction = torch.where(torch.rand(shape, generator=rng) < 0.6, label, prediction)
    label[torch.rand(shape, generator=rng) < 0.1] = VOID
    return prediction, label


# --- counting


def test_rows_are_truth_columns_prediction_and_void_truth_is_nowhere() -> None:
    #                    right  missed  wrong  void  void   right
    matrix = matrix_of([0, 1, 2, 0, 2, 2], [0, 0, 1, VOID, VOID, 2], classes=3)
    assert matrix.to_list() == [
        [1, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 1, 0],
    ]
    assert matrix.counts.dtype == torch.int64


@pytest.mark.parametrize("no_class", [VOID, 2, 254, 70_000, 2**40, -1])
def test_a_prediction_that_is_no_class_is_a_miss(no_class: int) -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(torch.tensor([1, no_class, no_class, no_class]), torch.tensor([1, 1, 0, VOID]))
    assert matrix.to_list() == [[0, 0, 1], [0, 1, 1]]
    # Leaving half the road unanswered halves its IoU: it must not score 1.
    assert scores(matrix, ("background", "road")).iou == (0.0, 0.5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_integer_types_and_shapes_count_alike(dtype: torch.dtype) -> None:
    prediction, label = random_pair(0)
    expected = ConfusionMatrix(5)
    expected.update(prediction, label)
    matrix = ConfusionMatrix(5)
    matrix.update(prediction.to(dtype).permute(2, 0, 1), label.to(dtype).permute(2, 0, 1))
    assert matrix.to_list() == expected.to_list()
    assert sum(map(sum, matrix.to_list())) == int((label != VOID).sum())


def test_boolean_masks_count_as_two_classes() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(torch.tensor([True, False, True]), torch.tensor([True, True, False]))
    assert matrix.to_list() == [[0, 1, 0], [1, 1, 0]]


def test_the_largest_number_of_classes_keeps_class_254_and_void_apart() -> None:
    matrix = matrix_of([254, 254, VOID], [254, VOID, 254], classes=255)
    assert matrix.counts[254, 254] == 1
    assert matrix.counts[254, 255] == 1
    assert matrix.counts.sum() == 2


@pytest.mark.parametrize("value", [3, 254, -1, 1000])
def test_a_label_value_that_is_no_class_is_refused(value: int) -> None:
    matrix = ConfusionMatrix(3)
    for predicted in (0, VOID):
        with pytest.raises(ValueError, match=r"outside 0\.\.2 and 255"):
            matrix.update(torch.tensor([predicted]), torch.tensor([value]))
    assert not matrix.counts.any()


def test_shapes_that_differ_and_floats_are_refused() -> None:
    matrix = ConfusionMatrix(2)
    with pytest.raises(ValueError, match=r"\[2, 3\] and label \[3, 2\] differ in shape"):
        matrix.update(torch.zeros(2, 3, dtype=torch.uint8), torch.zeros(3, 2, dtype=torch.uint8))
    with pytest.raises(ValueError, match="not floats"):
        matrix.update(torch.zeros(2), torch.zeros(2, dtype=torch.uint8))


@pytest.mark.parametrize("classes", [0, -1, 256])
def test_impossible_numbers_of_classes_are_refused(classes: int) -> None:
    with pytest.raises(ValueError, match="1 to 255 classes"):
        ConfusionMatrix(classes)


# --- adding


def test_the_sum_of_shards_is_the_whole() -> None:
    prediction, label = random_pair(1, shape=(7, 19, 31))
    whole = ConfusionMatrix(5)
    whole.update(prediction, label)
    shards = []
    for part in (slice(0, 2), slice(2, 3), slice(3, 7)):
        shard = ConfusionMatrix(5)
        shard.update(prediction[part], label[part])
        # Shards of one run meet as the counts in their JSON reports.
        shards.append(ConfusionMatrix.from_counts(json.loads(json.dumps(shard.to_list()))))
    total = sum(shards, start=ConfusionMatrix(5))
    assert total.to_list() == whole.to_list()
    assert scores(total, "abcde") == scores(whole, "abcde")


def test_adding_leaves_both_terms_as_they_were() -> None:
    one = ConfusionMatrix.from_counts([[1, 2], [3, 4]])
    total = one + one
    total.update(torch.tensor([0]), torch.tensor([0]))
    assert one.to_list() == [[1, 2, 0], [3, 4, 0]]
    assert total.to_list() == [[3, 4, 0], [6, 8, 0]]


def test_matrices_of_different_classes_do_not_add() -> None:
    with pytest.raises(ValueError, match="2 and 3 classes"):
        ConfusionMatrix(2) + ConfusionMatrix(3)


def test_counts_are_copied_in() -> None:
    counts = torch.ones(2, 3, dtype=torch.int64)
    matrix = ConfusionMatrix.from_counts(counts)
    counts += 1
    assert matrix.to_list() == [[1, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize("counts", [[[1, 2, 3, 4], [1, 2, 3, 4]], [[1], [2]], [1, 2], [[1, -2], [3, 4]]])
def test_counts_of_the_wrong_shape_or_sign_are_refused(counts: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="counts"):
        ConfusionMatrix.from_counts(counts)


def test_more_than_two_to_the_31_pixels_do_not_overflow() -> None:
    # A hundred thousand pictures of 2048x1024: 2.1e11 pixels, in int32 a wrapped number.
    half = 100_000 * 2048 * 1024 // 2
    matrix = ConfusionMatrix.from_counts([[half, 0], [0, half]])
    matrix.update(torch.tensor([0, 1]), torch.tensor([1, 1]))
    assert matrix.to_list() == [[half, 0, 0], [1, half + 1, 0]]
    result = scores(matrix, ("background", "road"))
    assert result.pixels == 2 * half + 2
    assert result.iou == (half / (half + 1), (half + 1) / (half + 2))


# --- scores


def test_scores_worked_by_hand() -> None:
    # rows truth, columns prediction    row sums   column sums (a, b, c, no class) = 6, 5, 3, 2
    matrix = ConfusionMatrix.from_counts(
        [
            [5, 1, 0, 2],  # a          8          tp 5, fn 3, fp 1
            [1, 4, 0, 0],  # b          5          tp 4, fn 1, fp 1
            [0, 0, 3, 0],  # c          3          tp 3, fn 0, fp 0
        ]
    )
    result = scores(matrix, ("a", "b", "c"))
    assert result.classes == ("a", "b", "c")
    assert result.iou == (5 / 9, 4 / 6, 1.0)
    assert result.precision == (5 / 6, 4 / 5, 1.0)
    assert result.recall == (5 / 8, 4 / 5, 1.0)
    assert result.f1 == (10 / 14, 8 / 10, 1.0)
    assert result.pixels == 16
    assert result.pixel_accuracy == 12 / 16
    assert result.mean_iou == pytest.approx((5 / 9 + 2 / 3 + 1) / 3, rel=1e-15)  # 20/27
    assert result.mean_f1 == pytest.approx((5 / 7 + 4 / 5 + 1) / 3, rel=1e-15)
    assert result.mean_accuracy == pytest.approx(97 / 120, rel=1e-15)  # (75 + 96 + 120) / 120 / 3
    # (8 * 5/9 + 5 * 2/3 + 3 * 1) / 16 = (40 + 30 + 27) / 144
    assert result.frequency_weighted_iou == pytest.approx(97 / 144, rel=1e-15)


def test_a_perfect_prediction_scores_exactly_one() -> None:
    _, label = random_pair(2)
    matrix = ConfusionMatrix(5)
    for _ in range(10):  # "ten perfect batches" must not be 10/11
        matrix.update(label, label)
    result = scores(matrix, "abcde")
    assert result.iou == result.precision == result.recall == result.f1 == (1.0,) * 5
    assert result.mean_iou == result.mean_accuracy == result.pixel_accuracy == 1.0
    assert result.frequency_weighted_iou == 1.0


def test_scores_come_from_the_sum_of_counts_not_from_a_mean_over_batches() -> None:
    # Batch 1: 1 of 10 road pixels found (IoU 0.1). Batch 2: 90 of 90 (IoU 1). Together 91/100, not 0.55.
    road = [ConfusionMatrix.from_counts(counts) for counts in ([[0, 0], [9, 1]], [[0, 0], [0, 90]])]
    assert scores(road[0] + road[1], ("background", "road")).iou[1] == 0.91


def test_a_class_that_occurs_nowhere_is_nan_and_out_of_every_mean() -> None:
    # Class c is in neither truth nor prediction: a, b have tp 2, 1; truth 3, 1; predicted 2, 2.
    result = scores(matrix_of([0, 0, 1, 1], [0, 0, 0, 1], classes=3), ("a", "b", "c"))
    assert result.iou == pytest.approx((2 / 3, 1 / 2, NAN), nan_ok=True)
    assert result.f1 == pytest.approx((4 / 5, 2 / 3, NAN), nan_ok=True)
    assert result.mean_iou == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert result.mean_accuracy == pytest.approx((2 / 3 + 1) / 2)


def test_a_class_predicted_but_not_there_scores_zero_and_has_no_recall() -> None:
    result = scores(matrix_of([0, 1], [0, 0], classes=2), ("background", "road"))
    assert result.iou == (0.5, 0.0)
    assert result.precision == (1.0, 0.0)
    assert result.recall == pytest.approx((0.5, NAN), nan_ok=True)
    assert result.mean_accuracy == 0.5
    assert result.frequency_weighted_iou == 0.5


def test_a_class_there_but_never_predicted_has_no_precision() -> None:
    result = scores(matrix_of([0, 0], [0, 1], classes=2), ("background", "road"))
    assert result.iou == (0.5, 0.0)
    assert result.precision == pytest.approx((0.5, NAN), nan_ok=True)
    assert result.recall == (1.0, 0.0)


def test_a_roadless_picture_without_false_road_has_no_road_score() -> None:
    result = scores(matrix_of([0, 0, 0], [0, 0, VOID], classes=2), ("background", "road"))
    assert result.iou == pytest.approx((1.0, NAN), nan_ok=True)
    assert result.mean_iou == 1.0


def test_a_picture_of_nothing_but_void_has_no_score_at_all() -> None:
    result = scores(matrix_of([0, 1, VOID], [VOID, VOID, VOID], classes=2), ("background", "road"))
    assert result.pixels == 0
    for values in (result.iou, result.precision, result.recall, result.f1):
        assert all(map(math.isnan, values))
    for value in (
        result.mean_iou,
        result.mean_accuracy,
        result.pixel_accuracy,
        result.frequency_weighted_iou,
    ):
        assert math.isnan(value)


def test_a_prediction_of_nothing_but_void_scores_zero() -> None:
    result = scores(matrix_of([VOID] * 4, [0, 0, 1, 1], classes=2), ("background", "road"))
    assert result.iou == result.recall == (0.0, 0.0)
    assert all(map(math.isnan, result.precision))
    assert result.mean_iou == result.pixel_accuracy == 0.0


def test_one_name_per_class_is_needed() -> None:
    with pytest.raises(ValueError, match="3 class names for a matrix of 2 classes"):
        scores(ConfusionMatrix(2), ("a", "b", "c"))


def test_scores_as_json_have_null_for_nan() -> None:
    result = scores(matrix_of([0, 0, 0], [0, 0, 0], classes=2), ("background", "road"))
    text = json.dumps(result.to_dict(), allow_nan=False)  # raises where a NaN is left
    assert json.loads(text) == {
        "mean_iou": 1.0,
        "mean_f1": 1.0,
        "mean_accuracy": 1.0,
        "pixel_accuracy": 1.0,
        "frequency_weighted_iou": 1.0,
        "pixels": 3,
        "per_class": {
            "background": {"iou": 1.0, "precision": 1.0, "recall": 1.0, "f1": 1.0},
            "road": {"iou": None, "precision": None, "recall": None, "f1": None},
        },
    }


# --- per picture


def scores_of(counts: list[list[int]]) -> Scores:
    return scores(ConfusionMatrix.from_counts(counts), ("background", "road"))


def test_mean_per_image_iou_worked_by_hand() -> None:
    images = [
        scores_of([[6, 2], [0, 2]]),  # background 6/8, road 2/4: mean 5/8
        scores_of([[0, 0], [0, 99]]),  # no background anywhere: road 1, mean 1
        scores_of([[8, 0], [0, 0]]),  # roadless, none claimed: background 1, mean 1
        scores_of([[3, 1], [0, 0]]),  # roadless, some claimed: background 3/4, road 0, mean 3/8
        scores_of([[0, 0], [0, 0]]),  # nothing but void: left out of everything
    ]
    result = per_image(images, ("background", "road"))
    assert result.images == 5
    assert result.iou == pytest.approx(((3 / 4 + 1 + 3 / 4) / 3, (1 / 2 + 1 + 0) / 3), rel=1e-15)
    assert result.mean_iou == pytest.approx((5 / 8 + 1 + 1 + 3 / 8) / 4, rel=1e-15)
    json.dumps(result.to_dict(), allow_nan=False)


def test_per_image_of_nothing_is_undefined() -> None:
    result = per_image([], ("background", "road"))
    assert result == PerImageScores(("background", "road"), result.iou, result.mean_iou, images=0)
    assert all(map(math.isnan, (*result.iou, result.mean_iou)))
    assert result.to_dict() == {
        "images": 0,
        "mean_iou": None,
        "per_class": {"background": {"iou": None}, "road": {"iou": None}},
    }


# --- oracle


def test_equal_to_torchmetrics() -> None:
    from torchmetrics.functional.classification import (
        multiclass_accuracy,
        multiclass_confusion_matrix,
        multiclass_f1_score,
        multiclass_jaccard_index,
        multiclass_precision,
    )

    prediction, label = (ids.long() for ids in random_pair(3, classes=6, shape=(4, 37, 41)))
    matrix = ConfusionMatrix(6)
    matrix.update(prediction, label)
    result = scores(matrix, "abcdef")
    options = {"num_classes": 6, "ignore_index": VOID}

    expected = multiclass_confusion_matrix(prediction, label, **options)
    assert matrix.to_list() == [[*row, 0] for row in expected.tolist()]
    for ours, theirs in (
        (result.iou, multiclass_jaccard_index(prediction, label, average="none", **options)),
        (result.precision, multiclass_precision(prediction, label, average="none", **options)),
        (result.recall, multiclass_accuracy(prediction, label, average="none", **options)),
        (result.f1, multiclass_f1_score(prediction, label, average="none", **options)),
        (result.mean_iou, multiclass_jaccard_index(prediction, label, average="macro", **options)),
        (result.mean_f1, multiclass_f1_score(prediction, label, average="macro", **options)),
        (
            result.frequency_weighted_iou,
            multiclass_jaccard_index(prediction, label, average="weighted", **options),
        ),
        (result.mean_accuracy, multiclass_accuracy(prediction, label, average="macro", **options)),
        (result.pixel_accuracy, multiclass_accuracy(prediction, label, average="micro", **options)),
    ):
        # torchmetrics computes in float32
        torch.testing.assert_close(torch.tensor(ours, dtype=torch.float32), theirs, rtol=1e-6, atol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_counts_on_the_device_equal_the_cpu() -> None:
    prediction, label = random_pair(4)
    on_cpu, on_gpu = ConfusionMatrix(5), ConfusionMatrix(5, device="cuda")
    on_cpu.update(prediction, label)
    on_gpu.update(prediction.cuda(), label.cuda())
    assert on_gpu.counts.is_cuda
    assert on_gpu.to_list() == on_cpu.to_list()
    assert (on_cpu + on_gpu).counts.device.type == "cpu"
