"""How `roadseg segment` runs and looks."""

from functools import partial
from pathlib import Path

from roadseg.cli import render
from roadseg.cli.evaluating import further_facts
from roadseg.config import InferConfig, SegmentConfig
from roadseg.engine.memory import silent
from roadseg.engine.segment import segment
from roadseg.engine.segment_stages import Runner
from roadseg.engine.tiles import make_predictor
from roadseg.media.find import find_images
from roadseg.media.images import allow_pixels
from roadseg.model.checkpoint import DEFAULT_WEIGHTS
from roadseg.model.exported import load_weights
from roadseg.report.run import Row, RunReport

# Failures that are printed; the report has all of them.
SHOWN_FAILURES = 10


def run_segment(
    inputs: list[str],
    weights: Path | None,
    config: SegmentConfig,
    infer: InferConfig,
    as_json: bool,
    quiet: bool,
    ray: str | None = None,
) -> int:
    """Segment the inputs, show how it went, and return the exit code. ray: the cluster that does it."""
    jobs = find_images(*inputs, exclude=Path(config.out))
    checkpoint = load_weights(weights)
    digest = checkpoint.digest()
    predictor = make_predictor(checkpoint, infer, note=silent if quiet else render.note)
    settings = {
        "command_line": render.command_line(),
        "inputs": inputs,
        "weights": str(weights or DEFAULT_WEIGHTS),
        "weights_sha256": digest,
        "device": f"ray {ray}" if ray else str(predictor.device),
        "imgsz": predictor.imgsz,
        "classes": infer.classes,
        "tile": infer.tile,
        "tta": infer.tta or None,
        "threshold": infer.threshold,
        "ids": config.ids,
        "labels": config.labels,
        "label_format": config.label_format if config.labels else None,
    }
    report = RunReport(command="segment", settings=settings)
    try:
        with render.progress("Segmenting", "pictures", quiet) as update:

            def progress(row: Row, done: int, total: int) -> None:
                update(done, total)

            with allow_pixels(config.max_megapixels * 10**6):
                segment(config, predictor, jobs, report, progress, _runner(ray, weights, infer))
    except BaseException:
        # else it was refused before it began, or could not write even that; --json has the error alone
        if report.finished and not as_json:
            _show(report, config)
        raise
    if as_json:
        render.print_json(report.to_dict())
    else:
        _show(report, config)
    return report.exit_code


def _runner(ray: str | None, weights: Path | None, infer: InferConfig) -> Runner | None:
    if ray is None:
        return None
    from roadseg.engine.cluster import require_ray
    from roadseg.engine.remote import Remote, segment_remotely

    require_ray()  # before anything is written
    return partial(segment_remotely, Remote(ray, str(weights) if weights else None, infer))


def _show(report: RunReport, config: SegmentConfig) -> None:
    totals = report.totals()
    seconds = totals["seconds"]
    rate = f", {totals['ok'] / seconds:.1f} pictures/s" if seconds and totals["ok"] else ""
    counts = ", ".join(f"{totals[name]} {name}" for name in ("ok", "skipped", "failed") if totals[name])
    pictures = render.count(totals["inputs"], "picture")
    render.out.print(f"{pictures}: {counts or 'none'} in {render.duration(seconds)}{rate}", markup=False)
    if totals["mean_road_fraction"] is not None:
        render.out.print(
            f"road: {render.percent(totals['mean_road_fraction'])} % of a picture on average", markup=False
        )
    if report.scores:
        per_class = report.scores["global"]["per_class"]
        rows = [
            [name, *(render.percent(v[k]) for k in ("iou", "precision", "recall", "f1"))]
            for name, v in per_class.items()
        ]
        render.table("Scores over the whole run", ["class", "IoU %", "precision %", "recall %", "F1 %"], rows)
        further = further_facts({"boundary": report.boundary, "road": report.road})
        facts = [("mean IoU of a picture", totals["mean_iou_per_image"]), *further]
        render.say(", ".join(f"{fact} {render.percent(value)} %" for fact, value in facts))
    failures = [row for row in report.rows if row.status == "failed"]
    for row in failures[:SHOWN_FAILURES]:
        named = Path(row.input).name in str(row.error)
        render.error(str(row.error) if named else f"{row.input}: {row.error}")
    if len(failures) > SHOWN_FAILURES:
        render.note(f"... and {len(failures) - SHOWN_FAILURES} more failures; the report lists all.")
    render.out.print(
        f"Masks: {Path(config.out) / 'masks'}\n"
        f"Report: {Path(config.out) / config.report_name}.{'html' if config.html else 'csv'}",
        markup=False,
    )
