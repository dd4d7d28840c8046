"""The family in numbers (`make bench-models`): size, work, time and memory of each network, side by side.

`--train DIR` also trains each one on DIR/idd20k_lite for the same `--epochs` at 256 pixels, and adds the road
IoU on its val part and on that of DIR/cityscapes, which it never saw: an hour on a CPU for 2 epochs, half of
it for "unet" and "classic, 32 wide", which `--untrained` leaves out. Results of training are kept in
runs/family, and are not made again.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from roadseg.config import MODELS, InferConfig, TrainConfig, UNetConfig
from roadseg.dataset.samples import find_samples
from roadseg.engine.cost import macs
from roadseg.engine.evaluate import evaluate
from roadseg.engine.listener import TrainListener
from roadseg.engine.predict import Predictor
from roadseg.engine.prepared import ready
from roadseg.engine.sources import find_sources
from roadseg.engine.train import Trainer
from roadseg.model.checkpoint import load_checkpoint
from roadseg.model.unet import RoadNet, build_model

SIZES = ((512, 256), (640, 384), (1024, 512))
BATCH = 2
ROUNDS = 3
TRAINED_AT = 256  # pixels of the longer side
PLAIN = UNetConfig(widths=(32, 48, 96, 160), depths=(0, 1, 2, 2))


def classic(width: int) -> UNetConfig:
    widths = tuple(width * 2**i for i in range(5))
    return UNetConfig(architecture="classic", widths=widths, depths=(0,) * 5, skip="concat")


FAMILY = {
    **MODELS,
    "own encoder": PLAIN,
    "  stem stride 2": replace(PLAIN, stem_stride=2),
    "  stem stride 1": replace(PLAIN, stem_stride=1),
    "  depth - 1": replace(PLAIN, depths=(0, 0, 1, 1)),
    "  depthwise": replace(PLAIN, block="separable"),
    "  group norm": replace(PLAIN, norm="group"),
    "  concat skips": replace(PLAIN, skip="concat"),
    "classic, 16 wide": classic(16),
    "classic, 32 wide": classic(32),
}


def picture(size: tuple[int, int], batch: int = 1) -> torch.Tensor:
    image = torch.randint(0, 256, (batch, 3, size[1], size[0]), dtype=torch.uint8)
    return image.contiguous(memory_format=torch.channels_last)


def network_of(name: str) -> RoadNet:
    """As `segment` runs it on a CPU."""
    return ready(build_model(FAMILY[name], 2), torch.device("cpu"))


def milliseconds(networks: dict[str, RoadNet], size: tuple[int, int], batch: int) -> dict[str, float]:
    """Median time per picture; every network takes its turn in each round, since machines drift."""
    image = picture(size, batch)
    times: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(ROUNDS + 1):
        for name, network in networks.items():
            start = time.perf_counter()
            network(image)
            if turn:
                times[name].append(1000 * (time.perf_counter() - start) / batch)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_memory(name: str) -> float:
    """MiB that one picture of 1024x512 adds to the most that a fresh process with the network holds."""
    out = subprocess.run(
        [sys.executable, __file__, "--memory-of", name], capture_output=True, text=True, check=True
    )
    return float(out.stdout)


def print_memory(name: str) -> None:
    network = network_of(name)
    before = most_memory()
    network(picture(SIZES[-1]))
    print(most_memory() - before)


def most_memory() -> float:
    """MiB that this process has held at most. (getrusage's number would be its parent's, which is larger.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def trained(name: str, data: Path, epochs: int) -> str:
    """Road IoU on IDD Lite's val, and on Cityscapes' that it never saw, after the same short training."""
    folder = Path("runs/family") / name.strip().replace(" ", "-").replace(",", "")
    result = folder / "iou.json"
    if not result.exists():
        shape = FAMILY[name]
        MODELS["family"] = shape
        config = TrainConfig(
            data=(str(data / "idd20k_lite"),),
            model="family",
            encoder_weights="imagenet" if shape.encoder else None,
            imgsz=TRAINED_AT,
            batch_size=8,
            epochs=epochs,
            val_every=epochs,
            warmup_epochs=0.3,
            ema=0.95,
        )
        trainer = Trainer(config, find_sources(config), folder, TrainListener())
        trainer.run()
        predictor = Predictor(load_checkpoint(folder / "last.pt"), InferConfig())
        ious = [
            evaluate(predictor, samples, predictor.scheme, batch_size=8, workers=2).scores.iou[1]
            for samples in (find_samples(data / p, "val", None) for p in ("idd20k_lite", "cityscapes"))
        ]
        result.write_text(json.dumps(ious))
    return " / ".join(f"{100 * iou:.1f}" for iou in json.loads(result.read_text()))


@torch.inference_mode()
def measured() -> list[list[str]]:
    networks = {name: network_of(name) for name in FAMILY}
    columns = [(size, batch) for size in SIZES for batch in (1, BATCH)]
    times = [milliseconds(networks, size, batch) for size, batch in columns]
    rows = []
    for name, shape in FAMILY.items():
        network = build_model(shape, 2)
        parameters = sum(p.numel() for p in network.parameters()) / 1e6
        row = [name.strip(), f"{parameters:.2f}", f"{macs(network, (384, 640)) / 1e9:.2f}"]
        row += [f"{column[name]:.0f}" for column in times]
        row.append(f"{peak_memory(name):.0f}")
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, metavar="DIR")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--untrained", nargs="*", default=[], choices=FAMILY)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        with torch.inference_mode():
            return print_memory(arguments.memory_of)
    # The training comes first: it keeps its results, and can be gone on with.
    ious = {}
    if arguments.train:
        for name in FAMILY:
            skipped = name in arguments.untrained
            ious[name] = "–" if skipped else trained(name, arguments.train, arguments.epochs)
    head = ["network", "M parameters", "GMACs at 640x384"]
    head += [f"ms {w}x{h}" + (f", {b} at once" if b > 1 else "") for w, h in SIZES for b in (1, BATCH)]
    head += ["peak MiB"] + (["road IoU, IDD Lite / Cityscapes (unseen)"] if arguments.train else [])
    print(f"{torch.get_num_threads()} CPU threads, torch {torch.__version__}, median of {ROUNDS} turns\n")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row, name in zip(measured(), FAMILY, strict=True):
        print("| " + " | ".join([*row, *([ious[name]] if ious else [])]) + " |")
    return None


if __name__ == "__main__":
    main()
