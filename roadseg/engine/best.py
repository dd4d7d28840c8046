"""The best checkpoint of a training, measured on the val part of every data set as `eval` measures."""

import time
from collections.abc import Callable
from pathlib import Path

from roadseg.config import InferConfig, TrainConfig
from roadseg.engine.evaluate import evaluate, scores_document, write_evaluation
from roadseg.engine.listener import TrainResult
from roadseg.engine.measures import Measures
from roadseg.engine.pages import PAGE, evaluation_album, training_page
from roadseg.engine.predict import Predictor
from roadseg.errors import CheckpointError
from roadseg.model.checkpoint import Checkpoint, load_checkpoint, previous_of
from roadseg.report.html.album import Shelf
from roadseg.report.html.page import write_page
from roadseg.report.html.training import VALIDATION

Progress = Callable[[int, int], None]


def report_best(result: TrainResult, command_line: str, progress: Progress | None = None) -> None:
    """Write the page of a training, with all that `eval` says of its best checkpoint.

    One more pass over the val part: the validations on the way count the confusion matrix alone. It replaces
    the scores.json and per_image.csv of the best epoch. Raises as `evaluate` does, CheckpointError without a
    best checkpoint, and OutputError.
    """
    checkpoint = _best_of(result.folder)
    recipe = TrainConfig.from_dict(checkpoint.recipe)
    infer = InferConfig(device=result.device, batch_size=recipe.batch_size, amp=recipe.amp)
    predictor = Predictor(checkpoint, infer)
    measures = Measures(checkpoint.scheme, boundary=True)
    page = result.folder / PAGE
    album = evaluation_album(
        page, predictor, {f"{s.name}/{sample.key}": sample for s in result.sources for sample in s.val}
    )
    shelves = {source.name: Shelf(album, source.name) for source in result.sources}
    for folder, source in zip(recipe.data, result.sources, strict=True):
        started = time.perf_counter()
        done = evaluate(
            predictor,
            source.val,
            checkpoint.scheme,
            batch_size=recipe.batch_size,
            workers=max(1, recipe.workers),
            progress=progress,
            measures=measures,
            look=shelves[source.name].add,
        )
        settings = {
            "command_line": command_line,
            "data": folder,
            "split": "val",
            "weights": checkpoint.source,
            "weights_sha256": checkpoint.digest(),
            "epoch": result.best_epoch,
            "imgsz": predictor.imgsz,
            "device": result.device,
            "threshold": infer.threshold,
            "pictures_per_second": round(len(source.val) / (time.perf_counter() - started), 2),
        }
        write_evaluation(done, result.folder / VALIDATION / source.name, scores_document(done, settings))
    ran = {"command_line": command_line, "device": result.device, "pictures": result.pictures}
    write_page(page, training_page(result.folder, ran, shelves))


def _best_of(folder: Path) -> Checkpoint:
    """Read `best.pt`; CheckpointError says what else is left of the training."""
    best = folder / "best.pt"
    try:
        return load_checkpoint(best)
    except CheckpointError as error:
        why = str(error) if best.exists() else f"{best}: is not there any more."
        left = [path.name for path in (previous_of(best), folder / "last.pt") if path.is_file()]
        raise CheckpointError(
            f"{why} So there is no page of the training, which is done. Weights are left in: "
            f"{', '.join(left) or 'no file'}."
        ) from error
