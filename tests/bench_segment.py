"""Speed and memory of `roadseg segment` (`make bench`) against its bound, side by side in one run.

    python tests/bench_segment.py [FOLDER] [--pictures 1000] [--rounds 3]

The bound is what overlap can give at best on this machine: the larger of (CPU seconds that decoding, network
and encoding take, each alone) / cores, and the slowest of the three when it has the machine for itself.
Without a folder, the pictures of samples/ are taken again and again.
"""

import argparse
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import cv2
from bench_video import Times, process_peak

from roadseg.config import InferConfig, SegmentConfig
from roadseg.engine.ahead import map_ahead
from roadseg.engine.predict import Predictor
from roadseg.engine.segment import segment
from roadseg.labels import UInt8Array
from roadseg.media.find import find_images
from roadseg.media.images import ImageJob, read_rgb, write_mask, write_rgb
from roadseg.media.overlay import draw
from roadseg.model.checkpoint import load_checkpoint
from roadseg.report.run import RunReport

FRAMES = Path(__file__).parents[1] / "samples" / "frames"
CORES = len(os.sched_getaffinity(0))
# Pictures that encoding is measured with, again and again: as many as fit in memory.
DRAWN = 16


def linked(pictures: list[Path], count: int, folder: Path) -> list[ImageJob]:
    """`count` of the pictures in a folder, from the first again where there are fewer."""
    folder.mkdir()
    for i, path in enumerate(islice(cycle(pictures), count)):
        os.symlink(path.resolve(), folder / f"{i:05d}{path.suffix}")
    return find_images(folder)


def whole(folder: Path, out: Path, count: int) -> None:
    """The run that people start, of the first `count` pictures."""
    predictor = Predictor(load_checkpoint(), InferConfig(device="cpu"))
    config = SegmentConfig(out=str(out), existing="overwrite")
    segment(config, predictor, find_images(folder)[:count], RunReport(command="segment"))


def plain_loop(folder: Path, out: Path) -> None:
    """What people write by hand: read, predict, draw, write, one picture after another."""
    predictor = Predictor(load_checkpoint(), InferConfig(device="cpu"))
    for job in find_images(folder):
        rgb_HWC = read_rgb(job.path)
        mask_HW = predictor.predict([rgb_HWC])[0]
        overlay = draw(rgb_HWC, mask_HW, predictor.scheme, 0.45)
        cv2.imwrite(str(out / f"{job.path.stem}.png"), mask_HW * 255)
        cv2.imwrite(str(out / f"{job.path.stem}.jpg"), cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))


def stages(jobs: list[ImageJob], out: Path) -> dict[str, Callable[[], None]]:
    """Decoding, network and encoding of all pictures, each to be run alone, on all cores."""
    predictor = Predictor(load_checkpoint(), InferConfig(device="cpu"))
    size = predictor.batch_size
    images = [read_rgb(job.path) for job in jobs[:DRAWN]]
    masks = predictor.predict(images)
    overlays = [draw(*pair, predictor.scheme, 0.45) for pair in zip(images, masks, strict=True)]

    def on_all_cores(work: Callable[[int], object]) -> None:
        with ThreadPoolExecutor(CORES) as pool:
            for _ in map_ahead(pool, work, range(len(jobs)), 2 * CORES):
                pass

    def network() -> None:
        batches = [
            [images[i % len(images)] for i in range(start, min(start + size, len(jobs)))]
            for start in range(0, len(jobs), size)
        ]
        with predictor.threads() as pool:
            for _ in map_ahead(pool, predictor.logits, batches, predictor.calls_ahead):
                pass

    def encode(i: int) -> None:
        mask_HW: UInt8Array = masks[i % len(masks)]
        write_rgb(out / f"{i}.jpg", overlays[i % len(overlays)])
        write_mask(out / f"{i}.png", mask_HW)

    return {
        "decode": partial(on_all_cores, lambda i: read_rgb(jobs[i].path)),
        "network": network,
        "encode": partial(on_all_cores, encode),
    }


def memory(folder: Path, out: Path, count: int) -> float:
    """MiB at the peak of a process of its own that does `count` pictures."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (folder, out, count))


def _peak(folder: Path, out: Path, count: int) -> float:
    whole(folder, out, count)
    return process_peak()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=FRAMES)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    count = given.pictures
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = Path(scratch, "in"), Path(scratch, "out")
        jobs = linked([job.path for job in find_images(given.folder)], count, folder)
        alone = {name: (work, Times()) for name, work in stages(jobs, out).items()}
        run, plain = Times(), Times()
        for _ in range(given.rounds):  # in turns: the machine may be slower now than it was a minute ago
            for work, times in alone.values():
                times.measure(work)
            run.measure(partial(whole, folder, out, count))
            plain.measure(partial(plain_loop, folder, out))
        peaks = {some: memory(folder, out, some) for some in (count // 10, count)}
        height, width = read_rgb(jobs[0].path).shape[:2]
    cpu = sum(times.cpu for _, times in alone.values())
    bound = max(cpu / CORES, *(times.wall for _, times in alone.values()))
    print(f"\nA folder of {count} pictures, the first of {width}x{height}, on {CORES} cores:")
    for name, times in [(f"{name} alone", times) for name, (_, times) in alone.items()] + [
        ("roadseg segment", run),
        ("a plain loop", plain),
    ]:
        wall, own = (1000 * seconds / count for seconds in (times.wall, times.cpu))
        print(f"  {name:<16}{wall:7.1f} ms a picture, {own:7.1f} ms of CPU")
    print(f"  {count / run.wall:.1f} pictures/s, {bound / run.wall:.0%} of the bound, {count / bound:.1f}")
    print(f"  {plain.wall / run.wall:.2f} times as fast as the plain loop")
    print(f"  of the CPU time {cpu / run.cpu:.0%} is decoding, network and encoding")
    print("  peak memory: " + ", ".join(f"{peak:.0f} MiB at {some} files" for some, peak in peaks.items()))


if __name__ == "__main__":
    main()
