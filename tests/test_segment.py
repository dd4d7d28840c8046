import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import tiny_checkpoint
from PIL import Image

from roadseg.config import InferConfig, SegmentConfig, parse_shard
from roadseg.engine import results, segment_stages
from roadseg.engine import segment as segment_module
from roadseg.engine.predict import Predictor
from roadseg.engine.segment import segment
from roadseg.errors import ConfigError, DatasetError, MediaError, OutputError
from roadseg.labels import CITYSCAPES_LABELS, get_scheme
from roadseg.media.images import find_images, read_rgb, write_mask, write_rgb
from roadseg.report.run import Row, RunReport


class FakePredictor:
    """Takes red for the class: its rows of pixels are multiples of `step`. Remembers how it was called."""

    def __init__(self, scheme: str = "road", step: int = 128) -> None:
        self.scheme = get_scheme(scheme)
        self.step = step
        self.batches: list[int] = []
        self.batch_size = 8
        self.calls_ahead = 3
        self.takes_all_cores = True

    def facts(self) -> dict[str, Any]:
        return {"runtime": "none"}

    def threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1)

    def predict(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.batches.append(len(images))
        return [np.minimum(rgb[..., 0] // self.step, self.scheme.num_classes - 1) for rgb in images]

    def predict_with_road(self, images: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        masks = self.predict(images)
        return [(mask, image[..., 0] / np.float32(255)) for mask, image in zip(masks, images, strict=True)]

    def predict_with_probabilities(self, images: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        masks = self.predict(images)
        if self.scheme.num_classes == 2:
            return [
                (mask, image[..., 0] / np.float32(255)) for mask, image in zip(masks, images, strict=True)
            ]
        classes = np.arange(self.scheme.num_classes)[:, None, None]
        return [(mask, np.where(classes == mask, 0.75, 0.25).astype(np.float32)) for mask in masks]


def make_picture(path: Path, seed: int = 0, size: tuple[int, int] = (12, 20)) -> np.ndarray:
    """A PNG of noise; returns the mask that FakePredictor gives it."""
    rgb = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    write_rgb(path, rgb)
    return rgb[..., 0] // 128


def run(
    folder: Path, out: Path, predictor: Any = None, progress: Any = None, **settings: Any
) -> tuple[RunReport, FakePredictor]:
    """Segment a folder; the report is in `run.report` too, for runs that raise."""
    predictor = predictor or FakePredictor()
    run.report = report = RunReport(command="segment")
    config = SegmentConfig(out=str(out), **{"batch_size": 2, "workers": 2, "html": False, **settings})
    segment(config, predictor, find_images(folder, exclude=out), report, progress)
    return report, predictor


def names(report: RunReport) -> list[tuple[str, str]]:
    return [(row.input, row.status) for row in report.rows]


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Five pictures of several sizes: 0.png ... 3.png and sub/4.png."""
    for i in range(5):
        make_picture(
            tmp_path / "in" / ("sub" if i == 4 else "") / f"{i}.png", seed=i, size=(8 + i, 10 + 2 * i)
        )
    return tmp_path / "in"


# ---------------------------------------------------------------- outputs


@pytest.mark.parametrize("workers", [2, None])
def test_every_picture_gets_a_mask_an_overlay_and_a_row(
    frames: Path, tmp_path: Path, workers: int | None
) -> None:
    out = tmp_path / "out"
    report, predictor = run(frames, out, workers=workers)
    relatives = ["0", "1", "2", "3", "sub/4"]
    assert files(out) == sorted(
        [f"masks/{r}.png" for r in relatives]
        + [f"overlays/{r}.jpg" for r in relatives]
        + ["report.csv", "report.json"]
    )
    assert names(report) == [(f"{r}.png", "ok") for r in relatives]
    assert predictor.batches == [2, 2, 1]
    for r, row in zip(relatives, report.rows, strict=True):
        rgb = read_rgb(frames / f"{r}.png")
        with Image.open(out / f"masks/{r}.png") as written:
            assert written.mode == "L"
            np.testing.assert_array_equal(np.asarray(written), np.where(rgb[..., 0] >= 128, 255, 0))
        assert read_rgb(out / f"overlays/{r}.jpg").shape == rgb.shape
        assert (row.height, row.width) == rgb.shape[:2]
        assert row.road_fraction == (rgb[..., 0] >= 128).mean()
        assert row.outputs == {"mask": f"masks/{r}.png", "overlay": f"overlays/{r}.jpg"}
        assert 0 < row.seconds < 60
        assert row.iou is None
    assert report.exit_code == 0
    data = json.loads((out / "report.json").read_text())
    assert [row["input"] for row in data["rows"]] == [row.input for row in report.rows]
    assert (data["classes"], data["scores"]) == (["background", "road"], None)


def test_one_bad_file_never_stops_the_others(frames: Path, tmp_path: Path) -> None:
    bad = frames / "1.png"
    bad.write_bytes(bad.read_bytes()[:60])
    (frames / "0.jpg").write_bytes(b"")
    out = tmp_path / "out"
    report, _ = run(frames, out)
    order = ["0.jpg", "0.png", "1.png", "2.png", "3.png", "sub/4.png"]
    assert names(report) == [(name, "failed" if name in ("0.jpg", "1.png") else "ok") for name in order]
    assert report.exit_code == 3
    assert "1.png: the picture is damaged" in report.rows[2].error
    assert [f for f in files(out) if "1" in f] == []
    assert files(out / "masks")[0] == "0.png.png"  # 0.jpg would have the same name


def test_when_all_fail_the_run_fails(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"no")
    report, predictor = run(tmp_path / "in", tmp_path / "out")
    assert report.exit_code == 1
    assert predictor.batches == []
    assert files(tmp_path / "out") == ["report.csv", "report.json"]


def test_two_inputs_of_one_name_both_get_written(tmp_path: Path) -> None:
    mask = make_picture(tmp_path / "in/a.png", seed=1)
    Image.new("RGB", (5, 4), (255, 0, 0)).save(tmp_path / "in/a.jpg")
    run(tmp_path / "in", tmp_path / "out", overlay=False)
    assert files(tmp_path / "out/masks") == ["a.jpg.png", "a.png.png"]
    np.testing.assert_array_equal(read_rgb(tmp_path / "out/masks/a.png.png")[..., 0], mask * 255)
    assert (read_rgb(tmp_path / "out/masks/a.jpg.png") == 255).all()


def test_overlays_can_be_left_out(frames: Path, tmp_path: Path) -> None:
    report, _ = run(frames, tmp_path / "out", overlay=False)
    assert not (tmp_path / "out/overlays").exists()
    assert list(report.rows[0].outputs) == ["mask"]


def test_probabilities_of_road(frames: Path, tmp_path: Path) -> None:
    report, _ = run(frames, tmp_path / "out", save_probs=True)
    with Image.open(tmp_path / "out/probs/sub/4.png") as probs:
        assert probs.mode == "L"
        np.testing.assert_array_equal(np.asarray(probs), read_rgb(frames / "sub/4.png")[..., 0])
    assert report.rows[0].outputs["probs"] == "probs/0.png"


def test_many_classes_are_written_as_indices_with_colours(frames: Path, tmp_path: Path) -> None:
    scheme = get_scheme("cityscapes19")
    report, _ = run(frames, tmp_path / "out", FakePredictor("cityscapes19", 13), save_probs=True)
    expected = np.minimum(read_rgb(frames / "0.png")[..., 0] // 13, 18)
    with Image.open(tmp_path / "out/masks/0.png") as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.asarray(mask), expected)
    np.testing.assert_array_equal(read_rgb(tmp_path / "out/masks/0.png"), np.array(scheme.colors)[expected])
    assert (read_rgb(tmp_path / "out/probs/0.png") == round(0.75 * 255)).all()
    assert report.rows[0].road_fraction == (expected == 0).mean()


def test_official_label_ids(frames: Path, tmp_path: Path) -> None:
    run(frames, tmp_path / "c19", FakePredictor("cityscapes19", 13), ids="labelIds")
    ids = [label.id for label in CITYSCAPES_LABELS if not label.ignore_in_eval]
    expected = np.array(ids)[np.minimum(read_rgb(frames / "0.png")[..., 0] // 13, 18)]
    with Image.open(tmp_path / "c19/masks/0.png") as mask:
        assert mask.mode == "L"
        np.testing.assert_array_equal(np.asarray(mask), expected)
    run(frames, tmp_path / "road", ids="labelIds")
    assert set(np.unique(read_rgb(tmp_path / "road/masks/0.png"))) == {0, 7}
    with pytest.raises(ConfigError, match="camvid11"):
        run(frames, tmp_path / "no", FakePredictor("camvid11", 30), ids="labelIds")
    assert not (tmp_path / "no").exists()


# ---------------------------------------------------------------- what is there already


def test_existing_outputs_are_refused_before_anything_is_done(frames: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_mask(out / "masks/3.png", np.zeros((2, 2), np.uint8))
    predictor = FakePredictor()
    with pytest.raises(
        OutputError, match=r"masks/3\.png: is there already; give --overwrite, --skip-existing or"
    ):
        run(frames, out, predictor)
    assert predictor.batches == []
    assert files(out) == ["masks/3.png"]


def test_a_report_alone_is_refused_too(frames: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/report.json").write_text("mine")
    with pytest.raises(OutputError, match=r"report\.json: is there already"):
        run(frames, tmp_path / "out")
    assert (tmp_path / "out/report.json").read_text() == "mine"


def test_overwrite_replaces(frames: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(frames, out)
    write_mask(out / "masks/3.png", np.zeros((2, 2), np.uint8))
    report, _ = run(frames, out, existing="overwrite")
    assert len(report.rows) == 5
    assert read_rgb(out / "masks/3.png").shape[:2] == (11, 16)


def test_skip_does_what_is_missing_and_keeps_the_rows_of_the_rest(frames: Path, tmp_path: Path) -> None:
    out, labels = tmp_path / "out", tmp_path / "labels"
    for i in range(4):
        write_mask(labels / f"{i}.png", np.full((8 + i, 10 + 2 * i), 255, np.uint8))
    first, _ = run(frames, out, labels=str(labels))
    assert first.exit_code == 3  # sub/4 has no label
    write_mask(labels / "sub/4.png", np.full((12, 18), 255, np.uint8))
    (out / "overlays/1.jpg").unlink()  # half of its outputs: done again

    report, predictor = run(frames, out, existing="skip", labels=str(labels))
    assert names(report) == [
        ("0.png", "skipped"), ("1.png", "ok"), ("2.png", "skipped"), ("3.png", "skipped"), ("sub/4.png", "ok")
    ]  # fmt: skip
    assert sum(predictor.batches) == 2
    assert report.exit_code == 0
    assert report.rows[2].iou == first.rows[2].iou
    assert sum(map(sum, report.counts)) == sum((8 + i) * (10 + 2 * i) for i in range(5))
    assert RunReport.read(out / "report.json").rows == report.rows

    write_rgb(tmp_path / "other/5.png", np.zeros((3, 3, 3), np.uint8))
    later, _ = run(tmp_path / "other", out, existing="skip")
    assert [row.input for row in later.rows] == ["5.png", "0.png", "1.png", "2.png", "3.png", "sub/4.png"]
    assert [row.earlier for row in later.rows] == [False] + [True] * 5


def test_skip_refuses_a_report_that_it_would_lose(frames: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(frames, out)
    with pytest.raises(OutputError, match="model with other classes"):
        run(frames, out, FakePredictor("cityscapes19"), existing="skip")
    (out / "report.json").write_text("damaged")
    with pytest.raises(OutputError, match="is no report that can be read"):
        run(frames, out, existing="skip")


def test_results_never_land_among_the_inputs(frames: Path, tmp_path: Path) -> None:
    before = files(frames)
    for existing in ("refuse", "overwrite", "skip"):
        with pytest.raises(OutputError, match="is the input folder"):
            run(frames, frames / "sub" / "..", existing=existing)
        write_mask(tmp_path / "done/masks/a/0.png", np.zeros((2, 2), np.uint8))
        for source in ("done/masks", "done/masks/a", "done"):
            with pytest.raises(OutputError, match="choose another output folder"):
                segment(
                    SegmentConfig(out=str(tmp_path / "done"), existing=existing),
                    FakePredictor(),
                    find_images(tmp_path / source),
                    RunReport(command="segment"),
                )
    assert files(frames) == before


def test_the_output_folder_may_lie_inside_the_input(frames: Path) -> None:
    run(frames, frames / "out")
    report, predictor = run(frames, frames / "out", existing="skip")
    assert [status for _, status in names(report)] == ["skipped"] * 5
    assert predictor.batches == []


# ---------------------------------------------------------------- labels


def test_iou_of_each_picture_and_of_the_run(tmp_path: Path) -> None:
    red = np.array([[255, 255, 0, 0], [255, 0, 0, 0]], np.uint8)  # 3 pixels of road
    for name, image in (("a.png", red), ("b.png", np.zeros((1, 2), np.uint8))):
        write_rgb(tmp_path / "in" / name, np.stack([image] * 3, -1))
    write_mask(tmp_path / "labels/a.png", np.array([[255, 0, 255, 0], [255, 0, 0, 0]], np.uint8))
    write_mask(tmp_path / "labels/b.png", np.array([[0, 255]], np.uint8))
    report, _ = run(tmp_path / "in", tmp_path / "out", labels=str(tmp_path / "labels"))
    assert report.rows[0].counts == [[4, 1, 0], [1, 2, 0]]
    assert report.rows[0].iou == 2 / 4
    assert report.rows[1].iou == 0
    assert report.counts == [[5, 1, 0], [2, 2, 0]]
    assert report.scores["global"]["per_class"]["road"]["iou"] == 2 / 5
    assert report.scores["per_image"]["per_class"]["road"]["iou"] == 0.25
    assert report.totals()["mean_iou_per_image"] == 0.25


def test_a_picture_without_road_in_truth_and_mask_has_no_iou(tmp_path: Path) -> None:
    write_rgb(tmp_path / "in/a.png", np.zeros((2, 2, 3), np.uint8))
    write_mask(tmp_path / "labels/a.png", np.zeros((2, 2), np.uint8))
    report, _ = run(tmp_path / "in", tmp_path / "out", labels=str(tmp_path / "labels"))
    assert report.rows[0].iou is None
    assert report.rows[0].counts == [[4, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("image", "label", "label_format"),
    [
        (
            "ulm/ulm_000000_000019_leftImg8bit.png",
            "ulm/ulm_000000_000019_gtFine_labelIds.png",
            "cityscapes-labelIds",
        ),
        ("ulm/x_leftImg8bit.png", "ulm/x_gtFine_labelTrainIds.png", "cityscapes-labelTrainIds"),
        ("7/000_image.jpg", "7/000_label.png", "idd-lite"),
        ("plain.jpg", "plain.png", "cityscapes-labelIds"),
        ("plain.jpg", "plain.png", "road-index"),
    ],
)
def test_labels_are_found_by_the_names_of_their_data_set(
    tmp_path: Path, image: str, label: str, label_format: str
) -> None:
    write_rgb(tmp_path / "in" / image, np.full((2, 2, 3), 255, np.uint8))
    road = {"cityscapes-labelIds": 7, "cityscapes-labelTrainIds": 0, "idd-lite": 0, "road-index": 1}[
        label_format
    ]
    void = 0 if label_format == "cityscapes-labelIds" else 255
    write_mask(tmp_path / "labels" / label, np.array([[road, road], [road, void]], np.uint8))
    report, _ = run(
        tmp_path / "in", tmp_path / "out", labels=str(tmp_path / "labels"), label_format=label_format
    )
    assert report.rows[0].error is None
    assert report.rows[0].counts == [[0, 0, 0], [0, 3, 0]]


def test_a_missing_wrong_sized_or_foreign_label_fails_its_row_alone(frames: Path, tmp_path: Path) -> None:
    labels, out = tmp_path / "labels", tmp_path / "out"
    write_mask(labels / "0.png", np.zeros((8, 10), np.uint8))
    write_mask(labels / "1.png", np.zeros((9, 11), np.uint8))  # 12 wide would fit
    write_mask(labels / "2.png", np.full((10, 14), 3, np.uint8))
    report, _ = run(frames, out, labels=str(labels))
    assert [row.status for row in report.rows] == ["ok"] + ["failed"] * 4
    assert "the label is 11x9, but its picture" in report.rows[1].error
    assert "2.png: holds 3, which" in report.rows[2].error
    assert f"{labels / '3.png'}: no label for 3.png" in report.rows[3].error
    assert files(out / "masks") == [
        "0.png"
    ]  # so that --skip-existing does the others once their labels are right


def test_labels_that_cannot_work_stop_the_run_before_it_starts(frames: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder of labels"):
        run(frames, tmp_path / "out", labels=str(tmp_path / "nothing"))
    with pytest.raises(DatasetError, match="cannot be made from road-mask labels"):
        run(frames, tmp_path / "out", FakePredictor("cityscapes19"), labels=str(frames))
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- shards, order, memory


def test_shards_do_everything_once_and_their_counts_add_up(frames: Path, tmp_path: Path) -> None:
    make_picture(frames / "sub/4.bmp.png", seed=9, size=(12, 18))
    Image.new("RGB", (18, 12)).save(
        frames / "sub/4.jpg"
    )  # shares its name with 4.png, which another shard does
    for path in frames.rglob("*.png"):
        write_mask(
            tmp_path / "labels" / path.relative_to(frames), np.full(read_rgb(path).shape[:2], 255, np.uint8)
        )
    whole, _ = run(frames, tmp_path / "whole", labels=str(tmp_path / "labels"))
    parts = [
        run(frames, tmp_path / "parts", labels=str(tmp_path / "labels"), shard=(i, 3))[0] for i in (1, 2, 3)
    ]
    assert sorted(row.input for part in parts for row in part.rows) == sorted(row.input for row in whole.rows)
    assert files(tmp_path / "parts/masks") == files(tmp_path / "whole/masks")
    assert np.array_equal(sum(np.array(part.counts) for part in parts), whole.counts)
    assert [f for f in files(tmp_path / "parts") if f.endswith("json")] == [
        f"report-{i}of3.json" for i in (1, 2, 3)
    ]


def test_a_shard_without_inputs_is_no_failure(tmp_path: Path) -> None:
    make_picture(tmp_path / "in/a.png")
    report, predictor = run(tmp_path / "in", tmp_path / "out", shard=(2, 2))
    assert (report.exit_code, report.rows, predictor.batches) == (0, [], [])


def test_progress_comes_in_order_from_the_calling_thread(frames: Path, tmp_path: Path) -> None:
    (frames / "2.png").write_bytes(b"no")
    seen: list[tuple[str, str, int, int, bool]] = []

    def progress(row: Row, done: int, total: int) -> None:
        here = threading.current_thread() is threading.main_thread()
        seen.append((row.input, row.status, done, total, here))

    run(frames, tmp_path / "out", progress=progress)
    order = ["0.png", "1.png", "2.png", "3.png", "sub/4.png"]
    assert seen == [
        (name, "failed" if name == "2.png" else "ok", i + 1, 5, True) for i, name in enumerate(order)
    ]


def test_pictures_in_memory_do_not_grow_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(120):
        make_picture(tmp_path / "in" / f"{i}.png", size=(4, 4))
    lock, alive, most = threading.Lock(), [0], [0]

    def counting_read(path: Path) -> np.ndarray:
        with lock:
            alive[0] += 1
            most[0] = max(most[0], alive[0])
        return read_rgb(path)

    class Done(results.ResultWriter):
        def write(self, *arguments: Any) -> Row:
            row = super().write(*arguments)
            with lock:
                alive[0] -= 1
            return row

    monkeypatch.setattr(segment_stages, "read_rgb", counting_read)
    monkeypatch.setattr(segment_module, "ResultWriter", Done)
    report, predictor = run(tmp_path / "in", tmp_path / "out", batch_size=4, workers=2)
    assert len(report.rows) == 120
    assert predictor.batches == [4] * 30
    # read ahead, in three batches, handed over, waiting to be written: 6 + 12 + 4 + 6, and one that moves on
    assert 4 < most[0] <= 29


@pytest.mark.parametrize(("workers", "shared"), [(None, True), (2, False)])
def test_the_networks_threads_read_and_write_unless_others_are_asked_for(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int | None, shared: bool
) -> None:
    used: dict[str, set[int]] = {"read": set(), "write": set(), "network": set()}

    def noting(what: str, work: Any) -> Any:
        return lambda *arguments: (used[what].add(threading.get_ident()), work(*arguments))[1]

    predictor = FakePredictor()
    monkeypatch.setattr(segment_stages, "read_rgb", noting("read", read_rgb))
    monkeypatch.setattr(results, "write_mask", noting("write", write_mask))
    monkeypatch.setattr(predictor, "predict", noting("network", predictor.predict))
    run(frames, tmp_path / "out", predictor, workers=workers)
    assert len(used["network"]) == 1
    assert ((used["read"] | used["write"]) == used["network"]) is shared
    assert (used["read"] | used["write"]).isdisjoint(used["network"]) is not shared


def test_a_long_run_of_skipped_inputs_is_reported_as_it_goes(frames: Path, tmp_path: Path) -> None:
    for i in range(5, 40):
        make_picture(frames / f"{i}.png", size=(4, 4))
    run(frames, tmp_path / "out")
    make_picture(frames / "z.png")
    events: list[str] = []
    predictor = FakePredictor()
    predict = predictor.predict
    predictor.predict = lambda images: (events.append("predict"), predict(images))[1]
    run(frames, tmp_path / "out", predictor, lambda row, *_: events.append(row.status), existing="skip")
    assert sorted(events) == ["ok", "predict", *["skipped"] * 40]
    assert events.index("predict") > 20  # a few batches of two are begun ahead


# ---------------------------------------------------------------- ends before the end


class Explodes(FakePredictor):
    """Does the first batch and fails at the second."""

    def __init__(self, error: BaseException | None, after: Path | None = None) -> None:
        super().__init__()
        self.error, self.after = error, after

    def predict(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        if self.batches:
            if self.error is not None:
                raise self.error
            while self.after and not self.after.exists():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)  # heard by the main thread, which waits for this one
            time.sleep(0.2)
        return super().predict(images)


@pytest.mark.parametrize("workers", [2, None])
def test_ctrl_c_finishes_what_is_in_flight_and_reports_it(
    frames: Path, tmp_path: Path, workers: int | None
) -> None:
    out = tmp_path / "out"
    # a shell's background jobs ignore the signal until told otherwise
    signal.signal(signal.SIGINT, signal.default_int_handler)
    predictor: FakePredictor = Explodes(None, after=out / "masks" / "1.png")
    if workers is None:  # while one thread waits for that mask, the other one must be free to write it
        predictor.calls_ahead = 1
        predictor.threads = lambda: ThreadPoolExecutor(2)
    with pytest.raises(KeyboardInterrupt):
        run(frames, out, predictor, workers=workers)
    assert files(out) == [
        "masks/0.png",
        "masks/1.png",
        "overlays/0.jpg",
        "overlays/1.jpg",
        "report.csv",
        "report.json",
    ]
    report = RunReport.read(out / "report.json")
    assert names(report) == [("0.png", "ok"), ("1.png", "ok")]
    assert report.stopped_by == "Ctrl-C"
    assert report.exit_code == 1
    # and --skip-existing goes on from there
    report, predictor = run(frames, out, existing="skip")
    assert sum(predictor.batches) == 3
    assert report.exit_code == 0
    assert all(row.width for row in report.rows)


def test_ctrl_c_while_a_picture_is_written_keeps_its_row_and_its_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default, with one thread for all: what is finished after Ctrl-C counts, and its probabilities."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for i in range(4):
        mask = make_picture(tmp_path / "in" / f"{i}.png", seed=i)
        write_mask(tmp_path / "labels" / f"{i}.png", mask * 255)
    settings: dict[str, Any] = {"workers": None, "labels": str(tmp_path / "labels")}
    whole, _ = run(tmp_path / "in", tmp_path / "whole", **settings)

    def interrupted(path: Path, *arguments: Any) -> None:
        if path.name == "1.png":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)
        write_mask(path, *arguments)

    monkeypatch.setattr(results, "write_mask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "in", tmp_path / "out", **settings)
    monkeypatch.setattr(results, "write_mask", write_mask)
    written = [path.stem for path in sorted((tmp_path / "out" / "masks").iterdir())]
    assert "1" in written
    assert names(run.report) == [(f"{name}.png", "ok") for name in written]
    report, _ = run(tmp_path / "in", tmp_path / "out", existing="skip", **settings)
    assert report.road is not None
    assert report.road == whole.road


def test_a_bug_in_the_predictor_keeps_its_traceback(frames: Path, tmp_path: Path) -> None:
    bug = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError) as caught:
        run(frames, tmp_path / "out", Explodes(bug))
    assert caught.value is bug
    assert RunReport.read(tmp_path / "out/report.json").stopped_by == "a bug"


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("place", "most"), [("read_rgb", 4), ("draw", 40)])
def test_a_bug_in_a_thread_ends_the_run_at_once(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, most: int
) -> None:
    for i in range(5, 80):
        make_picture(frames / f"{i}.png", size=(4, 4))
    calls: list[int] = []

    def bug(*arguments: Any) -> None:
        calls.append(1)
        time.sleep(0.01)
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(segment_stages if place == "read_rgb" else results, place, bug)
    threads = threading.active_count()
    with pytest.raises(ZeroDivisionError, match="a bug") as caught:
        run(frames, tmp_path / "out", batch_size=20, workers=1)
    assert caught.traceback[-1].name == "bug"
    assert len(calls) <= most  # waiting reads are called off; two batches may be at the writers
    assert threading.active_count() == threads


def test_a_full_disk_ends_the_run_with_one_clear_line(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def full(path: Path, *arguments: Any) -> None:
        raise OutputError(f"{path}: cannot be written (No space left on device); free some space there")

    for i in range(5, 30):
        make_picture(frames / f"{i}.png", size=(4, 4))
    monkeypatch.setattr(results, "write_mask", full)
    predictor = FakePredictor()
    with pytest.raises(OutputError, match=r"masks/0\.png: cannot be written \(No space left on device\)"):
        run(frames, out, predictor, batch_size=1, workers=1)
    assert len(predictor.batches) < 12
    assert [f for f in files(out) if not f.startswith(("overlays", "report"))] == []
    assert run.report.exit_code == 1
    assert {row.status for row in run.report.rows} == {"failed"}


def test_a_report_that_cannot_be_written_does_not_hide_the_first_error(frames: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("a file")
    with pytest.raises(OutputError, match=r"cannot be written .* a file is in the place"):
        run(frames, out)
    assert out.read_text() == "a file"


def test_fail_fast_stops_at_the_first_failure(frames: Path, tmp_path: Path) -> None:
    (frames / "1.png").write_bytes(b"")
    for i in range(5, 40):
        make_picture(frames / f"{i}.png", size=(4, 4))
    predictor = FakePredictor()
    with pytest.raises(MediaError, match=r"1\.png: the file is empty"):
        run(frames, tmp_path / "out", predictor, fail_fast=True)
    report = RunReport.read(tmp_path / "out/report.json")
    assert names(report)[:2] == [("0.png", "ok"), ("1.png", "failed")]
    assert len(report.rows) < 12
    assert report.exit_code == 1
    assert files(tmp_path / "out/masks") == sorted(
        f"{row.input}" for row in report.rows if row.status == "ok"
    )  # what was begun was finished


# ---------------------------------------------------------------- what is not ours


def test_files_of_somebody_else_are_never_replaced(frames: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    (out / "masks").mkdir(parents=True)
    (out / "masks" / "0.png").write_bytes(b"drawn by hand")
    for existing in ("refuse", "overwrite", "skip"):
        with pytest.raises(OutputError, match=r"masks/0\.png: is there already"):
            run(frames, out, existing=existing)
    assert files(out) == ["masks/0.png"]
    accounts = tmp_path / "accounts"
    accounts.mkdir()
    (accounts / "report.csv").write_text("my accounts")
    (accounts / "report.json").write_text("{}")
    for existing in ("refuse", "overwrite"):
        with pytest.raises(OutputError, match="is there already"):
            run(frames, accounts, existing=existing)
    assert (accounts / "report.csv").read_text() == "my accounts"


def test_a_killed_run_leaves_word_whose_folder_it_is(frames: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = RunReport(command="segment", settings={"threshold": 0.5})
    predictor = FakePredictor()
    jobs = find_images(frames)

    def killed(row: Row, done: int, total: int) -> None:
        told.append(RunReport.read(out / "report.json"))

    told: list[RunReport] = []
    segment(SegmentConfig(out=str(out)), predictor, jobs, report, killed)  # type: ignore[arg-type]
    assert told[0].stopped_by == "it was killed, or is still running"
    assert told[0].settings == {"threshold": 0.5}
    assert told[0].exit_code == 1
    assert RunReport.read(out / "report.json").stopped_by is None


class Stopped(BaseException):
    """As if by kill -9: what a run says at its end is not said."""


class StopsAfterTwo(FakePredictor):
    """At its second batch, when the last mask of the first is written."""

    def __init__(self, mask: Path) -> None:
        super().__init__(step=32)
        self.mask, self.before = mask, mask.stat().st_mtime_ns

    def predict(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        if self.batches:
            while self.mask.stat().st_mtime_ns == self.before:
                time.sleep(0.01)
            raise KeyboardInterrupt
        return super().predict(images)


@pytest.mark.parametrize("orderly", [True, False])
def test_an_overwriting_run_that_was_stopped_leaves_no_old_mask_among_the_new(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orderly: bool
) -> None:
    def killed(*_: object) -> None:
        raise Stopped

    out = tmp_path / "out"
    run(frames, out, FakePredictor(step=128))
    with monkeypatch.context() as patch:
        if not orderly:
            patch.setattr(segment_module, "score_run", killed)
        with pytest.raises((KeyboardInterrupt, Stopped)):
            run(frames, out, StopsAfterTwo(out / "masks/1.png"), existing="overwrite")
    begun = RunReport.read(out / "report.json")
    assert begun.replacing
    assert len(begun.rows) == 2 * orderly
    # stopped once more in between
    last = out / ("masks/3.png" if orderly else "masks/1.png")
    with pytest.raises(KeyboardInterrupt):
        run(frames, out, StopsAfterTwo(last), existing="skip")
    assert RunReport.read(out / "report.json").replacing
    report, _ = run(frames, out, FakePredictor(step=32), existing="skip")
    assert not RunReport.read(out / "report.json").replacing
    assert len(report.rows) == 5
    for row in report.rows:
        rgb = read_rgb(frames / row.input)
        mask = read_rgb(out / row.outputs["mask"])[..., 0] // 255
        np.testing.assert_array_equal(mask, rgb[..., 0] >= 32)
        assert row.road_fraction == mask.mean()
    _, predictor = run(frames, out, existing="skip")
    assert predictor.batches == []


def test_parts_go_on_with_an_overwriting_run_that_was_stopped(frames: Path, tmp_path: Path) -> None:
    out, data = tmp_path / "out", (frames / "1.png").read_bytes()
    run(frames, out)
    (frames / "1.png").write_bytes(data[:50])
    with pytest.raises(MediaError):
        run(frames, out, FakePredictor(step=32), existing="overwrite", fail_fast=True, batch_size=1)
    (frames / "1.png").write_bytes(data)
    for i in (1, 2):
        run(frames, out, FakePredictor(step=32), existing="skip", shard=(i, 2))
    for name in ("0", "1", "2", "3", "sub/4"):
        mask = read_rgb(out / f"masks/{name}.png")[..., 0] // 255
        np.testing.assert_array_equal(mask, read_rgb(frames / f"{name}.png")[..., 0] >= 32)


def test_kinds_of_files_that_the_earlier_run_did_not_write_are_old(frames: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(frames, out, save_probs=True)
    run(frames, out, FakePredictor(step=32), existing="overwrite", overlay=False)
    _, predictor = run(frames, out, FakePredictor(step=32), existing="skip", overlay=False)
    assert predictor.batches == []
    _, predictor = run(frames, out, FakePredictor(step=32), existing="skip", save_probs=True)
    assert sum(predictor.batches) == 5


def test_a_picture_that_failed_while_it_was_to_be_replaced_is_done_anew(frames: Path, tmp_path: Path) -> None:
    out, data = tmp_path / "out", (frames / "1.png").read_bytes()
    run(frames, out)
    (frames / "1.png").write_bytes(data[:50])
    report, _ = run(frames, out, existing="overwrite")
    assert ("1.png", "failed") in names(report)
    (frames / "1.png").write_bytes(data)
    report, predictor = run(frames, out, existing="skip")
    assert ("1.png", "ok") in names(report)
    assert sum(predictor.batches) == 1


def test_scores_by_other_labels_do_not_mix(frames: Path, tmp_path: Path) -> None:
    def go(labels: str | None, existing: str = "skip") -> None:
        report = RunReport(command="segment", settings={"labels": labels})
        out = str(tmp_path / "out")
        config = SegmentConfig(out=out, labels=labels, existing=existing)  # type: ignore[arg-type]
        segment(config, FakePredictor(), find_images(frames), report)  # type: ignore[arg-type]

    for i in range(5):
        for name in ("one", "two"):
            folder = tmp_path / name / ("sub" if i == 4 else "")
            write_mask(folder / f"{i}.png", np.zeros((8 + i, 10 + 2 * i), np.uint8))
    go(str(tmp_path / "one"), "refuse")
    go(str(tmp_path / "two/../one"))
    with pytest.raises(OutputError, match=r"of a run with labels .*one, this one has .*two"):
        go(str(tmp_path / "two"))
    go(None)


def test_other_documents_beside_the_report_are_no_runs(frames: Path, tmp_path: Path) -> None:
    run(frames, tmp_path / "out")
    for name in ("report-compared.json", "report-of-both.json"):
        (tmp_path / "out" / name).write_text("{}")
    report, _ = run(frames, tmp_path / "out", existing="skip")
    assert {status for _, status in names(report)} == {"skipped"}


def test_runs_with_other_settings_do_not_mix(frames: Path, tmp_path: Path) -> None:
    def go(threshold: float, existing: str) -> None:
        report = RunReport(command="segment", settings={"threshold": threshold})
        config = SegmentConfig(out=str(tmp_path / "out"), existing=existing)  # type: ignore[arg-type]
        segment(config, FakePredictor(), find_images(frames), report)  # type: ignore[arg-type]

    go(0.2, "refuse")
    go(0.2, "skip")
    with pytest.raises(OutputError, match=r"threshold 0\.2, this one has 0\.7"):
        go(0.7, "skip")
    go(0.7, "overwrite")
    shutil.copy(tmp_path / "out/report.json", tmp_path / "out/report-1of2.json")
    go(0.2, "overwrite")
    with pytest.raises(OutputError, match=r"report-1of2\.json: is of a run with threshold 0\.7"):
        go(0.2, "skip")


def test_a_picture_too_wide_for_jpeg_is_done_all_the_same(frames: Path, tmp_path: Path) -> None:
    make_picture(frames / "wide.png", size=(2, 66000))
    report, _ = run(frames, tmp_path / "out")
    assert report.exit_code == 0
    with Image.open(tmp_path / "out/overlays/wide.jpg") as overlay:
        assert overlay.size == (65500, 2)
    with Image.open(tmp_path / "out/masks/wide.png") as mask:
        assert mask.size == (66000, 2)


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ids": "trainIds"}, "ids is 'trainIds', but must be one of: classes, labelIds"),
        ({"existing": "delete"}, "existing is 'delete'"),
        ({"opacity": 1.5}, "opacity is 1.5"),
        ({"opacity": float("nan")}, "opacity is nan"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"workers": 0}, "workers is 0"),
        ({"shard": (0, 2)}, "shard is 0/2"),
        ({"shard": (3, 2)}, "shard is 3/2"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SegmentConfig(out="x", **settings)
    assert message in str(caught.value)


def test_shards_are_written_i_of_n() -> None:
    assert parse_shard("2/4") == (2, 4)
    for text in ("2", "/", "a/b", "1/2/3", "-1/2", "²/3", ""):
        with pytest.raises(ConfigError, match=r"such as 2/4"):
            parse_shard(text)


# ---------------------------------------------------------------- the real predictor


@pytest.mark.parametrize("scheme", ["road", "cityscapes19"])
def test_with_a_real_network(frames: Path, tmp_path: Path, scheme: str) -> None:
    predictor = Predictor(tiny_checkpoint(scheme), InferConfig(device="cpu"))
    out = tmp_path / "out"
    report, _ = run(frames, out, predictor, save_probs=True)
    assert report.exit_code == 0
    for row in report.rows:
        with Image.open(out / row.outputs["mask"]) as mask, Image.open(out / row.outputs["probs"]) as probs:
            assert mask.size == probs.size == (row.width, row.height)
            rgb = read_rgb(frames / row.input)
            expected = predictor.predict([rgb])[0]
            np.testing.assert_array_equal(np.asarray(mask), expected * 255 if scheme == "road" else expected)
            if scheme == "road":
                np.testing.assert_array_equal(np.asarray(probs) >= 128, expected == 1)
