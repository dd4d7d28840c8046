"""Training in several processes: the same curve as in one, one writer, and a group that comes back."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_cityscapes, tiny_checkpoint
from typer.testing import CliRunner

from roadseg.cli.app import app
from roadseg.config import TrainConfig
from roadseg.dataset.segmentation import EpochSampler
from roadseg.engine.device import usable_cores
from roadseg.engine.distributed import ALONE, joined
from roadseg.engine.listener import TrainListener
from roadseg.engine.optim import Schedule, make_optimizer
from roadseg.engine.runs import is_interrupted, latest_folder, start_training
from roadseg.errors import ConfigError, RoadsegError
from roadseg.model.checkpoint import load_checkpoint, save_checkpoint

# What two processes add up in another order than one: float32, over some steps of AdamW.
TOLERANCE = 1e-5


def group_norm_weights(folder: Path) -> Path:
    """A network without statistics of batches, which would be each process's own."""
    torch.manual_seed(0)
    path = folder / "group.pt"
    save_checkpoint(tiny_checkpoint(norm="group"), path)
    return path


def options(root: Path, runs: Path, **settings: Any) -> list[str]:
    usual = {
        "data": root, "runs": runs, "epochs": 3, "batch-size": 2, "imgsz": 64, "workers": 0, "lr": 0.002,
        "device": "cpu", "patience": 0, "ema": 0.9, **settings,
    }  # fmt: skip
    return [word for name, value in usual.items() for word in (f"--{name}", str(value))] + ["--no-html"]


