"""The command line, in process: every command from options to exit code, and every mistake to its message."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import make_cityscapes, street, tiny_checkpoint, write_png
from typer.testing import CliRunner, Result

import roadseg
from roadseg.cli.app import app
from roadseg.model.checkpoint import load_checkpoint, save_checkpoint


def run(*arguments: object, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception  # a bug of ours: show it
    return result


def frames(folder: Path, count: int = 3) -> Path:
    for i in range(count):
        write_png(folder / f"frame{i}.png", street(i)[0])
    return folder


TRAIN = ("--model", "nano", "--imgsz", 64, "--batch-size", 3, "--workers", 0, "--device", "cpu")


@pytest.mark.parametrize(
    "command", [(), ("train",), ("eval",), ("segment",), ("video",), ("report",), ("download-check",)]
)
def test_help(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_version() -> None:
    assert run("--version").stdout == f"roadseg {roadseg.__version__}\n"


def test_train_eval_segment_from_end_to_end(cityscapes: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    done = run("train", "--data", cityscapes, *TRAIN, "--epochs", 2, "--runs", runs, "--name", "first")
    assert done.exit_code == 0, done.output
    assert "done after 2 epochs" in done.stdout
    assert "epoch   2" in done.stderr
    best = runs / "first" / "best.pt"

    scored = run("eval", "--data", cityscapes, "-w", best, "--out", tmp_path / "eval", "--device", "cpu")
    assert scored.exit_code == 0, scored.output
    assert "pixel accuracy" in scored.stdout
    report = json.loads((tmp_path / "eval" / "scores.json").read_text())
    assert report["scores"]["per_class"]["road"]["iou"] == pytest.approx(
        load_checkpoint(best).scores["cityscapes_road_iou"]
    )

    pictures = frames(tmp_path / "frames")
    out = tmp_path / "out"
    segmented = run("segment", pictures, "--out", out, "-w", best, "--device", "cpu")
    assert segmented.exit_code == 0, segmented.output
    assert "3 pictures: 3 ok" in segmented.stdout
    assert sorted(p.name for p in (out / "masks").iterdir()) == [f"frame{i}.png" for i in range(3)]
    mask = cv2.imread(str(out / "masks" / "frame0.png"), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    assert mask.shape == (48, 96)
    assert set(np.unique(mask).tolist()) <= {0, 255}


def test_train_resumes(cityscapes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    one = ("train", "--data", cityscapes, *TRAIN, "--epochs", 1, "--runs", tmp_path / "runs", "--name", "a")
    assert run(*one).exit_code == 0
    again = run(*one)
    assert again.exit_code == 1
    assert "--resume" in again.stderr
    resumed = run("train", "--resume", folder, "--device", "cpu", "--workers", 0)
    assert resumed.exit_code == 0, resumed.output
    assert "Resumed" in resumed.stderr


def test_names_are_numbered(cityscapes: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert (
            run("train", "--data", cityscapes, *TRAIN, "--epochs", 1, "--runs", tmp_path, "-q").exit_code == 0
        )
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("road")) == [
        "road-nano",
        "road-nano-2",
    ]


def test_data_comes_from_the_environment(
    cityscapes: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CITYSCAPES_DATASET", raising=False)
    arguments = ("eval", "-w", tiny_weights, "--out", tmp_path / "e", "--device", "cpu", "--json")
    lost = run(*arguments)
    assert lost.exit_code == 2
    assert json.loads(lost.stdout)["schema"] == "roadseg/error"
    assert "--data DIR" in lost.stderr
    monkeypatch.setenv("CITYSCAPES_DATASET", str(cityscapes))
    found = run(*arguments)
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["evaluations"][0]["settings"]["data"] == str(cityscapes)
    assert "2975" not in run("train", *TRAIN, "--epochs", 1, "--runs", tmp_path / "r", "-q").output


def test_eval_saves_predictions_for_the_official_script(
    cityscapes: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "predictions"
    result = run(
        "eval", "--data", cityscapes, "-w", tiny_weights, "--out", tmp_path / "e",
        "--save-predictions", saved, "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert len(list(saved.rglob("*_labelIds.png"))) == 2


def test_download_check_exit_codes_and_json(cityscapes: Path, tmp_path: Path) -> None:
    result = run("download-check", "--data", cityscapes, "--json")
    assert result.exit_code == 3  # usable, but far from 2975 pairs
    document = json.loads(result.stdout)
    assert document["exit_code"] == 3
    assert [s["pairs"] for s in document["splits"]][:2] == [6, 2]
    shown = run("download-check", "--data", cityscapes)
    assert "Usable, but incomplete." in shown.stdout
    assert "2975" in shown.stdout
    (tmp_path / "empty").mkdir()
    assert run("download-check", "--data", tmp_path / "empty").exit_code == 1
    assert run("download-check", "--data", tmp_path / "none").exit_code == 1
    assert run("download-check", "--data", cityscapes, "--dataset", "nosuch").exit_code == 2


def test_segment_lists_failures_and_goes_on(tmp_path: Path, tiny_weights: Path) -> None:
    pictures = frames(tmp_path / "in")
    data = (pictures / "frame1.png").read_bytes()
    (pictures / "frame1.png").write_bytes(data[: len(data) // 2])
    result = run("segment", pictures, "-o", tmp_path / "out", "-w", tiny_weights, "--device", "cpu")
    assert result.exit_code == 3
    assert "frame1.png" in result.stderr
    assert "2 ok, 1 failed" in result.stdout
    with (tmp_path / "out" / "report.csv").open(encoding="utf-8-sig") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["ok", "failed", "ok"]


def test_segment_scores_against_labels(tmp_path: Path, tiny_weights: Path) -> None:
    pictures, labels = frames(tmp_path / "in"), tmp_path / "labels"
    for i in range(3):
        write_png(labels / f"frame{i}.png", np.where(street(i)[1] == 7, 255, 0).astype(np.uint8))
    result = run(
        "segment", pictures, "-o", tmp_path / "out", "-w", tiny_weights, "--labels", labels,
        "--no-overlay", "--json", "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert all(row["iou"] is not None for row in document["rows"])
    assert document["scores"]["global"]["per_class"]["road"]["iou"] is not None
    assert not (tmp_path / "out" / "overlays").exists()


def test_segment_reads_a_list_on_stdin(tmp_path: Path, tiny_weights: Path) -> None:
    pictures = frames(tmp_path / "in")
    result = run(
        "segment", "-", "-o", tmp_path / "out", "-w", tiny_weights, "--device", "cpu",
        stdin=f"{pictures / 'frame2.png'}\n",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "1 picture: 1 ok" in result.stdout


def test_names_are_printed_as_they_are(tmp_path: Path, tiny_weights: Path) -> None:
    folder = frames(tmp_path / "in")
    names = ["a:car:b.jpg", "[red]c.jpg", ":smile: [bold]d\\[red].jpg"]
    for name in names:
        (folder / name).write_bytes(b"junk")
    result = run("segment", folder, "-o", tmp_path / "out", "-w", tiny_weights, "--device", "cpu", "--json")
    assert result.exit_code == 3
    assert {row["input"] for row in json.loads(result.stdout)["rows"]} >= set(names)
    result = run(
        "segment", folder, "-o", tmp_path / "out", "-w", tiny_weights, "--device", "cpu", "--overwrite"
    )
    assert all(f"{folder}/{name}: " in result.stderr for name in names)


def test_output_that_cannot_be_printed(tmp_path: Path, tiny_weights: Path) -> None:
    """No traceback on a terminal without the letters of a name, nor when stdout is full."""
    folder = frames(tmp_path / "straße")
    arguments = [sys.executable, "-c", "from roadseg.cli.app import main; main()"]
    arguments += [
        "segment",
        str(folder),
        "-o",
        str(tmp_path / "ü"),
        "-w",
        str(tiny_weights),
        "--device",
        "cpu",
    ]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert "\\xfc" in done.stdout
    if Path("/dev/full").exists():
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*arguments, "--overwrite"],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=120,
                check=False,
            )
        assert done.returncode == 1
        assert "cannot be printed (No space left on device)" in done.stderr
        assert "Traceback" not in done.stderr


def test_segment_does_not_overwrite_unless_told(tmp_path: Path, tiny_weights: Path) -> None:
    arguments = (
        "segment",
        frames(tmp_path / "in"),
        "-o",
        tmp_path / "out",
        "-w",
        tiny_weights,
        "--device",
        "cpu",
    )
    assert run(*arguments).exit_code == 0
    refused = run(*arguments)
    assert refused.exit_code == 1
    assert "--overwrite" in refused.stderr
    assert run(*arguments, "--overwrite").exit_code == 0
    assert "3 skipped" in run(*arguments, "--skip-existing").stdout
    assert run(*arguments, "--overwrite", "--skip-existing").exit_code == 2


def test_multi_class_masks_are_indices(tmp_path: Path) -> None:
    save_checkpoint(tiny_checkpoint("cityscapes19"), tmp_path / "m.pt")
    pictures = frames(tmp_path / "in", 1)
    done = run("segment", pictures, "-o", tmp_path / "a", "-w", tmp_path / "m.pt", "--device", "cpu")
    assert done.exit_code == 0, done.output
    ids = run("segment", pictures, "-o", tmp_path / "b", "-w", tmp_path / "m.pt", "--ids", "labelIds")
    assert ids.exit_code == 0, ids.output
    official = cv2.imread(str(tmp_path / "b" / "masks" / "frame0.png"), cv2.IMREAD_UNCHANGED)
    assert official is not None
    assert official.min() >= 7


MISTAKES: list[tuple[tuple[Any, ...], int, str]] = [
    (("train", "--data", "{tmp}/none"), 1, "no such folder"),
    (("train", "--data", "{tmp}"), 1, "{tmp}"),
    (("train", "--data", "{data}", "--model", "huge"), 2, "must be one of: nano, small, base, unet"),
    (("train", "--data", "{data}", "--classes", "moon"), 2, "moon"),
    (("train", "--data", "{data}", "--lr", "-1"), 2, "lr is -1"),
    (("train", "--data", "{data}", "--loss", "hinge"), 2, "hinge"),
    (("train", "--data", "{data}", "--epochs", "many"), 2, "valid integer"),
    (("train", "--data", "{data}", "--class-weights", "1,x"), 2, "class_weights"),
    (("train", "--data", "{data}", "--device", "warp"), 2, "device is 'warp'"),
    (("train", "--data", "{data}", "--classes", "camvid11"), 1, "camvid11"),
    (("train", "--resume", "{tmp}"), 1, "nothing to resume"),
    (("train", "--data", "{data}", "--teacher", "{tmp}/none.pt"), 1, "--teacher {tmp}/none.pt"),
    (("train", "--data", "{data}", "--model", "nano", "--encoder-lr", "0.5"), 2, "encoder_lr is given"),
    (("train", "--data", "{data}", "--recipe", "road-small", "--lr", "-3"), 2, "(--recipe road-small)"),
    (("segment", "{data}", "--out", "{tmp}/o", "--classes", "idd7"), 2, "can be joined into: road"),
    (
        ("segment", "{data}", "--out", "{tmp}/o", "-w", "cityscapes19-small", "--threshold", "0.4"),
        2,
        "likeliest",
    ),
    (("eval", "--data", "{data}", "--weights", "{tmp}/none.pt"), 1, "no such weights file"),
    (("eval", "--data", "{data}", "--split", "moon"), 1, "moon"),
    (("segment", "{tmp}/none", "--out", "{tmp}/out"), 1, "none"),
    (("segment", "{data}", "--out", "{data}"), 1, "{data}"),
    (("segment", "{data}", "--threshold", "2"), 2, "threshold is 2"),
    (("segment", "{data}", "--shard", "5/2"), 2, "shard"),
    (("segment", "{data}", "--labels", "{data}", "--label-format", "moon"), 2, "label_format is 'moon'"),
    (("video", "{tmp}/none.mp4"), 1, "no such file"),
    (("video", "{tmp}"), 1, "{tmp}"),
    (("video", "9"), 1, "no such camera"),
    (("video", "{tmp}/none.mp4", "--codec", "divx"), 2, "divx"),
    (("video", "{tmp}/none.mp4", "--smooth", "2"), 2, "smooth is 2"),
    (("video", "{tmp}/none.mp4", "--stride", "0"), 2, "stride is 0"),
    (("video", "{tmp}/none.mp4", "--end", "2", "--duration", "1"), 2, "exclude each other"),
    (("video", "{tmp}/none.mp4", "--start", "3", "--end", "2"), 2, "must come after start"),
    (("video", "{data}", "--out", "a.gif"), 2, "suffix must be one of .mp4"),
    (("video", "{data}", "--codec", "mpeg4", "--hardware"), 2, "no hardware encoder for mpeg4"),
    (("segment",), 2, "INPUT"),
    (("fly",), 2, "fly"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), MISTAKES, ids=lambda v: str(v)[:60])
def test_mistakes_are_one_clear_line(
    cityscapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    before = sorted(p for p in tmp_path.rglob("*"))
    names = {"tmp": str(empty), "data": str(cityscapes)}
    result = run(*(a.format(**names) for a in arguments))
    assert result.exit_code == code
    assert message.format(**names) in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.output
    assert sorted(p for p in tmp_path.rglob("*")) == before, "nothing is written"


def test_a_truncated_training_picture_is_named(cityscapes: Path, tmp_path: Path) -> None:
    picture = next(cityscapes.rglob("*bochum*_leftImg8bit.png"))
    picture.write_bytes(picture.read_bytes()[:500])
    result = run("train", "--data", cityscapes, *TRAIN, "--runs", tmp_path / "runs")
    assert result.exit_code == 1
    assert picture.name in result.stderr


def test_weights_for_other_classes_are_refused_by_eval(tmp_path: Path) -> None:
    """A CamVid model cannot be scored on Cityscapes labels."""
    root = make_cityscapes(tmp_path / "cs")
    save_checkpoint(tiny_checkpoint("camvid11"), tmp_path / "camvid.pt")
    result = run(
        "eval", "--data", root, "-w", tmp_path / "camvid.pt", "--out", tmp_path / "e", "--device", "cpu"
    )
    assert result.exit_code == 1
    assert "camvid11" in result.stderr
    assert not (tmp_path / "e").exists()
