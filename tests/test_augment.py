"""Augmentation moves picture and label together, never invents a label, and repeats itself from a seed."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import street
from torch import Tensor
from torchvision import tv_tensors

from roadseg.config import AugmentStrength
from roadseg.dataset import augment, cabin, camera, chance, weather
from roadseg.dataset.augment import RandomView, make_augmentation

CHANGES = [
    augment.white_balance_and_gamma,
    augment.noise,
    augment.low_resolution,
    augment.sharpened,
    augment.jpeg,
    weather.veil,
    cabin.reflection,
    weather.darkness,
    weather.shadows,
    camera.caption,
    camera.motion_blur,
    weather.precipitation,
    weather.wet_ground,
]


def pair(height: int = 48, width: int = 96) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    rgb_HWC, label_HW = street(3, height, width)
    return tv_tensors.Image(torch.from_numpy(rgb_HWC).permute(2, 0, 1)), tv_tensors.Mask(
        torch.from_numpy(label_HW)
    )


@pytest.mark.parametrize("strength", ["none", "light", "strong"])
@pytest.mark.parametrize("size", [(48, 96), (30, 40), (7, 90), (90, 7), (1, 1)])
def test_output_has_the_crop_s_size_and_only_known_labels(
    strength: AugmentStrength, size: tuple[int, int]
) -> None:
    transform = make_augmentation(strength, 96, (32, 64))
    image, label = pair(*size)
    known = {*np.unique(label).tolist(), 255}
    for seed in range(25):
        torch.manual_seed(seed)
        out_image, out_label = transform(image, label)
        assert (out_image.shape, out_image.dtype) == ((3, 32, 64), torch.uint8)
        assert (out_label.shape, out_label.dtype) == ((32, 64), torch.uint8)
        assert set(np.unique(out_label).tolist()) <= known


def test_picture_and_label_stay_together() -> None:
    """Where the label says road, the picture shows the road's grey, wherever the window went."""
    image, label = pair(200, 400)
    view = RandomView((100, 200), 400, (0.5, 2.0), (0.7, 1.4))
    agreement = []
    for seed in range(20):
        torch.manual_seed(seed)
        out_image, out_label = view(image, label)
        grey = (out_image.float() - torch.tensor([105.0, 100.0, 105.0])[:, None, None]).abs().amax(0) < 40
        road = out_label == 7
        if road.sum() > 500:
            agreement.append(grey[road].float().mean().item())
    assert len(agreement) > 10
    assert min(agreement) > 0.95


def test_a_lens_bends_picture_and_label_alike() -> None:
    image, label = pair(100, 200)
    moved, outsides = 0, set()
    for seed in range(40):
        torch.manual_seed(seed)
        out_image, out_label = camera.Lens(9, augment.OUTSIDE, p=1.0)(image, label)
        moved += not torch.equal(out_label, label)
        grey = (out_image.float() - torch.tensor([105.0, 100.0, 105.0])[:, None, None]).abs().amax(0) < 40
        assert grey[out_label == 7].float().mean() > 0.95
        inside = ~F.max_pool2d((out_label == 9).float()[None], 3, 1, 1)[0].bool()
        assert set(out_label[inside].unique().tolist()) <= {*label.unique().tolist(), 255}
        if (out_label == 9).any():
            assert out_image[:, out_label == 9].median() == 0, "a fish-eye's surroundings are black"
        outsides.add(bool((out_label == 9).any()))
        assert out_label[40:60, 90:110].ne(9).all(), "the middle is never outside"
    assert moved > 35
    assert outsides == {False, True}
    assert torch.equal(camera.Lens(9, augment.OUTSIDE, p=0.0)(image, label)[0], image)


def test_bars_cover_edges_and_are_labelled_so() -> None:
    image, label = pair()
    lying = upright = 0
    for seed in range(40):
        torch.manual_seed(seed)
        out_image, out_label = camera.Bars(9, p=1.0)(image, label)
        bar = out_label == 9
        assert torch.equal(out_label[~bar], label[~bar])
        assert torch.equal(out_image[:, ~bar], image[:, ~bar])
        rows, columns = bar.all(1), bar.all(0)
        assert torch.equal(bar, rows[:, None] | columns), "bars go from edge to edge"
        assert not (rows.any() and columns.any())
        assert not bar[20:28, 40:56].any(), "the middle stays"
        lying, upright = lying + bool(rows.any()), upright + bool(columns.any())
    assert min(lying, upright) > 5
    assert torch.equal(camera.Bars(9, p=0.0)(image, label)[1], label)


