"""Out of memory: batches are halved and stay so, it is said once, and one picture too many is one failure."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from conftest import make_cityscapes, street, tiny_checkpoint, write_png
from torch import Tensor
from typer.testing import CliRunner

from roadseg import cores
from roadseg.cli.app import app
from roadseg.cli.options import batch_size_of
from roadseg.config import InferConfig, SegmentConfig
from roadseg.engine import backend as backend_module
from roadseg.engine import device
from roadseg.engine.backend import TorchBackend
from roadseg.engine.memory import Fitting, find_batch_size, out_of_memory
from roadseg.engine.predict import Predictor
from roadseg.engine.segment import segment
from roadseg.errors import CheckpointError, ConfigError, MemoryLimitError
from roadseg.media.images import find_images
from roadseg.model.fused import can_fuse
from roadseg.report.run import RunReport

CPU_ERROR = RuntimeError(
    "[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
)


class Small:
    """A network for which memory has room for `fits` pictures at once."""

    def __init__(self, fits: int, error: BaseException = CPU_ERROR) -> None:
        self.fits, self.error = fits, error
        self.asked: list[int] = []

    def __call__(self, image_BCHW: Tensor) -> Tensor:
        self.asked.append(len(image_BCHW))
        if len(image_BCHW) > self.fits:
            raise self.error
        return image_BCHW.float().mean(1, keepdim=True)


def batch(size: int) -> Tensor:
    return torch.arange(size * 3 * 2 * 2, dtype=torch.uint8).view(size, 3, 2, 2)


def test_a_batch_is_halved_until_it_fits_and_this_is_remembered_and_said_once() -> None:
    notes: list[str] = []
    network = Small(2)
    fitting = Fitting(network, notes.append)
    whole = Small(99)
    for size in (8, 7, 1):
        assert torch.equal(fitting(batch(size)), whole(batch(size)))
    assert network.asked == [8, 4, 2, 2, 2, 2, 2, 2, 2, 1, 1]
    assert fitting.most == 2
    assert notes == ["Out of memory: from here on the network sees 2 at once."]


def test_a_single_picture_that_does_not_fit_is_told_of_and_others_go_on() -> None:
    fitting = Fitting(Small(0), lambda text: None)
    with pytest.raises(MemoryLimitError, match=r"single picture of 2x2; give a smaller --imgsz, or --tile"):
        fitting(batch(4))
    assert fitting.most == 1


def test_other_errors_are_not_taken_for_it() -> None:
    network = Small(0, RuntimeError("expected 3 channels"))
    with pytest.raises(RuntimeError, match="3 channels"):
        Fitting(network, lambda text: None)(batch(4))
    assert network.asked == [4]


def test_what_counts_as_out_of_memory() -> None:
    runtime = CheckpointError("net.onnx: ONNX Runtime fails on it")
    runtime.__cause__ = RuntimeError("Failed to allocate memory for requested buffer of size 9")
    onednn = "could not create a primitive"
    for error in (
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        CPU_ERROR,
        runtime,
        RuntimeError(onednn),
    ):
        assert out_of_memory(error)
    for error in (
        CheckpointError("out of memory"),
        RuntimeError("shape"),
        ValueError("out of memory"),
        RuntimeError(f"{onednn} descriptor for a convolution"),
    ):
        assert not out_of_memory(error)
    # as the libraries really say it
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**61, dtype=torch.uint8)
    assert out_of_memory(caught.value)
    with pytest.raises(cv2.error) as refused:
        cv2.resize(street(0)[0], (0, 0), fx=0, fy=0)
    assert not out_of_memory(refused.value)


def test_a_batch_size_is_found_by_trying() -> None:
    network = Small(11)
    assert find_batch_size(network, batch(1)) in (1, 2, 4, 8)
    assert max(network.asked) <= 16
    assert find_batch_size(Small(0), batch(1)) == 1
    with pytest.raises(RuntimeError, match="broken"):
        find_batch_size(Small(0, RuntimeError("broken")), batch(1))


# ---------------------------------------------------------------- whole commands


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Room for two pictures of up to 96x48 at once, and for no picture that is higher; what was asked for."""
    asked: list[int] = []
    real = TorchBackend.logits

    def logits(self: TorchBackend, image_BCHW: Tensor) -> Tensor:
        asked.append(len(image_BCHW))
        if len(image_BCHW) > 2 or image_BCHW.shape[-2] > 48:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return real(self, image_BCHW)

    monkeypatch.setattr(TorchBackend, "logits", logits)
    return asked


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Eleven pictures of 96x48, and one of 96x96 among them."""
    for i in range(12):
        write_png(tmp_path / "in" / f"{i:02d}.png", street(i, 96 if i == 5 else 48, 96)[0])
    return tmp_path / "in"


@pytest.mark.parametrize("save_probs", [False, True])
def test_segment_goes_on(save_probs: bool, frames: Path, tmp_path: Path, little_memory: list[int]) -> None:
    notes: list[str] = []
    predictor = Predictor(tiny_checkpoint(), InferConfig(device="cpu", batch_size=8), notes.append)
    report = RunReport(command="segment")
    config = SegmentConfig(out=str(tmp_path / "out"), html=False, save_probs=save_probs)
    segment(config, predictor, find_images(frames), report)
    failed = [row for row in report.rows if row.status == "failed"]
    assert [row.input for row in failed] == ["05.png"]
    assert "--imgsz" in str(failed[0].error)
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 11
    assert report.exit_code == 3
    assert report.settings["engine"]["out_of_memory"] is True
    assert report.settings["engine"]["batch_size"] in (1, 2)
    assert len(notes) <= 2  # two batches may be at it at once
    assert sum(size > 2 for size in little_memory) <= 4


def test_the_commands_say_it_once(
    tiny_weights: Path, cityscapes: Path, tmp_path: Path, little_memory: list[int]
) -> None:
    common = ["--weights", str(tiny_weights), "--device", "cpu", "--no-html", "--batch-size", "4"]
    make_cityscapes(tmp_path / "more", val=5)
    done = CliRunner().invoke(
        app, ["eval", "--data", str(tmp_path / "more"), "--out", str(tmp_path / "e"), *common]
    )
    assert done.exit_code == 0, done.output
    assert done.stderr.count("Out of memory: from here on the network sees 2 at once.") == 1
    scores: dict[str, Any] = json.loads((tmp_path / "e" / "scores.json").read_text())
    assert scores["settings"]["engine"]["batch_size"] == 2
    assert scores["settings"]["engine"]["out_of_memory"] is True
    assert little_memory == [4, 2, 2, 1]


def test_auto_is_the_default_and_small_on_the_cpu(frames: Path, tmp_path: Path, tiny_weights: Path) -> None:
    words = ["segment", str(frames), "-o", str(tmp_path / "o"), "-w", str(tiny_weights), "--device", "cpu"]
    done = CliRunner().invoke(app, [*words, "--no-html", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["settings"]["engine"] == {
        "runtime": "torch",
        "precision": "float32",
        "fused": can_fuse(),
        "compiled": False,
        "cuda_graph": False,
        "batch_size": 2,
        "out_of_memory": False,
    }


def test_batch_sizes_are_numbers_or_auto() -> None:
    assert (batch_size_of("auto"), batch_size_of("16")) == (None, 16)
    for text in ("many", "-1", "1.5", ""):
        with pytest.raises(ConfigError, match="auto or a number"):
            batch_size_of(text)
    with pytest.raises(ConfigError, match="batch_size is 0"):
        InferConfig(batch_size=0)


def test_on_cuda_a_batch_size_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `auto` looks on such a device, by a stand-in for it."""
    backend = TorchBackend(tiny_checkpoint(), InferConfig(device="cpu"))
    tried: list[tuple[int, ...]] = []
    monkeypatch.setattr(
        backend_module, "find_batch_size", lambda network, picture: tried.append(tuple(picture.shape)) or 16
    )
    assert backend.batch_size(96) == 2
    backend.device = type("Cuda", (), {"type": "cuda"})()  # type: ignore[assignment]
    monkeypatch.setattr(torch, "zeros", lambda *size, **kind: torch.ones(size))
    assert backend.batch_size(96) == 16
    assert tried == [(1, 3, 96, 96)]


# ---------------------------------------------------------------- cores


@pytest.mark.parametrize(
    ("quota", "left"), [("max 100000", 64), ("150000 100000", 2), ("50000 100000", 1), ("", 64)]
)
def test_a_container_s_share_of_the_cores_is_all_there_is(
    quota: str, left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(64)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert device.usable_cores() == left
    assert cores.available_cores() == left
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "not there")
    assert device.usable_cores() == 64


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux leaves a process fewer cores")
def test_readers_are_no_more_than_the_cores_that_are_left() -> None:
    code = (
        "import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1]); "
        "from roadseg.config import TrainConfig; print(TrainConfig().workers)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
