"""Ways of running the bundled network, side by side in one run: what the README's table of choices rests on.

    python tests/bench_engine.py [--rounds 15]

Every way maps the same pictures of 640x384, in batches of 2 where nothing else is said. Ways that lack
what they need here (a C++ compiler, OpenVINO, a GPU) are left out.
"""

import argparse
import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor

from roadseg.config import InferConfig
from roadseg.engine.backend import TorchBackend, make_backend
from roadseg.engine.device import usable_cores, wait
from roadseg.engine.export import export
from roadseg.errors import ExtraError
from roadseg.model.checkpoint import load_checkpoint
from roadseg.model.exported import load_weights

CORES = usable_cores()
PICTURES = 8 * CORES
HEIGHT, WIDTH = 384, 640
Way = Callable[[], object]


def batches(size: int) -> list[Tensor]:
    """All pictures, in batches of `size`."""
    torch.manual_seed(0)
    return list(torch.randint(0, 256, (PICTURES, 3, HEIGHT, WIDTH), dtype=torch.uint8).split(size))  # type: ignore[no-untyped-call]


def in_turn(call: Callable[[Tensor], Tensor], size: int = 2) -> Way:
    """One call after another, each with all the threads that there are."""
    given = batches(size)

    def way() -> None:
        with torch.inference_mode():
            for batch in given:
                call(batch)

    return way


def side_by_side(call: Callable[[Tensor], Tensor], pool: ThreadPoolExecutor, size: int = 2) -> Way:
    """As many calls at once as there are cores, each with one thread."""
    given = batches(size)
    return lambda: list(pool.map(call, given))


def cpu_ways(stack: ExitStack) -> Iterator[tuple[str, Way]]:
    """Each way by its name; the first is what torch does by itself."""
    checkpoint = load_checkpoint()
    plain = copy.deepcopy(checkpoint.model).eval().requires_grad_(False)
    nhwc = copy.deepcopy(plain).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    yield "torch as it comes (NCHW, norms)", in_turn(plain)
    yield "+ channels_last", in_turn(lambda x: nhwc(x.contiguous(memory_format=torch.channels_last)))
    folded = copy.deepcopy(plain).fold().to(memory_format=torch.channels_last)
    yield "+ norms folded", in_turn(lambda x: folded(x.contiguous(memory_format=torch.channels_last)))
    backend = TorchBackend(checkpoint, InferConfig(device="cpu"))
    yield "+ kernels fused", in_turn(backend.logits)
    pool = stack.enter_context(backend.threads())
    yield "+ calls side by side (the default)", side_by_side(backend.logits, pool)
    for size in (1, 4, 8):
        yield f"  the same in batches of {size}", side_by_side(backend.logits, pool, size)
    try:
        compiled = TorchBackend(checkpoint, InferConfig(device="cpu", compile=True), note=print)
    except ExtraError as error:
        print(error)
    else:
        yield "+ --compile", side_by_side(compiled.logits, pool)
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    for name, kind, suffix in (("ONNX Runtime", "onnx", ".onnx"), ("OpenVINO", "openvino", ".xml")):
        try:
            export(checkpoint, scratch / f"net{suffix}", kind)  # type: ignore[arg-type]
            exported = make_backend(load_weights(scratch / f"net{suffix}"), InferConfig(device="cpu"))
        except ExtraError as error:
            print(error)
            continue
        yield f"{name}, one call with all threads", in_turn(exported.logits)
        own = stack.enter_context(exported.threads())
        yield f"{name}, calls side by side (the default)", side_by_side(exported.logits, own)


def gpu_ways() -> Iterator[tuple[str, Way]]:
    """Precision, graph and compiler, in batches of 8."""
    checkpoint = load_checkpoint()

    def way(call: Callable[[Tensor], Tensor]) -> Way:
        given = [batch.cuda() for batch in batches(8)]

        def run() -> None:
            with torch.inference_mode():
                for batch in given:
                    call(batch)
            wait(given[0].device)

        return run

    for amp in (False, True):
        name = "16 bits" if amp else "float32"
        backend = TorchBackend(checkpoint, InferConfig(device="cuda", amp=amp), note=print)
        yield name, way(backend._plain)
        yield f"{name}, CUDA graph" + (" (the default)" if amp else ""), way(backend.logits)
    yield "16 bits, --compile", way(TorchBackend(checkpoint, InferConfig(device="cuda", compile=True)).logits)


def compare(title: str, ways: dict[str, Way], rounds: int) -> None:
    """Milliseconds a picture, and how many times as fast as the first: medians over the rounds."""
    walls: dict[str, list[float]] = {name: [] for name in ways}
    cpus: dict[str, list[float]] = {name: [] for name in ways}
    for name, way in ways.items():
        start = time.perf_counter()
        way()
        print(f"  (first call, {name.strip()}: {time.perf_counter() - start:.1f} s)")
    for _ in range(rounds):
        for name, way in ways.items():
            start, cpu = time.perf_counter(), time.process_time()
            way()
            walls[name].append(time.perf_counter() - start)
            cpus[name].append(time.process_time() - cpu)
    first = next(iter(walls.values()))
    print(title)
    for name, own in walls.items():
        # neighbours in time, for what slows the machine down slows both down
        ratio = statistics.median(a / b for a, b in zip(first, own, strict=True))
        wall, cpu = (1000 * statistics.median(times) / PICTURES for times in (own, cpus[name]))
        print(f"  {name:<44}{wall:8.1f} ms, {cpu:6.1f} ms of CPU  {ratio:6.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(CORES)
    with ExitStack() as stack:
        ways = dict(cpu_ways(stack))
        compare(
            f"A picture of {WIDTH}x{HEIGHT} on {CORES} of {os.cpu_count()} CPU cores, bundled weights:",
            ways,
            rounds,
        )
    if torch.cuda.is_available():
        compare(f"\nThe same on {torch.cuda.get_device_name()}:", dict(gpu_ways()), rounds)


if __name__ == "__main__":
    main()
