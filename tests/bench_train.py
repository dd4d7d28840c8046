"""Speed of training (`make bench`): `train` against the loop that people write, at 2048x1024.

Both see the same pictures, augmentation, network, loss, optimizer and batches, but for the shape of crops,
which `train` draws for each step, of as many pixels. The plain loop is
torchvision's Cityscapes data set in a DataLoader: it decodes each picture anew in every epoch, and has its
memory from the system as torch's user does, where `train` keeps what it frees.
ROADSEG_REALDATA=DIR takes the pictures from DIR/cityscapes; without it rendered ones stand in. Either way
they are enlarged to full size.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.datasets import Cityscapes
from torchvision.transforms import v2

from roadseg.config import DEFAULT_MODEL, TrainConfig
from roadseg.dataset.augment import make_augmentation
from roadseg.dataset.segmentation import own_car_class, rest_class
from roadseg.engine.initial import initial_model
from roadseg.engine.listener import TrainListener
from roadseg.engine.losses import SegmentationLoss
from roadseg.engine.optim import make_optimizer
from roadseg.engine.sources import find_sources
from roadseg.engine.train import Trainer
from roadseg.labels import ENCODINGS, decode_label, get_scheme

PICTURES, VAL, EPOCHS = 64, 2, 4
FULL = (2048, 1024)
SAMPLES = Path(__file__).parents[1] / "samples" / "cityscapes"


def full_size_tree(source: Path, root: Path) -> None:
    """Copy pictures and labels of a Cityscapes tree, at 2048x1024, until there are enough of them."""
    pictures = sorted(source.glob("leftImg8bit/*/*/*_leftImg8bit.png"))
    for i in range(PICTURES + VAL):
        picture = pictures[i % len(pictures)]
        city, name = picture.parent.name, picture.name.removesuffix("_leftImg8bit.png")
        label = source / "gtFine" / picture.parents[1].name / city / f"{name}_gtFine_labelIds.png"
        split = "train" if i < PICTURES else "val"
        for path, kind, suffix, how in (
            (picture, "leftImg8bit", "_leftImg8bit.png", Image.Resampling.BICUBIC),
            (label, "gtFine", "_gtFine_labelIds.png", Image.Resampling.NEAREST),
        ):
            target = root / kind / split / "bench" / f"bench_{i:06d}_000019{suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).resize(FULL, how).save(target)


class PlainPictures(Cityscapes):
    """torchvision's data set with the same augmentation."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config.data[0], split="train", mode="fine", target_type="semantic")
        self.scheme = get_scheme(config.classes)
        width = config.crop or config.imgsz
        special = own_car_class(self.scheme), rest_class(self.scheme)
        self.augment = make_augmentation(config.augment, config.imgsz, (width // 2, width), *special)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        picture, label = super().__getitem__(index)
        label_HW = decode_label(np.asarray(label), ENCODINGS["cityscapes-labelIds"], self.scheme, "label")
        image, mask = self.augment(v2.functional.to_image(picture), tv_tensors.Mask(torch.tensor(label_HW)))
        return image.as_subclass(torch.Tensor), mask.as_subclass(torch.Tensor)


def plain_loop(config: TrainConfig) -> list[float]:
    """Seconds of each epoch."""
    model = initial_model(config, get_scheme(config.classes)).train()
    optimizer, loss = make_optimizer(model, config), SegmentationLoss(config.loss)
    loader = DataLoader(
        PlainPictures(config), config.batch_size, shuffle=True, num_workers=config.workers, drop_last=True
    )
    seconds = []
    for _ in range(EPOCHS):
        start = time.perf_counter()
        for image_BCHW, label_BHW in loader:
            optimizer.zero_grad()
            loss(model(image_BCHW), label_BHW).backward()
            optimizer.step()
        seconds.append(time.perf_counter() - start)
    return seconds


class Stopwatch(TrainListener):
    """Seconds of each epoch without its validation, which the plain loop does not have."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.start = 0.0

    def step(self, epoch: int, step: int, steps: int, loss: float, lr: float) -> None:
        if step == steps:
            self.seconds.append(time.perf_counter() - self.start)

    def epoch(self, row: dict[str, object], best: bool) -> None:
        self.start = time.perf_counter()


def main() -> None:
    real = os.environ.get("ROADSEG_REALDATA")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "cityscapes"
        full_size_tree(Path(real) / "cityscapes" if real else SAMPLES, root)
        config = TrainConfig(
            data=(str(root),),
            imgsz=640,
            crop=512,
            batch_size=8,
            epochs=EPOCHS,
            val_every=EPOCHS,
            device="cpu",
            workers=2,
        )
        # The plain loop first: `train` changes how the whole process gets its memory.
        plain = statistics.median(plain_loop(config)[1:])
        watch = Stopwatch()
        Trainer(config, find_sources(config), Path(scratch) / "run", watch).run()
        ours = statistics.median(watch.seconds[1:])
    pictures = PICTURES // config.batch_size * config.batch_size
    print(
        f"\nTraining {config.model or DEFAULT_MODEL} on {PICTURES} pictures of {FULL[0]}x{FULL[1]}, "
        "from the second epoch on:"
    )
    print(f"  a plain loop   {pictures / plain:6.1f} pictures/s")
    print(f"  roadseg train  {pictures / ours:6.1f} pictures/s   {plain / ours:.2f}x")


if __name__ == "__main__":
    main()
