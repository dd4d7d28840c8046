"""Speed of `roadseg video` (`make bench`), against its bound and a plain loop, side by side in one run.

The bound is what overlap can give at best on this machine: the larger of (CPU seconds that decoding, network
and encoding take, each alone) / cores, and the slowest of the three when it has the machine for itself.
"""

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np

from roadseg.config import InferConfig, VideoConfig
from roadseg.engine.ahead import map_ahead
from roadseg.engine.predict import Predictor
from roadseg.engine.video import segment_video
from roadseg.media.overlay import draw
from roadseg.media.video import FFmpegReader
from roadseg.media.video_frame import Frame
from roadseg.media.video_writer import VideoFormat, VideoWriter
from roadseg.model.checkpoint import load_checkpoint
from roadseg.report.video import VideoReport

DRIVE = Path(__file__).parents[1] / "samples" / "drive.mp4"
RATE = Fraction(30000, 1001)
SIZES = ((1280, 720), (1920, 1080))
DRIVES = 3  # one after another, so that start-up does not count for much
FRAMES = 120 * DRIVES
ROUNDS = 3


def enlarge(path: Path, width: int, height: int) -> None:
    """The sample drive in a size that cameras have."""
    with av.open(str(DRIVE)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "fast", "crf": "20"}
        frames = [f.reformat(width, height, interpolation="BICUBIC") for f in source.decode(video=0)]
        for i, frame in enumerate(frames * DRIVES):
            frame.pts, frame.time_base = i, 1 / RATE
            out.mux(stream.encode(frame))
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


def stages(path: Path) -> list[Callable[[], None]]:
    """Decoding, network and encoding, each to be run alone."""
    predictor = Predictor(load_checkpoint(), InferConfig(device="cpu"))
    with FFmpegReader(str(path), predictor.input_size, copy=False) as reader:
        smalls = [item.small_HWC for item in reader if isinstance(item, Frame)]
    ours(path)
    with av.open(str(path.with_name("ours.mp4"))) as container:
        drawn = list(container.decode(video=0))

    def decode() -> None:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "AUTO"
            for _ in container.decode(video=0):
                pass

    def network() -> None:
        size = predictor.batch_size
        batches = [smalls[start : start + size] for start in range(0, len(smalls), size)]
        with predictor.threads() as pool:
            for _ in map_ahead(pool, predictor.logits, batches, predictor.calls_ahead):
                pass

    def encode() -> None:
        format = VideoFormat(width=drawn[0].width, height=drawn[0].height, rate=RATE, time_base=1 / RATE)
        with VideoWriter(path.with_name("encoded.mp4"), format) as writer:
            for i, frame in enumerate(drawn):
                writer.write(frame, i)

    return [decode, network, encode]


class Times:
    """Wall and CPU seconds of one piece of work, several times."""

    def __init__(self) -> None:
        self._walls: list[float] = []
        self._cpus: list[float] = []

    def measure(self, work: Callable[[], None]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        self._walls.append(time.perf_counter() - wall)
        self._cpus.append(time.process_time() - cpu)

    @property
    def wall(self) -> float:
        return statistics.median(self._walls)

    @property
    def cpu(self) -> float:
        return statistics.median(self._cpus)


def peak_memory(work: Callable[[Path], None], path: Path) -> float:
    """MiB of a process of its own that does `work` once."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_work_and_measure, (work, path))


def _work_and_measure(work: Callable[[Path], None], path: Path) -> float:
    work(path)
    return process_peak()


def process_peak() -> float:
    """MiB that this process had at most."""
    # not getrusage: its peak is the parent's, where that one was larger
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    cores = len(os.sched_getaffinity(0))
    for width, height in SIZES:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, "in.mp4")
            enlarge(path, width, height)
            alone = {stage: Times() for stage in stages(path)}
            whole = {work: Times() for work in (ours, plain_loop)}
            for _ in range(ROUNDS):  # in turns: the machine may be slower now than it was a minute ago
                for stage, times in alone.items():
                    times.measure(stage)
                for work, times in whole.items():
                    times.measure(partial(work, path))
            memory = {work: peak_memory(work, path) for work in whole}
        bound = max(sum(times.cpu for times in alone.values()) / cores, *(t.wall for t in alone.values()))
        mine, plain = whole[ours], whole[plain_loop]
        print(f"\nA video of {FRAMES} frames of {width}x{height} on {cores} cores:")
        for name, times in [(f"{stage.__name__} alone", times) for stage, times in alone.items()] + [
            ("roadseg video", mine),
            ("a plain loop", plain),
        ]:
            wall, cpu = (1000 * seconds / FRAMES for seconds in (times.wall, times.cpu))
            print(f"  {name:<16}{wall:6.1f} ms a frame, {cpu:6.1f} ms of CPU")
        print(
            f"  the bound is {1000 * bound / FRAMES:.1f} ms a frame: roadseg reaches {bound / mine.wall:.0%} "
            f"and is {plain.wall / mine.wall:.2f} times as fast as the plain loop\n"
            f"  peak memory: roadseg {memory[ours]:.0f} MiB, the plain loop {memory[plain_loop]:.0f} MiB"
        )


if __name__ == "__main__":
    main()
