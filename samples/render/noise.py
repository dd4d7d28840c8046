"""Random texture: smooth noise on the plane, at any wavelength, cheap enough for every sample."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from render.camera import Array

_SIZE = 1024  # texels along the tile
_CELL = 4  # texels per wavelength: smooth enough for bilinear lookups


def lookup(image: Array | NDArray[np.uint8], x: Array, y: Array) -> Array:
    """Bilinear samples of `image` (H, W[, C]) at texel coordinates of any equal shape; the image repeats."""
    height, width = image.shape[:2]
    row = 1024  # cv2.remap wants two dimensions, none of them beyond 32767
    size = -(-max(x.size, 1) // row) * row
    maps = np.zeros((2, size), np.float32)
    maps[0, : x.size] = (x - np.floor(x * (1 / width)) * width).ravel()
    maps[1, : x.size] = (y - np.floor(y * (1 / height)) * height).ravel()
    columns, rows = maps.reshape(2, -1, row)
    found = cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(found, np.float32).reshape(size, -1)[: x.size].reshape(x.shape + image.shape[2:])


def spread(noise: Array) -> Array:
    """`noise` with mean 0 and standard deviation 1."""
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


def cloudy(rng: np.random.Generator, shape: tuple[int, int], cells: Sequence[float]) -> Array:
    """A picture of noise (mean 0, deviation 1) with blobs of about so many pixels, each equally strong."""
    total = np.zeros(shape, np.float32)
    for cell in cells:
        small = (max(2, round(shape[0] / cell)), max(2, round(shape[1] / cell)))
        grid = rng.standard_normal(small).astype(np.float32)
        total += cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return spread(total)


class Noise:
    """Noise of unit deviation over the whole plane, made from one random tile."""

    def __init__(self, rng: np.random.Generator) -> None:
        white = rng.standard_normal((_SIZE, _SIZE)).astype(np.float32)
        pad = 3 * _CELL
        soft = np.asarray(cv2.GaussianBlur(np.pad(white, pad, mode="wrap"), (0, 0), _CELL / 2.5), np.float32)
        self._tile = spread(soft[pad:-pad, pad:-pad])

    def at(self, x: Array, y: Array, wavelength: float) -> Array:
        """One octave of noise at plane coordinates x, y (any equal shape)."""
        scale = _CELL / wavelength
        shift = 97.3 * np.log(wavelength + 1.0) + 13.1 * wavelength  # octaves must not line up
        return lookup(self._tile, x * np.float32(scale) + shift, y * np.float32(scale) - shift)

    def layers(self, x: Array, y: Array, grain: Array, octaves: Sequence[tuple[float, float]]) -> Array:
        """The sum of octaves (wavelength, strength); what is finer than a sample, `grain`, averages out."""
        total = np.zeros(x.shape, np.float32)
        for wavelength, strength in octaves:
            kept = strength / np.sqrt(1 + (grain / wavelength) ** 2)
            total += kept * self.at(x, y, wavelength)
        return total
