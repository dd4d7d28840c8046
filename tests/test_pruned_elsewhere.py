"""A pruned network is an ordinary one: segment and video take its checkpoint, and what is exported of it."""

import json
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from conftest import losses, street, write_png
from test_export import invoke, ready, shares_equal

from roadseg.engine.channels import keep_channels
from roadseg.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

DRIVE = Path(__file__).parents[1] / "samples" / "drive.mp4"


@pytest.fixture
def pruned(tmp_path: Path) -> Path:
    """A checkpoint file of a network that has lost two fifths of its channels."""
    whole = ready(widths=(16, 24, 32), depths=(1, 1, 1))
    small = keep_channels(whole.model, 0.6, losses())
    torch.nn.init.normal_(small.head.weight)  # masks that are neither empty nor full
    path = tmp_path / "pruned.pt"
    save_checkpoint(Checkpoint(small, whole.scheme, imgsz=96), path)
    assert load_checkpoint(path).model.pruned
    return path


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_segment_and_video_take_it_and_its_export(kind: str, pruned: Path, tmp_path: Path) -> None:
    if kind == "openvino":
        pytest.importorskip("openvino")
    pytest.importorskip("torch_pruning")
    network = tmp_path / ("net.onnx" if kind == "onnx" else "net.xml")
    done = invoke("export", "--weights", pruned, "--format", kind, "--out", network)
    assert done.exit_code == 0, done.output
    for i in range(3):
        write_png(tmp_path / "in" / f"{i}.png", street(i)[0])
    runtimes = []
    for used in (pruned, network):
        out = tmp_path / used.suffix
        common = ["--weights", used, "--device", "cpu", "--quiet", "--no-html", "--json"]
        masks = ["--masks", out / "frames", "--duration", "0.2"]
        for command in (
            ["segment", tmp_path / "in", "--out", out / "pictures"],
            ["video", DRIVE, "--out", out / "v.mp4", *masks],
        ):
            done = invoke(*command, *common)
            assert done.exit_code == 0, done.output
            report: dict[str, Any] = json.loads(done.stdout)
            runtimes.append(report["settings"]["engine"]["runtime"])
        assert cv2.VideoCapture(str(out / "v.mp4")).read()[0]
    assert runtimes == ["torch", "torch", kind, kind]
    for part in ("pictures/masks", "frames"):
        equal = shares_equal(tmp_path / ".pt" / part, tmp_path / network.suffix / part)
        assert len(equal) >= 3
        assert min(equal) >= 0.999
