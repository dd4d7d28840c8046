"""Comparing runs: numbers worked by hand, the bootstrap against SciPy, and every mix-up that is refused."""

import copy
import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_cityscapes, tiny_checkpoint
from typer.testing import CliRunner, Result

from roadseg.cli.app import app
from roadseg.documents import header, to_json
from roadseg.errors import OutputError, ReportError
from roadseg.media.table import plain_text
from roadseg.metrics import ConfusionMatrix, per_image, scores
from roadseg.metrics.bootstrap import draws, interval
from roadseg.model.checkpoint import save_checkpoint
from roadseg.report.compare import Comparison, compare
from roadseg.report.load import find_documents, make_runs
from roadseg.report.present import to_html, to_markdown
from roadseg.report.resampling import Resampler

ROAD = ("background", "road")


def matrix(tn: int, fp: int, fn: int, tp: int) -> list[list[int]]:
    return [[tn, fp, 0], [fn, tp, 0]]


def document(
    counts: dict[str, list[list[int]]], classes: tuple[str, ...] = ROAD, **settings: object
) -> dict[str, Any]:
    """What scores.json holds for these pictures."""
    each = [ConfusionMatrix.from_counts(c) for c in counts.values()]
    total = ConfusionMatrix.from_counts(np.sum(list(counts.values()), axis=0).tolist())
    return {
        **header("scores"),
        "settings": settings,
        "label_scheme": {"name": "x", "classes": list(classes)},
        "counts": total.to_list(),
        "scores": scores(total, classes).to_dict(),
        "per_image": per_image([scores(m, classes) for m in each], classes).to_dict(),
        "images": [{"key": key, "counts": c} for key, c in counts.items()],
    }


# Two pictures that both runs have, with the same label: 6 road pixels of 10, and 2 of 10.
ONE = {"a/1": matrix(4, 0, 3, 3), "a/2": matrix(6, 2, 0, 2), "gone": matrix(1, 0, 0, 1)}
TWO = {"a/1": matrix(4, 0, 0, 6), "a/2": matrix(4, 4, 0, 2)}


