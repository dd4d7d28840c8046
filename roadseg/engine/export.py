"""From a checkpoint to the file of another runtime, written only if it does what the checkpoint does."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from roadseg.config import ExportFormat, InferConfig
from roadseg.dataset.samples import Sample
from roadseg.engine.backend import RuntimeBackend, TorchBackend
from roadseg.engine.evaluate import evaluate
from roadseg.engine.predict import Predictor
from roadseg.engine.quantize import quantised
from roadseg.engine.sources import evenly, primary_score
from roadseg.errors import CheckpointError, DatasetError
from roadseg.labels import UInt8Array
from roadseg.media.images import read_rgb
from roadseg.media.output import atomic_write
from roadseg.media.resize import fit_size, resize_rgb
from roadseg.model.checkpoint import Checkpoint, shareable
from roadseg.model.exported import Exported, files_of, read_exported
from roadseg.model.onnx_file import OPSET, described, trace

Progress = Callable[[int, int], None]

LEAST_EQUAL: Final = 0.999
"""Share of the pixels whose class must be that of the checkpoint's network."""
MOST_LOST: Final = 0.005
"""Of the IoU, by quantisation."""
_PARITY_PICTURES: Final = 8
# Calibration looks for the range of every layer's outputs: more pictures hardly widen it.
_CALIBRATION_PICTURES: Final = 64
_TURNS: Final = 15


@dataclass(frozen=True, slots=True)
class Parity:
    """How alike two networks are, over pictures, sizes and batches."""

    pixels: int
    equal: float
    """Smallest share of pixels with the same class in any of the comparisons."""
    difference: float
    """Largest of any logit."""
    comparisons: int


@dataclass(frozen=True, slots=True)
class Int8:
    """What quantisation cost and gained, on labelled pictures; milliseconds of one picture, side by side."""

    pictures: int
    """That it was scored on; it had not seen them."""
    calibrated_on: int
    """Others, that the range of every layer's outputs was taken from."""
    iou: float
    iou_fp32: float
    ms: float
    ms_fp32: float


@dataclass(frozen=True, slots=True)
class Export:
    """What was written."""

    files: tuple[Path, ...]
    parity: Parity
    int8: Int8 | None


def frames() -> list[Path]:
    """The pictures that come with roadseg, for who has no others."""
    return sorted(Path(str(resources.files("roadseg") / "frames")).glob("*.jpg"))


