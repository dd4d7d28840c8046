"""`segment --labels` counts what `eval` counts: outlines and probabilities, too, in one run or in several."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import make_cityscapes, tiny_checkpoint
from typer.testing import CliRunner, Result

from roadseg.cli.app import app
from roadseg.model.checkpoint import save_checkpoint
from roadseg.report.html.segmentation import segment_page
from roadseg.report.run import RunReport


def run(*arguments: object, code: int = 0) -> Result:
    # one by one: the network rounds a batch by its size
    device = () if arguments[0] == "report" else ("--device", "cpu", "--batch-size", 1)
    result = CliRunner().invoke(app, [*map(str, arguments), *device, "-q"])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def segment(place: Path, out: Path, scheme: str = "road", *more: object) -> dict[str, Any]:
    data, weights = place / "data", place / f"{scheme}.pt"
    given = ("--labels", data / "gtFine/val", "--label-format", "cityscapes-labelIds")
    run("segment", data / "leftImg8bit/val", "--out", out, "-w", weights, *given, *more)
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return report


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights, and a Cityscapes tree with five pictures to score."""
    place = tmp_path_factory.mktemp("scores")
    make_cityscapes(place / "data", train=1, val=5)
    for scheme in ("road", "cityscapes19"):
        save_checkpoint(tiny_checkpoint(scheme), place / f"{scheme}.pt")
    return place


@pytest.mark.parametrize("scheme", ["road", "cityscapes19"])
def test_they_are_those_of_eval(place: Path, tmp_path: Path, scheme: str) -> None:
    report = segment(place, tmp_path / "s", scheme, "--no-html")
    run("eval", "--data", place / "data", "-w", place / f"{scheme}.pt", "--out", tmp_path / "e", "--no-html")
    scores = json.loads((tmp_path / "e/scores.json").read_text())
    assert report["counts"] == scores["counts"]
    assert report["boundary"] == scores["boundary"]
    assert report["road"] == {"images": 5, **scores["road"]}
    assert sum(map(sum, report["road"]["counts"])) == report["scores"]["global"]["pixels"]
    rows = {Path(row["input"]).name.removesuffix("_leftImg8bit.png"): row for row in report["rows"]}
    for image in scores["images"]:
        assert rows[Path(image["key"]).name]["boundary"] == image["boundary"]


@pytest.mark.parametrize("scheme", ["road", "cityscapes19"])
def test_files_of_probabilities_do_not_change_what_is_counted(
    place: Path, tmp_path: Path, scheme: str
) -> None:
    """Only the filter that enlarges them differs a little."""
    plain = segment(place, tmp_path / "a", scheme, "--no-html")
    saved = segment(place, tmp_path / "b", scheme, "--no-html", "--save-probs")
    for row in (0, 1):
        assert sum(plain["road"]["counts"][row]) == sum(saved["road"]["counts"][row]) > 0
    assert saved["road"]["scores"]["average_precision"] == pytest.approx(
        plain["road"]["scores"]["average_precision"], abs=0.01
    )


def test_going_on_counts_every_picture_once(place: Path, tmp_path: Path) -> None:
    whole = segment(place, tmp_path / "whole")
    inputs = place / "data/leftImg8bit/val"
    first = sorted(inputs.rglob("*.png"))[0]
    given = ("--labels", place / "data/gtFine/val", "--label-format", "cityscapes-labelIds", "-w")
    (tmp_path / "list").mkdir()
    out = tmp_path / "out"
    run("segment", inputs, "--out", out, *given, place / "road.pt", "--shard", "1/2", "--no-html")
    (out / "report-1of2.json").rename(out / "report.json")  # as if the run had been stopped there
    again = segment(place, out, "road", "--skip-existing")
    assert again["totals"]["skipped"] == 3
    for section in ("counts", "scores", "boundary", "road"):
        assert again[section] == whole[section], section
    # a sum cannot be taken apart: the picture that is done again would be in it twice
    (out / "masks/ulm" / first.name).unlink()
    redone = segment(place, out, "road", "--skip-existing")
    assert redone["totals"]["ok"] == 1
    assert redone["boundary"] == whole["boundary"]
    assert redone["road"] is None
    text = (out / "report.html").read_text()
    assert "their part cannot be told" in text
    assert "Precision over recall" not in text
    assert "Precision over recall" in (tmp_path / "whole/report.html").read_text()


