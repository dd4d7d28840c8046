"""The HTML page of a run: what is in it, what can never be in it, and whose files it leaves alone."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conftest import make_cityscapes, street, tiny_checkpoint, write_png
from test_cli import TRAIN, run

from roadseg.errors import MediaError, OutputError
from roadseg.labels import get_scheme
from roadseg.media.overlay import FALSE, MISSED, RIGHT, VOID_GREY, difference
from roadseg.metrics.curves import RoadHistogram, road_scores
from roadseg.model.checkpoint import save_checkpoint
from roadseg.report.html import album as album_module
from roadseg.report.html import plots
from roadseg.report.html.album import Album, Overlay, Sketches
from roadseg.report.html.curves import curve_figures
from roadseg.report.html.evaluation import eval_page
from roadseg.report.html.page import (
    Cell,
    Figure,
    Figures,
    Gallery,
    Headline,
    Matrix,
    Page,
    Picture,
    Table,
    render,
    write_page,
)
from roadseg.report.html.segmentation import segment_page
from roadseg.report.html.tally import Tally
from roadseg.report.html.training import train_page
from roadseg.report.html.video import video_page
from roadseg.report.run import Row, RunReport

EVIL = "<img src=x onerror=\"document.title='taken'\">&'\"</script><script>document.title='taken'</script>"


class Seen(HTMLParser):
    """Counts the elements of a page, and collects its attributes and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


# ---------------------------------------------------------------- the page itself


def test_what_is_no_jpeg_is_told() -> None:
    with pytest.raises(MediaError, match="8x66000 is too large"):
        album_module.jpeg_uri(np.zeros((66000, 8, 3), np.uint8))


def full_page(text: str) -> Page:
    """A page with `text` wherever there can be a text."""
    shot = Picture(text, "data:,", text, text)
    svg = plots.lines(text, [(text, ([0, 1], [0, 1]))] * 2, xlabel=text, ylabel=text, mark=(0, 0, text))
    return Page(
        command=text,
        title=text,
        subtitle=text,
        warning=text,
        headlines=[Headline(text, text, text, text)],
        facts=[(text, text)],
        sections=[
            Table(
                text,
                [(text, False), (text, True)],
                [[Cell(text, link=text), Cell(text, 1.0)]],
                [Cell(text)],
                text,
            ),
            Table(text, [(text, False)], [[Cell(picture=shot, swatch=text)]], folded=True),
            Matrix(text, [text], [text], [[(text, 1.0, text)]], text),
            Figures(text, [Figure(text, svg, text)]),
            Gallery(text, [(text, [shot])], [(text, text)], text),
        ],
    )


def test_whatever_the_text_is_the_page_has_the_same_elements() -> None:
    evil, good = (Seen(render(full_page(text))) for text in (EVIL, re.sub("[<>&'\"=]", "x", EVIL)))
    assert evil.tags == good.tags
    assert [name for name, _ in evil.attributes] == [name for name, _ in good.attributes]
    assert evil.tags.count("script") == 1
    assert EVIL in evil.text


def test_text_of_a_drawing_is_shown_as_it_is() -> None:
    """No formulas, and no complaint about letters that matplotlib's own font lacks."""
    names = ("x_1$^2$", "<b>", "道路")
    drawn = Seen(plots.lines("a", [(name, ([0], [0])) for name in names], xlabel="x", ylabel="y"))
    assert all(name in drawn.text for name in names)
    assert "b" not in drawn.tags


def test_the_course_of_one_epoch_has_whole_epochs_on_its_axis() -> None:
    for epochs in ([3.0], [3.0, 4.0]):
        course = [("loss", (epochs, [0.5] * len(epochs)))]
        svg = plots.lines("loss", course, xlabel="epoch", ylabel="loss", integer=True)
        ticks = re.findall(r">([\d.]+)</text>", svg.partition(">epoch<")[0])
        assert ticks
        assert all(float(tick).is_integer() for tick in ticks), ticks


def test_a_drawing_has_no_colour_of_its_own_and_shares_no_name() -> None:
    first, second = (plots.histogram(label, [0.1, 0.9], "x") for label in ("one", "two"))
    colors = re.findall(r"(?:fill|stroke): ?([^;\"]+)", first)
    assert set(colors) <= {
        "none",
        *(f"var({name})" for name in ("--bar", "--c1", "--c2", "--ink", "--line", "--muted")),
    }
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert set(re.findall(r'href="#([^"]+)"', first)) <= ids[0]