def write(folder: Path, data: dict[str, Any], name: str = "scores.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(to_json(data))
    return folder / name


def compared(tmp_path: Path, *documents: dict[str, Any], seed: int = 0) -> Comparison:
    found = []
    for name, data in zip("ABCD", documents, strict=False):
        found += find_documents(write(tmp_path / name, data))
    return compare(make_runs(found), seed)


def test_worked_by_hand(tmp_path: Path) -> None:
    result = compared(tmp_path, document(ONE, w=1), document(TWO, w=2))
    assert [run.name for run in result.runs] == ["A", "B"]
    assert result.runs[0].headline["pictures"] == 3
    assert result.left_out == {"A": ["gone"]}
    # IoU of road: a/1 3/6 and 6/6, a/2 2/4 and 2/6; together 5/10 and 8/12
    assert [(r.picture, r.values) for r in result.rows] == [("a/1", (0.5, 1.0)), ("a/2", (0.5, 1 / 3))]
    assert [r.spread for r in result.rows] == [0.5, 0.5 - 1 / 3]
    (one,) = result.against
    assert (one.run, one.baseline, one.higher, one.lower, one.same, one.undefined) == ("B", "A", 1, 1, 0, 0)
    observed = {name: values[0] for name, values in one.measures.items()}
    assert observed["road IoU"] == pytest.approx(8 / 12 - 5 / 10)
    assert observed["road precision"] == pytest.approx(8 / 12 - 5 / 7)
    assert observed["road recall"] == pytest.approx(1 - 5 / 8)
    assert observed["road F1"] == pytest.approx(16 / 20 - 10 / 15)
    assert observed["pixel accuracy"] == pytest.approx(16 / 20 - 15 / 20)
    assert observed["IoU per picture"] == pytest.approx((1 + 1 / 3) / 2 - 0.5)
    # Only three draws of two pictures are there: a/1 twice, both, a/2 twice; the ends come up too often
    # to fall out of the interval.
    _, low, high = one.measures["road IoU"]
    assert (low, high) == pytest.approx((1 / 3 - 0.5, 0.5))


def random_counts(seed: int, pictures: int, kinds: int, truth: np.ndarray | None = None) -> np.ndarray:
    """counts_NKL of random predictions; the pixels of each class in each picture are those of `truth`."""
    rng = np.random.default_rng(seed)
    if truth is None:
        truth = rng.integers(0, 500, (pictures, kinds))
    skill = rng.dirichlet(np.ones(kinds + 1), (pictures, kinds)) + np.eye(kinds, kinds + 1)
    return rng.multinomial(truth, skill / skill.sum(-1, keepdims=True))


@pytest.mark.parametrize("kinds", [2, 5])
def test_tallies_score_like_the_metrics(kinds: int) -> None:
    classes = tuple(f"c{k}" for k in range(kinds))
    counts = random_counts(0, 7, kinds)
    counts[2, 1] = counts[2, :, 1] = 0  # a picture without class 1
    times = np.array([[2, 0, 1, 0, 3, 1, 0]])
    found = Resampler(counts, classes).scores(times.astype(np.float64))
    drawn = [counts[i] for i in range(7) for _ in range(times[0, i])]
    whole = scores(ConfusionMatrix.from_counts(np.sum(drawn, axis=0).tolist()), classes)
    each = per_image([scores(ConfusionMatrix.from_counts(c.tolist()), classes) for c in drawn], classes)
    for k, name in enumerate(classes[1:] if kinds == 2 else classes, 1 if kinds == 2 else 0):
        assert found[f"{name} IoU"][0] == whole.iou[k]
    assert found["pixel accuracy"][0] == whole.pixel_accuracy
    if kinds == 2:
        assert found["c1 precision"][0] == whole.precision[1]
        assert found["c1 recall"][0] == whole.recall[1]
        assert found["c1 F1"][0] == whole.f1[1]
        assert found["IoU per picture"][0] == pytest.approx(each.iou[1], abs=1e-15)
    else:
        assert found["mean IoU"][0] == pytest.approx(whole.mean_iou, abs=1e-15)
        assert found["IoU per picture"][0] == pytest.approx(each.mean_iou, abs=1e-15)


def test_headline_and_difference_agree_to_the_digit(tmp_path: Path) -> None:
    one = random_counts(1, 30, 4)
    two = random_counts(2, 30, 4, truth=one.sum(2))
    classes = ("w", "x", "y", "z")
    documents = [
        document({str(i): c.tolist() for i, c in enumerate(counts)}, classes) for counts in (one, two)
    ]
    result = compared(tmp_path, *documents)
    first, second = (run.headline for run in result.runs)
    for name, (difference, low, high) in result.against[0].measures.items():
        assert difference == pytest.approx(second[name] - first[name], abs=1e-12)  # type: ignore[operator]
        assert low < difference < high


def test_the_interval_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    counts = random_counts(3, 60, 2)
    other = random_counts(4, 60, 2, truth=counts.sum(2))
    one, two = (Resampler(c, ROAD) for c in (counts, other))
    ours = np.concatenate(
        [two.scores(d)["road IoU"] - one.scores(d)["road IoU"] for d in draws(60, 0, 20_000)]
    )

    def iou(c: np.ndarray) -> np.ndarray:
        total = c.sum(-3)
        return total[..., 1, 1] / (total[..., 1, :].sum(-1) + total[..., 0, 1])

    def difference(picked: np.ndarray) -> float:
        return float(iou(other[picked]) - iou(counts[picked]))

    theirs = stats.bootstrap(
        (np.arange(60),), difference, vectorized=False, n_resamples=5000, method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    width = theirs.high - theirs.low
    assert interval(ours) == pytest.approx((theirs.low, theirs.high), abs=0.04 * width)


def test_draws_are_seeded_and_whole() -> None:
    one, again, other = (np.concatenate(list(draws(9, seed, 500))) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert one.shape == (500, 9)
    assert set(one.sum(1)) == {9.0}


def test_draws_in_pieces_are_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(draws(9, 1, 100)))
    monkeypatch.setattr("roadseg.metrics.bootstrap._CHUNK", 100)
    pieces = list(draws(9, 1, 100))
    assert len(pieces) == 10
    assert np.array_equal(np.concatenate(pieces), whole)


def test_the_same_seed_gives_the_same_document(tmp_path: Path) -> None:
    one = random_counts(1, 12, 2)
    two = random_counts(2, 12, 2, truth=one.sum(2))
    both = [document({str(i): c.tolist() for i, c in enumerate(counts)}) for counts in (one, two)]
    first, again, other = (compared(tmp_path, *both, seed=seed).to_dict() for seed in (5, 5, 6))
    assert first == again
    assert first["differences"] != other["differences"]


def test_undefined_pictures_are_told_of(tmp_path: Path) -> None:
    """No road in the truth: where a run finds none, its IoU is undefined, where it finds some, 0."""
    one = {"a": matrix(4, 0, 0, 0), "b": matrix(2, 0, 1, 1)}
    two = {"a": matrix(3, 1, 0, 0), "b": matrix(2, 0, 1, 1)}
    result = compared(tmp_path, document(one), document(two))
    (against,) = result.against
    assert (against.higher, against.lower, against.same, against.undefined) == (0, 0, 1, 1)
    values = {row.picture: row.values for row in result.rows}
    assert values == {"a": (None, 0.0), "b": (0.5, 0.5)}
    assert not any(math.isnan(v) for v in against.measures["road IoU"])
    json.dumps(result.to_dict(), allow_nan=False)


# ---------------------------------------------------------------- what is refused


def refused(tmp_path: Path, match: str, *documents: dict[str, Any]) -> None:
    with pytest.raises((ReportError, OutputError), match=match):
        compared(tmp_path, *documents)


def test_mixed_up_runs(tmp_path: Path) -> None:
    good = document(ONE)
    refused(tmp_path, r"B/scores\.json: is the same run as .*A/scores\.json", good, copy.deepcopy(good))
    refused(tmp_path, "no picture in common", good, document({"x": matrix(1, 1, 1, 1)}))
    refused(tmp_path, "by the classes sky, road", good, document(TWO, ("sky", "road")))
    other = {**TWO, "a/1": matrix(5, 0, 0, 5)}
    refused(tmp_path, "against another label of a/1", good, document(other))
    train = {**header("train"), "settings": {}, "label_scheme": {"classes": list(ROAD)}, "epochs": 1,
             "best_epoch": 1, "best_score": 0.5, "seconds": 1.0, "history": [], "finished": True}  # fmt: skip
    refused(tmp_path, r"is of roadseg/train, but .* of roadseg/scores", good, train)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"version": 99}, "version 99"),
        ({"schema": "roadseg/video"}, "no 'finished' in it"),
        ({"schema": "roadseg/comparison"}, "not of a run"),
        ({"schema": "other/scores"}, "its schema is 'other/scores'"),
        ({"schema": ["x"]}, "its schema is"),
        ({"images": None}, "is no report"),
        ({"images": [{"key": "a", "counts": [[1, 2], [3, 4]]}]}, "counts of a are no 2 rows of 3"),
        ({"images": [{"key": "a", "counts": [[1, 2, -1], [3, 4, 0]]}]}, "counts of a are no"),
        ({"images": [{"key": "a", "counts": [["1", 2, 1], [3, 4, 0]]}]}, "counts of a are no"),
        ({"images": [{"key": "a", "counts": matrix(1, 1, 1, 1)}] * 2}, "two pictures called a"),
        ({"scores": {}}, "no 'pixel_accuracy' in it"),
        ({"settings": 7}, "is no report"),
        ({"label_scheme": {"classes": "ab"}}, "is no report"),
    ],
)
def test_damaged_documents(tmp_path: Path, change: dict[str, object], match: str) -> None:
    refused(tmp_path, match, {**document(ONE), **change}, document(TWO))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"a": 1}', b"[" * 100_000])
