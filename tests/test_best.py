"""The page of a training: the best checkpoint, measured as `eval` measures; also where Ctrl-C ended it."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import make_cityscapes
from typer.testing import CliRunner, Result

from roadseg.cli.app import app
from roadseg.cli.training import page_if_stopped
from roadseg.engine.listener import TrainListener
from roadseg.media.images import read_rgb
from roadseg.report.html.album import jpeg_uri

TRAIN = ("--model", "nano", "--imgsz", 64, "--batch-size", 3, "--workers", 0, "--device", "cpu", "-q")


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def scores_of(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "scores.json").read_text())
    return document


def test_it_tells_what_eval_tells_of_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first epoch of two is made the best: neither scores nor pictures are of the last one."""
    data = make_cityscapes(tmp_path / "data", val=3)
    given = iter([0.9, 0.1])
    monkeypatch.setattr("roadseg.engine.train.primary_score", lambda *_: next(given))
    done = run("train", "--data", data, *TRAIN, "--epochs", 2, "--runs", tmp_path, "--name", "a")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "a/report.html").read_text()
    assert "Boundary F" in text
    assert "Worst" not in text  # three pictures are all shown
    assert "Pictures, the worst first – data val, epoch 1" in text
    sheets = [jpeg_uri(read_rgb(tmp_path / f"a/samples/epoch_000{n}.jpg")) for n in (1, 2)]
    assert sheets[0] != sheets[1]
    assert text.count('<button type="button" class="shot') == 3 + 3 + 1  # large, small, and the sheet
    scores = scores_of(tmp_path / "a/val/data")
    assert scores["settings"]["epoch"] == 1
    best = tmp_path / "a/best.pt"
    assert run("eval", "--data", data, "-w", best, "--out", tmp_path / "e", "--device", "cpu").exit_code == 0
    again = scores_of(tmp_path / "e")
    assert {**scores, "settings": 0} == {**again, "settings": 0}
    assert scores["settings"]["weights_sha256"] == again["settings"]["weights_sha256"]


def test_without_a_page_there_is_no_further_pass(cityscapes: Path, tmp_path: Path) -> None:
    options = (*TRAIN, "--epochs", 1, "--runs", tmp_path, "--name", "a", "--no-html")
    assert run("train", "--data", cityscapes, *options).exit_code == 0
    assert not (tmp_path / "a/report.html").exists()
    assert scores_of(tmp_path / "a/val/cityscapes")["boundary"] is None


@pytest.mark.parametrize("loss", ["gone", "damaged"])
def test_a_lost_best_is_told_beside_the_result(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    options = (*TRAIN, "--epochs", 1, "--runs", tmp_path, "--name", "a")
    assert run("train", "--data", cityscapes, *options, "--no-html").exit_code == 0
    best = tmp_path / "a/best.pt"
    if loss == "gone":
        best.unlink()
    else:
        best.write_bytes(best.read_bytes()[:9000])
    resume = ("train", "--resume", tmp_path / "a", "--device", "cpu", "--workers", 0, "-q")
    done = run(*resume)
    assert done.exit_code == 1
    assert "Training done after 1 epoch" in done.stdout
    assert "Report:" not in done.stdout
    assert str(best) in done.stderr
    assert "Weights are left in: last.pt" in done.stderr
    assert "weights of ours" not in done.stderr
    assert json.loads(run(*resume, "--json").stdout)["finished"]


def test_several_data_sets_keep_their_pictures_apart(tmp_path: Path) -> None:
    """Both trees have the same names in them. The pass gives the score of the validation to the digit."""
    places = [make_cityscapes(tmp_path / name, val=2) for name in ("one", "two")]
    options = (*TRAIN, "--epochs", 1, "--runs", tmp_path, "--name", "a")
    done = run("train", *(x for p in places for x in ("--data", p)), *options, "--json")
    (row,) = json.loads(done.stdout)["history"]
    text = (tmp_path / "a/report.html").read_text()
    for name in ("one", "two"):
        assert f"Further scores – {name} val, epoch 1" in text
        scores = scores_of(tmp_path / "a/val" / name)
        assert scores["settings"]["data"] == str(tmp_path / name)
        assert scores["scores"]["per_class"]["road"]["iou"] == row[f"{name}_road_iou"]
    assert text.count('<button type="button" class="shot') == 2 * (2 + 2) + 1


def test_ctrl_c_leaves_a_page_of_the_epochs_that_are_done(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: TrainListener, row: dict[str, Any], best: bool) -> None:
        if row["epoch"] == stops_after:
            raise KeyboardInterrupt

    stops_after = 1
    monkeypatch.setattr("roadseg.cli.training.TrainDisplay.epoch", stop)
    options = (*TRAIN, "--epochs", 3, "--runs", tmp_path)
    assert run("train", "--data", cityscapes, *options, "--name", "a").exit_code == 130
    text = (tmp_path / "a/report.html").read_text()
    assert "1 of 3 epochs" in text
    assert f"roadseg train --resume {tmp_path / 'a'} goes on with it" in text
    assert "Confusion – cityscapes val, epoch 1" in text
    assert "Boundary F" not in text
    (tmp_path / "a/report.html").unlink()
    with pytest.raises(KeyboardInterrupt), page_if_stopped(tmp_path / "a", html=False):
        raise KeyboardInterrupt
    assert not (tmp_path / "a/report.html").exists()
    monkeypatch.setattr("roadseg.cli.training.TrainDisplay.starting", stop_at_once)
    assert run("train", "--data", cityscapes, *options, "--name", "c").exit_code == 130
    assert not (tmp_path / "c/report.html").exists()
    monkeypatch.undo()
    assert run("train", "--resume", tmp_path / "a", "--device", "cpu", "--workers", 0, "-q").exit_code == 0
    text = (tmp_path / "a/report.html").read_text()
    assert "goes on with it" not in text
    assert "Boundary F" in text


def stop_at_once(self: TrainListener, epochs: int) -> None:
    raise KeyboardInterrupt