def test_a_page_asks_nothing_of_the_network() -> None:
    html = render(full_page("good"))
    addresses = {value for name, value in Seen(html).attributes if name in ("src", "href", "xlink:href")}
    assert all(address.startswith(("data:", "#")) or address == "good" for address in addresses)
    assert set(re.findall(r"https?://[^\"' )]+", html)) <= {
        "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
    }  # fmt: skip
    assert "url(" not in re.sub(r"url\(#[^)]+\)", "", html)
    assert any("default-src 'none'" in value for name, value in Seen(html).attributes if name == "content")


def test_a_page_replaces_only_a_page(tmp_path: Path) -> None:
    path = write_page(tmp_path / "new/report.html", full_page("first"))
    write_page(path, full_page("second"))
    assert "second" in path.read_text()
    path.write_text("<p>my own notes</p>")
    with pytest.raises(OutputError, match=r"report\.html: is there already, and no report"):
        write_page(path, full_page("third"))
    assert path.read_text() == "<p>my own notes</p>"
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


# ---------------------------------------------------------------- scores


def test_tallies_by_hand() -> None:
    tally = Tally.from_counts("a", [[5, 1, 2], [3, 4, 0]])  # 8 of class 0 (2 unanswered), 7 of class 1
    assert (tally.tp, tally.fp, tally.fn) == ((5, 4), (3, 1), (3, 3))
    assert tally.iou(0) == 5 / 11
    assert tally.precision(1) == 4 / 5
    assert tally.recall(1) == 4 / 7
    assert tally.mean_iou() == (5 / 11 + 4 / 8) / 2
    assert tally.pixel_accuracy() == 9 / 15
    assert math.isnan(Tally("b", (0, 0), (0, 0), (0, 0)).mean_iou())


def test_curves_of_a_histogram_by_hand() -> None:
    """Road at three levels 1, 1 and 2 times, and something else once at the lowest of them."""
    histogram = RoadHistogram()
    histogram.counts[1, [1000, 2000, 3000]] = 1, 1, 2
    histogram.counts[0, [0, 1000]] = 3, 1
    road = {"counts": histogram.counts.tolist(), "scores": road_scores(histogram).to_dict()}
    titles = ["Precision over recall", "IoU over the threshold", "Reliability"]
    figures = curve_figures(road)
    assert [figure.title for figure in figures] == titles
    assert "MaxF 88.89" in figures[0].svg  # 2 * 4 / (4 + 4 + 1)
    assert figures[0].caption == "Average precision 95.00 %."  # 3 / 4 * 1 + 1 / 4 * 4 / 5
    assert "best 80.00 at 0.00" in figures[1].svg
    assert curve_figures(None) == []
    nothing = RoadHistogram()
    assert curve_figures({"counts": nothing.counts.tolist(), "scores": road_scores(nothing).to_dict()}) == []


def test_difference_by_hand() -> None:
    rgb = np.zeros((1, 5, 3), np.uint8)
    truth, mask = (np.array([row], np.uint8) for row in ([1, 1, 0, 0, 255], [1, 0, 1, 0, 1]))
    shown = difference(rgb, truth, mask, 2)[0].tolist()
    right, grey = ([round(c * 0.5) for c in color] for color in (RIGHT, VOID_GREY))
    missed, false = ([round(c * 0.8) for c in color] for color in (MISSED, FALSE))
    assert shown == [right, missed, false, [0, 0, 0], grey]
    many = difference(rgb, truth, mask, 3)[0].tolist()
    assert many == [[0, 0, 0], false, false, [0, 0, 0], grey]


# ---------------------------------------------------------------- pictures


