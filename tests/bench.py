"""Speed, measured side by side in one run (`make bench`): networks, and an exported one.

Times of one machine drift, so every contender takes its turn in each round, and the medians are compared.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import torch

from roadseg.config import MODELS, InferConfig, UNetConfig
from roadseg.engine.backend import make_backend
from roadseg.engine.export import export
from roadseg.engine.prepared import ready
from roadseg.model.checkpoint import load_checkpoint
from roadseg.model.exported import load_weights
from roadseg.model.unet import build_model

ROUNDS = 15
HEIGHT, WIDTH = 384, 640


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
        networks[f"{name:17s} {millions:6.2f} M"] = ready(network, torch.device("cpu"))
    with torch.inference_mode():
        seconds = medians({name: lambda n=n: n(picture) for name, n in networks.items()}, ROUNDS)  # type: ignore[misc]
    slowest = max(seconds.values())
    print(f"One picture of {WIDTH}x{HEIGHT} on {torch.get_num_threads()} CPU threads:")
    for name, value in seconds.items():
        print(f"  {name}  {1000 * value:8.1f} ms   {slowest / value:6.1f}x as fast as the slowest")


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
