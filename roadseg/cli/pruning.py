"""How `roadseg prune` runs and looks."""

from contextlib import nullcontext
from pathlib import Path

from roadseg.cli import render
from roadseg.cli.checking import data_folders
from roadseg.cli.training import TrainDisplay
from roadseg.config import AugmentStrength, PruneConfig, TrainConfig
from roadseg.engine.prune import FINETUNED, PruneResult, prune_network
from roadseg.engine.runs import new_folder
from roadseg.media.output import alone_at
from roadseg.model.checkpoint import find_weights, load_checkpoint


def run_prune(
    weights: Path | None,
    data: list[Path],
    dataset: str | None,
    out: Path | None,
    config: PruneConfig,
    augment: AugmentStrength,
    imgsz: int | None,
    crop: int | None,
    batch_size: int,
    workers: int,
    device: str,
    amp: bool,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Prune, finetune with the whole network as the teacher, and show what that cost and won."""
    source = find_weights(weights).resolve()
    checkpoint = load_checkpoint(source)
    finetuning = TrainConfig(
        data=tuple(str(folder.resolve()) for folder in data_folders(data)),
        dataset=dataset,
        classes=checkpoint.scheme.name,
        weights=str(source),
        teacher=str(source),
        epochs=max(1, config.epochs),
        lr=config.lr,
        augment=augment,
        warmup_epochs=min(1.0, 0.1 * config.epochs),
        imgsz=checkpoint.imgsz if imgsz is None else imgsz,
        crop=crop,
        batch_size=batch_size,
        workers=workers,
        device=device,
        amp=amp,
        seed=seed,
        val_fraction=checkpoint.recipe.get("val_fraction") or TrainConfig.val_fraction,
    )
    place = nullcontext(out) if out else new_folder(Path("runs/prune"), source.stem)
    with TrainDisplay(quiet or as_json) as display, place as folder, alone_at(folder):
        result = prune_network(checkpoint, config, finetuning, folder, display)
    if as_json:
        render.print_json(result.to_dict())
    else:
        _show(result)


def _show(result: PruneResult) -> None:
    height, width = result.size
    stages = result.stages
    rows = [
        *(
            [f"IoU % {name}", *(render.percent(stage.scores[name]) for stage in stages)]
            for name in stages[0].scores
        ),
        ["parameters", *(f"{stage.cost.parameters / 1e6:.3f} M" for stage in stages)],
        ["MACs", *(f"{stage.cost.macs / 1e6:.0f} M" for stage in stages)],
        ["ms", *(f"{stage.cost.ms:.1f}" for stage in stages)],
        ["speed", *(f"{stage.cost.speed:.2f}x" for stage in stages)],
    ]
    title = f"One picture of {width}x{height}, side by side on {result.device}"
    render.table(title, ["network", *(stage.name for stage in stages)], rows)
    if result.settings["unstructured"]:
        last = result.stages[-1].cost
        zeros = render.percent(last.zeros / last.parameters)
        render.out.print(
            f"{zeros} % of the parameters are 0 now, and are multiplied like any other: this is a baseline "
            "without finetuning, and no speed-up. Without --unstructured, channels are really removed.",
            markup=False,
        )
    if result.calibration:
        render.note(f"{FINETUNED} is calibrated on the val parts. {result.calibration.told()}")
    render.out.print(f"Weights: {result.weights}", markup=False)
