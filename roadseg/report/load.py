"""From the files that eval, segment, video and train leave to runs that can be compared."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from roadseg.documents import read_document, reading
from roadseg.errors import ReportError
from roadseg.report.compare import Run
from roadseg.report.resampling import OUTLINES
from roadseg.report.run import Counts, RunReport

Document = tuple[Path, Mapping[str, Any]]
FILES: Final = ("report.json", "scores.json")
_FURTHER: Final = {
    "boundary": {"mean_iou": OUTLINES},
    "road": {"max_f": "MaxF", "ece": "ECE"},
    "birdseye": {"max_f": "bird's-eye MaxF"},
}
"""Section of a document -> scores in it, and what they are called."""
_GIVE: Final = "give the JSON file of a run, or its folder"


def find_documents(place: Path, *, shards: bool = False) -> list[Document]:
    """The documents at `place`: of a JSON file itself; of a folder its report, or those of all its shards.

    shards: the shards even where there is a report, too. Raises ReportError and OutputError.
    """
    if place.is_dir():
        whole = [place / name for name in FILES if (place / name).is_file()]
        parts = sorted([*place.glob("report-*of*.json"), *place.glob("scores-*of*.json")])
        paths = parts if parts and (shards or not whole) else whole[:1]
        if not paths:
            raise ReportError(
                f"{place}: has no {', '.join(FILES)} or report-1of2.json in it; {_GIVE} "
                "(of a video, the .json beside it)"
            )
    elif place.exists():
        paths = [place]
    else:
        raise ReportError(f"{place}: there is no such file or folder; {_GIVE}")
    return [(path, _read(path)) for path in paths]


def _read(path: Path) -> Mapping[str, Any]:
    with reading(path, _GIVE):
        kind, document = read_document(path)
    if kind == "eval":  # what --json printed
        if len(evaluations := document.get("evaluations", [])) != 1:
            raise ReportError(
                f"{path}: is of {len(evaluations)} data sets; give the scores.json of one of them"
            )
        return {name: value for name, value in evaluations[0].items() if name != "report"}
    if kind not in _READERS:
        raise ReportError(f"{path}: is a document of {document['schema']}, not of a run; {_GIVE}")
    return document


def make_runs(documents: Sequence[Document]) -> list[Run]:
    """A run for each document, with the shortest names that tell them apart. Raises OutputError."""
    names = _names([path for path, _ in documents])
    runs = []
    for name, (path, document) in zip(names, documents, strict=True):
        with reading(path, _GIVE):
            schema = document["schema"]
            facts = _READERS[schema.removeprefix("roadseg/")](document)
            common = {"name": name, "path": path, "schema": schema, "document": document}
            run = Run(**common, settings=dict(document["settings"]), **facts)
            _require_numbers(run)
            runs.append(run)
    return runs


def _names(paths: Sequence[Path]) -> list[str]:
    """The ends of the paths that differ; report.json and scores.json go by their folder's name."""
    parts = [
        path.resolve().parent.parts if path.name in FILES else path.resolve().with_suffix("").parts
        for path in paths
    ]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


# ---------------------------------------------------------------- what each kind of document tells


def _of_scores(document: Mapping[str, Any]) -> dict[str, Any]:
    classes = tuple(document["label_scheme"]["classes"])
    return {
        "classes": classes,
        "headline": {
            "pictures": len(document["images"]),
            **_headline(document["scores"], document["per_image"], classes),
            **_further(document),
        },
        "counts": _once((image["key"], image["counts"]) for image in document["images"]),
        "bands": _bands(document, ((image["key"], image["boundary"]) for image in document["images"])),
    }


def _further(document: Mapping[str, Any]) -> dict[str, float | None]:
    return {
        name: found["scores"][key]
        for section, names in _FURTHER.items()
        if (found := document.get(section))
        for key, name in names.items()
    }


def _bands(document: Mapping[str, Any], outlines: Iterable[tuple[str, Counts]]) -> dict[str, list[list[int]]]:
    """outlines: the picture's key, and its counts of outlines."""
    if not (boundary := document.get("boundary")):
        return {}
    both, either = (boundary["columns"].index(name) for name in ("intersection", "union"))
    bands = {key: [[n[both], n[either]] for n in counts] for key, counts in outlines}
    for picture, rows in bands.items():
        if len(rows) != len(boundary["classes"]) or not all(_is_count(n) for row in rows for n in row):
            raise ValueError(f"the outlines of {picture} are no numbers of pixels for {boundary['classes']}")
    return bands


