"""Every command prints one document on stdout with --json, by its schema, and one when it fails."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import make_cityscapes, street, tiny_checkpoint, write_png
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from typer.main import get_command
from typer.testing import CliRunner

from roadseg import documents
from roadseg.cli.app import app
from roadseg.documents import KINDS, Kind, schema_of
from roadseg.engine.evaluate import Evaluation, ImageResult, write_evaluation
from roadseg.labels import get_scheme
from roadseg.metrics import ConfusionMatrix, per_image, scores
from roadseg.model.checkpoint import load_checkpoint, save_checkpoint

ROOT = Path(__file__).parents[1]


def call(*arguments: object) -> tuple[dict[str, Any], int]:
    """The one document on stdout, and the exit code; a document must keep to its schema."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    document = json.loads(result.stdout, parse_constant=pytest.fail)
    conforms(document)
    return document, result.exit_code


def conforms(document: dict[str, Any]) -> None:
    # a schema may refer to another by its file's name
    known = [(f"{kind}.json", Resource.from_contents(schema_of(kind))) for kind in KINDS]
    registry = Registry().with_resources(known)
    Draft202012Validator(schema_of(documents.kind_of(document)), registry=registry).validate(document)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights, a data set, pictures."""
    place = tmp_path_factory.mktemp("json")
    save_checkpoint(tiny_checkpoint(), place / "tiny.pt")
    make_cityscapes(place / "data", train=2, val=2)
    for i in range(2):
        write_png(place / "pictures" / f"{i}.png", street(i)[0])
        write_png(place / "labels" / f"{i}.png", (street(i)[1] == 7) * street(i)[1].dtype.type(255))
    return place


def test_download_check(place: Path) -> None:
    document, code = call("download-check", "--data", place / "data")
    assert (document["schema"], code) == ("roadseg/download-check", 3)
    assert document["exit_code"] == 3


def test_train(place: Path, tmp_path: Path) -> None:
    document, code = call(
        "train", "--data", place / "data", "--runs", tmp_path, "--name", "a", "--model", "nano",
        "--epochs", 1, "--imgsz", 64, "--batch-size", 2, "--workers", 0, "--device", "cpu",
    )  # fmt: skip
    assert (document["schema"], code) == ("roadseg/train", 0)
    assert (document["epochs"], document["best_epoch"], document["finished"]) == (1, 1, True)
    assert document["best_score"] == document["history"][0]["score"]
    assert json.loads((tmp_path / "a" / "report.json").read_text()) == document


def test_export(place: Path, tmp_path: Path) -> None:
    document, code = call("export", "--weights", place / "tiny.pt", "--out", tmp_path / "tiny.onnx")
    assert (document["schema"], code) == ("roadseg/export", 0)
    assert document["parity"]["equal"] >= 0.999
    assert document["files"] == [str(tmp_path / "tiny.onnx")]


def test_release(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "mean.safetensors"
    document, code = call("release", place / "tiny.pt", place / "tiny.pt", "--out", out)
    assert (document["schema"], code) == ("roadseg/release", 0)
    assert document["weights_sha256"] == load_checkpoint(out).digest()


def test_report(tmp_path: Path) -> None:
    runs = [scored(tmp_path / name, right) for name, right in (("a", 3), ("b", 5))]
    document, code = call("report", *runs)
    assert (document["schema"], code) == ("roadseg/comparison", 0)
    assert document["compared"] == "roadseg/scores"
    assert document["pictures"]["common"] == 1
    document, code = call("report", runs[0], runs[0])
    assert (document["schema"], code) == ("roadseg/error", 1)


def scored(folder: Path, right: int) -> Path:
    """What eval leaves of one picture with 8 pixels of road, of which so many were found."""
    matrix = ConfusionMatrix.from_counts([[9, 1, 0], [8 - right, right, 0]])
    road = get_scheme("road")
    one = scores(matrix, road.classes)
    image = ImageResult("a", matrix, one)
    write_evaluation(Evaluation(road, (image,), matrix, one, per_image([one], road.classes)), folder)
    return folder


def test_eval(place: Path, tmp_path: Path) -> None:
    document, code = call(
        "eval", "--data", place / "data", "-w", place / "tiny.pt", "--out", tmp_path, "--device", "cpu"
    )
    assert (document["schema"], code) == ("roadseg/eval", 0)
    (entry,) = document["evaluations"]
    assert entry.pop("report") == str(tmp_path / "scores.json")
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert entry == scores
    conforms(scores)
    total = [[sum(cell) for cell in zip(*lines)] for lines in zip(*(i["counts"] for i in scores["images"]))]  # noqa: B905
    assert total == scores["counts"]


@pytest.mark.parametrize("labels", [False, True])
def test_segment(place: Path, tmp_path: Path, labels: bool) -> None:
    document, code = call(
        "segment", place / "pictures", "-o", tmp_path / "out", "-w", place / "tiny.pt", "--device", "cpu",
        *(("--labels", place / "labels") if labels else ()),
    )  # fmt: skip
    assert (document["schema"], code) == ("roadseg/segment", 0)
    assert (document["scores"] is not None) is labels
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == document


def test_video(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    document, code = call(
        "video", place / "pictures", "-o", out, "-w", place / "tiny.pt", "--device", "cpu", "--audio", "none"
    )
    assert (document["schema"], code) == ("roadseg/video", 0)
    assert document["frames_written"] == 2
    assert json.loads(out.with_suffix(".json").read_text()) == document


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("download-check", "--data", "x", "--dataset", "nosuch"), 2, "nosuch"),
        (("train", "--data", "none"), 1, "none"),
        (("eval", "--data", "none"), 1, "none"),
        (("segment", "none.png"), 1, "none.png"),
        (("video", "none.mp4"), 1, "none.mp4"),
        (("segment", "a", "--nosuch"), 2, "--nosuch"),
        (("segment",), 2, "INPUT"),
        (("segment", "a", "--threshold", "high"), 2, "--threshold"),
        (("nosuch",), 2, "nosuch"),
        ((), 2, "--json"),
    ],
)
def test_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], exit_code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    document, code = call(*arguments)
    assert (document["schema"], document["exit_code"], code) == ("roadseg/error", exit_code, exit_code)
    assert message in document["message"]
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_stopped_tells_the_error_alone(place: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "in" / name).write_bytes(b"junk")
    document, code = call(
        "segment", tmp_path / "in", "-o", tmp_path / "out", "-w", place / "tiny.pt", "--fail-fast"
    )
    assert (document["schema"], code) == ("roadseg/error", 1)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    conforms(report)
    assert document["message"].startswith(report["stopped_by"])
    assert "0 of 2 pictures are done" in document["message"]


@pytest.mark.parametrize(
    ("raised", "exit_code", "message"),
    [(KeyboardInterrupt(), 130, "Interrupted."), (KeyError("x"), 1, "KeyError: 'x'")],
)
def test_interrupted_and_broken(
    monkeypatch: pytest.MonkeyPatch, raised: BaseException, exit_code: int, message: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("roadseg.dataset.check.check_dataset", fail)
    document, code = call("download-check", "--data", "x")
    assert (document["exit_code"], code, document["message"]) == (exit_code, exit_code, message)


def test_a_picture_called_json_is_no_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["segment", "--", "--json"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "--json" in result.stderr


def test_every_command_has_it() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert [name for name, c in commands.items() if not any("--json" in p.opts for p in c.params)] == []


@pytest.mark.parametrize("kind", KINDS)
def test_schemas_are_schemas_and_refuse_other_documents(kind: Kind) -> None:
    schema = schema_of(kind)
    Draft202012Validator.check_schema(schema)
    assert set(documents.header(kind)) <= set(schema["required"])
    assert not Draft202012Validator(schema).is_valid(documents.header("error" if kind != "error" else "eval"))
    assert not Draft202012Validator(schema).is_valid(documents.header(kind))  # there is more to it
    assert f"`roadseg/{kind}`" in (ROOT / "README.md").read_text(encoding="utf-8")
