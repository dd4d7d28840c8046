"""The Predictor: masks at each picture's own size, however they are mixed and batched."""

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as oracle
from conftest import street, tiny_checkpoint
from test_unet import lively
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import _geometry

from roadseg.config import InferConfig
from roadseg.engine.predict import Predictor
from roadseg.errors import CheckpointError, ConfigError
from roadseg.media.resize import fit_size, resize_rgb
from roadseg.model.checkpoint import Checkpoint

SIZES = [(48, 96), (1, 1), (3, 200), (200, 3), (97, 31), (96, 192)]


def ready(scheme: str = "road") -> Checkpoint:
    checkpoint = tiny_checkpoint(scheme)
    lively(checkpoint.model)
    return checkpoint


@pytest.mark.parametrize("scheme", ["road", "cityscapes19"])
def test_each_mask_has_its_picture_s_size(scheme: str) -> None:
    predictor = Predictor(ready(scheme))
    images = [street(i, *size)[0] for i, size in enumerate(SIZES) if min(size) > 10]
    images += [np.zeros((*size, 3), np.uint8) for size in SIZES]
    for image, (mask, probability) in zip(images, predictor.predict_with_probabilities(images), strict=True):
        assert mask.shape == image.shape[:2]
        assert mask.dtype == np.uint8
        assert mask.max() < predictor.scheme.num_classes
        assert probability.shape[-2:] == image.shape[:2]
        assert probability.min() >= 0
        assert probability.max() <= 1


def test_a_picture_s_mask_does_not_depend_on_its_company() -> None:
    predictor = Predictor(ready())
    images = [street(i, *size)[0] for i, size in enumerate([(48, 96), (64, 64), (48, 96), (96, 192)])]
    together = predictor.predict(images)
    for image, mask in zip(images, together, strict=True):
        assert (predictor.predict([image])[0] == mask).mean() > 0.999
    assert predictor.predict([]) == []


def test_the_mask_is_where_the_probability_reaches_the_threshold() -> None:
    image, checkpoint = street(0)[0], ready()
    shares = []
    for threshold in (0.0, 0.2, 0.5, 0.8, 1.0):
        mask, probability = Predictor(
            checkpoint, InferConfig(threshold=threshold, device="cpu")
        ).predict_with_probabilities([image])[0]
        unsure = np.abs(probability - threshold) < 1e-5
        assert ((mask == 1) == (probability >= threshold))[~unsure].all()
        shares.append(mask.mean())
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1
    assert shares[-1] == 0


def test_the_most_likely_class_wins() -> None:
    mask, probability = Predictor(ready("cityscapes19")).predict_with_probabilities([street(0)[0]])[0]
    assert probability.shape[0] == 19
    np.testing.assert_allclose(probability.sum(0), 1, atol=1e-5)
    assert (probability.argmax(0) == mask).all()


def test_it_equals_the_plain_network() -> None:
    """The same as: network in evaluation mode, unfused, on the picture as it is; argmax."""
    checkpoint = ready()
    image = street(1, 48, 96)[0]  # the longer side is imgsz, so nothing is resized
    logits = checkpoint.model(torch.from_numpy(image).permute(2, 0, 1)[None])
    expected = logits[0].argmax(0).numpy()
    assert (Predictor(checkpoint).predict([image])[0] == expected).mean() > 0.999


def test_the_checkpoint_is_left_as_it_was_and_read_only_pictures_are_fine() -> None:
    checkpoint = ready()
    before = {name: tensor.clone() for name, tensor in checkpoint.model.state_dict().items()}
    image = street(0)[0]
    image.flags.writeable = False
    Predictor(checkpoint).predict([image])
    after = checkpoint.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_imgsz_keeps_the_shape() -> None:
    assert fit_size(720, 1280, 640) == (360, 640)
    assert fit_size(1280, 720, 640) == (640, 360)
    assert fit_size(1, 5000, 512) == (1, 512)
    assert fit_size(720, 1280, 512, 32) == (288, 512)
    assert fit_size(227, 320, 512, 32) == (352, 512)
    assert fit_size(1, 5000, 512, 32) == (32, 512)
    assert fit_size(1024, 2048, 544, 32) == (256, 544)
    assert Predictor(tiny_checkpoint(), InferConfig(imgsz=64)).imgsz == 64


@pytest.mark.parametrize("device", ["warp", "cuda:99"])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(ConfigError, match="device is"):
        Predictor(tiny_checkpoint(), InferConfig(device=device))


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (288, 512), (720, 1280)])
def test_a_mask_is_the_enlarged_logits_decided(size: tuple[int, int]) -> None:
    predictor = Predictor(tiny_checkpoint(), InferConfig(device="cpu", threshold=0.3))
    logits_1hw = torch.randn(1, 48, 96)
    large_HW = torch.nn.functional.interpolate(logits_1hw[None], size=size, mode="bilinear")[0, 0]
    expected_HW = (large_HW.double().sigmoid() >= 0.3).numpy()
    mask_HW = predictor.mask(logits_1hw, size)
    assert mask_HW.dtype == np.uint8
    assert np.count_nonzero(mask_HW != expected_HW) <= 1e-4 * mask_HW.size