@pytest.mark.parametrize("width", [32, 40, 44, 48])
def test_small_crops_are_mirrored_in_the_windscreen_too(width: int) -> None:
    image = pair(width // 2, width)[0].as_subclass(Tensor)
    for seed in range(60):
        torch.manual_seed(seed)
        assert cabin.reflection(image).shape == image.shape


def test_lamps_are_light_in_places() -> None:
    for seed in range(10):
        torch.manual_seed(seed)
        light = weather.lamps(120, 240)
        assert (light.shape, light.dtype) == ((3, 120, 240), torch.float32)
        assert light.min() >= 0
        assert light.max() > 40
        assert (light.amax(0) > 40).float().mean() < 0.3, "most of a night is dark"


def test_letters_hide_a_little_and_motion_keeps_the_light() -> None:
    image = pair(200, 400)[0].as_subclass(Tensor)
    for seed in range(20):
        torch.manual_seed(seed)
        written = (camera.caption(image) != image).any(0).float()
        assert 0 < written.mean() < 0.35
        smeared = camera.motion_blur(image).float()
        assert abs(smeared.mean() - image.float().mean()) < 1.5
        steps = [(part[:, :, 1:] - part[:, :, :-1]).abs().mean() for part in (smeared, image.float())]
        assert steps[0] <= steps[1] + 0.1


def test_outside_the_picture_is_void() -> None:
    image, label = pair(48, 96)
    view = RandomView((48, 96), 96, (0.5, 0.5), (1.0, 1.0))  # the window is twice the picture
    torch.manual_seed(0)
    out_image, out_label = view(image, tv_tensors.Mask(torch.zeros_like(label)))
    assert (out_label == 255).float().mean().item() == pytest.approx(0.75, abs=0.03)
    outside: Tensor = out_image.as_subclass(Tensor)[:, out_label == 255].float().mean(1)
    torch.testing.assert_close(outside, torch.tensor(augment.OUTSIDE), atol=3, rtol=0)


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_each_change_changes_the_picture_within_its_range(change: augment.Callable[[Tensor], Tensor]) -> None:
    image = pair()[0].as_subclass(Tensor)
    before = image.clone()
    torch.manual_seed(1)
    after = change(image)
    assert torch.equal(image, before), "the input must stay as it was: it may be the cache's"
    assert (after.shape, after.dtype) == (image.shape, torch.uint8)
    assert not torch.equal(after, image)
    assert after.float().std() > 1, "a picture must remain"


def test_same_seed_same_pixels() -> None:
    transform = make_augmentation("strong", 96, (32, 64))
    results = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        results.append(transform(*pair())[0])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_a_bonnet_covers_the_foot_of_the_picture_and_is_labelled_so() -> None:
    image, mask = pair()
    soft = 0
    for seed in range(20):
        torch.manual_seed(seed)
        changed, label = cabin.Bonnet(7, p=1.0)(image, mask)
        new = (label == 7) & (mask != 7)
        covered = (changed != image).any(0)
        assert new[-1].any(), "it begins at the foot"
        assert not new[: new.shape[0] // 2].any(), "and leaves the upper half alone"
        below = F.pad((label == 7).float(), (0, 0, 0, 6), value=1)  # the edge may lie below the foot
        near = F.max_pool2d(below[None], (7, 1), 1)[0] > 0
        assert not (covered & ~near).any(), "what is more than a blurred edge away stays"
        soft += bool((covered & ~(label == 7)).any())
        assert torch.equal(label[label != 7], mask[label != 7])
    assert 0 < soft < 20, "some edges are sharp, some are not"
    assert torch.equal(cabin.Bonnet(7, p=0.0)(image, mask)[0], image)


def test_chance_stays_within_its_bounds() -> None:
    torch.manual_seed(0)
    drawn = [chance.log_uniform(0.5, 8) for _ in range(400)]
    assert 0.5 <= min(drawn) < 0.6
    assert 7 < max(drawn) < 8
    assert 150 < sum(value < 2 for value in drawn) < 250, "two of its four doublings"
    noise_HW = chance.smooth_noise(300, 400, 4, 12)
    assert noise_HW.shape == (300, 400)
    assert 0.4 < noise_HW.std() < 1.2
    step = (noise_HW[1:] - noise_HW[:-1]).abs().mean()
    assert step < 0.5 * noise_HW.std(), "neighbours are alike"


def test_repaint_changes_the_colour_of_one_class_and_nothing_else() -> None:
    image, mask = pair()
    repainted = set()
    for seed in range(30):
        torch.manual_seed(seed)
        changed, label = augment.ClassTransform(augment.repaint, p=1.0)(image, mask)
        assert torch.equal(label, mask)
        classes = mask[(changed != image).any(0)].unique().tolist()
        assert len(classes) == 1
        assert classes[0] != 255
        repainted.add(classes[0])
    assert repainted == set(mask.unique().tolist()) - {255}, "each class gets its turn"
    void = tv_tensors.Mask(torch.full_like(mask, 255))
    assert torch.equal(augment.ClassTransform(augment.repaint, p=1.0)(image, void)[0], image)
    assert torch.equal(augment.ClassTransform(augment.repaint, p=0.0)(image, mask)[0], image)


def test_reflections_only_add_light() -> None:
    image = pair()[0].as_subclass(Tensor)
    for seed in range(10):
        torch.manual_seed(seed)
        assert (cabin.reflection(image).int() >= image.int() - 1).all()


def test_wet_ground_mirrors_what_stands_above_it() -> None:
    """A picture that is white above and black below: its ground gets light, and nothing above it changes."""
    image = torch.zeros(3, 100, 200, dtype=torch.uint8)
    image[:, :60] = 255
    dry = image.clone()
    for seed in range(10):
        torch.manual_seed(seed)
        wet = weather.wet_ground(image)
        assert torch.equal(wet[:, :25], image[:, :25])
        assert wet[:, 62:].float().mean() > 8
        assert torch.equal(image, dry), "the picture that came in is left alone"


def test_a_change_of_a_class_is_now_and_then_one_of_the_picture() -> None:
    image, mask = pair()
    wholes = 0
    for seed in range(60):
        torch.manual_seed(seed)
        changed, _ = augment.ClassTransform(lambda x: 255 - x, p=1.0, whole=0.3)(image, mask)
        wholes += torch.equal(changed, 255 - image)
    assert 8 < wholes < 30


def test_shadows_darken_one_side_or_lie_dappled() -> None:
    image = torch.full((3, 200, 400), 200, dtype=torch.uint8)
    pieces = []
    for seed in range(20):
        torch.manual_seed(seed)
        shaded = weather.shadows(image)
        assert (shaded <= image).all()
        dark = (shaded[0] < (int(shaded.min()) + int(shaded.max())) // 2).numpy().astype(np.uint8)
        pieces.append(cv2.connectedComponents(dark)[0] - 1)
    assert min(pieces) == 1
    assert max(pieces) > 20
