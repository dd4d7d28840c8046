"""The pictures on the page of `roadseg report`: those that the runs kept, whatever they are called."""

import base64
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import street, tiny_checkpoint, write_png
from test_compare import compared, document, matrix
from test_report_page import Seen
from typer.testing import CliRunner

from roadseg.cli.app import app
from roadseg.media.output import write_text
from roadseg.model.checkpoint import save_checkpoint
from roadseg.report import present
from roadseg.report.compare import Comparison
from roadseg.report.html import album
from roadseg.report.html.album import jpeg_uri
from roadseg.report.html.page import Cell, Gallery, Page, Picture, Table, write_page
from roadseg.report.kept import KeptPictures
from roadseg.report.load import find_documents, make_runs
from roadseg.report.present import to_html

NASTY = "<img src=x onerror=alert(1)>.png"
COUNTS = (
    {NASTY: matrix(4, 0, 3, 3), "b": matrix(6, 2, 0, 2)},
    {NASTY: matrix(4, 0, 0, 6), "b": matrix(4, 4, 0, 2)},
)


def flat(level: int, side: int = 16) -> str:
    return jpeg_uri(np.full((side, side, 3), level, np.uint8))


def keep(folder: Path, small: dict[str, str], large: dict[str, str] | None = None) -> None:
    """A run's page with these pictures in its table and its gallery."""
    rows = [[Cell(picture=Picture(name, source)), Cell(name)] for name, source in small.items()]
    shots = [Picture(name, source) for name, source in (large or {}).items()]
    sections = [Gallery("g", [("", shots)]), Table("t", [("", False), ("x", False)], rows)]
    write_page(folder / "report.html", Page(command="eval", title="x", sections=sections))


def size(source: str) -> tuple[int, int]:
    """Height and width of a JPEG in a page."""
    data = np.frombuffer(base64.b64decode(source.split(",")[1]), np.uint8)
    height, width, _ = cv2.imdecode(data, cv2.IMREAD_COLOR).shape
    return height, width


def two(tmp_path: Path) -> Comparison:
    return compared(tmp_path, *(document(counts, w=i) for i, counts in enumerate(COUNTS)))


def pictures(html: str) -> list[str]:
    return [value for name, value in Seen(html).attributes if name == "src"]


def test_every_run_shows_what_it_kept(tmp_path: Path) -> None:
    comparison = two(tmp_path)
    keep(tmp_path / "A", {NASTY: flat(1), "b": flat(2), "other": flat(9)}, {NASTY: flat(3, 64)})
    keep(tmp_path / "B", {NASTY: flat(4)})
    html = to_html(comparison)
    # the larger one where there is one; the worst disagreement first, the runs beside each other
    assert pictures(html) == [flat(3, 64), flat(4), flat(2)]
    seen = Seen(html)
    assert "B kept no picture of it" in seen.text
    assert "A kept no picture" not in seen.text
    assert NASTY in seen.text
    assert ("data-name", NASTY) in seen.attributes
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert seen.tags.count("img") == 3 + 1  # and that of the viewer
    assert "missed: road, but not found" in seen.text


def test_runs_that_kept_none_say_so(tmp_path: Path) -> None:
    html = to_html(two(tmp_path))
    assert "none of the runs kept one of these" in Seen(html).text
    assert "<img" not in html
    assert "<dialog" not in html


def test_pictures_beyond_the_budget_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = two(tmp_path)
    for name in "AB":
        keep(tmp_path / name, {NASTY: flat(1), "b": flat(2)}, {NASTY: flat(3, 64), "b": flat(4, 64)})
    assert pictures(to_html(comparison)) == [flat(3, 64)] * 2 + [flat(4, 64)] * 2
    monkeypatch.setattr(present, "_BYTES", len(flat(3, 64)))
    assert pictures(to_html(comparison)) == [flat(3, 64)] * 2 + [flat(2)] * 2
    # what has no small one is made small; what is damaged is left to the browser
    (tmp_path / "A/report.html").unlink()
    (tmp_path / "B/report.html").unlink()
    keep(tmp_path / "A", {}, {NASTY: flat(3, 64), "b": flat(4, 600)})
    keep(tmp_path / "B", {}, {NASTY: flat(3, 64), "b": "data:image/jpeg;base64,AAA"})
    *_, shrunk, damaged = pictures(to_html(comparison))
    assert damaged == "data:image/jpeg;base64,AAA"
    assert size(shrunk) == (256, 256)