@pytest.mark.parametrize("size", [(1, 1), (4, 1), (1, 4), (37, 53), (288, 512)])
def test_of_many_classes_the_largest_is_the_mask(size: tuple[int, int]) -> None:
    predictor = Predictor(tiny_checkpoint("cityscapes19"), InferConfig(device="cpu"))
    logits_Khw = torch.randn(19, 48, 96)
    large_KHW = torch.nn.functional.interpolate(logits_Khw[None], size=size, mode="bilinear")[0]
    mask_HW = predictor.mask(logits_Khw, size)
    assert mask_HW.dtype == np.uint8
    assert np.count_nonzero(mask_HW != large_KHW.argmax(0).numpy()) <= 1e-4 * mask_HW.size
    equal_Khw = torch.zeros(19, 4, 8)  # of equal ones the first
    equal_Khw[5:, :2] = 1
    assert predictor.mask(equal_Khw, (4, 8))[:, 0].tolist() == [5, 5, 0, 0]


@pytest.mark.parametrize("size", [(320, 576), (33, 1), (7, 9), (1, 1)])
@pytest.mark.parametrize("stored", [(512, 1024), (37, 53), (5, 3), (1, 1)])
def test_pictures_are_resized_as_torchvision_does(stored: tuple[int, int], size: tuple[int, int]) -> None:
    """To the bit where it computes in uint8; older versions, and on other processors all, go by float32."""
    in_uint8 = getattr(_geometry, "_do_native_uint8_resize_on_cpu", lambda kind: False)
    most = 0 if in_uint8(InterpolationMode.BILINEAR) else 1
    random = torch.Generator().manual_seed(1)
    image_CHW = torch.randint(0, 256, (*stored, 3), dtype=torch.uint8, generator=random).permute(2, 0, 1)
    expected = oracle.resize(image_CHW, list(size), antialias=True)
    for stored_as in (image_CHW, image_CHW.contiguous()):
        torch.testing.assert_close(resize_rgb(stored_as, size), expected, rtol=0, atol=most)


def test_many_calls_at_once_give_what_one_gives() -> None:
    predictor = Predictor(ready())
    images = [street(i, 48, 96)[0] for i in range(6)]
    with predictor.threads() as pool:
        together = list(pool.map(lambda image: predictor.logits([image])[0], images))
    for image, logits in zip(images, together, strict=True):
        torch.testing.assert_close(logits, predictor.logits([image])[0])


@pytest.mark.parametrize("scheme", ["road", "cityscapes19"])
def test_the_probability_of_road_fits_the_mask_and_the_softmax(scheme: str) -> None:
    threshold = 0.4 if scheme == "road" else 0.5  # of many classes the likeliest is shown
    predictor = Predictor(ready(scheme), InferConfig(device="cpu", threshold=threshold))
    images = [street(i, *size)[0] for i, size in enumerate([(48, 96), (97, 31)])]
    masks = predictor.predict(images)
    both = predictor.predict_with_probabilities(images)
    for (mask, road), expected, (_, probability) in zip(
        predictor.predict_with_road(images), masks, both, strict=True
    ):
        assert (mask == expected).all()
        assert road is not None
        assert road.shape == mask.shape
        if scheme == "road":
            np.testing.assert_allclose(road, probability, atol=1e-5)
            assert ((road >= 0.4) == mask)[np.abs(road - 0.4) > 1e-5].all()
        elif mask.shape == (48, 96):  # the size that the network sees: nothing is enlarged
            np.testing.assert_allclose(road, probability[0], atol=1e-5)
        else:  # the margin is enlarged, not each of the logits
            assert 0 <= road.min() < road.max() <= 1
    roadless = Predictor(tiny_checkpoint("cityscapes-category7"), InferConfig(device="cpu"))
    assert roadless.predict_with_road(images)[0][1] is None


@pytest.mark.parametrize("damage", ["variance", "overflow"])
def test_nan_before_an_activation_are_not_hidden_by_its_kernel(damage: str) -> None:
    """oneDNN's fused activations make 0 of NaN, with which everything behind them would look sound."""
    checkpoint = tiny_checkpoint()
    norms = [norm for norm in checkpoint.model.modules() if isinstance(norm, torch.nn.BatchNorm2d)]
    if damage == "variance":
        assert norms[1].running_var is not None
        norms[1].running_var[0] = -1
    else:
        for norm in norms[:2]:
            torch.nn.init.constant_(norm.weight, 1e30)
    with pytest.raises(CheckpointError, match="NaN or infinite numbers"):
        Predictor(checkpoint, InferConfig(device="cpu")).predict([street(0)[0]])
