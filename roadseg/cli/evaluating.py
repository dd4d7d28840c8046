"""How `roadseg eval` runs over several data sets and looks."""

from pathlib import Path
from typing import Any

from roadseg.cli import render
from roadseg.cli.checking import data_folders
from roadseg.config import InferConfig
from roadseg.dataset.samples import find_samples
from roadseg.engine.evaluate import Evaluation, evaluate, write_evaluation
from roadseg.engine.predict import Predictor
from roadseg.engine.runs import new_folder
from roadseg.model.checkpoint import load_checkpoint


def run_evaluation(
    data: list[Path],
    dataset: str | None,
    weights: Path | None,
    split: str,
    out: Path | None,
    save_predictions: Path | None,
    config: InferConfig,
    workers: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Score every folder of `data`, write a report for each, and show the scores."""
    samples = {folder: find_samples(folder, split, dataset) for folder in data_folders(data)}
    checkpoint = load_checkpoint(weights)
    predictor = Predictor(checkpoint, config)
    documents: list[dict[str, Any]] = []
    for folder, pictures in samples.items():
        name = folder.resolve().name
        with render.progress(f"Scoring {name}", "pictures", quiet) as update:
            result = evaluate(
                predictor,
                pictures,
                predictor.scheme,
                batch_size=config.batch_size,
                workers=workers,
                progress=update,
                save_predictions=save_predictions / name if save_predictions else None,
            )
        settings = {
            "data": str(folder),
            "split": split,
            "weights": checkpoint.source,
            "imgsz": predictor.imgsz,
            "device": str(predictor.device),
            "threshold": config.threshold,
        }
        target = (out / name if len(samples) > 1 else out) if out else new_folder(Path("runs/eval"), name)
        _, scores_path = write_evaluation(result, target, settings)
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