def torchrun(
    processes: int, words: list[str], restarts: int = 0, **env: str
) -> subprocess.CompletedProcess[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    command += ["--max-restarts", str(restarts), "--master-addr", "127.0.0.1", "--master-port", str(port)]
    return subprocess.run(
        [*command, "-m", "roadseg", "train", *words],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
    )


def history(folder: Path) -> list[dict[str, Any]]:
    rows = json.loads((folder / "report.json").read_text())["history"]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def same_curve(one: Path, other: Path) -> None:
    a, b = history(one), history(other)
    assert len(a) == len(b) > 0
    for before, now in zip(a, b, strict=True):
        assert now == pytest.approx(before, rel=TOLERANCE)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_are_one_with_the_doubled_batch(tmp_path: Path) -> None:
    """The union of their batches is its batch; the loss, the scores and who writes are as with one."""
    root = make_cityscapes(tmp_path / "data", train=9, val=3)
    weights = group_norm_weights(tmp_path)
    alone = options(root, tmp_path / "runs", weights=weights, name="one", **{"batch-size": 4})
    assert CliRunner().invoke(app, ["train", *alone]).exit_code == 0
    together = options(root, tmp_path / "runs", weights=weights, name="two")
    done = torchrun(2, [*together, "--json"])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["epochs"] == 3  # one document, of one process
    assert done.stderr.count("epoch   3/3") == 1
    same_curve(tmp_path / "runs/one", tmp_path / "runs/two")
    counts = [
        json.loads((tmp_path / f"runs/{name}/val/data/scores.json").read_text())["images"]
        for name in ("one", "two")
    ]
    assert [image["key"] for image in counts[0]] == [image["key"] for image in counts[1]]
    pixels = [[sum(map(sum, image["counts"])) for image in images] for images in counts]
    assert pixels[0] == pixels[1]
    assert not list((tmp_path / "runs").rglob("*.partial"))


@pytest.mark.parametrize("batch", [1, 2])
def test_accumulated_batches_are_one_large_batch(tmp_path: Path, batch: int) -> None:
    """Exactly for cross-entropy, in a network without statistics of batches."""
    root = make_cityscapes(tmp_path / "data", train=5, val=1)
    weights = str(group_norm_weights(tmp_path))
    usual: dict[str, Any] = {
        "data": (str(root),), "weights": weights, "epochs": 2, "imgsz": 64, "workers": 0, "device": "cpu",
        "loss": "ce", "lr": 2e-3, "ema": 0.0,
    }  # fmt: skip
    large = TrainConfig(batch_size=4, **usual)
    start_training(large, tmp_path / "large", TrainListener())
    small = TrainConfig(batch_size=batch, accumulate=4 // batch, **usual)
    start_training(small, tmp_path / "small", TrainListener())
    same_curve(tmp_path / "large", tmp_path / "small")


def test_the_parts_of_all_ranks_are_the_batches_of_one_process() -> None:
    one = EpochSampler(23, seed=3, step=8)
    parts = [EpochSampler(23, 3, rank, ranks=2, batch=2, batches=2, step=4) for rank in range(2)]
    for epoch in (1, 2):
        for sampler in (one, *parts):
            sampler.epoch = epoch
        order = list(one)
        shares = [list(part) for part in parts]
        assert [len(share) for share in shares] == [len(part) for part in parts] == [8, 8]
        for start in range(0, 8, 2):
            batch = shares[0][start : start + 2] + shares[1][start : start + 2]
            assert batch == order[2 * start : 2 * start + 4]


def test_too_few_pictures_for_a_step(tmp_path: Path) -> None:
    root = make_cityscapes(tmp_path / "data", train=3, val=1)
    config = TrainConfig(data=(str(root),), model="nano", accumulate=2, batch_size=2, device="cpu")
    with pytest.raises(ConfigError, match=r"1 x 2 x 2 pictures .* but there are 3"):
        start_training(config, tmp_path / "run", TrainListener())


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with joined("cpu") as group:
        assert group == ALONE


@pytest.mark.parametrize(
    ("facts", "match"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR"),
        ({"RANK": "one", "WORLD_SIZE": "2"}, "one"),
        ({"RANK": "5", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "x"}, "x"),
    ],
)
def test_a_group_that_cannot_start_is_explained(
    monkeypatch: pytest.MonkeyPatch, facts: dict[str, str], match: str
) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in facts.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RoadsegError, match=match) as caught, joined("cpu"):
        pass
    assert "cannot start with gloo" in str(caught.value)
    assert "unset RANK" in str(caught.value)


def test_another_number_of_steps_has_the_rate_of_a_run_that_always_had_it() -> None:
    config = TrainConfig(epochs=10, lr=0.1)
    model = torch.nn.Linear(2, 2)

    def rates(steps: int, epochs: int) -> tuple[torch.optim.Optimizer, Schedule]:
        optimizer = make_optimizer(model, config)
        schedule = Schedule(optimizer, config, steps)
        for _ in range(steps * epochs):
            optimizer.step()
            schedule.step()
        return optimizer, schedule

    (before, left), (wanted, _) = rates(8, 4), rates(4, 4)
    optimizer = make_optimizer(model, config)
    schedule = Schedule(optimizer, config, 4)
    optimizer.load_state_dict(before.state_dict())
    schedule.load_state_dict(left.state_dict(), 4)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(wanted.param_groups[0]["lr"], rel=1e-9)
    assert schedule.state_dict()["decay"]["last_epoch"] == 16


def test_an_interrupted_run_is_known_by_its_settings(tmp_path: Path) -> None:
    config = TrainConfig(data=("x",))
    folder = tmp_path / "road-small"
    assert latest_folder(tmp_path, "road-small") == folder
    assert not is_interrupted(folder, config)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**config.to_dict(), "workers": 77}))
    assert is_interrupted(folder, config)
    assert not is_interrupted(folder, TrainConfig(data=("x",), lr=0.1))
    (folder / "report.json").write_text('{"finished": false}')
    assert is_interrupted(folder, config)
    (folder / "report.json").write_text('{"finished": true}')
    assert not is_interrupted(folder, config)
    (tmp_path / "road-small-2").mkdir()
    assert latest_folder(tmp_path, "road-small") == tmp_path / "road-small-2"


# Kills its own process in the second epoch of torchrun's first start, and leaves the second one alone.
DYING = """
import os, sys
from roadseg.cli import training
def step(self, epoch, step, steps, loss, lr):
    if epoch == 2 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), 9)
training.TrainDisplay.step = step
from roadseg.cli.app import main
main()
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_group_that_lost_a_process_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    root = make_cityscapes(tmp_path / "data", train=4, val=2)
    weights = group_norm_weights(tmp_path)
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    words = options(root, tmp_path / "runs", weights=weights)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run(
        [*command, "--max-restarts", "1", str(script), "train", *words],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
    )
    assert done.returncode == 0, done.stderr
    (folder,) = [path for path in (tmp_path / "runs").iterdir() if (path / "last.pt").exists()]
    assert f"Resumed {folder} after epoch 1 of 3." in done.stderr
    assert [row["epoch"] for row in history(folder)] == [1, 2, 3]
    training = load_checkpoint(folder / "last.pt").training
    assert training is not None
    assert len(training["history"]) == 3


@pytest.mark.parametrize(("share", "cores"), [("1", 1), ("3", 3), ("64", 4), ("0", 4), ("4,2", 4), ("", 4)])
def test_a_part_uses_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch, share: str, cores: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", share)
    assert usable_cores() == cores
