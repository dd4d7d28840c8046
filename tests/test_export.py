"""Exported networks: they do what the checkpoint does, or are not written; a stranger's file does nothing."""

import copy
import json
import shutil
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from conftest import street, tiny_checkpoint
from onnx import TensorProto, helper, numpy_helper
from test_unet import lively
from typer.testing import CliRunner, Result

from roadseg.cli.app import app
from roadseg.config import InferConfig
from roadseg.dataset.samples import find_samples
from roadseg.engine import export as module
from roadseg.engine.backend import RuntimeBackend
from roadseg.engine.export import compare, export, frames
from roadseg.engine.predict import Predictor
from roadseg.errors import CheckpointError, ConfigError, DatasetError, OutputError
from roadseg.media.images import read_rgb
from roadseg.model import stranger
from roadseg.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from roadseg.model.exported import Exported, load_weights
from roadseg.model.onnx_file import trace

SAMPLES = Path(__file__).parents[1] / "samples"
SHAPES: dict[str, dict[str, Any]] = {
    "efficient": {},
    "group norm, separable, concat, stem 1": {
        "norm": "group", "block": "separable", "skip": "concat", "stem_stride": 1,
    },
    "stem 2, no context, three stages": {
        "stem_stride": 2, "context": False, "widths": (8, 8, 16), "depths": (0, 1, 1),
    },
    "classic": {"architecture": "classic", "skip": "concat"},
    "classic, group norm": {"architecture": "classic", "norm": "group", "skip": "concat"},
    "EfficientNet-Lite": {"encoder": "efficientnet_lite0", "depths": (1, 1)},
    "torchvision": {"encoder": "mobilenet_v3_large", "depths": (0, 0), "stem_stride": 2},
}  # fmt: skip


def ready(scheme: str = "road", seed: int = 0, **shape: object) -> Checkpoint:
    """A network whose masks are neither empty nor full; the same seed gives the same one."""
    torch.manual_seed(seed)
    checkpoint = tiny_checkpoint(scheme, **shape)
    lively(checkpoint.model)
    return checkpoint


