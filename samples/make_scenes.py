"""Renders street scenes by chance, with exact labels, as a data set to train on in Cityscapes' layout.

    python samples/make_scenes.py --out ~/rendered --count 1200

Every twentieth is for validation. The same seed gives the same scene (the same bytes with the same versions
of numpy, OpenCV and Pillow), so that a run that was stopped goes on where it was. About a second a scene and
core.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
from PIL import Image
from render.chance import plan_by_chance
from render.picture import photograph
from render.street import Street

SIZES = ((640, 360), (640, 320))  # width and height, in turn
VAL_EVERY = 20


def write_scene(root: Path, seed: int) -> None:
    """Render the scene of `seed`; where it is written already, leave it."""
    split = "train" if seed % VAL_EVERY else "val"
    name = f"rendered_{seed:06d}_000019"
    paths = [
        root / "leftImg8bit" / split / "rendered" / f"{name}_leftImg8bit.png",
        root / "gtFine" / split / "rendered" / f"{name}_gtFine_labelIds.png",
    ]
    if paths[-1].exists():
        return
    cv2.setNumThreads(1)
    plan = plan_by_chance(seed)
    for path, pixels in zip(paths, photograph(Street(plan), *SIZES[seed % 2], plan.view), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        begun = path.with_suffix(".partial")
        Image.fromarray(pixels).save(begun, format="png")
        begun.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Render street scenes by chance, with labels, to train on.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--count", type=int, default=1200, help="how many")
    parser.add_argument("--first-seed", type=int, default=1000, help="of the first; the others count on")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.count)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(partial(write_scene, arguments.out), seeds), 1):
            print(f"\r{done} of {len(seeds)}", end="", flush=True)
    print(f"\n{arguments.out}")


if __name__ == "__main__":
    main()