def test_only_files_of_the_run_and_pages_of_ours_are_taken(tmp_path: Path) -> None:
    comparison = two(tmp_path)
    secret = tmp_path / "secret.jpg"
    assert cv2.imwrite(str(secret), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "A/notes.jpg").write_text("no picture")
    shutil.copy(secret, tmp_path / "A/thumb 1.jpg")
    keep(tmp_path / "A", {NASTY: "../secret.jpg", "b": "thumb%201.jpg"})
    keep(tmp_path / "B", {NASTY: "notes.jpg", "b": "https://example.org/x.jpg"})
    assert len(found := pictures(to_html(comparison))) == 1
    assert found[0].startswith("data:image/jpeg;base64,")
    foreign = (tmp_path / "A/report.html").read_text(encoding="utf-8").replace("generator", "author")
    write_text(tmp_path / "A/report.html", foreign)
    assert pictures(to_html(comparison)) == []


def command(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_real_runs_of_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One links its thumbnails, one has no page but overlays, one neither."""
    save_checkpoint(tiny_checkpoint(), tmp_path / "tiny.pt")
    for i, name in enumerate((NASTY, "plain.png")):
        rgb_HWC, label_HW = street(i)
        write_png(tmp_path / "in" / name, rgb_HWC)
        write_png(tmp_path / "labels" / name, np.where(label_HW == 7, 255, 0).astype(np.uint8))
    monkeypatch.setattr(album, "EMBEDDED", 0)
    for name, threshold, options in (
        ("all", 0, []), ("none", 1, ["--no-html"]), ("bare", 0.5, ["--no-html", "--no-overlay"]),
    ):  # fmt: skip
        command(
            "segment", tmp_path / "in", "--out", tmp_path / name, "--labels", tmp_path / "labels", "-q",
            "--weights", tmp_path / "tiny.pt", "--device", "cpu", "--threshold", threshold, *options,
        )  # fmt: skip
    assert list((tmp_path / "all/report_thumbnails").iterdir())
    out = tmp_path / "compared.html"
    command("report", tmp_path / "all", tmp_path / "none", tmp_path / "bare", "--out", out, "-q")
    html = out.read_text(encoding="utf-8")
    assert len(html) < 5_000_000
    found = pictures(html)
    assert len(found) == 4
    assert all(source.startswith("data:image/jpeg;base64,") for source in found)
    text = Seen(html).text
    assert text.count("bare kept no picture of it") == 2
    assert text.count("(overlay)") == 2  # those of the run without a page
    assert NASTY in text
    assert "<img src=x" not in html


def test_a_linked_overlay_is_made_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page with many pictures, none of them scored, links overlays, which are as large as the pictures."""
    save_checkpoint(tiny_checkpoint(), tmp_path / "tiny.pt")
    write_png(tmp_path / "in/a.png", np.full((300, 1200, 3), 90, np.uint8))
    monkeypatch.setattr(album, "EMBEDDED", 0)
    command(
        "segment", tmp_path / "in", "--out", tmp_path / "out", "-q", "--weights", tmp_path / "tiny.pt",
        "--device", "cpu",
    )  # fmt: skip
    assert "overlays/a.jpg" in pictures((tmp_path / "out/report.html").read_text(encoding="utf-8"))
    assert not (tmp_path / "out/report_thumbnails").exists()
    (run,) = make_runs(find_documents(tmp_path / "out"))
    kept = KeptPictures(run, ["a.png"])
    for small in (True, False):
        shot = kept.shot("a.png", small=small)
        assert shot
        assert size(shot.source) == ((64, 256) if small else (256, 1024))
