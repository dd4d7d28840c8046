"""What lies between a street and a cheap camera's memory card: drops, mounts, a bent picture, a clock."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from render.camera import Array
from render.road import CAR

_LETTERS = 21  # of a clock: date, time and speed


@dataclass(frozen=True, slots=True)
class Lens:
    """A windscreen and a lens; the one that there is by default changes nothing."""

    barrel: float = 0.0  # x of r -> r * (1 + x * r * r), r in half widths from the middle; corners stay
    drops: int = 0  # of rain on the windscreen
    mount: tuple[float, float, float] | None = (
        None  # what holds something in its view: side -1 or 1, height, size
    )
    clock: bool = False  # burnt in along the foot

    def drawn_in(self, picture: Array, label: NDArray[np.uint8]) -> tuple[Array, NDArray[np.uint8]]:
        """Both as a wide-angle lens bends them: straight lines bow outwards."""
        if not self.barrel:
            return picture, label
        height, width = label.shape
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        x, y = (x - (width - 1) / 2) / (width / 2), (y - (height - 1) / 2) / (width / 2)
        corner = 1 + (height / width) ** 2
        # Over its value in the corners, so that these stay where they are.
        scale = (1 + self.barrel * (x * x + y * y)) / (1 + self.barrel * corner)
        columns = (x * scale * (width / 2) + (width - 1) / 2).astype(np.float32)
        rows = (y * scale * (width / 2) + (height - 1) / 2).astype(np.float32)
        bent = cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        bent_label = cv2.remap(label, columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(bent, np.float32), np.asarray(bent_label, np.uint8)

    def rained_on(self, picture: Array, rng: np.random.Generator) -> Array:
        """Drops out of focus: each shows the scene blurred and upside down."""
        if not self.drops:
            return picture
        height, width = picture.shape[:2]
        cover = np.zeros((height, width), np.float32)
        for _ in range(self.drops):
            centre = (int(rng.integers(width)), int(rng.integers(height)))
            radius = max(2, round(width * float(rng.gamma(2.0, 0.004))))
            tall = max(2, round(radius * float(rng.uniform(0.9, 1.5))))
            cv2.ellipse(cover, centre, (radius, tall), 0, 0, 360, float(rng.uniform(0.35, 0.95)), -1)
        cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), width / 260), np.float32)[..., None]
        soft = np.asarray(cv2.GaussianBlur(picture, (0, 0), width / 60), np.float32)
        inside = 0.55 * soft + 0.45 * cv2.GaussianBlur(picture[::-1], (0, 0), width / 60)
        rim = np.clip(cover * (1 - cover) * 4, 0, 1)
        return np.asarray(picture + cover * (inside - picture) * (1 - 0.12 * rim), np.float32)

    def mounted(self, picture: Array, label: NDArray[np.uint8]) -> tuple[Array, NDArray[np.uint8]]:
        """With a dark, smooth thing that reaches in from one side, labelled as the car that it belongs to."""
        if self.mount is None:
            return picture, label
        height, width = label.shape
        side, middle, size = self.mount
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        inwards = x / width if side < 0 else 1 - x / width
        above = (middle + 0.5 * size * inwards - y / height) / (0.45 * size)
        shape = 1 - (inwards / size) ** 2 - np.where(above > 0, above, 0.55 * above) ** 2
        cover = np.clip(shape * size * width / 3 + 0.5, 0, 1)[..., None]  # out of focus, if little
        tone = 0.012 + 0.02 * np.clip(shape, 0, 1)[..., None] * picture.mean()
        covered = np.where(cover[..., 0] > 0.5, CAR, label)
        return np.asarray(picture + cover * (tone - picture), np.float32), np.asarray(covered, np.uint8)

    def stamped(self, picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """(H, W, 3) with a line of small bright strokes along the foot, like a clock's; the label stays."""
        if not self.clock:
            return picture
        height, width = picture.shape[:2]
        size = max(5, round(height / float(rng.uniform(24, 40))))
        x, y = int(rng.uniform(0.02, 0.35) * width), int(height * float(rng.uniform(0.90, 0.965))) - size
        shade = (255, 255, 255) if rng.uniform() < 0.7 else (255, 220, 60)
        stamped = picture.copy()
        for letter in range(_LETTERS):
            left = x + letter * round(0.75 * size)
            if rng.uniform() < 0.15:  # a space
                continue
            corners = rng.integers(0, 2, (int(rng.integers(3, 6)), 2)) * [round(0.5 * size), size]
            for offset, colour in ((1, (0, 0, 0)), (0, shade)):
                line = (corners + np.array((left + offset, y + offset))).astype(np.int32)
                cv2.polylines(stamped, [line], False, colour, max(1, size // 9), cv2.LINE_AA)
        return stamped
