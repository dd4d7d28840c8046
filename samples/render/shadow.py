"""Shadows: a map of the ground that says how much sun and how much of the sky's light reaches each place."""

import cv2
import numpy as np
from numpy.typing import NDArray

from render.camera import Array
from render.light import Light
from render.noise import lookup

_SCALE = 12  # texels per metre
_WEST, _SOUTH, _WIDE, _LONG = -34.0, -12.0, 68, 110  # metres that the map covers, around the camera


class Shadows:
    """What stands in the way of sun and sky, seen from above. Draw first, then ask."""

    def __init__(self, light: Light, y: float = 0.0, x: float = 0.0) -> None:
        self._light = light
        self._corner = np.array([_WEST + round(x), _SOUTH + round(y)])  # whole texels: no shimmer in a video
        self._sun = np.full((_LONG * _SCALE, _WIDE * _SCALE), 255, np.uint8)
        self._sky = self._sun.copy()
        has_sun = not light.night and light.sun[2] > 0.02 and float(light.sun_rgb.max()) > 0.05
        self._slide = -light.sun[:2] / max(float(light.sun[2]), 0.12) if has_sun else None

    def block(self, outline: Array, height: float) -> None:
        """A solid thing of that height on the (N, 2) outline of its foot."""
        if self._slide is not None:
            both = np.concatenate([outline, outline + self._slide * height]).astype(np.float32)
            self._fill(self._sun, np.asarray(cv2.convexHull(both)[:, 0], np.float32), 0)

    def underneath(self, outline: Array, darkness: float) -> None:
        """The sky that a thing hides from the ground below it."""
        dark = np.full_like(self._sky, 255)
        self._fill(dark, outline, round(255 * (1 - darkness)))
        self._sky = np.minimum(self._sky, dark)

    def crown(self, x: float, y: float, height: float, radius: float, rng: np.random.Generator) -> None:
        """A tree's crown of that radius with its middle at that height: a shade with sunny flecks."""
        if self._slide is None:
            return
        middle = np.array([x, y]) + self._slide * height
        long_way = self._slide / max(float(np.hypot(*self._slide)), 1e-6)
        stretch = 1 / max(float(self._light.sun[2]), 0.25)
        for _ in range(90):
            a, r = rng.uniform(0, 2 * np.pi), radius * np.sqrt(rng.uniform())
            spot = np.array([np.cos(a), np.sin(a)]) * r
            spot = middle + spot + long_way * (spot @ long_way) * (stretch - 1)
            size = int(_SCALE * radius * rng.uniform(0.06, 0.24))
            place = (spot - self._corner) * _SCALE
            cv2.circle(self._sun, (int(place[0]), int(place[1])), size, 0, -1)

    def finish(self) -> None:
        """Soften the edges."""
        self._sun = np.asarray(cv2.GaussianBlur(self._sun, (0, 0), 1.3), np.uint8)
        self._sky = np.asarray(cv2.GaussianBlur(self._sky, (0, 0), 2.6), np.uint8)

    def sun_at(self, x: Array, y: Array) -> Array:
        """The share of sun, 0..1, at ground points."""
        return self._at(self._sun, x, y)

    def sky_at(self, x: Array, y: Array) -> Array:
        """The share of sky light, 0..1, at ground points."""
        return self._at(self._sky, x, y)

    def _fill(self, layer: NDArray[np.uint8], outline: Array, value: int) -> None:
        corners = (outline[:, :2] - self._corner) * _SCALE
        cv2.fillPoly(layer, [np.round(corners).astype(np.int32)], value)

    def _at(self, layer: NDArray[np.uint8], x: Array, y: Array) -> Array:
        column, row = (x - self._corner[0]) * _SCALE, (y - self._corner[1]) * _SCALE
        height, width = layer.shape
        inside = (column > 0) & (column < width - 1) & (row > 0) & (row < height - 1)
        share = np.ones(x.shape, np.float32)
        share[inside] = lookup(layer, column[inside], row[inside]) / np.float32(255)
        return share
