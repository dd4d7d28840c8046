"""How steady a video's masks are, and that steadiness costs no accuracy: the bundled model on real clips."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.config import InferConfig, VideoConfig
from roadseg.engine.predict import Predictor
from roadseg.engine.smoothing import TemporalSmoother
from roadseg.labels import UInt8Array
from roadseg.media.flow import Float32
from roadseg.media.images import read_rgb
from roadseg.media.video import FFmpegReader
from roadseg.media.video_frame import Frame
from roadseg.metrics.temporal import temporal_consistency
from roadseg.model.checkpoint import load_checkpoint

SAMPLES = Path(__file__).parents[1] / "samples"
REAL = Path(os.environ.get("ROADSEG_REALDATA", "nowhere"), "videos")
SIDE = 384


def seen(path: Path, most: int = 240) -> tuple[list[UInt8Array], list[Float32], list[Float32]]:
    """The frames of a clip as the network sees them, and their logits: raw, and smoothed."""
    predictor = Predictor(load_checkpoint(), InferConfig(device="cpu", imgsz=SIDE))
    with FFmpegReader(str(path), predictor.input_size, copy=False) as reader:
        frames = [item.small_HWC for item in reader if isinstance(item, Frame)][:most]
    raw = [logits.numpy() for i in range(0, len(frames), 8) for logits in predictor.logits(frames[i : i + 8])]
    smoother = TemporalSmoother(VideoConfig.smooth)
    return frames, raw, [smoother.update(one, frame) for one, frame in zip(raw, frames, strict=True)]


def inconsistency(frames: list[UInt8Array], logits: list[Float32]) -> float:
    """1 - mean IoU of each mask with the one before it, moved along the optical flow."""
    greys = [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in frames]
    masks = [(one[0] >= 0).astype(np.uint8) for one in logits]
    return 1 - temporal_consistency(zip(greys, masks, strict=True))


def test_smoothing_cuts_flicker_and_costs_no_accuracy() -> None:
    """On the rendered drive, whose labels are exact."""
    frames, raw, smoothed = seen(SAMPLES / "drive.mp4")
    before, after = inconsistency(frames, raw), inconsistency(frames, smoothed)
    print(f"inconsistency {before:.4f} -> {after:.4f}")
    assert after <= 0.7 * before

    def iou(logits: list[Float32]) -> float:
        scores = []
        for path in sorted((SAMPLES / "drive_labels").glob("*.png")):
            truth_HW = read_rgb(path)[..., 0] > 0
            large_HW = cv2.resize(logits[int(path.stem)][0], truth_HW.shape[::-1]) >= 0
            scores.append(np.count_nonzero(truth_HW & large_HW) / np.count_nonzero(truth_HW | large_HW))
        return float(np.mean(scores))

    print(f"IoU {iou(raw):.4f} -> {iou(smoothed):.4f}")
    assert iou(smoothed) >= iou(raw) - 0.002


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason="ROADSEG_REALDATA names no folder with videos/")
@pytest.mark.parametrize(
    "name", ["carnd_vehicle_test_video", "dashcam1", "muchlisin_driving", "solidWhiteRight"]
)
def test_real_clips_get_steadier(name: str) -> None:
    frames, raw, smoothed = seen(REAL / f"{name}.mp4")
    before, after = inconsistency(frames, raw), inconsistency(frames, smoothed)
    print(f"{name}: inconsistency {before:.4f} -> {after:.4f}, {1 - after / before:.0%} less")
    assert after <= 0.7 * before
