"""Pruning: channels really go, what is left computes the same, and the files are ordinary checkpoints."""

import builtins
import copy
import json
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from conftest import losses, tiny_checkpoint, write_png
from jsonschema import Draft202012Validator
from test_checkpoint import Bomb
from torch import nn
from typer.testing import CliRunner

from roadseg.cli.app import app
from roadseg.cli.training import TrainDisplay
from roadseg.config import PruneConfig, UNetConfig
from roadseg.dataset.samples import find_samples
from roadseg.documents import schema_of
from roadseg.engine import channels
from roadseg.engine import prune as prune_module
from roadseg.engine.channels import (
    Block,
    count_channels,
    keep_channels,
    rank,
    reach_speed,
    remove,
    zero_weights,
)
from roadseg.engine.cost import costs, macs, work
from roadseg.engine.joining import join_classes
from roadseg.engine.listener import TrainListener
from roadseg.engine.release import calibrate, mean_of
from roadseg.engine.runs import resume_training
from roadseg.errors import CheckpointError, ConfigError, RoadsegError
from roadseg.labels import get_scheme
from roadseg.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from roadseg.model.unet import RoadNet, build_model

SHAPES: dict[str, dict[str, Any]] = {
    "plain-sum": {},
    "separable-concat-group": {"block": "separable", "skip": "concat", "norm": "group", "stem_stride": 2},
    "separable-concat": {"block": "separable", "skip": "concat", "stem_stride": 1, "context": False},
    "plain-group": {"norm": "group"},
    "classic": {"architecture": "classic", "skip": "concat"},
    "classic-group": {"architecture": "classic", "skip": "concat", "norm": "group"},
    "lite": {"encoder": "efficientnet_lite0", "widths": (16, 24, 24), "depths": (1, 1, 2)},
    "lite-concat-group": {
        "encoder": "efficientnet_lite0", "widths": (16, 24, 24), "depths": (1, 2, 1), "stem_stride": 2,
        "skip": "concat", "norm": "group",
    },
    "resnet18": {"encoder": "resnet18", "widths": (8, 16), "depths": (0, 0), "stem_stride": 2},
    "mobilenet_v3_large": {"encoder": "mobilenet_v3_large"},
    "regnet_y_400mf": {"encoder": "regnet_y_400mf"},
}  # fmt: skip


def network(**shape: Any) -> RoadNet:
    """An untrained network whose norms have something to say."""
    torch.manual_seed(1)
    settings = {"widths": (16, 24, 32), "depths": (1, 1, 2), **shape}
    model = build_model(UNetConfig(**settings), 2).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean, std=0.2)
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.2)
    nn.init.normal_(model.head.weight)
    return model


def picture(height: int = 40, width: int = 56) -> torch.Tensor:
    return torch.rand(1, 3, height, width) * 255


def road(model: RoadNet) -> Checkpoint:
    return Checkpoint(model, get_scheme("road"), imgsz=96)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def layers(model: nn.Module) -> dict[str, str]:
    return {name: str(module) for name, module in model.named_modules() if not list(module.children())}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_round_trip_of_every_architecture(shape: dict[str, Any], tmp_path: Path) -> None:
    model = network(**shape)
    small = keep_channels(model, 0.8, losses())
    whole, left = (count_channels(given) for given in (model, small))
    assert 0.8 * whole - 16 < left <= 0.8 * whole
    assert parameters(small) < parameters(model)
    assert macs(small, (64, 64)) < 0.95 * macs(model, (64, 64))
    for module in small.modules():
        if isinstance(module, nn.Conv2d) and module is not small.head:
            assert module.out_channels % 8 == 0
        if isinstance(module, nn.GroupNorm):
            assert module.num_channels == 8 * module.num_groups
    image = picture()
    for suffix in (".pt", ".safetensors"):
        path = tmp_path / f"small{suffix}"
        save_checkpoint(road(small), path)
        again = load_checkpoint(path).model
        assert again.pruned
        assert again.config == model.config
        assert torch.equal(again(image), small(image))
        assert layers(again) == layers(small)  # each says the same of itself
        torch.testing.assert_close(copy.deepcopy(again).fold()(image), small(image), rtol=1e-4, atol=1e-3)
    again.train()(torch.rand(2, 3, 64, 64) * 255).square().mean().backward()
    assert [name for name, p in again.named_parameters() if p.grad is None] == []
    twice = keep_channels(load_checkpoint(path).model, 0.98, losses())  # what was pruned can be pruned again
    assert parameters(twice) < parameters(small)


