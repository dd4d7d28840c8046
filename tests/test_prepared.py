"""Networks made ready for a shape of batch: compiled or recorded, they give what the plain one gives."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import street, tiny_checkpoint
from test_unet import lively
from torch import Tensor
from typer.testing import CliRunner

from roadseg.cli.app import app
from roadseg.config import InferConfig
from roadseg.engine import backend as backend_module
from roadseg.engine.backend import TorchBackend, make_backend
from roadseg.engine.export import export
from roadseg.engine.memory import Network
from roadseg.engine.predict import Predictor
from roadseg.engine.prepared import Prepared, require_compiler
from roadseg.errors import ConfigError, ExtraError
from roadseg.model.checkpoint import Checkpoint, save_checkpoint
from roadseg.model.exported import load_weights

HAS_CUDA = torch.cuda.is_available()
gpu = pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")


def ready() -> Checkpoint:
    checkpoint = tiny_checkpoint()
    lively(checkpoint.model)
    return checkpoint


class Recorder:
    """Stands in for the maker of ready networks: one takes batches of the example's shape, and no other."""

    def __init__(self) -> None:
        self.made: list[tuple[int, ...]] = []
        self.plain: list[int] = []

    def network(self, image_BCHW: Tensor) -> Tensor:
        self.plain.append(len(image_BCHW))
        return image_BCHW.float() + 1

    def prepare(self, example_BCHW: Tensor) -> Network:
        shape = tuple(example_BCHW.shape)
        self.made.append(shape)

        def run(image_BCHW: Tensor) -> Tensor:
            assert tuple(image_BCHW.shape) == shape
            return image_BCHW.float() + 1

        return run


def test_small_batches_are_filled_up_and_odd_ones_run_as_they_are() -> None:
    maker, notes = Recorder(), list[str]()
    network = Prepared(maker.network, maker.prepare, notes.append)
    for batch, size in [
        (8, 4),
        (8, 4),
        (5, 4),
        (4, 4),
        (3, 4),
        (1, 4),
        (2, 6),
        (9, 4),
        (1, 7),
        (1, 8),
        (2, 8),
    ]:
        image = torch.randint(0, 256, (batch, 3, 4, size), dtype=torch.uint8)
        assert torch.equal(network(image), image.float() + 1)
    assert maker.made == [(8, 3, 4, 4), (2, 3, 4, 6), (9, 3, 4, 4), (1, 3, 4, 7)]
    assert maker.plain == [3, 1, 1, 2]  # 3 and 1 of 8 would be mostly filling; then there are shapes enough
    assert len(notes) == 1
    assert "More than 4 shapes" in notes[0]


def test_what_is_compiled_for_other_threads_is_not_taken() -> None:
    maker = Recorder()
    network = Prepared(maker.network, maker.prepare, lambda text: None)
    image = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    network(image)
    torch.set_num_threads(2)
    network(image)
    assert len(maker.made) == 2


# ---------------------------------------------------------------- torch.compile


def test_without_a_compiler_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tiny_weights: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    done = CliRunner().invoke(
        app,
        ["segment", str(tmp_path), "-w", str(tiny_weights), "--out", str(tmp_path / "out"), "--compile"],
    )
    assert done.exit_code == 1
    assert not (tmp_path / "out").exists()
    with pytest.raises(ExtraError, match=r"needs a C\+\+ compiler, and there is no .* here; `apt install"):
        TorchBackend(tiny_checkpoint(), InferConfig(device="cpu", compile=True))
    monkeypatch.setenv("CXX", "nothing-of-the-kind -O2")
    with pytest.raises(ExtraError, match="no nothing-of-the-kind here"):
        require_compiler(torch.device("cpu"))


def test_what_fails_to_compile_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(image_BCHW: Tensor) -> Tensor:
        raise subprocess.CalledProcessError(1, "g++")

    monkeypatch.setattr(backend_module, "require_compiler", lambda device: None)
    monkeypatch.setattr(torch, "compile", lambda model, dynamic, options: refuse)
    predictor = Predictor(tiny_checkpoint(), InferConfig(device="cpu", compile=True))
    with pytest.raises(ExtraError, match=r"torch.compile fails on the network \(Command 'g\+\+'.*--compile"):
        predictor.predict([street(0)[0]])


def test_an_exported_network_is_not_compiled(tmp_path: Path) -> None:
    export(ready(), tmp_path / "net.onnx", "onnx")
    with pytest.raises(ConfigError, match=r"compiled by its own runtime; leave out --compile"):
        make_backend(load_weights(tmp_path / "net.onnx"), InferConfig(compile=True))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # torch 2.11 warns itself