def noise(seed: int, size: tuple[int, int] = (512, 1024)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def test_five_hundred_pictures_stay_below_five_megabytes(tmp_path: Path) -> None:
    """Of noise, which no codec makes small. What does not fit lies beside the page, and is linked."""
    page = tmp_path / "report.html"
    album, small_rgb, rgb = Album(page, get_scheme("road")), noise(0, (128, 256)), noise(1)
    for i in range(500):
        album.add(f"{i}", small_rgb, None, np.zeros((128, 256), np.uint8))
    album.reopen = lambda key: (rgb, None, np.zeros(rgb.shape[:2], np.uint8))
    small = [album.small(f"{i}") for i in range(500)]
    large = [album.large(f"{i}") for i in range(12)]
    assert sum(map(len, [*small, *large])) < 4.8e6
    linked = [address for address in small if not address.startswith("data:")]
    assert sorted(linked) == sorted(f"report_thumbnails/{p.name}" for p in album.folder.iterdir())
    assert 0 < len(linked) < 500
    assert all((tmp_path / address).read_bytes().startswith(b"\xff\xd8") for address in linked)


def test_more_pictures_than_a_page_holds_are_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(album_module, "EMBEDDED", 2)
    album = Album(tmp_path / "a report.html", get_scheme("road"))
    for key in "abc":
        album.add(key, noise(1, (8, 8)), None, np.zeros((8, 8), np.uint8))
    assert [album.small(key)[:10] for key in "ab"] == ["data:image", "data:image"]
    assert album.small("c") == "a%20report_thumbnails/000002.jpg"
    assert (tmp_path / "a report_thumbnails/000002.jpg").exists()
    assert album.small("d") is None


def test_an_overlay_is_linked_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no small picture made of it; of what shows a truth there is no other."""
    monkeypatch.setattr(album_module, "EMBEDDED", 1)
    album = Album(tmp_path / "report.html", get_scheme("road"))
    mask_HW = np.zeros((8, 8), np.uint8)
    for key, truth_HW in (("a", None), ("b", None), ("c", mask_HW)):
        overlay = Overlay(noise(2, (8, 8)), f"overlays/{key} #1.jpg")
        album.add(key, noise(1, (8, 8)), truth_HW, mask_HW, overlay)
    sketches = Sketches(get_scheme("road"))  # another process does not know what there is room for
    sketches.add("d", noise(1, (8, 8)), None, mask_HW, Overlay(noise(2, (8, 8)), "overlays/d.jpg"))
    album.keep("d", *sketches.drawn["d"])
    assert (album.small("a") or "").startswith("data:image")
    linked = [album.small(key) for key in "bcd"]
    assert linked == ["overlays/b%20%231.jpg", "report_thumbnails/000002.jpg", "overlays/d.jpg"]
    assert [path.name for path in album.folder.iterdir()] == ["000002.jpg"]


def test_a_picture_that_is_gone_is_left_out(tmp_path: Path) -> None:
    def gone(key: str) -> album_module.Seen:
        raise MediaError(f"{key}: no such file")

    album = Album(tmp_path / "report.html", get_scheme("road"))
    assert album.large("a") is None
    album.reopen = gone
    assert album.large("a") is None


# ---------------------------------------------------------------- the commands


def test_segment_without_labels(tmp_path: Path) -> None:
    for name in (EVIL.replace("/", "∕")[:80] + ".png", "b.png"):
        write_png(tmp_path / "in" / name, street(1)[0])
    (tmp_path / "in/broken.png").write_bytes(b"no picture")
    weights = tmp_path / "tiny.pt"
    save_checkpoint(tiny_checkpoint(), weights)
    done = run("segment", tmp_path / "in", "--out", tmp_path / "out", "-w", weights, "--device", "cpu")
    assert done.exit_code == 3
    html = (tmp_path / "out/report.html").read_text()
    page = Seen(html)
    assert "One input failed" in page.text
    assert "is no picture that can be read here" in page.text
    assert "Road, on average" in page.text
    assert "IoU" not in page.text
    assert page.tags.count("script") == 1
    links = [v for n, v in page.attributes if n == "href" and v.startswith("overlays")]
    assert len(links) == 2
    assert "overlays/b.jpg" in links
    assert all("<" not in link and '"' not in link for link in links)


def test_the_legend_has_the_colours_of_the_overlays(tmp_path: Path) -> None:
    write_png(tmp_path / "in" / "a.png", street(0)[0])
    for scheme, shown in (
        ("road", ["#00c853"]),
        ("cityscapes19", ["#804080", "#f423e8"]),  # road and sidewalk, of 19
    ):
        weights = tmp_path / f"{scheme}.pt"
        save_checkpoint(tiny_checkpoint(scheme), weights)
        assert run("segment", tmp_path / "in", "--out", tmp_path / scheme, "-w", weights).exit_code == 0
        text = (tmp_path / scheme / "report.html").read_text(encoding="utf-8")
        legend = text.split('<ul class="legend">')[1].split("</ul>")[0]
        assert legend.count("<li>") == (1 if scheme == "road" else 19)
        assert all(f"background:{color}" in legend for color in shown)
        assert ("#00c853" in legend) == (scheme == "road")


def test_segment_with_labels(cityscapes: Path, tmp_path: Path, tiny_weights: Path) -> None:
    out = tmp_path / "out"
    arguments = (
        "segment",
        cityscapes / "leftImg8bit/val",
        "--labels",
        cityscapes / "gtFine/val",
        "--out",
        out,
    )
    options = ("--label-format", "cityscapes-labelIds", "-w", tiny_weights, "--device", "cpu")
    assert run(*arguments, *options).exit_code == 0
    text = Seen((out / "report.html").read_text()).text
    for part in (
        "Road IoU",
        "95 %:",
        "Confusion",
        "IoU of road of each picture",
        "missed: road, but not found",
        "Precision over recall",
        "IoU over the threshold",
        "Reliability",
        "Boundary F",
        "Frequency-weighted IoU",
    ):
        assert part in text
    report = json.loads((out / "report.json").read_text())
    iou = report["scores"]["global"]["per_class"]["road"]["iou"]
    assert f"{100 * iou:.2f}" in text
    again = segment_page(RunReport.read(out / "report.json"))
    assert again.headlines[0].value == f"{100 * iou:.2f}"


def test_no_page_if_none_is_wanted(cityscapes: Path, tmp_path: Path, tiny_weights: Path) -> None:
    out = tmp_path / "out"
    done = run("segment", cityscapes / "leftImg8bit/val", "--out", out, "-w", tiny_weights, "--no-html")
    assert done.exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == ["masks", "overlays", "report.csv", "report.json"]
    done = run("eval", "--data", cityscapes, "--out", tmp_path / "eval", "-w", tiny_weights, "--no-html")
    assert done.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "eval").iterdir()) == ["per_image.csv", "scores.json"]


@pytest.mark.parametrize("command", ["segment", "eval"])
def test_somebodys_own_page_is_never_replaced(
    command: str, cityscapes: Path, tmp_path: Path, tiny_weights: Path
) -> None:
    given = ("--data", cityscapes) if command == "eval" else (cityscapes / "leftImg8bit/val",)
    arguments = (command, *given, "--out", tmp_path / "out", "-w", tiny_weights)
    assert run(*arguments, "--no-html").exit_code == 0
    before = (tmp_path / "out/report.html").write_text("my own")
    done = run(*arguments, "--overwrite")
    assert done.exit_code == 1
    assert "it may be somebody's own" in done.stderr
    assert (tmp_path / "out/report.html").read_text() == "my own"
    assert before == 6


def test_eval(tmp_path: Path, tiny_weights: Path) -> None:
    data = make_cityscapes(tmp_path / "data", val=13)  # more than worst, median and best show
    assert run("eval", "--data", data, "--out", tmp_path / "out", "-w", tiny_weights).exit_code == 0
    page = Seen((tmp_path / "out/report.html").read_text())
    for part in (
        "Worst, median and best pictures",
        "All 13 pictures",
        "13 pictures",
        "pictures/s",
        "Command",
    ):
        assert part in page.text
    shots = [
        value for name, value in page.attributes if name == "src" and value.startswith("data:image/jpeg")
    ]
    assert len(shots) == 12 + 13
    again = eval_page(tmp_path / "out")  # from the documents alone: no pictures, the same numbers
    assert not any(isinstance(section, Gallery) for section in again.sections)
    for headline in again.headlines:
        assert headline.value in page.text
        assert headline.interval in page.text
    scores = json.loads((tmp_path / "out/scores.json").read_text())
    assert again.headlines[0].value == f"{100 * scores['scores']['per_class']['road']['iou']:.2f}"
    order = [row[0].value for row in [r[1:] for r in again.sections[-1].rows]]
    assert order == sorted(order)


def test_eval_of_many_classes(tmp_path: Path) -> None:
    data = make_cityscapes(tmp_path / "data", val=3)
    weights = tmp_path / "tiny.pt"
    save_checkpoint(tiny_checkpoint("cityscapes19"), weights)
    assert run("eval", "--data", data, "--out", tmp_path / "out", "-w", weights).exit_code == 0
    page = Seen((tmp_path / "out/report.html").read_text())
    assert "Mean IoU" in page.text
    assert "taken for another class" in page.text
    assert ("class", "confusion dense") in page.attributes


def test_masks_of_any_tool(tmp_path: Path) -> None:
    data = make_cityscapes(tmp_path / "data", val=3)
    for i in range(2):  # the third is missing, the second is damaged
        name = tmp_path / f"masks/ulm/ulm_{i:06d}_000019.png"
        write_png(name, street(i + 100)[1] // 7 * 255 * (street(i + 100)[1] == 7))
    name.write_bytes(b"no picture")
    given = ("--prediction-format", "road-mask", "--out", tmp_path / "out")
    done = run("eval", "--data", data, "--predictions", tmp_path / "masks", *given)
    assert done.exit_code == 3, done.output
    page = Seen((tmp_path / "out/report.html").read_text())
    assert "2 pictures counted as missed" in page.text
    assert "no prediction" in page.text
    shots = [
        value for name, value in page.attributes if name == "src" and value.startswith("data:image/jpeg")
    ]
    assert len(shots) == 3
    assert "IoU of road 100.0 %" in page.text


def test_train(cityscapes: Path, tmp_path: Path) -> None:
    options = (*TRAIN, "--epochs", 2, "--runs", tmp_path, "--name", "first")
    done = run("train", "--data", cityscapes, *options)
    assert done.exit_code == 0, done.output
    page = Seen((tmp_path / "first/report.html").read_text())
    for part in (
        "IoU of road, validation",
        "Training loss",
        "Learning rate",
        "Confusion – cityscapes val, epoch",
        "Further scores",
        "Precision over recall",
        "IoU of road of each picture",
        "missed: road, but not found",
        "95 %:",
    ):
        assert part in page.text
    assert "2 of 2 epochs" in page.text
    assert json.loads((tmp_path / "first/val/cityscapes/scores.json").read_text())["settings"]["epoch"] in (
        1,
        2,
    )
    resumed = run("train", "--resume", tmp_path / "first", "--no-html", "--device", "cpu", "--workers", 0)
    assert resumed.exit_code == 0


def test_a_video_that_was_not_all_well() -> None:
    document = {
        "settings": {"input": "<drive>.mp4"}, "frames_written": 2, "seconds": 1.0, "width": 4, "height": 2,
        "frames_per_second": 2.0, "codec": "h264", "damaged": 3, "missing": 0, "stopped_by": "interrupted",
        "mean_road_percent": 40.0, "mean_confidence": 0.9, "mean_changed_percent": 1.0,
        "mean_consistency": None, "passed_over": [], "left_out": ["subtitles: <b>"], "roadseg_version": "0",
    }  # fmt: skip
    from roadseg.report.html.video import _page

    rows = [
        dict.fromkeys(("seconds", "road_percent", "changed_percent", "confidence"), float(i))
        | {"consistency": math.nan}
        for i in (0, 1)
    ]
    html = render(_page(document, rows, []))
    assert "3 packets or frames were damaged; it was interrupted before its end" in Seen(html).text
    assert "subtitles: <b>" in Seen(html).text


def test_documents_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text("[]")
    with pytest.raises(OutputError, match="is no evaluation"):
        eval_page(tmp_path)
    with pytest.raises(OutputError, match="is no video's report"):
        video_page(tmp_path / "drive")


def test_rows_beyond_what_a_browser_sorts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from roadseg.report.html import segmentation

    monkeypatch.setattr(segmentation, "MOST_ROWS", 3)
    report = RunReport(command="segment", classes=("background", "road"))
    for i in range(5):
        report.done(Row(input=f"{i}.png", road_fraction=i / 10))
        report.failed(f"bad {i}", MediaError("no"))
    failed, *_, every = segment_page(report).sections
    assert [len(table.rows) for table in (failed, every)] == [3, 3]
    assert "The first 3; the CSV file beside this page has all." in every.note
    assert failed.title == "5 inputs failed"


def test_a_training_of_no_time_has_no_speed(tmp_path: Path) -> None:
    """Epochs of tiny data sets take less than the tenth of a second that results.csv keeps."""
    (tmp_path / "config.json").write_text('{"epochs": 1}')
    (tmp_path / "results.csv").write_text("epoch,lr,loss,score,skipped,seconds\n1,0.1,0.5,,0,0.0\n")
    page = train_page(tmp_path, ran={"pictures": 2})
    assert "speed" not in str(page.facts).casefold()
    (tmp_path / "results.csv").write_text("epoch,lr,loss,score,skipped,seconds\n1,0.1,0.5,,0,0.1\n")
    assert "20.0 pictures/s" in str(train_page(tmp_path, ran={"pictures": 2}).facts)