def test_blocks_leave_whole_vectors_and_narrow_layers_half_of_one() -> None:
    """What is left after each block is a multiple of the vector, or of 8 below it."""
    assert channels._sizes(40, 16) == [8, 16, 8, 8]
    assert channels._sizes(24, 16) == [8, 8, 8]
    assert channels._sizes(30, 16) == [14, 8, 8]
    assert channels._sizes(20, 8) == [4, 8, 8]
    assert channels._sizes(5, 16) == [5]
    for vector in (8, 16):
        for count in range(1, 200):
            left = count
            for size in channels._sizes(count, vector)[:-1]:
                left -= size
                assert left % vector == 0 if left > vector else left == vector or left % 8 == 0
            assert sum(channels._sizes(count, vector)) == count


def test_blocks_are_as_wide_as_the_cpu_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a layer in their order, also where all its channels matter as little as one another."""
    model = network(widths=(40, 40), depths=(1, 1))
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    for width, expected in ((16, [8, 16, 8]), (8, [8, 8, 8, 8])):
        monkeypatch.setattr(channels, "_vector", lambda width=width: width)
        sizes: dict[str, list[int]] = {}
        for block in rank(model, losses()):
            sizes.setdefault(block.layer, []).append(len(block.channels))
        assert expected in sizes.values()
        assert all(found == expected for found in sizes.values() if sum(found) == 32)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_outputs_are_those_of_the_network_with_the_channels_zeroed(shape: dict[str, Any]) -> None:
    """Every layer loses its least important block; zeroed by hand, by their names, in the whole network."""
    model = network(**shape)
    last: dict[str, Block] = {}
    for block in rank(model, losses()):
        last.setdefault(block.layer, block)
    small = remove(model, list(last.values()))
    zeroed = copy.deepcopy(model).eval()  # torch.fx's copies are in training mode
    with torch.no_grad():
        for module, kept in _outputs_kept(model, small).items():
            layer = dict(zeroed.named_modules())[module]
            gone = sorted(set(range(len(layer.bias))) - kept)
            for tensor in (layer.weight, layer.bias):
                if layer.weight.ndim == 1:  # a norm: nothing passes it
                    tensor[gone] = 0
        _zero_convolutions_without_norm(model, small, zeroed)
    image = picture()
    assert parameters(small) < parameters(model)
    torch.testing.assert_close(small(image), zeroed(image), rtol=1e-4, atol=1e-4)


def _outputs_kept(model: RoadNet, small: RoadNet) -> dict[str, set[int]]:
    """Name of each norm -> the channels that are left, found by their (all different) weights."""
    kept = {}
    layers = dict(small.named_modules())
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            left = set(layers[name].weight.tolist())
            kept[name] = {i for i, value in enumerate(module.weight.tolist()) if value in left}
            assert len(kept[name]) == len(layers[name].weight)
    return kept


def _zero_convolutions_without_norm(model: RoadNet, small: RoadNet, zeroed: RoadNet) -> None:
    """The context's `mean` and the classic's `ups`, whose biases tell their channels."""
    layers, zeros = dict(small.named_modules()), dict(zeroed.named_modules())
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None and name != "head":
            gone = [i for i, b in enumerate(module.bias.tolist()) if b not in set(layers[name].bias.tolist())]
            dimension = 1 if isinstance(module, nn.ConvTranspose2d) else 0
            zeros[name].weight.index_fill_(dimension, torch.tensor(gone, dtype=torch.long), 0)
            zeros[name].bias[gone] = 0


def test_a_network_whose_classes_have_members() -> None:
    many = build_model(UNetConfig(widths=(16, 24, 32), depths=(1, 1, 2)), 19).eval()
    joined = join_classes(Checkpoint(many, get_scheme("cityscapes19"), imgsz=96), "road")
    members = joined.model.config.members
    smaller = keep_channels(joined.model, 0.6, losses())
    assert parameters(smaller) < parameters(joined.model)
    assert smaller.config.members == members == joined.model.config.members
    assert smaller(torch.zeros(1, 3, 32, 32)).shape == (1, 2, 32, 32)


def test_what_is_least_important_goes_first() -> None:
    model = network()
    with torch.no_grad():
        for name, tensor in model.stages[1][1].body[0].named_parameters():
            tensor[3:11] *= 1e-3 if name == "conv.weight" else 0
    first = rank(model, losses())[0]
    assert (first.layer, sorted(first.channels)) == ("stages.1.1.body.0.conv", list(range(3, 11)))


def test_importance_is_what_the_loss_would_change() -> None:
    """Of the last convolution before the head, by hand: the loss is linear in what it puts out."""
    model = build_model(UNetConfig(architecture="classic", widths=(16,), depths=(0,)), 2).eval()
    image = picture()

    def loss(network: RoadNet) -> torch.Tensor:
        return network(image)[:, 1].sum()

    blocks = [block for block in rank(model, [loss]) if block.layer == "encoder.0.1.conv"]
    (block,) = blocks  # of two, one stays
    changes = []
    for channel in range(16):
        without = copy.deepcopy(model)
        with torch.no_grad():
            for tensor in without.encoder[0][1].norm.parameters():
                tensor[channel] = 0
            changes.append(float(loss(model) - loss(without)) ** 2)
    assert sorted(block.channels) == sorted(sorted(range(16), key=lambda i: changes[i])[:8])
    saved = (work(model, (2, 2)) - work(remove(model, [block]), (2, 2))) / 8
    assert block.score == pytest.approx(sum(sorted(changes)[:8]) / 8 / saved, rel=1e-3)


def test_until_it_is_fast_enough_and_no_further() -> None:
    model = network()
    whole = macs(model, (64, 64))
    asked: list[float] = []

    def speed(other: RoadNet) -> float:
        asked.append(whole / macs(other, (64, 64)))
        return asked[-1]

    small = reach_speed(model, 1.5, speed, losses())
    reached = whole / macs(small, (64, 64))
    assert reached == min(value for value in asked if value >= 1.5)
    assert max((value for value in asked if value < 1.5), default=1) < reached
    with pytest.raises(RoadsegError, match=r"at most .* times as fast"):
        reach_speed(model, 500, speed, losses())


@pytest.mark.parametrize("measured", [[1.2], [1.51, 1.2]], ids=["too slow", "a lucky measurement"])
def test_what_never_gets_so_fast_is_refused(measured: list[float]) -> None:
    given = chain(measured, repeat(measured[-1]))
    with pytest.raises(RoadsegError, match=r"at most 1\.20 times as fast here .* not 1\.5 times"):
        reach_speed(network(), 1.5, lambda _: next(given), losses())


def test_ranking_anew_on_the_way_loses_less(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(**SHAPES["lite"])
    images = [picture(64, 64) for _ in range(4)]
    wanted = [model(image).detach() for image in images]

    def loss(image: torch.Tensor, truth: torch.Tensor, network: RoadNet) -> torch.Tensor:
        return nn.functional.mse_loss(network(image), truth)

    given = [partial(loss, *pair) for pair in zip(images, wanted, strict=True)]
    stepwise = keep_channels(model, 0.6, given)
    monkeypatch.setattr(channels, "STEPS", 1)
    at_once = keep_channels(model, 0.6, given)
    lost = [sum(float(one(small).detach()) for one in given) for small in (stepwise, at_once)]
    assert lost[0] < 0.5 * lost[1]


def test_pruning_to_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="a layer would vanish"):
        keep_channels(network(), 0.05, losses())
    for settings, wrong in (
        ({"keep": 0.0}, "nothing is left"),
        ({"keep": 1.0}, "where all is"),
        ({"keep": float("nan")}, "keep is nan"),
        ({"speedup": 1.0}, "must lie above 1"),
        ({}, "Say how far"),
        ({"keep": 0.5, "speedup": 2.0}, "Say how far"),
        ({"speedup": 2.0, "unstructured": True}, "no network faster"),
    ):
        with pytest.raises(ConfigError, match=wrong):
            PruneConfig(**settings)  # type: ignore[arg-type]


def test_zeros_are_as_many_as_asked_and_save_nothing() -> None:
    model = network()
    zeroed = zero_weights(model, 0.25)
    before, after = costs([model, zeroed], (64, 64), torch.device("cpu"))
    assert (after.macs, after.parameters) == (before.macs, before.parameters)
    convolutions = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv2d))
    assert after.zeros == pytest.approx(0.75 * convolutions, rel=1e-3)
    assert before.speed == 1
    assert zeroed.state_dict().keys() == model.state_dict().keys()


def test_macs_and_work_by_hand() -> None:
    model = build_model(UNetConfig(architecture="classic", widths=(8,), depths=(0,)), 2)
    # two 3x3 convolutions, 3 -> 8 and 8 -> 8, and the head, 8 -> 2
    multiplications = 24 * (9 * 3 * 8 + 9 * 8 * 8 + 8 * 2)
    assert macs(model, (4, 6)) == multiplications
    # what the convolutions read and write; norms are folded, and activations computed on the way
    numbers = 24 * ((3 + 8) + (8 + 8) + (8 + 2))
    assert work(model, (4, 6)) == multiplications + 15 * numbers


def test_only_networks_pruned_alike_are_averaged() -> None:
    small = road(keep_channels(network(), 0.6, losses()))
    assert mean_of([small, small]).model.pruned
    with pytest.raises(CheckpointError, match="another network"):
        mean_of([small, road(network())])


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.pt"
    save_checkpoint(road(keep_channels(network(norm="group", block="separable"), 0.6, losses())), path)
    return path


HOSTILE: dict[str, Any] = {
    "a layer larger than the network": lambda w: w | {"head.bias": torch.zeros(10**6)},
    "a layer that is not the next one's": lambda w: w | {"stem.1.conv.weight": torch.zeros(8, 40, 3, 3)},
    "fewer logits": lambda w: w | {"head.weight": w["head.weight"][:16], "head.bias": w["head.bias"][:16]},
    "nothing": lambda w: w | {"stem.1.norm.weight": torch.zeros(0)},
    "a flat layer": lambda w: w | {"stem.1.conv.weight": torch.zeros(8)},
    "another kernel": lambda w: w | {"stem.1.conv.weight": w["stem.1.conv.weight"][:, :, :1, :1].clone()},
    "half a norm": lambda w: w | {"stem.1.norm.bias": torch.zeros(1)},
    "no tensor": lambda w: w | {"head.bias": 3},
    "one number, repeated": lambda w: w | {"head.bias": torch.zeros(1).expand(32)},
    "a layer too many": lambda w: w | {"tail.weight": torch.zeros(3)},
    "a layer too few": lambda w: {name: t for name, t in w.items() if name != "head.bias"},
    "no weights at all": lambda w: 7,
}


@pytest.mark.parametrize("damage", HOSTILE)
def test_hostile_shapes_are_refused(small_file: Path, damage: str) -> None:
    content = torch.load(small_file, weights_only=True)
    content["weights"] = HOSTILE[damage](content["weights"])
    torch.save(content, small_file)
    with pytest.raises(CheckpointError, match="do not fit the network"):
        load_checkpoint(small_file)


@pytest.mark.parametrize(
    "shape", [{"widths": (2**20, 2**21, 2**22)}, {"widths": (2**40,) * 3}, {"depths": (10**9, 0, 0)}]
)
@pytest.mark.parametrize("pruned", [False, True])
def test_a_file_gets_no_more_memory_than_it_has(small_file: Path, shape: Any, pruned: bool) -> None:
    content = torch.load(small_file, weights_only=True)
    content["model_config"] |= {"norm": "group", "block": "plain", **{k: list(v) for k, v in shape.items()}}
    content["pruned"] = pruned
    torch.save(content, small_file)
    with pytest.raises(CheckpointError, match="do not fit the network"):
        load_checkpoint(small_file)


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


QUICK = ("--imgsz", "96", "--batch-size", "3", "--workers", "0", "--device", "cpu")
ONCE = ("--epochs", "1", *QUICK)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "whole.pt"
    whole = road(network())
    whole.parts = [{"share": 1.0, "recipe": {}}]  # of a mean; what is made of it is none
    save_checkpoint(whole, path)
    return path


def test_the_command_and_all_that_reads_its_result(cityscapes: Path, tmp_path: Path, weights: Path) -> None:
    out = tmp_path / "run"
    command = ("prune", "--weights", weights, "--data", cityscapes, "--out", out, *QUICK)
    done = run(*command, "--keep", "0.6", "--epochs", "2", "--augment", "light", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert json.loads((out / "prune.json").read_text()) == report
    Draft202012Validator(schema_of("prune")).validate(report)
    before, pruned, after = report["stages"]
    assert [stage["name"] for stage in report["stages"]] == ["before", "pruned", "finetuned"]
    assert report["height_width"] == [48, 96]
    best = load_checkpoint(out / "finetuned.pt")
    better = after["scores"]["cityscapes"] >= pruned["scores"]["cityscapes"]
    assert report["weights"] == str(out / ("finetuned.pt" if better else "pruned.pt"))
    assert before["cost"]["parameters"] == parameters(load_checkpoint(weights).model)
    assert pruned["cost"]["parameters"] == after["cost"]["parameters"] == parameters(best.model)
    assert after["cost"]["macs"] == macs(best.model, (48, 96)) < before["cost"]["macs"]
    assert after["scores"] == best.scores
    # calibrated: fitted once more, there is nothing left to change
    assert report["calibration"].keys() == {"temperature", "bias"}
    val = find_samples(cityscapes, "val", val_fraction=best.recipe["val_fraction"])
    _, further = calibrate(best, val, device="cpu")
    assert further.temperature == pytest.approx(1, abs=0.002)
    assert further.bias == pytest.approx(0, abs=0.002)
    _, whole = calibrate(load_checkpoint(out / "best.pt"), val, device="cpu")
    assert report["calibration"] == pytest.approx(whole._asdict())
    assert best.recipe["teacher"] == str(weights)
    assert best.recipe["augment"] == "light"
    assert load_checkpoint(out / "pruned.pt").parts == []

    again = run(*command, "--keep", "0.6")
    assert (again.exit_code, "is not empty" in again.stderr) == (1, True)
    # the tools that take a checkpoint
    write_png(tmp_path / "in" / "a.png", (torch.rand(40, 50, 3) * 255).byte().numpy())
    for words in (
        ("segment", tmp_path / "in", "--out", tmp_path / "masks", "--weights", out / "finetuned.pt"),
        ("eval", "--data", cityscapes, "--out", tmp_path / "scores", "--weights", out / "finetuned.pt"),
        ("release", out / "best.pt", out / "last.pt", "--out", tmp_path / "r.safetensors"),
        ("train", "--weights", out / "pruned.pt", "--data", cityscapes, "--runs", tmp_path, *ONCE),
        ("train", "--resume", out),
    ):  # fmt: skip
        finished = run(*words)
        assert finished.exit_code == 0, finished.output
    assert (tmp_path / "masks" / "masks" / "a.png").is_file()
    assert parameters(load_checkpoint(tmp_path / "r.safetensors").model) == parameters(best.model)
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())["scores"]
    assert scores["per_class"]["road"]["iou"] == pytest.approx(after["scores"]["cityscapes"])


@pytest.mark.parametrize(("finetuned", "name"), [(0.7, "finetuned.pt"), (0.5, "pruned.pt")])
def test_a_finetuning_that_makes_it_worse_is_not_what_is_given(
    cityscapes: Path,
    tmp_path: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    finetuned: float,
    name: str,
) -> None:
    scores = iter([0.8, 0.6, finetuned])
    monkeypatch.setattr(prune_module, "_scores", lambda *_: {"cityscapes": next(scores)})
    out = tmp_path / "run"
    done = run(
        "prune", "--weights", weights, "--data", cityscapes, "--out", out, "--keep", "0.6", "--json", *ONCE
    )
    assert done.exit_code == 0, done.output
    assert json.loads((out / "prune.json").read_text())["weights"] == str(out / name)
    assert ("made it worse" in done.stderr) == (name == "pruned.pt")


def test_a_finetuning_that_was_killed_goes_on_to_the_same_bits(
    cityscapes: Path, tmp_path: Path, weights: Path
) -> None:
    command = ("prune", "--weights", weights, "--data", cityscapes, "--keep", "0.6", "--epochs", "2", *QUICK)
    for name in ("whole", "parts"):
        assert run(*command, "--out", tmp_path / name).exit_code == 0
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    (parts / "last.previous.pt").replace(parts / "last.pt")  # as it was after epoch 1
    resume_training(parts, TrainListener(), device="cpu", workers=0)
    assert same_weights(parts, whole)
    for path in parts.glob("*.pt"):  # and before it
        if path.name != "pruned.pt":
            path.unlink()
    resume_training(parts, TrainListener(), device="cpu", workers=0)
    assert same_weights(parts, whole)


def same_weights(one: Path, other: Path) -> bool:
    """Whether two runs of two epochs ended with the same bits."""
    given, expected = (load_checkpoint(folder / "last.pt") for folder in (one, other))
    assert given.training is not None
    assert len(given.training["history"]) == 2
    return given.digest() == expected.digest()


def test_ctrl_c_says_how_far_it_came(
    cityscapes: Path, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainDisplay, "step", interrupted)
    out = tmp_path / "run"
    done = run("prune", "--weights", weights, "--data", cityscapes, "--keep", "0.6", "--out", out, *QUICK)
    assert done.exit_code == 130
    assert f"No epoch is done: roadseg train --resume {out} begins again." in done.stderr
    assert "is made, at the end of prune alone" in done.stderr


def test_other_classes_get_a_head_of_their_own(cityscapes: Path, tmp_path: Path, small_file: Path) -> None:
    command = ("train", "--data", cityscapes, "--weights", small_file, "--classes", "cityscapes-category7")
    done = run(*command, "--runs", tmp_path, "--name", "seven", *ONCE)
    assert done.exit_code == 0, done.output
    seven = load_checkpoint(tmp_path / "seven" / "last.pt").model
    assert (seven.num_classes, seven.pruned) == (7, True)
    assert seven.head.in_channels == load_checkpoint(small_file).model.head.in_channels


def test_the_baseline_says_that_it_is_one(cityscapes: Path, tmp_path: Path, weights: Path) -> None:
    command = ("prune", "--weights", weights, "--data", cityscapes, "--keep", "0.5", "--unstructured", *QUICK)
    done = run(*command, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "no speed-up" in done.stdout
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"pruned.pt", "prune.json"}
    assert not load_checkpoint(tmp_path / "run" / "pruned.pt").model.pruned


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"--keep": "0"}, 2, "nothing is left"),
        ({"--keep": "0.01"}, 2, "a layer would vanish"),
        ({"--keep": None}, 2, "Say how far"),
        ({"--data": None}, 2, "No data set was named"),
        ({"--data": "nowhere"}, 1, "nowhere"),
        ({"--weights": "nothing.pt"}, 1, "no such weights file"),
        ({"--weights": __file__}, 1, "no checkpoint at all"),
        ({"--epochs": "-1"}, 2, "epochs is -1"),
        ({"--device": "cuda:77"}, 2, "no such device"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_mistakes_are_told_and_nothing_is_written(
    cityscapes: Path,
    tmp_path: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str | None],
    code: int,
    message: str,
) -> None:
    monkeypatch.delenv("CITYSCAPES_DATASET", raising=False)
    monkeypatch.chdir(tmp_path)
    words = {
        "--weights": str(weights),
        "--data": str(cityscapes),
        "--keep": "0.6",
        **dict(zip(*[iter(QUICK)] * 2, strict=True)),
    }
    words |= change  # type: ignore[arg-type]
    done = run("prune", "--out", "run", *(part for pair in words.items() if pair[1] for part in pair))
    assert (done.exit_code, message in done.stderr) == (code, True), done.output
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "runs").exists()


def test_a_pickle_bomb_is_no_checkpoint(cityscapes: Path, tmp_path: Path) -> None:
    torch.save({"format": 1, "weights": Bomb(tmp_path / "boom")}, tmp_path / "bomb.pt")
    done = run("prune", "--weights", tmp_path / "bomb.pt", "--data", cityscapes, "--keep", "0.5")
    assert (done.exit_code, "refused" in done.stderr) == (1, True)
    assert not (tmp_path / "boom").exists()


def test_a_missing_extra_is_one_line(
    cityscapes: Path, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "torch_pruning":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    out = tmp_path / "run"
    done = run("prune", "--weights", weights, "--data", cityscapes, "--keep", "0.5", "--out", out, *QUICK)
    assert (done.exit_code, "pip install 'roadseg[prune]'" in done.stderr) == (1, True)
    assert not out.exists()


def test_an_ordinary_file_says_that_nothing_was_pruned(tmp_path: Path) -> None:
    save_checkpoint(tiny_checkpoint(), tmp_path / "a.safetensors")
    with safetensors.safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert json.loads(file.metadata()["roadseg"])["pruned"] is False