def test_what_is_no_document(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(
        OutputError, match=r"x\.json: is no report that can be read .*give the JSON file of a run"
    ):
        find_documents(tmp_path / "x.json")


def test_places_without_a_report(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no such file or folder"):
        find_documents(tmp_path / "none")
    with pytest.raises(ReportError, match=r"has no report\.json"):
        find_documents(tmp_path)


# ---------------------------------------------------------------- what is written


NASTY = '<img src=x onerror="alert(1)">|`a`*.png'


def nasty(tmp_path: Path) -> Comparison:
    one = {NASTY: matrix(4, 0, 3, 3), "=cmd()": matrix(6, 2, 0, 2), "'quoted": matrix(6, 2, 0, 2)}
    two = {NASTY: matrix(4, 0, 0, 6), "=cmd()": matrix(4, 4, 0, 2), "'quoted": matrix(6, 2, 0, 2)}
    return compared(tmp_path, document(one, weights="<b>w</b>"), document(two, weights="</style><script>"))


def test_html_is_one_page_and_harmless(tmp_path: Path) -> None:
    page = to_html(nasty(tmp_path))
    assert "<img" not in page
    assert page.count("<script") == 1  # our own, for sorting; the policy allows no other
    assert "&lt;img src=x onerror=&#34;alert(1)&#34;&gt;" in page
    assert "&lt;b&gt;w&lt;/b&gt;" in page
    assert page.count("</style>") == 1
    assert "http" not in page.replace("http-equiv", "")  # nothing is fetched
    assert "script-src 'sha256-" in page.replace("&#39;", "'")
    assert "prefers-color-scheme: dark" in page
    assert page.count("<circle") == 3


def test_markdown_is_harmless(tmp_path: Path) -> None:
    text = to_markdown(nasty(tmp_path))
    assert "<img" not in text
    (line,) = [line for line in text.splitlines() if "onerror" in line]
    assert r"\|\`a\`\*.png" in line
    assert line.replace(r"\|", "").count("|") == 5  # a picture, two runs, the points
    assert "| road IoU | +12.50 |" in text


def test_csv_comes_back_as_it_was(tmp_path: Path) -> None:
    text = nasty(tmp_path).to_csv()
    assert text.startswith("\ufeffpicture,")
    assert "\r\n" in text
    head, *rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    assert head == ["picture", "A: road IoU", "B: road IoU", "spread"]
    assert [row[0] for row in rows] == [NASTY, "'=cmd()", "''quoted"]
    assert [plain_text(row[0]) for row in rows] == [NASTY, "=cmd()", "'quoted"]
    assert [float(cell) for cell in rows[0][1:]] == [0.5, 1.0, 0.5]


# ---------------------------------------------------------------- the command


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, ["report", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def two_runs(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "A", document(ONE)).parent, write(tmp_path / "B", document(TWO)).parent


def test_every_format_at_once(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    outs = [tmp_path / "out" / f"c{suffix}" for suffix in (".html", ".json", ".csv", ".md")]
    result = run(*two_runs, *(part for out in outs for part in ("--out", out)), "--seed", 3)
    assert result.exit_code == 0, result.output
    assert "+16.67" in result.stdout
    assert "B is better than A on 1 of 2 pictures, worse on 1, the same on 0." in result.stdout
    assert "A has 1 picture that another run lacks" in result.stderr
    assert sorted((tmp_path / "out").iterdir()) == sorted(outs)
    assert json.loads(outs[1].read_text())["bootstrap"]["seed"] == 3
    before = [out.read_bytes() for out in outs]
    refused = run(*two_runs, "--out", tmp_path / "new.md", "--out", outs[0])
    assert (refused.exit_code, (tmp_path / "new.md").exists()) == (1, False)
    assert "--overwrite" in refused.stderr
    assert run(*two_runs, "--out", outs[1], "--overwrite").exit_code == 0
    assert outs[0].read_bytes() == before[0]
    assert json.loads(outs[1].read_text())["bootstrap"]["seed"] == 0


def outlined(data: dict[str, Any], bands: dict[str, list[list[int]]]) -> dict[str, Any]:
    """`data`, with the bands of the road's outline, in both and in either, of each picture."""
    for image in data["images"]:
        image["boundary"] = bands[image["key"]]
    data["boundary"] = {
        "classes": ["road"],
        "columns": ["predicted", "intersection", "union"],
        "scores": {"mean_iou": 0.75},
    }
    return data


def test_outlines_worked_by_hand(tmp_path: Path) -> None:
    """Together 3/8 and 6/12; of the draws of one picture twice, 2/4 and 4/4, or 1/4 and 2/8."""
    one = outlined(document(ONE), {"a/1": [[9, 2, 4]], "a/2": [[9, 1, 4]], "gone": [[9, 5, 5]]})
    two = outlined(document(TWO), {"a/1": [[9, 4, 4]], "a/2": [[9, 2, 8]]})
    two["road"] = {"scores": {"max_f": 0.9, "ece": 0.04}}
    result = compared(tmp_path, one, two)
    (against,) = result.against
    assert against.measures["boundary IoU"] == pytest.approx((6 / 12 - 3 / 8, 0.0, 0.5))
    assert [run.headline["boundary IoU"] for run in result.runs] == [0.75, 0.75]
    assert "| MaxF | – | 90.00 % |" in to_markdown(result)
    assert "| ECE | – | 4.00 % |" in to_markdown(result)
    (against,) = compared(tmp_path, one, document(TWO)).against
    assert "boundary IoU" not in against.measures


@pytest.mark.parametrize("row", [[], [[9, 1, 2], [9, 1, 2]], [[9, -1, 2]], [[9, 0.5, 2]], [[9, "1", 2]]])
def test_outlines_that_cannot_be_counted_with(tmp_path: Path, row: list[list[Any]]) -> None:
    bad = outlined(document(TWO), {"a/1": row, "a/2": [[9, 1, 2]]})
    refused(tmp_path, r"A/scores\.json: is no report .*the outlines of a/1", bad)


@pytest.mark.parametrize(
    ("outs", "exit_code", "message"),
    [
        (["x.pdf"], 2, "must end in one of"),
        (["x"], 2, "must end in one of"),
        (["x.md", "./x.md"], 2, "twice"),
        (["A/scores.json"], 1, "is one of the reports"),
    ],
)
def test_outs_that_are_refused(
    two_runs: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    outs: list[str],
    exit_code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = run("A", "B", "--overwrite", *(part for out in outs for part in ("--out", out)))
    assert result.exit_code == exit_code
    assert message in result.stderr
    assert sorted(tmp_path.rglob("*")) == before
    assert json.loads((tmp_path / "A" / "scores.json").read_text()) == document(ONE)


def test_nothing_is_written_after_an_error(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    result = run(two_runs[0], two_runs[0], "--out", tmp_path / "c.json")
    assert result.exit_code == 1
    assert "is the same run as" in result.stderr
    assert not (tmp_path / "c.json").exists()


def test_three_runs_and_one(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    third = write(tmp_path / "C", document({**TWO, "a/2": matrix(7, 1, 0, 2)}))
    data = json.loads(run(*two_runs, third, "--json").stdout)
    assert [(d["run"], d["baseline"]) for d in data["differences"]] == [("B", "A"), ("C", "A")]
    assert [row["values"] for row in data["pictures"]["rows"]] == [[0.5, 1.0, 1.0], [0.5, 1 / 3, 2 / 3]]
    alone = json.loads(run(two_runs[0], "--json").stdout)
    assert (alone["differences"], alone["pictures"], alone["bootstrap"]) == ([], None, None)
    assert alone["runs"][0]["headline"]["road IoU"] == pytest.approx(6 / 11)


def test_what_the_commands_leave_can_be_compared(tmp_path: Path) -> None:
    """Folders of real runs: eval at two thresholds, segment without labels, trainings, videos."""
    data = make_cityscapes(tmp_path / "data", train=2, val=2)
    save_checkpoint(tiny_checkpoint(), tmp_path / "tiny.pt")
    pictures = data / "leftImg8bit" / "val" / "ulm"
    cpu = ("--device", "cpu", "-q")
    common = ("-w", tmp_path / "tiny.pt", *cpu)
    train = ("--model", "nano", "--imgsz", 64, "--batch-size", 2, "--workers", 0, "--epochs", 1)
    for name, threshold in (("one", 0.5), ("two", 0.4)):
        out, commands = tmp_path / name, []
        commands.append(("eval", "--data", data, "--out", out / "eval", "--threshold", threshold, *common))
        commands.append(("segment", pictures, "--out", out / "seg", "--threshold", threshold, *common))
        commands.append(("video", pictures, "--out", out / "v.mp4", "--threshold", threshold, *common))
        commands.append(
            ("train", "--data", data, "--runs", out, "--name", "run", "--lr", threshold / 100, *train, *cpu)
        )
        for command in commands:
            done = CliRunner().invoke(app, [*map(str, command)])
            assert done.exit_code == 0, done.output
    for place, number in (
        ("eval", "road IoU"),
        ("seg", "mean road share"),
        ("v.json", "frames"),
        ("run", "best score"),
    ):
        done = run(
            tmp_path / "one" / place, tmp_path / "two" / place, "--json", "--out", tmp_path / f"{number}.html"
        )
        assert done.exit_code == 0, done.output
        result = json.loads(done.stdout)
        assert [run["headline"][number] is not None for run in result["runs"]] == [True, True]
        assert (result["pictures"] is not None) is (place in ("eval", "seg"))
