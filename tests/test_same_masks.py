"""How a job is cut up changes nothing that matters: batch size, workers, threads, device."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from roadseg.config import InferConfig, SegmentConfig
from roadseg.engine.predict import Predictor
from roadseg.engine.segment import segment
from roadseg.labels import UInt8Array
from roadseg.media.find import find_images
from roadseg.media.images import read_rgb
from roadseg.model.checkpoint import load_checkpoint
from roadseg.report.run import RunReport

FRAMES = Path(__file__).parents[1] / "samples" / "frames"
# What the README states, for float32: of a probability, and the share of pixels that may change sides.
MOST, PIXELS = 1e-3, 1e-4
Found = list[tuple[UInt8Array, NDArray[np.float32]]]


def pictures() -> list[UInt8Array]:
    """Seven pictures; of one size, so that they do share a batch."""
    jobs = find_images(FRAMES)[:7]
    return [np.ascontiguousarray(read_rgb(job.path)[:360:2, :640:2]) for job in jobs]


def found(images: list[UInt8Array], batch: int, threads: int, device: str = "cpu") -> Found:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        predictor = Predictor(load_checkpoint(), InferConfig(device=device, imgsz=256, amp=False))
        return [
            pair
            for start in range(0, len(images), batch)
            for pair in predictor.predict_with_probabilities(images[start : start + batch])
        ]
    finally:
        torch.set_num_threads(before)


def assert_same(one: Found, other: Found) -> None:
    for (_, a_HW), (_, b_HW) in zip(one, other, strict=True):
        assert np.abs(a_HW - b_HW).max() <= MOST
    changed = sum(np.count_nonzero(a_HW != b_HW) for (a_HW, _), (b_HW, _) in zip(one, other, strict=True))
    assert changed <= PIXELS * sum(mask_HW.size for mask_HW, _ in one)


def test_batch_size_and_threads_stay_within_the_tolerance() -> None:
    images = pictures()
    alone = found(images, 1, 1)
    assert any(mask_HW.any() for mask_HW, _ in alone), "there is a road to be found"
    for batch, threads in ((2, 1), (5, 1), (1, 2), (5, 2)):
        assert_same(found(images, batch, threads), alone)


@pytest.mark.gpu
def test_the_device_stays_within_the_tolerance() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs an accelerator")
    images = pictures()
    assert_same(found(images, 4, 1, "cuda"), found(images, 1, 1))


def test_the_number_of_workers_changes_no_byte(tmp_path: Path) -> None:
    jobs = find_images(FRAMES)[:5]
    predictor = Predictor(load_checkpoint(), InferConfig(device="cpu", imgsz=128))
    for workers in (1, 3, None):
        config = SegmentConfig(out=str(tmp_path / f"{workers}"), workers=workers, batch_size=2, html=False)
        segment(config, predictor, jobs, RunReport(command="segment"))
    files = sorted(path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*.png"))
    assert len(files) == len(jobs)
    for name in files:
        one, three, none = ((tmp_path / workers / name).read_bytes() for workers in ("1", "3", "None"))
        assert one == three == none
