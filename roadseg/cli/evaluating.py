"""How `roadseg eval` runs over several data sets and looks."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from roadseg.cli import render
from roadseg.cli.checking import data_folders
from roadseg.config import InferConfig, TrainConfig
from roadseg.dataset.samples import find_samples
from roadseg.documents import header
from roadseg.engine.evaluate import (
    Evaluation,
    evaluate,
    prediction_path,
    refuse_to_replace,
    report_files,
    scores_document,
    write_evaluation,
)
from roadseg.engine.measures import Measures
from roadseg.engine.memory import silent
from roadseg.engine.pages import PAGE, evaluation_album, predictions_album
from roadseg.engine.predictions import (
    doubtful,
    find_format,
    get_format,
    match_predictions,
    score_predictions,
    strays,
)
from roadseg.engine.remote import Remote, evaluate_remotely
from roadseg.engine.runs import new_folder
from roadseg.engine.sources import unique_names
from roadseg.engine.tiles import make_predictor
from roadseg.errors import ConfigError
from roadseg.labels import get_scheme
from roadseg.metrics import Scores
from roadseg.model.checkpoint import DEFAULT_WEIGHTS
from roadseg.model.exported import load_weights
from roadseg.report.html.album import Album
from roadseg.report.html.evaluation import eval_page
from roadseg.report.html.page import require_ours, write_page
from roadseg.report.run import Shard

SHOWN_PROBLEMS = 10  # the report has all of them
_FURTHER: Final = {
    "categories": {"mean_iou": "category IoU"},
    "instances": {"mean_iiou": "iIoU"},
    "boundary": {"mean_iou": "boundary IoU", "mean_f": "boundary F"},
    "road": {"max_f": "MaxF", "average_precision": "AP", "ece": "ECE"},
    "birdseye": {"max_f": "bird's-eye MaxF"},
}
"""Section of a document -> scores in it, and what they are called in a line."""


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """What does not depend on where the masks come from."""

    data: list[Path]
    dataset: str | None
    split: str
    out: Path | None
    overwrite: bool
    workers: int
    boundary: bool
    calib: Path | None
    as_json: bool
    quiet: bool
    html: bool
    part: tuple[int, int] = (1, 1)
    """(i, n): every n-th picture from the i-th on."""
    ray: str | None = None

    def shard(self, pictures: int) -> Shard | None:
        """Of that many pictures."""
        return Shard(*self.part, pictures) if self.part[1] > 1 else None


def run_evaluation(
    options: EvalOptions, weights: Path | None, save_predictions: Path | None, config: InferConfig
) -> None:
    """Score a model on every folder of the data, write a report for each, and show the scores."""
    index, count = options.part
    if not 1 <= index <= count:
        raise ConfigError(f"shard is {index}/{count}, but must be i/n with i from 1 to n.")
    if count > 1 and not options.out:
        raise ConfigError("--shard needs --out: the folder that all shards write their reports to.")
    folders = data_folders(options.data)
    names = unique_names(folders)
    checkpoint = load_weights(weights)
    # as in its training: what that held out must be held out here
    fraction = checkpoint.recipe.get("val_fraction") or TrainConfig.val_fraction
    samples = [
        find_samples(folder, options.split, options.dataset, val_fraction=fraction) for folder in folders
    ]
    for folder, pictures in zip(folders, samples, strict=True):
        if count > len(pictures):
            raise ConfigError(
                f"shard is {index}/{count}, but {folder} has {render.count(len(pictures), 'picture')} in "
                f"{options.split}: a part would be empty. Give at most as many parts as there are pictures."
            )
    shards = [options.shard(len(pictures)) for pictures in samples]
    samples = [pictures[index - 1 :: count] for pictures in samples]
    _require_free(options, names, shards[0])
    saves = [save_predictions / name if save_predictions else None for name in names]
    if not options.overwrite:
        for save, pictures in zip(saves, samples, strict=True):
            refuse_to_replace(prediction_path(save, picture) for picture in pictures if save)
    digest = checkpoint.digest()
    predictor = make_predictor(checkpoint, config, note=silent if options.quiet else render.note)
    measures = Measures(predictor.scheme, boundary=options.boundary, calib=options.calib)
    documents: list[dict[str, Any]] = []
    with _targets(options, names) as targets:
        for name, folder, pictures, shard, target, save in zip(
            names, folders, samples, shards, targets, saves, strict=True
        ):
            album = None  # shards have no page of their own
            if options.html and shard is None:
                by_key = {picture.key: picture for picture in pictures}
                album = evaluation_album(target / PAGE, predictor, by_key)
            started = time.perf_counter()
            with render.progress(f"Scoring {name}", "pictures", options.quiet) as update:
                if options.ray:
                    remote = Remote(options.ray, str(weights) if weights else None, config)
                    result = evaluate_remotely(
                        remote,
                        pictures,
                        measures,
                        workers=options.workers,
                        progress=update,
                        save_predictions=save,
                        album=album,
                    )
                else:
                    result = evaluate(
                        predictor,
                        pictures,
                        predictor.scheme,
                        batch_size=predictor.batch_size,
                        workers=options.workers,
                        progress=update,
                        save_predictions=save,
                        measures=measures,
                        look=album.add if album else None,
                    )
            settings = {
                "command_line": render.command_line(),
                "data": str(folder),
                "split": options.split,
                "weights": str(weights or DEFAULT_WEIGHTS),
                "weights_sha256": digest,
                "imgsz": predictor.imgsz,
                "classes": config.classes,
                "tile": config.tile,
                "tta": config.tta or None,
                "device": f"ray {options.ray}" if options.ray else str(predictor.device),
                "threshold": config.threshold,
                "engine": predictor.facts(),
                **_pace(len(pictures), started),
            }
            documents.append(_report(options, name, target, result, settings, album, shard))
    if options.as_json:
        render.print_json({**header("eval"), "evaluations": documents})


def run_predictions(
    options: EvalOptions, predictions: Path, prediction_format: str | None, classes: str
) -> int:
    """Score masks on every folder of the data; the exit code is 3 if some are missing or cannot be used.

    With several data sets, those for one are looked for in the sub-folder of its name, if there is one.
    """
    folders = data_folders(options.data)
    names = unique_names(folders)
    scheme = get_scheme(classes)
    declared = get_format(prediction_format, scheme) if prediction_format else None
    _require_free(options, names)
    measures = Measures(scheme, boundary=options.boundary)
    results: list[tuple[Evaluation, dict[str, Any], Album | None]] = []
    with _targets(options, names) as targets:
        for name, folder, target in zip(names, folders, targets, strict=True):
            pictures = find_samples(folder, options.split, options.dataset)
            own = predictions / name if len(names) > 1 and (predictions / name).is_dir() else predictions
            files = match_predictions(own, pictures)
            form = declared or find_format(list(files.values()), scheme)
            lost = strays(own, files)
            if lost:
                files_lost = render.count(len(lost), "PNG file")
                render.note(f"{own}: {files_lost} of no picture of {name}: {lost[0].name}, ...")
            if not declared and not options.quiet:
                render.note(
                    f"{own}: the predictions are read as {form.name} (--prediction-format says otherwise)"
                )
            album = predictions_album(target / PAGE, files, form, pictures) if options.html else None
            started = time.perf_counter()
            with render.progress(f"Scoring {name}", "pictures", options.quiet) as update:
                result = score_predictions(
                    files, form, pictures, measures, workers=options.workers, progress=update
                )
            if odd := doubtful(result, files):
                render.note(
                    f"{own}: read as {form.name}, much of {render.count(len(odd), 'prediction')} is of no "
                    f"class, such as {odd[0].name}: is it of another format?"
                )
            settings = {
                "command_line": render.command_line(),
                "data": str(folder),
                "split": options.split,
                "predictions": str(own),
                "prediction_format": form.name,
                "classes": classes,
                **_pace(len(pictures), started),
            }
            results.append((result, settings, album))
        # written last: where one set cannot be scored, there is no report of any
        documents = [
            _report(options, name, target, *result)
            for name, target, result in zip(names, targets, results, strict=True)
        ]
    if options.as_json:
        render.print_json({**header("eval"), "evaluations": documents})
    return 3 if any(result.incomplete for result, _, _ in results) else 0


def _pace(pictures: int, started: float) -> dict[str, float]:
    seconds = time.perf_counter() - started
    return {"seconds": round(seconds, 3), "pictures_per_second": round(pictures / seconds, 3)}


@contextmanager
def _targets(options: EvalOptions, names: list[str]) -> Iterator[list[Path]]:
    """The folder of each report: made where it is a new one, and gone again if nothing comes into it."""
    with ExitStack() as stack:
        yield _named(options, names) or [
            stack.enter_context(new_folder(Path("runs/eval"), name)) for name in names
        ]


def _named(options: EvalOptions, names: list[str]) -> list[Path]:
    """The folders that --out gives; none without it."""
    return [options.out / name if len(names) > 1 else options.out for name in names] if options.out else []


def _require_free(options: EvalOptions, names: list[str], shard: Shard | None = None) -> None:
    """OutputError if reports are there already."""
    targets = _named(options, names)
    if not options.overwrite:
        files = (*report_files(shard), *((PAGE,) if options.html and not shard else ()))
        refuse_to_replace(target / name for target in targets for name in files)
    for target in targets:
        if options.html:
            require_ours(target / PAGE)


def _report(
    options: EvalOptions,
    name: str,
    target: Path,
    result: Evaluation,
    settings: Mapping[str, Any],
    album: Album | None,
    shard: Shard | None = None,
) -> dict[str, Any]:
    """Write the files, show the table; return what --json prints of it."""
    document = scores_document(result, settings, shard)
    _, scores_path = write_evaluation(result, target, document, shard)
    if album:
        write_page(target / PAGE, eval_page(target, album))
    if not options.as_json:
        title = f"{name} {options.split}, {render.count(len(result.images), 'picture')}"
        _show(title, result, document)
        render.out.print(f"Report: {target / PAGE if album else target}\n", markup=False)
    return {**document, "report": str(scores_path)}


def _show(title: str, result: Evaluation, document: Mapping[str, Any]) -> None:
    whole, each = result.scores, result.per_image
    rows = [
        [
            name,
            *(render.percent(v[k]) for v in (whole.iou, each.iou, whole.precision, whole.recall, whole.f1)),
        ]
        for k, name in enumerate(whole.classes)
    ]
    rows.append(["mean", render.percent(whole.mean_iou), render.percent(each.mean_iou), "", "", ""])
    render.table(title, ["class", "IoU %", "IoU per picture %", "precision %", "recall %", "F1 %"], rows)
    # of two classes, the second is what it is all about
    headline = f"{whole.classes[1]} IoU" if len(whole.classes) == 2 else "mean IoU"
    sure = document["confidence"]
    interval = sure["per_class"][whole.classes[1]]["iou"] if len(whole.classes) == 2 else sure["mean_iou"]
    if interval:
        low, high = map(render.percent, interval)
        render.out.print(f"{headline} is {low} to {high} % (95 % confidence)", markup=False)
    facts = _facts(whole, document)
    render.out.print(", ".join(f"{fact} {render.percent(value)} %" for fact, value in facts), markup=False)
    problems = [f"{key}: no prediction" for key in document["missing"]]
    problems += [f"{entry['key']}: {entry['error']}" for entry in document["failed"]]
    if problems:
        render.out.print(f"{render.count(len(problems), 'picture')} counted as missed:", markup=False)
        for problem in problems[:SHOWN_PROBLEMS]:
            render.say(f"  {problem}")
        if len(problems) > SHOWN_PROBLEMS:
            render.out.print(
                f"  ... and {len(problems) - SHOWN_PROBLEMS} more (scores.json lists all)", markup=False
            )


def _facts(whole: Scores, document: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    """What the sections of the report have as a headline."""
    yield "pixel accuracy", whole.pixel_accuracy
    yield from further_facts(document)


def further_facts(document: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    """The headlines of the sections beyond the confusion matrix, of those that `document` has."""
    for section, names in _FURTHER.items():
        if found := document.get(section):
            yield from ((name, found["scores"][key]) for key, name in names.items())