def invoke(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A checkpoint file."""
    path = tmp_path / "lively.pt"
    save_checkpoint(ready(), path)
    return path


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """The same, exported."""
    path = tmp_path / "lively.onnx"
    export(ready(), path, "onnx")
    return path


def loaded(path: Path) -> Exported:
    exported = load_weights(path)
    assert isinstance(exported, Exported)
    return exported


# ---------------------------------------------------------------- what it computes


@pytest.mark.parametrize("scheme", ["road", "cityscapes19"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_network_computes_the_same_at_any_size(
    shape: dict[str, Any], scheme: str, tmp_path: Path
) -> None:
    checkpoint = ready(scheme, **shape)
    done = export(checkpoint, tmp_path / "net.onnx", "onnx")
    assert done.parity.equal > 0.999
    assert done.parity.difference < 1e-3
    assert done.parity.comparisons == len(frames()) + 2
    backend = RuntimeBackend(loaded(tmp_path / "net.onnx"), InferConfig())
    for size in [(1, 1, 1), (1, 3, 50), (5, 33, 17), (2, 64, 64)]:
        batch, height, width = size
        image = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)
        with torch.inference_mode():
            expected = checkpoint.model(image)
        torch.testing.assert_close(backend.logits(image), expected, rtol=1e-3, atol=1e-3)


def test_the_smallest_pictures_and_the_largest_stride(tmp_path: Path) -> None:
    checkpoint = ready(widths=(8, 8, 8, 8), depths=(0, 0, 0, 0))
    checkpoint.imgsz = 32
    assert checkpoint.model.config.stride == 32
    assert export(checkpoint, tmp_path / "net.onnx", "onnx").parity.equal > 0.999


def test_the_file_says_what_the_checkpoint_says(tmp_path: Path) -> None:
    checkpoint = ready("camvid11")
    checkpoint.scores, checkpoint.recipe = {"mean_iou": 0.5}, {"val_fraction": 0.2}
    path = tmp_path / "ü net.onnx"
    export(checkpoint, path, "onnx")
    again = loaded(path)
    assert again.scheme == checkpoint.scheme
    assert (again.imgsz, again.scores, again.recipe) == (96, checkpoint.scores, checkpoint.recipe)
    assert (again.stride, again.source) == (8, str(path))
    assert again.roadseg_version == checkpoint.roadseg_version
    assert again.export["precision"] == "float32"
    assert again.export["parity"]["equal"] > 0.999
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    graph = onnx.load(path).graph
    sides = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input]
    assert sides == [["batch", "height", "width", 3]]
    assert graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8


def test_side_by_side_calls_give_what_one_gives(network: Path) -> None:
    predictor = Predictor(load_weights(network))
    images = [street(i, 48, 96)[0] for i in range(6)]
    with predictor.threads() as pool:
        together = list(pool.map(lambda image: predictor.logits([image])[0], images))
    for image, logits in zip(images, together, strict=True):
        torch.testing.assert_close(logits, predictor.logits([image])[0])


# ---------------------------------------------------------------- the commands


def shares_equal(a: Path, b: Path) -> list[float]:
    """Of the pixels, for every mask below the two folders."""
    names = sorted(path.relative_to(a) for path in a.rglob("*.png"))
    assert names == sorted(path.relative_to(b) for path in b.rglob("*.png"))
    masks = [[cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED) for folder in (a, b)] for name in names]
    assert all(0 < mask.mean() < 255 for pair in masks for mask in pair)
    return [float((one == other).mean()) for one, other in masks]


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_segment_video_and_eval_take_the_file(
    kind: str, weights: Path, cityscapes: Path, tmp_path: Path
) -> None:
    if kind == "openvino":
        pytest.importorskip("openvino")
    network = tmp_path / ("net.onnx" if kind == "onnx" else "net.xml")
    exported = invoke(
        "export", "-w", weights, "--format", kind, "--out", network, "--json", "--data", cityscapes
    )
    assert exported.exit_code == 0, exported.output
    document = json.loads(exported.stdout)
    assert document["files"][0] == str(network)
    assert document["parity"]["equal"] >= 0.999
    assert document["int8"] is None
    scores, short = [], ("--duration", "0.3")
    for used in (weights, network):
        out = tmp_path / used.suffix
        common = ["--weights", used, "--device", "cpu", "--quiet", "--no-html"]
        commands = [
            ["segment", SAMPLES / "frames" / "weather", "--out", out / "pictures"],
            ["video", SAMPLES / "drive.mp4", "--out", out / "v.mp4", "--masks", out / "frames", *short],
            ["eval", "--data", cityscapes, "--out", out / "eval"],
        ]
        for command in commands:
            done = invoke(*command, *common)
            assert done.exit_code == 0, done.output
        scores.append(json.loads((out / "eval" / "scores.json").read_text())["scores"]["mean_iou"])
    for part in ("pictures/masks", "frames"):
        equal = shares_equal(tmp_path / ".pt" / part, tmp_path / network.suffix / part)
        assert len(equal) >= 3
        assert min(equal) >= 0.999
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_the_default_name_and_nothing_overwritten(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke("export", "--weights", weights)
    assert done.exit_code == 0, done.output
    assert "100.0000% of the pixels" in done.stdout
    before = Path("lively.onnx").read_bytes()
    again = invoke("export", "--weights", weights)
    assert again.exit_code == 1
    assert "lively.onnx: is there already" in again.stderr
    assert Path("lively.onnx").read_bytes() == before
    assert invoke("export", "--weights", weights, "--overwrite").exit_code == 0


@pytest.mark.parametrize("there", [False, True])
def test_a_network_that_computes_something_else_is_not_written(
    there: bool, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out" / "net.onnx"
    if there:
        out.parent.mkdir()
        out.write_text("before")
    other = ready(seed=5)
    monkeypatch.setattr(module, "trace", lambda checkpoint: trace(other))
    done = invoke("export", "--weights", weights, "--out", out, "--overwrite")
    assert done.exit_code == 1
    assert "not written" in done.stderr
    assert [path.read_text() for path in tmp_path.glob("out/*")] == (["before"] if there else [])


def test_a_few_wrong_pixels_in_a_thousand_are_too_many(network: Path) -> None:
    """The head's bias moved until 0.2 % of the classes change: the check sees it."""
    checkpoint = ready()
    exported = loaded(network)
    pictures = [read_rgb(path) for path in frames()]
    assert compare(checkpoint, exported, pictures).equal > 0.9999
    shifted = copy.deepcopy(checkpoint)
    margins = torch.cat([plane.flatten() for plane in Predictor(checkpoint).logits(pictures)])
    with torch.no_grad():
        assert shifted.model.head.bias is not None
        half = len(shifted.model.head.bias) // 2
        shifted.model.head.bias[half:] -= float(
            margins[margins > 0].kthvalue(int(0.01 * len(margins))).values
        )
    assert 0.9 < compare(shifted, exported, pictures).equal < 0.999


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    write, out = module.atomic_write, tmp_path / "out" / "net.xml"

    def full(path: Path, data: bytes) -> None:
        if path.suffix == ".xml":
            raise OutputError("no space")
        write(path, data)

    monkeypatch.setattr(module, "atomic_write", full)
    with pytest.raises(OutputError, match="no space"):
        export(ready(), out, "openvino")
    assert list(out.parent.iterdir()) == []


def test_the_frames_of_the_package_are_samples() -> None:
    samples = {path.name: path.read_bytes() for path in (SAMPLES / "frames").rglob("*.jpg")}
    assert len(frames()) == 3
    assert all(samples[path.name] == path.read_bytes() for path in frames())


# ---------------------------------------------------------------- int8


def test_int8(weights: Path, cityscapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    command = ("export", "-w", weights, "--int8", "--data", cityscapes, "--out", out, "--force", "--quiet")
    done = invoke(*command)
    assert done.exit_code == 0, done.output
    assert "int8" in done.stdout
    exported = loaded(out)
    assert exported.export["precision"] == "int8"
    cost = exported.export["int8"]
    assert (cost["pictures"], cost["calibrated_on"]) == (1, 1), "not judged by what calibrated it"
    kinds = {node.op_type for node in onnx.load(out).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= kinds
    # what it says is what `eval` finds
    assert (
        invoke("eval", "-w", out, "--data", cityscapes, "--out", tmp_path / "e", "--no-html").exit_code == 0
    )
    report = json.loads((tmp_path / "e" / "scores.json").read_text())
    counts = np.array(report["images"][1]["counts"])
    road = counts[1, 1] / (counts[1].sum() + counts[:, 1].sum() - counts[1, 1])
    assert cost["iou"] == pytest.approx(road, abs=1e-9)
    parity = compare(load_checkpoint(weights), exported, [read_rgb(path) for path in frames()])
    assert 0.7 < parity.equal < 1  # near, but no longer the same


def test_the_bundled_network_in_int8_is_as_good(tmp_path: Path) -> None:
    """As a user makes it, without --force: it is refused where it loses more than 0.5 points."""
    out = tmp_path / "small.onnx"
    done = invoke("export", "--int8", "--data", SAMPLES / "cityscapes", "--out", out, "--quiet")
    assert done.exit_code == 0, done.output
    kinds = {node.op_type for node in onnx.load(out).graph.node}
    assert "Clip" not in kinds, "ReLU6 is where the scale of 8 bits ends"


def constant(road: bool) -> Checkpoint:
    """A network that says road, or no road, everywhere."""
    checkpoint = ready()
    head = checkpoint.model.head
    assert head.bias is not None
    torch.nn.init.zeros_(head.weight)
    half = len(head.bias) // 2
    with torch.no_grad():
        head.bias[:half] = 0.0
        head.bias[half:] = 5.0 if road else -5.0
    return checkpoint


def test_int8_is_not_judged_by_the_only_picture_that_calibrates_it(cityscapes: Path, tmp_path: Path) -> None:
    (one,) = find_samples(cityscapes, "val")[:1]
    with pytest.raises(DatasetError, match=r"another one to be scored on; there is 1\."):
        export(ready(), tmp_path / "small.onnx", "onnx", samples=[one], int8=True)
    assert not list(tmp_path.glob("*.onnx"))


@pytest.mark.parametrize("force", [False, True])
def test_int8_that_loses_the_road_needs_force(
    force: bool, cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(constant(True), tmp_path / "road.pt")
    ruined = trace(constant(False))
    monkeypatch.setattr(module, "quantised", lambda model, pictures: ruined)
    out = tmp_path / "small.onnx"
    command = ["export", "-w", tmp_path / "road.pt", "--int8", "--data", cityscapes, "--out", out]
    done = invoke(*command, *(["--force"] if force else []))
    assert done.exit_code == (0 if force else 1), done.output
    assert out.exists() == force
    if not force:
        assert "the road IoU is 0.00% in int8" in done.stderr
        assert "--force" in done.stderr


# ---------------------------------------------------------------- files that are not ours


def edited(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        model = onnx.load(path)
        change(model)
        path.write_bytes(model.SerializeToString())

    return edit


def set_description(model: Any, **changes: object) -> None:
    (entry,) = model.metadata_props
    entry.value = json.dumps({**json.loads(entry.value), **changes})


def without_digest(model: Any) -> None:
    """As whoever changes the weights on purpose would leave it."""
    set_description(model, export={})


def zero(model: Any) -> None:
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    largest.raw_data = largest.raw_data[:1000] + bytes(len(largest.raw_data) - 1000)


def lead_outside(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def lead_outside_by_a_constant(model: Any) -> None:
    node = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(3, np.float32)))
    node.attribute[0].t.data_location = TensorProto.EXTERNAL
    model.graph.node.insert(0, node)


def branch(model: Any) -> None:
    true = numpy_helper.from_array(np.array(True))
    body = helper.make_graph([], "body", [], [])
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value=true))
    model.graph.node.insert(1, helper.make_node("If", ["c"], [], then_branch=body, else_branch=body))


def spoil(model: Any) -> None:
    weight = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight.flat[0] = np.nan
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, model.graph.initializer[0].name))


