"""Makes everything in this folder: rendered street scenes with exact labels, a folder of frames, a video.

    python samples/make_samples.py --out samples

The same versions of numpy, OpenCV, Pillow and PyAV write the same bytes every time.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from render.catalogue import DRIVE, FRAMES, TRAIN, VAL
from render.picture import photograph
from render.plan import Plan
from render.road import ROAD
from render.street import Street

Picture = NDArray[np.uint8]

CITYSCAPES_SIZE = (512, 256)  # the real ones are 2048x1024
DRIVE_SIZE = (640, 360)
DRIVE_FPS = Fraction(30000, 1001)
DRIVE_FRAMES = 120
DRIVE_SPEED = 9.0  # metres per second
LABEL_EVERY = 15  # frames of the drive between two road masks


def cityscapes_scene(plan: Plan) -> tuple[Picture, Picture]:
    """The picture, (256, 512, 3) RGB, and the label ids, (256, 512), of one plan."""
    return photograph(Street(plan), *CITYSCAPES_SIZE, plan.view)


def drive(frames: range) -> Iterator[tuple[int, Picture, Picture]]:
    """Frame number, picture and label ids of those frames of the drive."""
    street = Street(DRIVE)
    for index in frames:
        time = float(index / DRIVE_FPS)
        sway = 0.10 * np.sin(7.1 * time) + 0.06 * np.sin(17.3 * time + 1)  # degrees: the car's springs
        view = replace(DRIVE.view, s=DRIVE_SPEED * time, pitch=DRIVE.view.pitch + float(sway))
        yield index, *photograph(street, *DRIVE_SIZE, view, time)


def road_mask(label: Picture) -> Picture:
    """255 where the label ids say road, 0 elsewhere."""
    return np.where(label == ROAD, 255, 0).astype(np.uint8)


def _save(path: Path, pixels: Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"quality": 88} if path.suffix == ".jpg" else {"optimize": True}
    Image.fromarray(pixels).save(path, **options)
    print(path)


def write_cityscapes(root: Path) -> None:
    """Write the scenes as a data set in the official naming."""
    for split, cities in (("train", TRAIN), ("val", VAL)):
        for city, plans in cities.items():
            for number, plan in enumerate(plans):
                picture, label = cityscapes_scene(plan)
                name = f"{city}_{number:06d}_000019"
                _save(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", picture)
                _save(root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", label)


def write_frames(root: Path) -> None:
    """Write the folder of plain frames."""
    for path, width, height, plan in FRAMES:
        picture, _ = photograph(Street(plan), width, height, plan.view)
        _save(root / path, picture)


def write_drive(video: Path, labels: Path) -> None:
    """Write the drive as H.264, and the road masks of every LABEL_EVERY-th frame."""
    video.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(video), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream(
            "libx264", rate=DRIVE_FPS, options={"crf": "27", "preset": "slow", "threads": "1"}
        )
        stream.width, stream.height = DRIVE_SIZE
        stream.pix_fmt = "yuv420p"
        for index, picture, label in drive(range(DRIVE_FRAMES)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            if index % LABEL_EVERY == 0:
                _save(labels / f"{index:06d}.png", road_mask(label))
        container.mux(stream.encode(None))
    print(video)


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the sample pictures and the sample video.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to")
    out: Path = parser.parse_args().out
    write_cityscapes(out / "cityscapes")
    write_frames(out / "frames")
    write_drive(out / "drive.mp4", out / "drive_labels")


if __name__ == "__main__":
    main()
