"""Speed of `roadseg video` (`make bench`), against its bound and a plain loop, side by side in one run.

The bound is what overlap can give at best on this machine: the larger of (CPU seconds that decoding, network
and encoding take, each alone) / cores, and the slowest of the three when it has the machine for itself.
"""

import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from roadseg.config import InferConfig, VideoConfig
from roadseg.engine.predict import Predictor
from roadseg.engine.video import segment_video
from roadseg.media.overlay import draw
from roadseg.media.video import FFmpegReader, Frame
from roadseg.media.video_writer import VideoFormat, VideoWriter
from roadseg.model.checkpoint import load_checkpoint
from roadseg.report.video import VideoReport

DRIVE = Path(__file__).parents[1] / "samples" / "drive.mp4"
RATE = Fraction(30000, 1001)
SIZES = ((1280, 720), (1920, 1080))
FRAMES = 120
ROUNDS = 3


def enlarge(path: Path, width: int, height: int) -> None:
    """The sample drive in a size that cameras have."""
    with av.open(str(DRIVE)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "fast", "crf": "20"}
        for i, frame in enumerate(source.decode(video=0)):
            large = frame.reformat(width, height, interpolation="BICUBIC")
            large.pts, large.time_base = i, 1 / RATE
            out.mux(stream.encode(large))
        out.mux(stream.encode(None))


def ours(path: Path) -> None:
    predictor = Predictor(load_checkpoint(), InferConfig(device="cpu"))
    config = VideoConfig(out=str(path.with_name("ours.mp4")), overwrite=True)
    segment_video(config, predictor, str(path), VideoReport(settings={}))


def plain_loop(path: Path) -> None:
    """What people write by hand: one frame after another, in RGB, with the same encoder."""
    predictor = Predictor(load_checkpoint(), InferConfig(device="cpu"))
    capture = cv2.VideoCapture(str(path))
    with av.open(str(path.with_name("plain.mp4")), "w") as out:
        stream = out.add_stream("libx264", rate=RATE)
        stream.width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        stream.height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "23"}
        while True:
            there, bgr_HWC = capture.read()
            if not there:
                break
            rgb_HWC = np.asarray(cv2.cvtColor(bgr_HWC, cv2.COLOR_BGR2RGB), np.uint8)
            overlay = draw(rgb_HWC, predictor.predict([rgb_HWC])[0], predictor.scheme, 0.45)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(overlay, "rgb24")))
        out.mux(stream.encode(None))


def stages(path: Path) -> dict[str, tuple[float, float]]:
    """Wall and CPU seconds of decoding, network and encoding, each alone."""
    predictor = Predictor(load_checkpoint(), InferConfig(device="cpu"))
    with FFmpegReader(str(path), predictor.input_size, copy=False) as reader:
        smalls = [item.small_HWC for item in reader if isinstance(item, Frame)]
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        frames = list(container.decode(video=0))

    def decode() -> None:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "AUTO"
            for _ in container.decode(video=0):
                pass

    def network() -> None:
        for start in range(0, len(smalls), VideoConfig.batch_size):
            predictor.logits(smalls[start : start + VideoConfig.batch_size])

    def encode() -> None:
        width, height = frames[0].width, frames[0].height
        format = VideoFormat(width=width, height=height, rate=RATE, time_base=1 / RATE)
        with VideoWriter(path.with_name("encoded.mp4"), format) as writer:
            for i, frame in enumerate(frames):
                writer.write(frame, i)

    network()  # warm
    return {stage.__name__: measured(stage) for stage in (decode, network, encode)}


def measured(call: Callable[[], None]) -> tuple[float, float]:
    walls, cpus = [], []
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return statistics.median(walls), statistics.median(cpus)


def peak_memory(work: Callable[[Path], None], path: Path) -> float:
    """MiB of a process of its own that does `work` once."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_work_and_measure, (work, path))


def _work_and_measure(work: Callable[[Path], None], path: Path) -> float:
    work(path)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    cores = len(os.sched_getaffinity(0))
    for width, height in SIZES:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, "in.mp4")
            enlarge(path, width, height)
            alone = stages(path)
            times: dict[str, list[float]] = {"ours": [], "plain_loop": []}
            for _ in range(ROUNDS):
                for work in (ours, plain_loop):
                    start = time.perf_counter()
                    work(path)
                    times[work.__name__].append(time.perf_counter() - start)
            wall, plain = (statistics.median(times[name]) for name in ("ours", "plain_loop"))
            bound = max(sum(cpu for _, cpu in alone.values()) / cores, *(wall for wall, _ in alone.values()))
            memory = [peak_memory(work, path) for work in (ours, plain_loop)]
        print(f"\nA video of {FRAMES} frames of {width}x{height} on {cores} cores:")
        for name, (seconds, cpu) in alone.items():
            each = f"{1000 * seconds / FRAMES:6.1f} ms a frame, {1000 * cpu / FRAMES:6.1f} ms of CPU"
            print(f"  {name} alone".ljust(20) + each)
        for name, seconds, note in (
            ("the bound", bound, ""),
            ("roadseg video", wall, f"{bound / wall:.0%} of the bound, {memory[0]:.0f} MiB"),
            ("a plain loop", plain, f"{memory[1]:.0f} MiB; roadseg is {plain / wall:.2f}x as fast"),
        ):
            print(f"  {name}".ljust(20) + f"{FRAMES / seconds:6.1f} frames/s  {note}")


if __name__ == "__main__":
    main()