def _of_segment(document: Mapping[str, Any]) -> dict[str, Any]:
    report = RunReport.from_dict(document)
    totals, scored = report.totals(), report.scores
    notes = [f"stopped: {report.stopped_by}"] if report.stopped_by else []
    if report.shard:
        notes.append(f"shard {report.shard} alone")
    scores = _headline(scored["global"], scored["per_image"], report.classes) if scored else {}
    rows = [row for row in report.rows if row.status != "failed"]
    return {
        "classes": report.classes,
        "headline": {
            "pictures": totals["inputs"],
            "failed": totals["failed"],
            **scores,
            **_further(document),
            "mean road share": totals["mean_road_fraction"],
        },
        "counts": _once((row.input, row.counts) for row in rows if row.counts),
        "bands": _bands(document, ((row.input, row.boundary) for row in rows if row.boundary)),
        "shares": {}
        if scored
        else _once((row.input, row.road_fraction) for row in rows if row.road_fraction is not None),
        "notes": tuple(notes),
    }


def _of_video(document: Mapping[str, Any]) -> dict[str, Any]:
    if not document["finished"]:
        raise ValueError("the run is not finished, or was killed")
    shares = {
        f"mean {name}": None if (value := document.get(f"mean_{key}")) is None else value * scale
        for name, key, scale in (
            ("road share", "road_percent", 0.01),
            ("confidence", "confidence", 1.0),
            ("changed share", "changed_percent", 0.01),
            ("temporal consistency", "consistency", 1.0),
        )
    }
    seconds, frames = document["seconds"], document["frames_written"]
    return {
        "headline": {
            "frames": frames,
            "damaged": document["damaged"],
            "missing": document["missing"],
            **shares,
            "seconds": seconds,
            "frames per second": frames / seconds if seconds else None,
        },
        "notes": ("stopped: " + document["stopped_by"],) if document["stopped_by"] else (),
    }


def _of_train(document: Mapping[str, Any]) -> dict[str, Any]:
    best: Mapping[str, Any] = next(
        (row for row in document["history"] if row["epoch"] == document["best_epoch"]), {}
    )
    scores = {
        name: value for name, value in best.items() if name not in ("epoch", "lr", "loss", "score", "seconds")
    }
    return {
        "classes": tuple(document["label_scheme"]["classes"]),
        "headline": {
            "epochs": document["epochs"],
            "best epoch": document["best_epoch"],
            "best score": document["best_score"],
            **{name.replace("_", " "): value for name, value in scores.items()},
            "loss of the best epoch": best.get("loss"),
            "seconds": document["seconds"],
        },
        "notes": () if document["finished"] else ("not finished",),
    }


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "scores": _of_scores,
    "segment": _of_segment,
    "video": _of_video,
    "train": _of_train,
}


def _headline(
    scores: Mapping[str, Any], per_image: Mapping[str, Any], classes: Sequence[str]
) -> dict[str, float | None]:
    """The scores under the names of `Resampler.scores`."""
    accuracy = {"pixel accuracy": scores["pixel_accuracy"]}
    if len(classes) == 2:
        road = scores["per_class"][classes[1]]
        names = {"iou": "IoU", "precision": "precision", "recall": "recall", "f1": "F1"}
        return {
            **{f"{classes[1]} {name}": road[key] for key, name in names.items()},
            **accuracy,
            "IoU per picture": per_image["per_class"][classes[1]]["iou"],
        }
    return {
        "mean IoU": scores["mean_iou"],
        **accuracy,
        "IoU per picture": per_image["mean_iou"],
        **{f"{name} IoU": scores["per_class"][name]["iou"] for name in classes},
    }


def _require_numbers(run: Run) -> None:
    """ValueError for what cannot be counted with: a file that was edited, or damaged."""
    for name, value in {**run.headline, **run.shares}.items():
        if not isinstance(value, int | float | None):
            raise ValueError(f"{name} is {value!r}, and no number")
    if not all(isinstance(name, str) for name in run.classes):
        raise ValueError(f"its classes are {run.classes}, and no names")
    kinds = len(run.classes)
    for picture, counts in run.counts.items():
        whole = len(counts) == kinds and all(len(line) == kinds + 1 for line in counts)
        if not whole or not all(_is_count(n) for line in counts for n in line):
            raise ValueError(f"the counts of {picture} are no {kinds} rows of {kinds + 1} numbers of pixels")


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _once(pairs: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"it has two pictures called {key}")
        found[key] = value
    return found
