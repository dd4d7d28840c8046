"""Speed, measured side by side in one run (`make bench`): networks, an exported one, a whole `segment` run.

Times of one machine drift, so every contender takes its turn in each round, and the medians are compared.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import cv2
import torch

from roadseg.config import MODELS, InferConfig, SegmentConfig, UNetConfig
from roadseg.engine.backend import make_backend
from roadseg.engine.export import export
from roadseg.engine.predict import Predictor
from roadseg.engine.segment import segment
from roadseg.media.find import find_images
from roadseg.media.images import read_rgb
from roadseg.media.overlay import draw
from roadseg.model.checkpoint import load_checkpoint
from roadseg.model.exported import load_weights
from roadseg.model.unet import build_model
from roadseg.report.run import RunReport

ROUNDS = 15
HEIGHT, WIDTH = 384, 640
FRAMES = Path(__file__).parents[1] / "samples" / "frames"
COPIES = 12


def medians(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds that each contender takes: one warm-up, then the median of its turns."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def bench_models() -> None:
    """Milliseconds of one picture of 640x384 through each network, as the Predictor runs it on the CPU."""
    shapes = {**MODELS, "classic, 16 wide": UNetConfig(architecture="classic", widths=(16, 32, 64, 128, 256), depths=(0,) * 5)}  # fmt: skip # noqa: E501
    picture = torch.randint(0, 256, (1, 3, HEIGHT, WIDTH), dtype=torch.uint8)
    picture = picture.contiguous(memory_format=torch.channels_last)
    networks = {}
    for name, shape in shapes.items():
        network = build_model(shape, 2)
        millions = sum(p.numel() for p in network.parameters()) / 1e6
        folded = network.fold().to(memory_format=torch.channels_last)
        networks[f"{name:17s} {millions:6.2f} M"] = folded
    with torch.inference_mode():
        seconds = medians({name: lambda n=n: n(picture) for name, n in networks.items()}, ROUNDS)  # type: ignore[misc]
    slowest = max(seconds.values())
    print(f"One picture of {WIDTH}x{HEIGHT} on {torch.get_num_threads()} CPU threads:")
    for name, value in seconds.items():
        print(f"  {name}  {1000 * value:8.1f} ms   {slowest / value:6.1f}x as fast as the slowest")


def plain_loop(predictor: Predictor, pictures: list[Path], out: Path) -> None:
    """What people write by hand: read, predict, draw, write, one picture after another."""
    for path in pictures:
        rgb_HWC = read_rgb(path)
        mask_HW = predictor.predict([rgb_HWC])[0]
        overlay = draw(rgb_HWC, mask_HW, predictor.scheme, 0.45)
        cv2.imwrite(str(out / f"{path.stem}.png"), mask_HW * 255)
        cv2.imwrite(str(out / f"{path.stem}.jpg"), cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))


def bench_segment() -> None:
    """Pictures a second of a whole run, against a loop without overlap, and against the network alone."""
    predictor = Predictor(load_checkpoint(), InferConfig(device="cpu"))
    with tempfile.TemporaryDirectory() as scratch:
        folder, plain, ours = (Path(scratch) / name for name in ("in", "plain", "ours"))
        folder.mkdir()
        plain.mkdir()
        for i, path in enumerate(sorted(FRAMES.rglob("*.jpg")) * COPIES):
            os.symlink(path, folder / f"{i:04d}.jpg")
        jobs = find_images(folder)
        images = [read_rgb(job.path) for job in jobs]
        config = SegmentConfig(out=str(ours), existing="overwrite", workers=2)
        seconds = medians(
            {
                "the network alone (a bound)": lambda: [predictor.predict([image]) for image in images],
                "a plain loop": lambda: plain_loop(predictor, [job.path for job in jobs], plain),
                "roadseg segment": lambda: segment(config, predictor, jobs, RunReport(command="segment")),
            },
            rounds=3,
        )
    print(f"\nA folder of {len(jobs)} pictures to masks and overlays on the CPU, bundled weights:")
    for name, value in seconds.items():
        print(f"  {name:28s} {len(jobs) / value:6.1f} pictures/s")


def bench_exported() -> None:
    """Milliseconds of one picture through the bundled network on one core, in torch and exported."""
    checkpoint = load_checkpoint()
    picture = torch.randint(0, 256, (1, 3, HEIGHT, WIDTH), dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        path = Path(scratch) / "network.onnx"
        export(checkpoint, path, "onnx")
        calls = {}
        for name, weights in (("torch", checkpoint), ("ONNX Runtime", load_weights(path))):
            backend = make_backend(weights, InferConfig(device="cpu"))
            cores = stack.enter_context(backend.threads())  # each call of theirs has one core
            calls[name] = lambda b=backend, c=cores: c.submit(b.logits, picture).result()
        seconds = medians(calls, ROUNDS)
    print(f"\nOne picture of {WIDTH}x{HEIGHT} on one CPU core, bundled weights:")
    for name, value in seconds.items():
        print(f"  {name:14s} {1000 * value:8.1f} ms")


if __name__ == "__main__":
    bench_models()
    bench_exported()
    bench_segment()
