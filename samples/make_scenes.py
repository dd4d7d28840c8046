"""Renders street scenes by chance, with exact labels, as a data set to train on in Cityscapes' layout.

    python samples/make_scenes.py --out ~/rendered --count 1200
    python samples/make_scenes.py --out ~/rare --count 1200 --rare

Every twentieth is for validation. The same seed gives the same scene (the same bytes with the same versions
of numpy, OpenCV and Pillow), so that a run that was stopped goes on where it was. About a second a scene and
core.
"""

import argparse
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
from PIL import Image
from render.chance import plan_by_chance, rare_plan_by_chance
from render.picture import photograph
from render.street import Street

from roadseg.cores import available_cores
from roadseg.media.output import replacing

SIZES = ((640, 360), (640, 320))  # width and height, in turn
VAL_EVERY = 20
# A terminal sends Ctrl-C to the workers as well, which are to finish their scenes.
_LEFT_TO_THE_PARENT = (signal.SIGINT, signal.SIG_IGN)


def write_scene(root: Path, rare: bool, seed: int) -> None:
    """Render the scene of `seed`; where it is written already, leave it. Raises OSError."""
    split, number = ("train", seed) if seed % VAL_EVERY else ("val", seed // VAL_EVERY)
    city = "rare" if rare else "rendered"
    name = f"{city}_{seed:06d}_000019"
    paths = [
        root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png",
        root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png",
    ]
    if all(path.exists() for path in paths):
        return
    cv2.setNumThreads(1)
    plan = rare_plan_by_chance(seed) if rare else plan_by_chance(seed)
    pictures = photograph(Street(plan), *SIZES[number % len(SIZES)], plan.view)
    for path, pixels in zip(paths, pictures, strict=True):
        if not path.exists():
            with replacing(path) as file:
                Image.fromarray(pixels).save(file, format="png")


def main() -> None:
    parser = argparse.ArgumentParser(description="Render street scenes by chance, with labels, to train on.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--count", type=int, default=1200, help="how many")
    parser.add_argument("--first-seed", type=int, default=1000, help="of the first; the others count on")
    parser.add_argument(
        "--rare",
        action="store_true",
        help="rare ones instead: freeways, snow, dirt, villages, deserts, tunnels, bridges, poor lenses",
    )
    arguments = parser.parse_args()
    if arguments.count < 1 or arguments.first_seed < 0:
        parser.error("--count must be at least 1, and --first-seed at least 0")
    first: int = arguments.first_seed
    seeds = range(first, first + arguments.count)
    workers = ProcessPoolExecutor(available_cores(), initializer=signal.signal, initargs=_LEFT_TO_THE_PARENT)
    done = 0
    with workers as pool:
        try:
            for done, _ in enumerate(pool.map(partial(write_scene, arguments.out, arguments.rare), seeds), 1):
                if sys.stdout.isatty():
                    print(f"\r{done} of {len(seeds)}", end="", flush=True)
        except OSError as error:
            pool.shutdown(cancel_futures=True)
            sys.exit(f"\n{arguments.out}: cannot be written to: {error.strerror}. Choose another --out.")
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            print(f"\nstopped after {done} of {len(seeds)}; the same command goes on", file=sys.stderr)
            sys.exit(130)
    print(f"\n{arguments.out}")


if __name__ == "__main__":
    main()
