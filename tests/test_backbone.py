"""torchvision's networks as encoders: every one of them fits, folds, and takes weights."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.fx import symbolic_trace
from torchvision.models import get_model
from torchvision.models import resnet18 as torchvision_resnet18

from roadseg.config import TrainConfig, UNetConfig
from roadseg.engine.initial import initial_model
from roadseg.errors import CheckpointError, ConfigError
from roadseg.labels import get_scheme
from roadseg.model.backbone import NODES, TorchvisionEncoder
from roadseg.model.blocks import Context
from roadseg.model.fused import ACTIVATIONS, FusedConv, can_fuse, merge_pairs
from roadseg.model.unet import PretrainedUNet, build_model


@pytest.mark.parametrize("name", NODES)
def test_every_encoder_fits_and_folds(name: str) -> None:
    shape = UNetConfig(encoder=name, stem_stride=2, widths=(8, 8, 12, 12, 16), depths=(1,) * 5)  # type: ignore[arg-type]
    model = build_model(shape, 3).eval()
    image = torch.rand(1, 3, 37, 70) * 255
    with torch.no_grad():
        before = model(image)
        assert before.shape == (1, 3, 37, 70)
        model.fold()
        torch.testing.assert_close(model(image), before, rtol=1e-3, atol=1e-3)
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
        if not can_fuse():
            pytest.skip("this torch has no oneDNN to fuse kernels")
        torch.testing.assert_close(model.fuse()(image), before, rtol=1e-3, atol=1e-3)
        kinds = [type(module) for module in model.modules()]
        assert kinds.count(torch.nn.Conv2d) == kinds.count(Context)  # that of the mean
        assert torch.nn.ReLU6 not in kinds
        if name.startswith("mobilenet_v3"):
            assert torch.nn.Hardswish not in kinds


@pytest.mark.skipif(not can_fuse(), reason="torch has no oneDNN for this CPU")
def test_what_is_read_before_its_activation_is_not_merged() -> None:
    class TwoReaders(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(8, 8, 1)
            self.act = torch.nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            result: torch.Tensor = x + self.act(self.second(self.act(x)))
            return result

    x = torch.randn(1, 3, 5, 6)
    with torch.inference_mode():
        body = symbolic_trace(TwoReaders())
        before = body(x)
        merge_pairs(body, ACTIVATIONS, FusedConv)
        torch.testing.assert_close(body(x), before)
    kinds = [type(module) for module in body.modules()]
    assert [kinds.count(kind) for kind in (torch.nn.Conv2d, FusedConv, torch.nn.ReLU)] == [1, 1, 1]


def test_features_are_those_of_torchvision_with_its_weights(tmp_path: Path) -> None:
    whole = torchvision_resnet18(weights=None).eval()
    torch.save(whole.state_dict(), tmp_path / "resnet18.pth")
    encoder = TorchvisionEncoder("resnet18", 3)
    encoder.load_imagenet(str(tmp_path / "resnet18.pth"))
    encoder.eval()
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        fine, middle, coarse = encoder(x)
        stem = whole.relu(whole.bn1(whole.conv1(x)))
        torch.testing.assert_close(fine, stem)
        torch.testing.assert_close(middle, whole.layer1(whole.maxpool(stem)))
        torch.testing.assert_close(coarse, whole.layer2(whole.layer1(whole.maxpool(stem))))
        halved = TorchvisionEncoder("resnet18", 1, stem_stride=4)
        halved.load_imagenet(str(tmp_path / "resnet18.pth"))
        torch.testing.assert_close(halved.eval()(x)[0], encoder(F.avg_pool2d(x, 2))[0])


def test_unfit_weights_are_refused(tmp_path: Path) -> None:
    encoder = TorchvisionEncoder("resnet18", 5)
    for other in ("resnet50", "mobilenet_v2"):
        torch.save(get_model(other, weights=None).state_dict(), tmp_path / "other.pth")
        with pytest.raises(CheckpointError, match="not the weights of resnet18"):
            encoder.load_imagenet(str(tmp_path / "other.pth"))


def test_a_larger_relative_s_weights_are_refused_and_wrapped_ones_are_read(tmp_path: Path) -> None:
    """resnet34 has every layer of resnet18, and more."""
    for name in ("resnet18", "resnet34"):
        torch.save({"state_dict": get_model(name, weights=None).state_dict()}, tmp_path / f"{name}.pth")
    encoder = TorchvisionEncoder("resnet18", 4, 2)
    encoder.load_imagenet(str(tmp_path / "resnet18.pth"))
    with pytest.raises(CheckpointError, match="not the weights of resnet18"):
        encoder.load_imagenet(str(tmp_path / "resnet34.pth"))


def test_without_network_the_message_says_what_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fails)
    with pytest.raises(CheckpointError, match=r"no network.*Fetch https://\S+resnet18.* --encoder-weights"):
        TorchvisionEncoder("resnet18", 5).load_imagenet("imagenet")


def test_the_options_of_train(tmp_path: Path) -> None:
    torch.save(torchvision_resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    config = TrainConfig(encoder="resnet18", encoder_weights=str(tmp_path / "resnet18.pth"))
    model = initial_model(config, get_scheme("road"))
    assert isinstance(model, PretrainedUNet)
    assert model.encoder.channels == [64, 64, 128, 256]  # small has four levels
    assert TrainConfig(encoder="efficientnet_lite2", model="base").network.encoder == "efficientnet_lite2"
    with pytest.raises(ConfigError, match="encoder is 'alexnet', but must be one of"):
        TrainConfig(encoder="alexnet")
    with pytest.raises(ConfigError, match="encoder of its own"):
        TrainConfig(encoder="resnet18", model="unet")
    with pytest.raises(ConfigError, match="bring their own encoder"):
        TrainConfig(encoder="resnet18", weights="w.pt")
