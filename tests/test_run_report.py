import csv
import json
import os
from pathlib import Path

import pytest

from roadseg.errors import MediaError, OutputError
from roadseg.metrics.boundary import BoundaryCounts
from roadseg.report.run import OUTLINE_COUNTS, Row, RunReport


def ok(name: str, **facts: object) -> Row:
    return Row(input=name, outputs={"mask": f"masks/{name}"}, **facts)


def test_exit_codes() -> None:
    report = RunReport(command="segment")
    assert report.exit_code == 0
    report.failed("a", MediaError("no"))
    assert report.exit_code == 1
    report.skipped("b", {})
    assert report.exit_code == 3
    report.done(ok("c"))
    assert report.exit_code == 3
    report.stopped_by = "Ctrl-C"
    assert report.exit_code == 1


def test_nothing_failed_but_the_run_stopped() -> None:
    report = RunReport(command="segment", rows=[ok("a")])
    assert report.exit_code == 0
    report.stopped_by = "a bug"
    assert report.exit_code == 1


def test_counts_and_means_add_up() -> None:
    report = RunReport(command="segment", classes=("background", "road"))
    assert report.counts is None
    report.done(ok("a", counts=[[1, 2, 0], [3, 4, 5]], iou=0.25, road_fraction=0.5))
    report.done(ok("b", counts=[[10, 0, 0], [0, 20, 0]], iou=1.0))
    report.failed("c", MediaError("no"))
    assert report.counts == [[11, 2, 0], [3, 24, 5]]
    totals = report.totals()
    assert totals["mean_iou_per_image"] == 0.625
    assert totals["mean_road_fraction"] == 0.5
    kinds = ("inputs", "ok", "failed", "skipped", "earlier", "scored")
    assert [totals[kind] for kind in kinds] == [3, 2, 1, 0, 0, 2]


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    report = RunReport(command="segment", settings={"weights": "bundled", "imgsz": 640}, classes=("a", "b"))
    report.done(ok("straße/道.jpg", width=4, height=3, seconds=0.1, iou=0.5, counts=[[1, 0, 0], [0, 2, 0]]))
    report.failed(os.fsdecode(b"latin-\xe9.jpg"), MediaError('a "quoted"\nmessage'))
    report.scores = {"global": {"mean_iou": None}}
    json_path, _ = report.write(tmp_path / "new")
    assert json_path == tmp_path / "new/report.json"
    again = RunReport.read(json_path)
    assert again.rows == report.rows
    assert again.to_dict() | {"totals": 0} == report.to_dict() | {"totals": 0}

    text = json_path.read_text(encoding="utf-8")
    data = json.loads(text)
    assert (data["schema"], data["version"]) == ("roadseg/segment", 1)
    assert data["settings"]["imgsz"] == 640
    assert data["rows"][0]["counts"] == [[1, 0, 0], [0, 2, 0]]
    assert "straße/道.jpg" in text
    assert sum('"input": ' in line for line in text.splitlines()) == 2  # one line per row


def test_nan_never_reaches_the_json(tmp_path: Path) -> None:
    report = RunReport(command="segment", rows=[ok("a", iou=float("nan"))])
    with pytest.raises(ValueError, match="JSON"):
        report.write(tmp_path)


def test_csv_opens_in_a_spreadsheet_and_runs_nothing(tmp_path: Path) -> None:
    report = RunReport(command="segment")
    names = ["=cmd|' /C calc'!A0.jpg", "+1.jpg", "-1.jpg", "@sum.jpg", 'a,"b"\n.jpg', "ü.jpg", "\tx.jpg"]
    report.done(
        Row(input=names[0], outputs={"mask": "=m.png", "overlay": "o.jpg"}, road_fraction=1 / 3, iou=-0.0)
    )
    for name in names[1:]:
        report.failed(name, MediaError(f"{name}: is damaged"))
    _, csv_path = report.write(tmp_path, "report-1of2")
    assert csv_path == tmp_path / "report-1of2.csv"
    assert csv_path.read_bytes().startswith(b"\xef\xbb\xbf")
    with csv_path.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == [
        "input",
        "status",
        "mask",
        "overlay",
        "width",
        "height",
        "road_fraction",
        "seconds",
        "iou",
        "error",
    ]
    assert [row[0] for row in rows] == ["'" + name if name[0] in "=+-@\t" else name for name in names]
    assert rows[0][1:7] == ["ok", "'=m.png", "o.jpg", "", "", "0.333333"]
    assert rows[1][-1] == "'+1.jpg: is damaged"
    assert all(len(row) == len(header) for row in rows)


def test_a_second_run_keeps_the_rows_of_the_first() -> None:
    first = RunReport(command="segment", settings={"weights": "one"})
    first.rows = [ok("a", iou=0.5, counts=[[1]]), ok("gone", iou=0.7, counts=[[10]])]
    first.failed("b", MediaError("damaged"))
    first.failed("never tried again", MediaError("damaged"))
    first.failed("put there by hand", MediaError("damaged"))

    second = RunReport(command="segment", settings={"weights": "two"})
    second.skipped("a", {"mask": "masks/a"})
    second.done(ok("b", counts=[[100]]))
    second.skipped("unknown", {})
    second.skipped("put there by hand", {})
    second.carry_over(first)

    status = [(row.input, row.status, row.earlier, row.counts) for row in second.rows]
    assert status == [
        ("a", "skipped", False, [[1]]),
        ("b", "ok", False, [[100]]),
        ("unknown", "skipped", False, None),
        ("put there by hand", "skipped", False, None),
        ("gone", "ok", True, [[10]]),
        ("never tried again", "failed", True, None),
    ]
    assert second.rows[3].error is None
    assert second.counts == [[111]]
    assert second.exit_code == 0  # the old failure is listed, but it is not this run's
    totals = second.totals()
    assert [totals[kind] for kind in ("inputs", "ok", "skipped", "failed", "earlier")] == [4, 1, 3, 0, 2]
    assert [run["settings"] for run in second.earlier_runs] == [{"weights": "one"}]

    third = RunReport(command="segment")
    third.skipped("a", {})
    third.carry_over(second)
    assert third.rows[0].counts == [[1]]
    assert [row.input for row in third.rows if row.earlier] == [row.input for row in second.rows[1:]]
    assert [run["settings"] for run in third.earlier_runs] == [{"weights": "one"}, {"weights": "two"}]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"schema": "roadseg/segment", "version": 99}',
        b'{"schema": "roadseg/video", "version": 1}',
        b'{"schema": "roadseg/segment", "version": 1, "command": "segment"}',
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"report\.json: is no report that can be read .*--overwrite"):
        RunReport.read(path)
    with pytest.raises(OutputError, match=r"missing\.json: cannot be read"):
        RunReport.read(tmp_path / "missing.json")


@pytest.mark.parametrize("outlines", [7, [[1, 2]], [[0] * 6, [0] * 6], [[0.5] * 6], [[-1] * 6]])
def test_outlines_that_cannot_be_counted_are_damage(tmp_path: Path, outlines: object) -> None:
    assert len(BoundaryCounts._fields) == OUTLINE_COUNTS
    report = RunReport(command="segment", classes=("a", "b"))
    report.done(ok("a.png", counts=[[1, 0, 0], [0, 2, 0]], boundary=[[0] * 6]))
    path, _ = report.write(tmp_path)
    assert RunReport.read(path).rows == report.rows
    report.rows[0] = ok("a.png", counts=[[1, 0, 0], [0, 2, 0]], boundary=outlines)
    report.write(tmp_path)
    with pytest.raises(OutputError, match="report that can be read"):
        RunReport.read(path)
