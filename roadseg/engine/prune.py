"""`prune`: a smaller network out of a trained one, finetuned, with what it lost and won."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import torch
from torch import Tensor

from roadseg.config import InferConfig, PruneConfig, TrainConfig
from roadseg.documents import header, to_json
from roadseg.engine.channels import STEPS, Loss, keep_channels, reach_speed, require_library, zero_weights
from roadseg.engine.cost import Cost, costs, speed
from roadseg.engine.distributed import ALONE
from roadseg.engine.evaluate import evaluate
from roadseg.engine.listener import TrainListener
from roadseg.engine.loading import Batches
from roadseg.engine.losses import SegmentationLoss
from roadseg.engine.predict import Predictor
from roadseg.engine.release import Calibration, calibrate
from roadseg.engine.runs import PRUNED, run_trainer
from roadseg.engine.sources import Source, find_sources, primary_score
from roadseg.engine.train import Trainer
from roadseg.errors import OutputError
from roadseg.media.images import read_rgb
from roadseg.media.output import is_empty, write_text
from roadseg.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from roadseg.model.unet import RoadNet

REPORT = "prune.json"
FINETUNED = "finetuned.pt"
# Batches that the importance of channels is taken from, and the pictures of each, at most.
_JUDGED_BATCHES: Final = 32
_JUDGED_AT_ONCE: Final = 8


@dataclass(frozen=True)
class Stage:
    """A network on the way: before, pruned, finetuned."""

    name: str
    scores: dict[str, float]
    """Road IoU (for more than two classes the mean IoU) on the val part of each data set."""
    cost: Cost


@dataclass(frozen=True)
class PruneResult:
    """What came of it; the costs were measured side by side, on pictures of `size` (height, width)."""

    folder: Path
    weights: Path
    size: tuple[int, int]
    device: str
    stages: list[Stage]
    calibration: Calibration | None
    """Of the finetuned network; None: nothing was finetuned."""
    settings: dict[str, Any]
    """The `PruneConfig`."""

    def to_dict(self) -> dict[str, Any]:
        """Plain types only."""
        return {
            **header("prune"),
            "settings": self.settings,
            "weights": str(self.weights),
            "height_width": list(self.size),
            "device": self.device,
            "stages": [asdict(stage) for stage in self.stages],
            "calibration": self.calibration and self.calibration._asdict(),
        }


def prune_network(
    checkpoint: Checkpoint,
    config: PruneConfig,
    finetuning: TrainConfig,
    folder: Path,
    listener: TrainListener,
) -> PruneResult:
    """Prune the network of `checkpoint`, finetune it, and write both networks and a report to `folder`.

    `pruned.pt` is the network as it was pruned; the finetuning leaves there what every training does, so that
    `train --resume` goes on with it. `finetuned.pt` is its best epoch, calibrated on the val parts as
    `release` does it: finetuning undoes the calibration that released weights come with. Its `imgsz` is the
    size at which all is measured. Raises ConfigError, DatasetError and RoadsegError before anything is
    written, OutputError when `folder` holds something. An unstructured baseline is not finetuned, which would
    fill its zeros again.
    """
    if not config.unstructured:
        require_library()
    if folder.is_file() or (folder.is_dir() and not is_empty(folder)):
        raise OutputError(f"{folder}: is not empty. Choose another --out.")
    sources = find_sources(finetuning)
    checkpoint = replace(checkpoint, imgsz=finetuning.imgsz, training=None)
    infer = InferConfig(device=finetuning.device, batch_size=finetuning.batch_size, amp=finetuning.amp)
    predictor = Predictor(checkpoint, infer)
    first = read_rgb(sources[0].val[0].image)
    size = predictor.input_size(first.shape[0], first.shape[1])

    model = _prune(
        checkpoint.model,
        config,
        lambda other: speed(checkpoint.model, other, size, predictor.device),
        [] if config.unstructured else _losses(checkpoint, finetuning, sources, listener),
    )
    found = [("before", checkpoint, _scores(predictor, sources, finetuning, listener))]
    pruned = replace(checkpoint, model=model, recipe=finetuning.to_dict(), parts=[])
    name = "zeroed" if config.unstructured else "pruned"
    pruned.scores = _scores(Predictor(pruned, infer), sources, finetuning, listener)
    found.append((name, pruned, pruned.scores))
    weights = folder / PRUNED
    save_checkpoint(pruned, weights)
    calibration = None
    if config.epochs and not config.unstructured:
        try:
            run_trainer(Trainer(finetuning, sources, folder, listener, start=pruned))
            best, calibration = _calibrated(folder / "best.pt", finetuning, sources, listener)
            best.scores = _scores(Predictor(best, infer), sources, finetuning, listener)
        except KeyboardInterrupt as error:
            error.add_note(
                f"Before and after are compared, and {FINETUNED} is made, at the end of prune alone. Of a "
                "best.pt that is there, eval tells the scores, and release makes calibrated weights."
            )
            raise
        save_checkpoint(best, folder / FINETUNED)
        found.append(("finetuned", best, best.scores))
        if fmean(best.scores.values()) >= fmean(pruned.scores.values()):
            weights = folder / FINETUNED
        else:
            listener.message(
                "The finetuning made it worse: give more --epochs. The weights are those before it."
            )
    measured = costs([given.model for _, given, _ in found], size, predictor.device)
    stages = [Stage(name, scores, cost) for (name, _, scores), cost in zip(found, measured, strict=True)]
    result = PruneResult(folder, weights, size, str(predictor.device), stages, calibration, config.to_dict())
    write_text(folder / REPORT, to_json(result.to_dict()))
    return result


def _prune(
    model: RoadNet, config: PruneConfig, speed_of: Callable[[RoadNet], float], losses: Sequence[Loss]
) -> RoadNet:
    if config.speedup is not None:
        return reach_speed(model, config.speedup, speed_of, losses)
    assert config.keep is not None
    if config.unstructured:
        return zero_weights(model, config.keep)
    return keep_channels(model, config.keep, losses)


def _losses(
    checkpoint: Checkpoint, finetuning: TrainConfig, sources: Sequence[Source], listener: TrainListener
) -> list[Loss]:
    """Of the first batches of the finetuning, what channels are judged by, again and again."""
    samples = [sample for source in sources for sample in source.train]
    own = replace(finetuning, workers=0, batch_size=min(_JUDGED_AT_ONCE, finetuning.batch_size))
    batches = Batches(samples, checkpoint.scheme, own, ALONE, torch.device("cpu"))
    loss = SegmentationLoss(finetuning.loss)
    judged = [batch for (batch,) in islice(batches.steps(1), _JUDGED_BATCHES)]

    def of(number: int, image_BCHW: Tensor, label_BHW: Tensor, model: RoadNet) -> Tensor:
        listener.ranking(number, len(judged), STEPS)
        value: Tensor = loss(model(image_BCHW), label_BHW)
        return value

    return [partial(of, number, *batch) for number, batch in enumerate(judged, 1)]


def _calibrated(
    path: Path, finetuning: TrainConfig, sources: Sequence[Source], listener: TrainListener
) -> tuple[Checkpoint, Calibration]:
    return calibrate(
        replace(load_checkpoint(path), training=None),
        [sample for source in sources for sample in source.val],
        device=finetuning.device,
        amp=finetuning.amp,
        progress=listener.calibrating,
    )


def _scores(
    predictor: Predictor, sources: Sequence[Source], config: TrainConfig, listener: TrainListener
) -> dict[str, float]:
    scores = {}
    for source in sources:
        done = evaluate(
            predictor,
            source.val,
            predictor.scheme,
            batch_size=config.batch_size,
            workers=max(1, config.workers),
            progress=listener.validating,
        )
        scores[source.name] = primary_score(done.scores, predictor.scheme)
    return scores
