"""The networks: shapes at any size, folding that changes nothing, and the size of the named models."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from conftest import tiny_checkpoint

from roadseg.config import MODELS, UNetConfig
from roadseg.errors import ConfigError
from roadseg.model import unet
from roadseg.model.fused import ACTIVATIONS, FusedConv, RowShuffle, can_fuse
from roadseg.model.unet import ConvNorm, RoadNet, build_model

SHAPES = [
    UNetConfig(widths=(8, 16, 24), depths=(1, 1, 1), stem_stride=1, skip="concat"),
    UNetConfig(widths=(8, 16, 24), depths=(0, 1, 2), stem_stride=2, block="separable"),
    UNetConfig(widths=(8, 16), depths=(1, 1), stem_stride=4, norm="group", context=False),
    UNetConfig(widths=(12,), depths=(1,), stem_stride=4),
    UNetConfig(encoder="efficientnet_lite0", stem_stride=4, widths=(8, 8, 12), depths=(1, 1, 2)),
    UNetConfig(encoder="efficientnet_lite0", stem_stride=2, widths=(8, 12), depths=(1, 1), block="separable"),
    UNetConfig(architecture="classic", widths=(8, 16, 24), depths=(0, 0, 0)),
    UNetConfig(architecture="classic", widths=(8, 16), depths=(0, 0), norm="group"),
]


def lively(model: RoadNet) -> RoadNet:
    """Give the norms statistics and weights that are not those of a fresh network, and the head some too."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, 0, 0.5)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
    torch.nn.init.normal_(model.head.weight, std=0.5)
    return model.eval()


@pytest.mark.parametrize("config", SHAPES, ids=str)
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (17, 33), (32, 64), (50, 1)])
def test_any_size_comes_back_at_that_size(config: UNetConfig, size: tuple[int, int]) -> None:
    model = build_model(config, 3).eval()
    logits = model(torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8))
    assert logits.shape == (2, 3, *size)
    assert logits.isfinite().all()


@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_folding_changes_nothing_but_the_norms(config: UNetConfig) -> None:
    model = lively(build_model(config, 2).double())
    image = torch.rand(2, 3, 40, 72, dtype=torch.float64) * 255
    before = model(image)
    model.fold()
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())
    torch.testing.assert_close(model(image), before, rtol=1e-9, atol=1e-9)


needs_onednn = pytest.mark.skipif(not can_fuse(), reason="torch has no oneDNN for this CPU")


@needs_onednn
@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_fused_kernels_give_the_same(config: UNetConfig) -> None:
    """At sizes that need padding, too, with pictures in either layout, and where activations saturate."""
    model = lively(build_model(config, 3))
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.weight.data *= 4  # beyond the 6 of ReLU6
    fused = copy.deepcopy(model).fuse()
    kinds = [type(module) for module in fused.modules()]
    assert FusedConv in kinds
    assert torch.nn.PixelUnshuffle not in kinds
    assert torch.nn.PixelShuffle not in kinds
    assert getattr(getattr(fused, "encoder", None), "fold_in", 1) == 1
    if config.norm == "batch":
        assert not any(issubclass(kind, torch.nn.ReLU | torch.nn.ReLU6) for kind in kinds)
    for size in ((40, 72), (33, 50), (8, 8), (1, 1), (9, 2)):
        image = torch.rand(2, 3, *size) * 255
        with torch.inference_mode():
            expected = model(image)
            scale = expected.abs().max().item()
            for given in (image, image.contiguous(memory_format=torch.channels_last)):
                torch.testing.assert_close(fused(given), expected, rtol=0, atol=2e-5 * scale)


@needs_onednn
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_every_activation_is_torch_s(act: type[torch.nn.Module]) -> None:
    conv = torch.nn.Conv2d(8, 16, 3, padding=1)
    x = 20 * torch.randn(2, 8, 9, 11)
    with torch.inference_mode():
        expected = act()(conv(x))
        assert expected.max() == 6 if issubclass(act, torch.nn.ReLU6) else expected.max() > 6
        torch.testing.assert_close(FusedConv(conv, act())(x), expected, rtol=1e-5, atol=1e-4)


