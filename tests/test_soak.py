"""Long runs: memory does not grow, no file stays open, the last quarter is as fast as the first.

ROADSEG_SOAK="2000,3" makes it 2,000 pictures and 3 minutes of video; the default takes about half an hour.
"""

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make_clip
from conftest import street, tiny_checkpoint, write_png

from roadseg.config import InferConfig, SegmentConfig, VideoConfig
from roadseg.engine.predict import Predictor
from roadseg.engine.segment import segment
from roadseg.engine.video import segment_video
from roadseg.media.find import find_images
from roadseg.report.run import Row, RunReport
from roadseg.report.video import VideoReport

PICTURES, MINUTES = map(int, os.environ.get("ROADSEG_SOAK", "20000,30").split(","))
RATE = 25  # frames a second of the clips
SAMPLES = 200
# What a run may keep of each input: its row of the report, with the texts in it. Pictures are ten times that.
BYTES_A_PICTURE, BYTES_A_FRAME = 3000, 200
# What the allocator and the operating system add to it, in either direction.
SLACK = 12e6
# CPU time an input in the last quarter against the first: what else the machine does is in it, too.
SLOWER = 1.3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


@dataclass
class Watch:
    """Memory, open files and CPU time of this process while a run goes."""

    seen: list[tuple[int, float, int, float]] = field(default_factory=list)
    """(inputs done, bytes of memory, open files, CPU seconds)."""
    started: float = field(default_factory=time.perf_counter)

    def look(self, done: int, total: int) -> None:
        if done % max(1, total // SAMPLES) == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            memory = pages * os.sysconf("SC_PAGE_SIZE")
            self.seen.append((done, memory, len(os.listdir("/proc/self/fd")), time.process_time()))

    def check(self, bytes_an_input: int) -> None:
        """After the first quarter, in which caches fill, and thumbnails are kept for the page."""
        done, memory, files, cpu = (np.array(column, float) for column in zip(*self.seen, strict=True))
        quarter = len(done) // 4
        slope, _ = np.polyfit(done[quarter:], memory[quarter:], 1)
        first = (cpu[quarter] - cpu[0]) / (done[quarter] - done[0])
        last = (cpu[-1] - cpu[-quarter - 1]) / (done[-1] - done[-quarter - 1])
        wall = time.perf_counter() - self.started
        print(
            f"{done[-1]:.0f} inputs in {wall:.0f} s; "
            f"memory {memory[quarter] / 1e6:.0f} -> {memory[-1] / 1e6:.0f} MB, {slope:.0f} bytes an input; "
            f"open files {files[quarter:].min():.0f} to {files[quarter:].max():.0f}; "
            f"CPU an input {1e3 * first:.2f} ms in the first quarter, {1e3 * last:.2f} ms in the last"
        )
        grown = slope * (done[-1] - done[quarter])
        assert grown < SLACK + bytes_an_input * (done[-1] - done[quarter])
        half = len(files) // 2
        assert files[half:].max() <= files[quarter:half].max() + 2
        assert len(os.listdir("/proc/self/fd")) <= files[: quarter + 1].max()  # some libraries keep one
        assert last < SLOWER * first


def test_many_pictures(tmp_path: Path) -> None:
    kept, folder = tmp_path / "kept", tmp_path / "in"
    folder.mkdir()
    for i in range(50):
        write_png(kept / f"{i}.png", street(i)[0])
    for i in range(PICTURES):
        os.symlink(kept / f"{i % 50}.png", folder / f"{i:06d}.png")
    predictor = Predictor(tiny_checkpoint(), InferConfig(device="cpu"))
    report, watch = RunReport(command="segment"), Watch()

    def progress(row: Row, done: int, total: int) -> None:
        watch.look(done, total)

    segment(SegmentConfig(out=str(tmp_path / "out")), predictor, find_images(folder), report, progress)
    assert report.totals()["ok"] == PICTURES
    watch.check(BYTES_A_PICTURE)


def long_clip(path: Path) -> int:
    """Write a video of `MINUTES` from the packets of ten seconds; return its frames."""
    seconds = 10
    short = make_clip(path.with_name("short.mp4"), count=seconds * RATE)
    with av.open(str(short)) as source, av.open(str(path), "w") as out:
        (stream,) = source.streams.video
        copy = out.add_stream_from_template(stream)
        rounds = MINUTES * 60 // seconds
        for turn in range(rounds):
            source.seek(0)
            offset = int(turn * seconds / stream.time_base)
            for packet in source.demux(stream):
                if packet.dts is None:
                    continue
                packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                packet.stream = copy
                out.mux(packet)
    return rounds * seconds * RATE


def test_a_long_video(tmp_path: Path) -> None:
    frames = long_clip(tmp_path / "long.mp4")
    predictor = Predictor(tiny_checkpoint(), InferConfig(device="cpu"))
    report, watch = VideoReport(settings={}), Watch()
    config = VideoConfig(out=str(tmp_path / "out.mp4"))
    segment_video(config, predictor, str(tmp_path / "long.mp4"), report, watch.look)
    assert report.facts["frames_written"] == frames
    watch.check(BYTES_A_FRAME)
