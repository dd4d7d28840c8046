"""How `roadseg eval` runs over several data sets and looks."""

import time
from pathlib import Path
from typing import Any

from roadseg.cli import render
from roadseg.cli.checking import data_folders
from roadseg.config import InferConfig, TrainConfig
from roadseg.dataset.samples import find_samples
from roadseg.engine.evaluate import (
    REPORT_FILES,
    Evaluation,
    evaluate,
    prediction_path,
    refuse_to_replace,
    write_evaluation,
)
from roadseg.engine.pages import PAGE, evaluation_album
from roadseg.engine.predict import Predictor
from roadseg.engine.runs import new_folder
from roadseg.engine.sources import unique_names
from roadseg.model.checkpoint import load_checkpoint
from roadseg.report.html.evaluation import eval_page
from roadseg.report.html.page import require_ours, write_page


def run_evaluation(
    data: list[Path],
    dataset: str | None,
    weights: Path | None,
    split: str,
    out: Path | None,
    save_predictions: Path | None,
    overwrite: bool,
    config: InferConfig,
    workers: int,
    as_json: bool,
    quiet: bool,
    html: bool,
) -> None:
    """Score every folder of `data`, write a report for each, and show the scores."""
    folders = data_folders(data)
    names = unique_names(folders)
    checkpoint = load_checkpoint(weights)
    # as in its training: what that held out must be held out here
    fraction = checkpoint.recipe.get("val_fraction") or TrainConfig.val_fraction
    samples = [find_samples(folder, split, dataset, val_fraction=fraction) for folder in folders]
    targets = [out / name if out and len(names) > 1 else out for name in names]
    files = (*REPORT_FILES, *((PAGE,) if html else ()))
    saves = [save_predictions / name if save_predictions else None for name in names]
    if not overwrite:
        refuse_to_replace(target / name for target in targets if target for name in files)
        for save, pictures in zip(saves, samples, strict=True):
            refuse_to_replace(prediction_path(save, picture) for picture in pictures if save)
    for target in targets:
        if target and html:
            require_ours(target / PAGE)
    predictor = Predictor(checkpoint, config)
    documents: list[dict[str, Any]] = []
    for name, folder, pictures, target, save in zip(names, folders, samples, targets, saves, strict=True):
        target = target or new_folder(Path("runs/eval"), name)
        album = evaluation_album(target / PAGE, predictor, pictures) if html else None
        started = time.perf_counter()
        with render.progress(f"Scoring {name}", "pictures", quiet) as update:
            result = evaluate(
                predictor,
                pictures,
                predictor.scheme,
                batch_size=config.batch_size,
                workers=workers,
                progress=update,
                save_predictions=save,
                look=album.add if album else None,
            )
        seconds = time.perf_counter() - started
        settings = {
            "command_line": render.command_line(),
            "data": str(folder),
            "split": split,
            "weights": checkpoint.source,
            "imgsz": predictor.imgsz,
            "device": str(predictor.device),
            "threshold": config.threshold,
            "seconds": round(seconds, 3),
            "pictures_per_second": round(len(pictures) / seconds, 3),
        }
        _, scores_path = write_evaluation(result, target, settings)
        if album:
            write_page(target / PAGE, eval_page(target, album))
        if as_json:
            documents.append({**settings, "report": str(scores_path), "scores": result.scores.to_dict()})
        else:
            _show(f"{name} {split}, {render.count(len(pictures), 'picture')}", result)
            render.out.print(f"Report: {target}\n", markup=False)
    if as_json:
        render.print_json({"schema": "roadseg.eval/1", "evaluations": documents})


def _show(title: str, result: Evaluation) -> None:
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
    render.out.print(f"pixel accuracy {render.percent(whole.pixel_accuracy)} %", markup=False)