@needs_onednn
@pytest.mark.parametrize("groups", [1, 80])
def test_a_weight_fits_inputs_of_many_shapes(groups: int) -> None:
    """oneDNN wants another layout for each: 480 to 80 channels takes seven times as long in a wrong one."""
    conv = torch.nn.Conv2d(480, 80, 1, groups=groups)
    fused = FusedConv(conv, torch.nn.ReLU())
    for shape in ((2, 10, 20), (1, 10, 20), (2, 12, 20), (1, 3, 5), (2, 3, 5), (4, 1, 1), (2, 10, 20)):
        x = torch.randn(shape[0], 480, *shape[1:]).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            torch.testing.assert_close(fused(x), conv(x).relu(), rtol=1e-5, atol=1e-5)
    assert len(fused._laid_out) == 4  # memory stays bounded
    assert (2, 480, 12, 20) in fused._laid_out


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("classes", [1, 2, 19])
@pytest.mark.parametrize("place", [(2, 5, 7), (1, 1, 1), (1, 1, 6), (1, 6, 1), (3, 1, 2)], ids=str)
def test_rows_are_shuffled_as_pixels_are(factor: int, classes: int, place: tuple[int, int, int]) -> None:
    x = torch.randn(place[0], classes * factor**2, *place[1:])
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        found = RowShuffle(factor)(given)
        assert torch.equal(found, torch.nn.functional.pixel_shuffle(x, factor))
        assert found.is_contiguous()


@needs_onednn
def test_a_fused_network_runs_in_several_threads_at_once() -> None:
    model = lively(tiny_checkpoint().model)
    images = [torch.rand(2, 3, 40 + 8 * i, 72) * 255 for i in range(6)]
    with torch.inference_mode():
        expected = [model(image) for image in images]
    fused = model.fuse()

    def run(image: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return fused(image)

    with ThreadPoolExecutor(6) as pool:
        for found, right in zip(pool.map(run, images), expected, strict=True):
            torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-4)


def test_without_onednn_a_network_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unet, "can_fuse", lambda: False)
    model = lively(tiny_checkpoint().model)
    image = torch.rand(1, 3, 40, 72) * 255
    before = model(image)
    torch.testing.assert_close(model.fuse()(image), before, rtol=1e-4, atol=1e-4)
    kinds = [type(module) for module in model.modules()]
    assert FusedConv not in kinds
    assert torch.nn.BatchNorm2d not in kinds


def test_channels_last_changes_nothing() -> None:
    model = lively(tiny_checkpoint().model)
    image = torch.rand(2, 3, 40, 72) * 255
    before = model(image)
    after = model.to(memory_format=torch.channels_last)(image.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_padding_leaves_an_exact_multiple_alone_and_uint8_equals_float() -> None:
    model = tiny_checkpoint().model
    image = torch.randint(0, 256, (1, 3, 16, 24), dtype=torch.uint8)
    torch.testing.assert_close(model(image), model(image.float()))
    assert model.config.stride == 8


def test_named_models_keep_their_promises() -> None:
    count = {name: sum(p.numel() for p in build_model(c, 2).parameters()) for name, c in MODELS.items()}
    assert count["nano"] < 250_000
    assert count["small"] <= 2_000_000
    # 31,030,658 in the widespread implementation (with biases where ours has norms): 64 to 1024 channels
    assert 30.9e6 < count["unet"] < 31.2e6


def test_a_batch_norm_is_not_folded_into_a_group_norm_net() -> None:
    unit = ConvNorm(8, 8, 3, norm="group").eval()
    unit.fold()
    assert isinstance(unit.norm, torch.nn.GroupNorm)


@pytest.mark.parametrize("skip", ["sum", "concat"])
def test_every_weight_learns(skip: str) -> None:
    model = tiny_checkpoint(skip=skip).model.train()
    model(torch.rand(2, 3, 32, 32) * 255).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stem_stride": 3}, "stem_stride is 3, but must be one of: 1, 2, 4"),
        ({"block": "fat"}, "block is 'fat'"),
        ({"widths": ()}, "widths"),
        ({"depths": (1,)}, "one count a stage"),
    ],
)
def test_impossible_shapes_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        UNetConfig(**settings)  # type: ignore[arg-type]