def test_reports_of_other_versions_are_read(place: Path, tmp_path: Path) -> None:
    document = segment(place, tmp_path / "out", "road", "--no-html")
    assert RunReport.from_dict(document).to_dict()["road"] == document["road"]
    for row in document["rows"]:
        del row["boundary"]
        row["from_the_future"] = 1
    del document["boundary"], document["road"]
    report = RunReport.from_dict(document)
    assert (report.boundary, report.road, report.rows[0].boundary) == (None, None, None)
    titles = [section.title for section in segment_page(report).sections]
    assert titles[:3] == ["Classes", "Further scores", "Over the pictures"]
    (tmp_path / "out/report.json").write_text(json.dumps(document))
    again = segment(place, tmp_path / "out", "road", "--skip-existing")
    assert again["counts"] == document["counts"]
    assert again["road"] is again["boundary"] is None


def test_a_histogram_that_is_none_is_found_before_the_run(place: Path, tmp_path: Path) -> None:
    document = segment(place, tmp_path / "out", "road", "--no-html")
    document["road"]["counts"] = [[1, 2], [3, 4]]
    path = tmp_path / "out/report.json"
    path.write_text(json.dumps(document))
    with pytest.raises(AssertionError, match="a histogram is 2 rows of 4096"):
        segment(place, tmp_path / "out", "road", "--skip-existing")
    assert json.loads(path.read_text()) == document


def test_runs_are_compared_by_their_outlines(place: Path, tmp_path: Path) -> None:
    for name in "ab":
        segment(place, tmp_path / name, "road", "--no-html", *(("--threshold", 0.4) if name == "b" else ()))
    shown = run("report", tmp_path / "a", tmp_path / "b", "--json").stdout
    document = json.loads(shown)
    assert {"boundary IoU", "MaxF", "ECE"} <= document["runs"][0]["headline"].keys()
    assert "boundary IoU" in document["differences"][0]["measures"]


def test_masks_of_other_weights_or_settings_are_not_mixed(place: Path, tmp_path: Path) -> None:
    words = ("segment", place / "data/leftImg8bit/val", "--no-html", "-w", tmp_path / "w.pt")
    save_checkpoint(tiny_checkpoint(), tmp_path / "w.pt")
    run(*words, "--out", tmp_path / "out")
    again = (*words, "--out", tmp_path / "out", "--skip-existing", "--shard")
    other = run(*again, "1/2", "--threshold", 0.9, code=1)
    assert "report.json: is of a run with threshold 0.5, this one has 0.9" in other.stderr
    run(*again, "1/2")
    save_checkpoint(tiny_checkpoint(depths=(1, 2)), tmp_path / "w.pt")  # under the same name
    for shard in ("1/1", "2/2"):
        assert "is of a run with other weights" in run(*again, shard, code=1).stderr


def test_weights_go_by_one_name_in_every_report(place: Path, tmp_path: Path) -> None:
    inputs, data = place / "data/leftImg8bit/val", place / "data"
    run("segment", inputs, "--out", tmp_path / "s", "--no-html")
    run("segment", inputs, "--out", tmp_path / "s", "--no-html", "--skip-existing", "-w", "road-small")
    run("eval", "--data", data, "--out", tmp_path / "e", "--no-html", "--no-boundary")
    for document in ("s/report.json", "e/scores.json"):
        assert json.loads((tmp_path / document).read_text())["settings"]["weights"] == "road-small"