def export(
    checkpoint: Checkpoint,
    out: Path,
    kind: ExportFormat,
    *,
    samples: Sequence[Sample] = (),
    int8: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Export:
    """Write the network of `checkpoint` as `out`, over what was there.

    samples: pictures to compare on (none: those of roadseg) and, for `int8`, at least two: up to half of them
    to calibrate, the others to score on.
    force: write the int8 network whatever it has lost. Raises CheckpointError, with nothing written, when
    less than 99.9 % of the pixels are as the checkpoint has them, or more than 0.5 points of IoU are lost;
    ExtraError when a package is missing; OutputError when the file cannot be written.
    """
    if int8 and len(samples) < 2:
        raise DatasetError(
            "int8 needs a picture to calibrate on and another one to be scored on; there is "
            f"{len(samples) or 'none'}. Give a data set with more pictures in val."
        )
    model = trace(checkpoint)
    shown = evenly(samples, _PARITY_PICTURES)
    pictures = [read_rgb(path) for path in ([sample.image for sample in shown] or frames())]
    about: dict[str, Any] = {"precision": "float32", "opset": OPSET, "torch": torch.__version__}
    files, exported = _make(checkpoint, model, about, kind, out)
    parity = compare(checkpoint, exported, pictures)
    if parity.equal < LEAST_EQUAL:
        raise CheckpointError(
            f"{out}: not written: {parity.equal:.3%} of the pixels are as {checkpoint.source} has them, and "
            f"must be {LEAST_EQUAL:.1%} (logits differ by up to {parity.difference:.2g}). Try another "
            "version of torch or of the runtime, and report it."
        )
    about["parity"] = asdict(parity)
    cost = None
    if int8:
        calibrating = evenly(samples, min(_CALIBRATION_PICTURES, len(samples) // 2))
        small = quantised(model, _as_seen(checkpoint, calibrating))
        about["precision"] = "int8"
        _, exported_int8 = _make(checkpoint, small, about, kind, out)
        others = [sample for sample in samples if sample not in calibrating]
        ious, ms = _cost([exported_int8, exported], others, pictures[0], progress)
        cost = Int8(len(others), len(calibrating), *ious, *ms)
        about["int8"], model = asdict(cost), small
        if cost.iou_fp32 - cost.iou > MOST_LOST and not force:
            score = "road IoU" if checkpoint.scheme.num_classes == 2 else "mean IoU"
            raise CheckpointError(
                f"{out}: not written: the {score} is {cost.iou:.2%} in int8 and {cost.iou_fp32:.2%} in "
                f"float32 (pictures: {cost.pictures}), and at most {100 * MOST_LOST:.1f} points may be lost. "
                "--force writes it all the same."
            )
    files, _ = _make(checkpoint, model, about, kind, out)
    _write(out, files)
    return Export(tuple(files_of(out)), parity, cost)


def compare(checkpoint: Checkpoint, exported: Exported, pictures: Sequence[UInt8Array]) -> Parity:
    """Run both networks on `pictures`: at the usual size and at odd ones, one and many at once."""
    config = InferConfig(device="cpu")
    ours, theirs = TorchBackend(checkpoint, config), RuntimeBackend(exported, config)
    pixels, comparisons, least, difference = 0, 0, 1.0, 0.0
    for batch_BCHW in _batches(pictures, checkpoint.imgsz, exported.stride):
        a_BKHW, b_BKHW = ours.logits(batch_BCHW), theirs.logits(batch_BCHW)
        least = min(least, float((a_BKHW.argmax(1) == b_BKHW.argmax(1)).float().mean()))
        difference = max(difference, float((a_BKHW - b_BKHW).abs().max()))
        pixels += a_BKHW[:, 0].numel()
        comparisons += 1
    return Parity(pixels, least, difference, comparisons)


def _batches(pictures: Sequence[UInt8Array], imgsz: int, stride: int) -> Iterator[Tensor]:
    """Every picture by itself at its usual size, all of them at an odd one, and three at another."""
    planes = [torch.from_numpy(rgb_HWC.copy()).permute(2, 0, 1) for rgb_HWC in pictures]
    for plane in planes:
        yield resize_rgb(plane, fit_size(plane.shape[1], plane.shape[2], imgsz, stride))[None]
    odd = (max(1, imgsz // 2 - 1 - stride // 2), imgsz - 3)
    yield torch.stack([resize_rgb(plane, odd) for plane in planes])
    yield torch.stack([resize_rgb(plane, (imgsz // 3 + 1, imgsz // 4 + 1)) for plane in planes[:3]])


def _make(
    checkpoint: Checkpoint, model: Any, about: dict[str, Any], kind: ExportFormat, out: Path
) -> tuple[list[bytes], Exported]:
    """The contents of the files that are to be written, and what a reader makes of them."""
    description = {**shareable(checkpoint).description(), "export": about}
    files = [described(model, description)]
    if kind == "openvino":
        from roadseg.model.openvino_file import converted

        files = converted(files[0], description)
    return files, read_exported(files, kind, str(out))


def _as_seen(checkpoint: Checkpoint, samples: Sequence[Sample]) -> Iterator[UInt8Array]:
    """Pictures as the network sees them: 1HWC."""
    stride = checkpoint.model.config.stride
    for sample in samples:
        image_CHW = torch.from_numpy(read_rgb(sample.image).copy()).permute(2, 0, 1)
        size = fit_size(image_CHW.shape[1], image_CHW.shape[2], checkpoint.imgsz, stride)
        yield resize_rgb(image_CHW, size).permute(1, 2, 0).contiguous().numpy()[None]


def _cost(
    networks: Sequence[Exported],
    samples: Sequence[Sample],
    picture: UInt8Array,
    progress: Progress | None,
) -> tuple[list[float], list[float]]:
    """Of each network, the IoU on `samples`, and the milliseconds that it takes for `picture`."""
    predictors = [Predictor(exported, InferConfig(device="cpu")) for exported in networks]
    ious = []
    for i, predictor in enumerate(predictors):

        def step(done: int, total: int, before: int = i) -> None:
            if progress:
                progress(before * total + done, len(networks) * total)

        result = evaluate(predictor, samples, predictor.scheme, batch_size=1, workers=2, progress=step)
        ious.append(primary_score(result.scores, predictor.scheme))
    times: list[list[float]] = [[] for _ in networks]
    for _ in range(_TURNS):  # by turns, so that what else the machine does meets all of them
        for predictor, taken in zip(predictors, times, strict=True):
            start = time.perf_counter()
            predictor.logits([picture])
            taken.append(1000 * (time.perf_counter() - start))
    return ious, [statistics.median(taken) for taken in times]


def _write(out: Path, files: Sequence[bytes]) -> None:
    """The file with the network's name comes last: it is not there before what it needs."""
    paths = files_of(out)
    there = [path.exists() for path in paths]
    try:
        for path, data in reversed(list(zip(paths, files, strict=True))):
            atomic_write(path, data)
    except BaseException:
        for path, before in zip(paths, there, strict=True):
            if not before:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        raise