def inflate(model: Any) -> None:
    model.graph.initializer[0].dims[0] = 2**40


def ask_for_a_terabyte(model: Any) -> None:
    sides = numpy_helper.from_array(np.array([2**19, 2**19], np.int64), "sides")
    one = numpy_helper.from_array(np.ones(1, np.float32), "one")
    last = model.graph.node[-1]
    kept, last.output[0] = last.output[0], "before"
    without_digest(model)
    model.graph.initializer.append(sides)
    model.graph.node.extend(
        [
            helper.make_node("ConstantOfShape", ["sides"], ["all"], value=one),
            helper.make_node("ReduceMean", ["all"], ["mean"], keepdims=0),
            helper.make_node("Add", ["before", "mean"], [kept]),
        ]
    )


def work_for_ever(model: Any) -> None:
    weight = numpy_helper.from_array(np.eye(2048, dtype=np.float32), "square")
    last = model.graph.node[-1]
    kept, last.output[0] = last.output[0], "before"
    without_digest(model)
    model.graph.initializer.append(weight)
    names = ["square", *(f"square{i}" for i in range(1000))]
    model.graph.node.extend(
        [
            *(helper.make_node("MatMul", [a, "square"], [b]) for a, b in pairwise(names)),
            helper.make_node("ReduceMean", [names[-1]], ["mean"], keepdims=0),
            helper.make_node("Add", ["before", "mean"], [kept]),
        ]
    )


FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no metadata": (edited(lambda m: m.ClearField("metadata_props")), "another program's"),
    "cut short": (
        lambda p: p.write_bytes(p.read_bytes()[:3000]),
        r"is no ONNX file, or a damaged one\. Export it again",
    ),
    "empty": (lambda p: p.write_bytes(b""), "the file is empty"),
    "a text": (
        lambda p: p.write_text("hello, this is no network"),
        r"is no ONNX file, or a damaged one\. Export it again",
    ),
    "missing": (lambda p: p.unlink(), "there is no such weights file"),
    "weights elsewhere": (edited(lead_outside), "refused, because it holds weights in other files"),
    "a constant elsewhere": (edited(lead_outside_by_a_constant), "weights in other files"),
    "custom operator": (
        edited(lambda m: m.graph.node.add(op_type="Run", domain="evil", output=["y"])),
        "operator evil.Run",
    ),
    "branches": (edited(branch), r"loops or branches \(If\)"),
    "functions": (edited(lambda m: m.functions.add(name="f", domain="x")), "holds functions"),
    "sparse": (edited(lambda m: m.graph.sparse_initializer.add()), "sparse weights"),
    "not finite": (edited(spoil), "no finite numbers"),
    "a page of zeros": (edited(zero), "it is damaged"),
    "a huge weight": (edited(inflate), "a weight is damaged"),
    "a huge tensor from a few bytes": (edited(ask_for_a_terabyte), "more than 4 GiB"),
    "an unknown operator": (
        edited(lambda m: m.graph.node.add(op_type="Frobnicate", output=["y"])),
        "ONNX Runtime cannot load it",
    ),
    "other names": (
        edited(lambda m: setattr(m.graph.output[0], "name", m.graph.node[-2].output[0])),
        "input and output",
    ),
    "a newer format": (edited(lambda m: set_description(m, format=99)), "Install the roadseg that wrote it"),
    "no JSON": (edited(lambda m: setattr(m.metadata_props[0], "value", "{")), "description is damaged"),
    "not an object": (edited(lambda m: setattr(m.metadata_props[0], "value", "[1]")), "is damaged"),
    "huge pictures": (
        edited(lambda m: set_description(m, preprocessing={"imgsz": 10**9})),
        "imgsz is 1000000000",
    ),
    "another network": (
        edited(lambda m: set_description(m, model_config={"widths": "x"})),
        "description is damaged",
    ),
    "other classes": (
        edited(lambda m: set_description(m, label_scheme=tiny_checkpoint("idd7").scheme.to_dict())),
        r"gives \(1, 2, 56, 96\) where \(1, 7, 56, 96\) belongs",
    ),
}