def test_compiled_masks_are_the_plain_ones_and_the_report_says_how_long_it_took(
    cityscapes: Path, tmp_path: Path
) -> None:
    checkpoint = ready()
    notes: list[str] = []
    images = [street(i, 48, 96)[0] for i in range(4)]
    plain = Predictor(checkpoint, InferConfig(device="cpu"))
    fast = Predictor(checkpoint, InferConfig(device="cpu", compile=True), notes.append)
    for mask, same in zip(plain.predict(images), fast.predict(images), strict=True):
        assert 0 < mask.mean() < 1
        np.testing.assert_array_equal(mask, same)
    with fast.threads() as pool:  # in threads side by side, and a batch that is filled up
        again = list(pool.map(fast.predict, [images[:2], images[2:], images[:1]]))
    for mask, same in zip(plain.predict(images), again[0] + again[1], strict=True):
        np.testing.assert_array_equal(mask, same)
    assert fast.facts()["compiled"] is True
    assert fast.facts()["compile_seconds"] > 0
    assert notes[0] == "Compiling the network for 4 of 96x48; this takes a minute or so."
    assert notes[1].startswith("Compiled for 4 of 96x48 in ")
    weights = tmp_path / "lively.pt"
    save_checkpoint(checkpoint, weights)
    words = ["eval", "--data", str(cityscapes), "-w", str(weights), "--out", str(tmp_path / "e")]
    done = CliRunner().invoke(app, [*words, "--no-html", "--device", "cpu", "--compile"])
    assert done.exit_code == 0, done.output
    assert "Compiled for 2 of 96x48 in " in done.stderr
    settings = json.loads((tmp_path / "e" / "scores.json").read_text())["settings"]
    assert settings["engine"]["compile_seconds"] > 0


# ---------------------------------------------------------------- CUDA graphs


def test_where_no_graph_can_be_recorded_the_network_runs_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, with a stand-in for the recording."""
    notes: list[str] = []

    def fails(network: Network, example_BCHW: Tensor) -> Network:
        raise RuntimeError("operation not permitted when stream is capturing\nand so on")

    monkeypatch.setattr(backend_module, "record", fails)
    backend = TorchBackend(ready(), InferConfig(device="cpu"), notes.append)
    image = torch.randint(0, 256, (2, 3, 48, 96), dtype=torch.uint8)
    expected = backend.logits(image)
    backend._graph = True
    backend._network = Prepared(backend._plain, backend._prepare, notes.append)
    assert torch.equal(backend.logits(image), expected)
    torch.testing.assert_close(backend.logits(image[:1]), expected[:1])
    why = "operation not permitted when stream is capturing"
    assert notes == [f"No CUDA graph could be recorded ({why}): this run is slower."]
    assert backend.facts()["cuda_graph"] is False


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("amp", [False, True])
def test_a_graph_gives_what_the_network_gives(amp: bool) -> None:
    notes: list[str] = []
    backend = TorchBackend(ready(), InferConfig(device="cuda", amp=amp), notes.append)
    for batch, size in [(4, (48, 96)), (3, (48, 96)), (4, (48, 96)), (1, (64, 64))]:
        image = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8, device="cuda")
        with torch.inference_mode():
            expected = backend._plain(image.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(backend.logits(image), expected, rtol=0.05, atol=0.05)
    assert backend.facts()["cuda_graph"] is True
    assert notes == []


@pytest.mark.gpu
@gpu
def test_masks_on_the_gpu_are_those_of_the_cpu() -> None:
    checkpoint, images = ready(), [street(i, 48, 96)[0] for i in range(5)]
    cpu = Predictor(checkpoint, InferConfig(device="cpu")).predict(images)
    for settings in ({"amp": False}, {"amp": True}, {"amp": False, "compile": True}):
        predictor = Predictor(checkpoint, InferConfig(device="cuda", **settings))  # type: ignore[arg-type]
        for mask, same in zip(cpu, predictor.predict(images), strict=True):
            assert (mask == same).mean() > 0.99


@pytest.mark.gpu
@gpu
def test_a_batch_size_for_the_gpu_is_found_and_a_full_one_is_survived() -> None:
    predictor = Predictor(ready(), InferConfig(device="cuda"))
    assert 1 <= predictor.batch_size <= 32
    free, _ = torch.cuda.mem_get_info()
    hoard = torch.empty(int(free * 0.98), dtype=torch.uint8, device="cuda")
    images = [street(0, 1024, 1024)[0]] * 64
    small = Predictor(ready(), InferConfig(device="cuda", imgsz=1024, amp=False))
    assert len(small.predict(images)) == 64
    del hoard
