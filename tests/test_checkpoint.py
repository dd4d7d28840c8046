"""Checkpoints: the same network comes back, and whatever is not one is refused with a remedy."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from conftest import tiny_checkpoint

from roadseg.config import UNetConfig
from roadseg.errors import CheckpointError, OutputError
from roadseg.model.checkpoint import (
    bundled_weights,
    find_weights,
    load_checkpoint,
    previous_of,
    save_checkpoint,
)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("scheme", ["road", "cityscapes19"])
def test_what_is_saved_comes_back(tmp_path: Path, suffix: str, scheme: str) -> None:
    checkpoint = tiny_checkpoint(scheme, norm="group")
    checkpoint.scores, checkpoint.recipe = {"road_iou": 0.5}, {"lr": 0.1, "data": ["a b"]}
    path = tmp_path / f"ü {scheme}{suffix}"
    save_checkpoint(checkpoint, path)
    again = load_checkpoint(path)
    assert again.model.config == checkpoint.model.config
    assert again.scheme == checkpoint.scheme
    assert (again.imgsz, again.scores, again.recipe) == (96, checkpoint.scores, checkpoint.recipe)
    assert again.source == str(path)
    image = torch.rand(1, 3, 20, 30) * 255
    assert torch.equal(again.model(image), checkpoint.model(image))
    assert os.listdir(tmp_path) == [path.name]


def test_the_bundled_weights_load() -> None:
    checkpoint = load_checkpoint()
    assert checkpoint.scheme.name == "road"
    assert sum(p.numel() for p in checkpoint.model.parameters()) <= 2_000_000


def test_loading_does_not_load_the_compiler() -> None:
    load = "import sys; from roadseg.model.checkpoint import load_checkpoint; load_checkpoint()"
    code = f"{load}; sys.exit('torch._dynamo' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)  # it would take 2 s of every command


def test_bundled_weights_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_checkpoint(Path("road-small")).digest() == load_checkpoint().digest()
    save_checkpoint(tiny_checkpoint(), tmp_path / "road-small.pt")
    os.rename("road-small.pt", "road-small")
    assert find_weights(Path("road-small")) == Path("road-small")  # the user's own file comes first
    with pytest.raises(CheckpointError, match=r"road-large: there is no such weights file.*road-small"):
        load_checkpoint(Path("road-large"))


@pytest.mark.parametrize("name", bundled_weights())
def test_bundled_weights_have_a_card(name: str) -> None:
    checkpoint = load_checkpoint(Path(name))
    card = (bundled_weights()[name].with_suffix(".md")).read_text()
    parameters = sum(p.numel() for p in checkpoint.model.parameters())
    for fact in (f"{parameters / 1e6:.2f} M", "Licence", "Limits", "roadseg train", "roadseg eval"):
        assert fact.lower() in card.lower(), fact


def test_the_previous_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    for score in (0.1, 0.2, 0.3):
        checkpoint = tiny_checkpoint()
        checkpoint.scores = {"score": score}
        save_checkpoint(checkpoint, path, keep_previous=True)
    assert load_checkpoint(path).scores["score"] == 0.3
    assert load_checkpoint(previous_of(path)).scores["score"] == 0.2
    assert sorted(os.listdir(tmp_path)) == ["last.previous.pt", "last.pt"]


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(tiny_checkpoint(), path)
    before = path.read_bytes()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"No space left on device.*free some space"):
        save_checkpoint(tiny_checkpoint(), path, keep_previous=True)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["last.pt"]


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint()
    with torch.no_grad():
        next(checkpoint.model.parameters())[0] = float("nan")
    save_checkpoint(checkpoint, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="no finite numbers"):
        load_checkpoint(tmp_path / "a.pt")


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def test_a_pickle_bomb_does_not_go_off(tmp_path: Path) -> None:
    torch.save({"format": 1, "weights": Bomb(tmp_path / "boom")}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "boom")))
    for name in ("a.pt", "b.pt"):
        with pytest.raises(CheckpointError, match="refused"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_damage_is_an_error_wherever_it_is(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole{suffix}"
    save_checkpoint(tiny_checkpoint(), whole)
    data = whole.read_bytes()
    for length in (0, 1, 7, 100, len(data) // 2, len(data) - 1):
        path = tmp_path / f"cut{suffix}"
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match="cut"):
            load_checkpoint(path)


def test_other_files_are_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such weights file"):
        load_checkpoint(tmp_path / "none.pt")
    bare = tmp_path / "bare.pt"
    torch.save(tiny_checkpoint().model.state_dict(), bare)
    with pytest.raises(CheckpointError, match="not a roadseg checkpoint"):
        load_checkpoint(bare)
    foreign = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(2)}, foreign)
    with pytest.raises(CheckpointError, match="not a roadseg checkpoint"):
        load_checkpoint(foreign)


def test_a_file_of_another_format_or_network_says_so(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint()
    weights = checkpoint.model.state_dict()
    newer = {**checkpoint.description(), "format": 99, "roadseg_version": "9.9"}
    torch.save({**newer, "weights": weights}, tmp_path / "newer.pt")
    with pytest.raises(CheckpointError, match=r"format 99 of roadseg 9\.9"):
        load_checkpoint(tmp_path / "newer.pt")
    other = checkpoint.description()
    other["model_config"] = UNetConfig(widths=(8, 24), depths=(1, 1)).to_dict()
    torch.save({**other, "weights": weights}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="do not fit the network"):
        load_checkpoint(tmp_path / "other.pt")
    unknown = json.loads(json.dumps(checkpoint.description()))
    unknown["model_config"]["attention"] = True
    torch.save({**unknown, "weights": weights}, tmp_path / "unknown.pt")
    with pytest.raises(CheckpointError, match="no setting attention"):
        load_checkpoint(tmp_path / "unknown.pt")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"imgsz": -5}, "imgsz is -5"),
        ({"imgsz": 10**9}, "imgsz is 1000000000"),
        ({"rgb_std": [0, 0, 0]}, "normalised by other numbers"),
    ],
)
def test_preprocessing_that_is_not_ours_is_refused(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    checkpoint = tiny_checkpoint()
    described = json.loads(json.dumps(checkpoint.description()))
    described["preprocessing"] |= change
    torch.save({**described, "weights": checkpoint.model.state_dict()}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=reason):
        load_checkpoint(tmp_path / "a.pt")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint()
    weights = dict(checkpoint.model.state_dict())
    del weights["head.weight"]
    torch.save({**checkpoint.description(), "weights": weights}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"head\.weight.*copy it again.*install the one that wrote it"):
        load_checkpoint(tmp_path / "a.pt")