def test_a_network_that_never_answers_is_given_up(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edited(work_for_ever)(network)
    monkeypatch.setattr(stranger, "SECONDS", 3)
    with pytest.raises(CheckpointError, match="more than 3 s for a picture of"):
        load_weights(network)


def test_a_network_that_gives_nan_finds_no_road(network: Path) -> None:
    def divide(model: Any) -> None:
        last = model.graph.node[-1]
        kept, last.output[0] = last.output[0], "before"
        model.graph.node.append(helper.make_node("Sub", ["before", "before"], ["zero"]))
        model.graph.node.append(helper.make_node("Div", ["zero", "zero"], [kept]))

    edited(divide)(network)
    with pytest.raises(CheckpointError, match="NaN or infinite numbers"):
        Predictor(load_weights(network)).predict([street(0, 360, 640)[0]])


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_refused(name: str, network: Path) -> None:
    change, message = FILES[name]
    change(network)
    with pytest.raises(CheckpointError, match=message):
        Predictor(load_weights(network)).predict([street(0, 360, 640)[0]])


@pytest.fixture
def ir(tmp_path: Path) -> Path:
    """An OpenVINO network."""
    pytest.importorskip("openvino")
    export(ready(), tmp_path / "net.xml", "openvino")
    return tmp_path / "net.xml"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what is reserved")
def test_an_openvino_network_that_asks_for_a_terabyte(ir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stranger, "STARTING", 2**20)  # as if it did: it asks for more than that
    with pytest.raises(CheckpointError, match="asks for more than 0 GiB"):
        Predictor(load_weights(ir)).predict([street(0)[0]])


def test_an_openvino_network_that_is_damaged_or_mixed_up(ir: Path, tmp_path: Path) -> None:
    picture = [street(0)[0]]
    Predictor(load_weights(ir)).predict(picture)
    other = tmp_path / "other.xml"
    export(ready(seed=5), other, "openvino")
    shutil.copy(other.with_suffix(".bin"), ir.with_suffix(".bin"))
    with pytest.raises(CheckpointError, match=r"the \.bin beside it is damaged, or another network's"):
        load_weights(ir)
    ir.with_suffix(".bin").unlink()
    with pytest.raises(CheckpointError, match=r"no such weights file beside the \.xml"):
        load_weights(ir)
    other.write_text(other.read_text()[:2000])
    with pytest.raises(CheckpointError, match="is no OpenVINO network"):
        load_weights(other)


# ---------------------------------------------------------------- bad command lines, missing extras


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "openvino"])
def test_a_missing_extra_is_one_line(
    package: str, weights: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "openvino" if package == "openvino" else "onnx"
    monkeypatch.setitem(sys.modules, package, None)
    done = invoke(
        "export",
        "-w",
        weights,
        "--format",
        kind,
        "--out",
        tmp_path / ("n.xml" if kind != "onnx" else "n.onnx"),
    )
    assert done.exit_code == 1
    assert f"pip install 'roadseg[{kind}]'" in done.stderr
    assert not list(tmp_path.glob("n.*"))
    used = network if kind == "onnx" else tmp_path / "made.xml"
    if kind == "openvino":
        for file in (used, used.with_suffix(".bin")):
            file.write_bytes(b"<net>")
    done = invoke("segment", SAMPLES / "frames", "-w", used, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert f"pip install 'roadseg[{kind}]'" in done.stderr


def test_bad_command_lines(weights: Path, network: Path, tmp_path: Path) -> None:
    out = tmp_path / "new.onnx"
    for words, code, message in [
        (["--format", "tflite"], 2, "is not one of 'onnx', 'openvino'"),
        (["--int8"], 2, "--int8 needs labelled pictures"),
        (["--force"], 2, "--force is for --int8"),
        (["--format", "openvino"], 2, "written as --format openvino ends in .xml"),
        (["--data", tmp_path / "nowhere"], 1, "nowhere"),
        (["-w", network], 1, "is exported, so it can only be run"),
        (["-w", tmp_path / "none.pt"], 1, "no such weights file"),
    ]:
        done = invoke("export", "-w", weights, "--out", out, *words)
        assert done.exit_code == code, done.output
        assert message in " ".join(done.stderr.replace("│", "").split())
        assert not out.exists()


def test_an_exported_network_is_for_the_cpu(network: Path) -> None:
    with pytest.raises(ConfigError, match="is a network for the CPU"):
        Predictor(load_weights(network), InferConfig(device="cuda"))
