"""Trees, bushes and hedges: pictures of foliage, painted once and stood upright in the street."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from render.camera import Array
from render.canvas import Canvas, Hit, unit
from render.light import Light, rgb
from render.noise import Noise, cloudy, lookup
from render.road import VEGETATION
from render.shadow import Shadows

_UP = rgb(0, 0, 1)
GREENS = (
    (0.055, 0.085, 0.022),
    (0.07, 0.10, 0.03),
    (0.045, 0.07, 0.028),
    (0.10, 0.11, 0.03),
    (0.085, 0.075, 0.025),
)
AUTUMN = ((0.20, 0.10, 0.02), (0.17, 0.13, 0.03), (0.13, 0.09, 0.03))


class Cutout:
    """A picture with holes, (H, W, 3) albedo and (H, W) cover, read at the size in which it is seen."""

    def __init__(self, albedo: Array, cover: Array) -> None:
        self._levels: list[tuple[Array, Array]] = [(albedo, cover)]
        while min(cover.shape) > 8:
            high, wide = (n // 2 * 2 for n in cover.shape)
            weight = cover[:high, :wide].reshape(high // 2, 2, wide // 2, 2)
            colour = albedo[:high, :wide].reshape(high // 2, 2, wide // 2, 2, 3)
            cover = weight.mean((1, 3))
            whole = (colour * weight[..., None]).sum((1, 3)) / np.maximum(4 * cover, 1e-6)[..., None]
            albedo = np.where(cover[..., None] > 0.01, whole, colour.mean((1, 3))).astype(np.float32)
            self._levels.append((albedo, cover))

    def _level(self, texel: float, grain: Array) -> tuple[Array, Array]:
        wanted = math.log2(max(float(np.median(grain)) / texel, 1.0))
        return self._levels[min(round(wanted), len(self._levels) - 1)]

    def covers(self, across: Array, up: Array, texel: float, grain: Array) -> np.ndarray:
        """Whether the picture is there, at places 0..1 across and up; a texel is `texel` metres wide."""
        _, cover = self._level(texel, grain)
        row = np.clip(((1 - up) * cover.shape[0]).astype(int), 0, cover.shape[0] - 1)
        column = np.clip((across * cover.shape[1]).astype(int), 0, cover.shape[1] - 1)
        return np.asarray(cover[row, column] > 0.5)

    def colour(self, across: Array, up: Array, texel: float, grain: Array) -> Array:
        """(N, 3) albedo at the same places."""
        albedo, _ = self._level(texel, grain)
        high, wide = albedo.shape[:2]
        return lookup(
            albedo, np.clip(across * wide - 0.5, 0, wide - 1), np.clip((1 - up) * high - 0.5, 0, high - 1)
        )


def paint_tree(rng: np.random.Generator, kind: str, light: Light) -> Cutout:
    """A tree ('round' or 'tall') or a 'bush', shaded for this light; the picture is 3 wide and 4 high."""
    high, wide = 416, 312
    y, x = np.mgrid[0:high, 0:wide].astype(np.float32)
    albedo = np.zeros((high, wide, 3), np.float32)
    wood = np.zeros((high, wide), np.uint8)
    if kind != "bush":
        _branch(wood, rng, np.array([wide / 2, high - 1.0]), -np.pi / 2, high * 0.28, width=13.0, depth=2)
        bark = rgb(0.085, 0.07, 0.055) * (1 + 0.35 * cloudy(rng, (high, wide), [4, 12]))[..., None]
        side = np.clip((x - wide / 2) * np.sign(light.sun[0]) / wide * 4 + 0.5, 0, 1)
        albedo[:] = bark * (0.6 + 0.5 * side)[..., None]
    leaves = AUTUMN if rng.uniform() < 0.12 else GREENS
    base = rgb(*leaves[int(rng.integers(len(leaves)))])
    depth, normal = _crown(rng, kind, x, y)
    crown = np.isfinite(depth) & (cloudy(rng, (high, wide), [3, 7, 18]) < 1.7)
    leaf = 1 + 0.42 * cloudy(rng, (high, wide), [2, 4, 9])
    flat = normal.reshape(-1, 3)
    lit = (
        np.maximum(flat @ light.sun, 0)[:, None] * light.sun_rgb + (0.45 + 0.55 * flat[:, 2:]) * light.sky_rgb
    )
    through = 0.25 * np.maximum(-flat @ light.sun, 0)[:, None] * light.sun_rgb * rgb(1.2, 1.3, 0.4)
    hollow = np.clip(0.45 + depth / (wide * 0.5), 0.28, 1.0)  # the crown's inside gets little light
    shaded = (
        (lit + through).reshape(high, wide, 3) * base * (np.clip(leaf, 0.15, 2.4) * hollow)[..., None] * 1.5
    )
    albedo = np.where(crown[..., None], shaded, albedo * light.sky_rgb).astype(np.float32)
    return Cutout(albedo, (crown | (wood > 0)).astype(np.float32))


def _crown(rng: np.random.Generator, kind: str, x: Array, y: Array) -> tuple[Array, Array]:
    """Depth (H, W), -inf where nothing is, and normals (H, W, 3) of a heap of ragged balls of leaves."""
    high, wide = x.shape
    middle = {"round": 0.36, "tall": 0.40, "bush": 0.74}[kind]
    shape = {"round": (0.37, 0.27), "tall": (0.25, 0.33), "bush": (0.38, 0.36)}[kind]
    x, y = (place + 7 * cloudy(rng, (high, wide), [5, 13, 30]) for place in (x, y))
    depth = np.full((high, wide), -np.inf, np.float32)
    normal = np.zeros((high, wide, 3), np.float32)
    for _ in range(70):
        towards = rng.standard_normal(3)
        towards *= rng.uniform(0.45, 1.0) / np.linalg.norm(towards)
        cx = wide * (0.5 + shape[0] * towards[0])
        cy = high * (middle - shape[1] * towards[2])
        radius = wide * rng.uniform(0.07, 0.15)
        reach = radius + 30  # the rags reach no farther
        top, left = max(int(cy - reach), 0), max(int(cx - reach), 0)
        part = slice(top, max(int(cy + reach), top)), slice(left, max(int(cx + reach), left))
        dx, dy = (x[part] - cx) / radius, (y[part] - cy) / radius
        bulge = np.sqrt(np.maximum(1 - dx * dx - dy * dy, 0))
        front = radius * bulge - towards[1] * wide * shape[0]
        nearer = (bulge > 0) & (front > depth[part])
        depth[part][nearer] = front[nearer]
        facing = 0.6 * np.stack([dx, -bulge, -dy], -1) + 0.7 * towards
        normal[part][nearer] = unit(facing[nearer])
    return depth, normal


def _branch(
    wood: np.ndarray,
    rng: np.random.Generator,
    start: Array,
    angle: float,
    length: float,
    width: float,
    depth: int,
) -> None:
    """Draw a branch and its twigs."""
    end = start + length * np.array([np.cos(angle), np.sin(angle)])
    a, b = (tuple(int(v * 16) for v in p) for p in (start, end))
    cv2.line(wood, a, b, 255, max(1, round(width)), cv2.LINE_8, 4)
    for turn in rng.normal(0, 0.2, 1) if depth == 0 else rng.uniform(0.2, 0.65, 3) * np.array([-1, 0.15, 1]):
        if depth:
            _branch(wood, rng, end, angle + turn, length * rng.uniform(0.6, 0.85), width * 0.62, depth - 1)


@dataclass(frozen=True, slots=True)
class Tree:
    """A cut-out that always turns to the camera."""

    place: Array  # (3,) its foot
    height: float
    look: Cutout
    kind: str
    seed: int = 0

    def cast(self, shadows: Shadows) -> None:
        r = self.height * (0.28 if self.kind == "bush" else 0.12)
        foot = self.place[:2] + r * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
        shadows.underneath(foot, 0.5)
        if self.kind != "bush":
            x, y, _ = (float(v) for v in self.place)
            shadows.crown(x, y, self.height * 0.66, self.height * 0.27, np.random.default_rng(self.seed))

    def draw(self, canvas: Canvas, light: Light, noise: Noise, sunlit: float) -> None:
        width = self.height * 0.75
        sight = self.place[:2] - canvas.origin[:2]
        right = unit(rgb(sight[1], -sight[0], 0))
        texel = width / 312
        glow = (
            np.maximum(light.on(_UP, self.place[None] + rgb(0, 0, 2)) - light.sky_rgb, 0)
            if light.night
            else None
        )

        def turn(u: Array) -> Array:
            return 1 - u / width if self.seed % 2 else u / width

        def mask(u: Array, v: Array, grain: Array) -> np.ndarray:
            return self.look.covers(turn(u), v / self.height, texel, grain)

        def shade(hit: Hit) -> Array:
            colour = self.look.colour(turn(hit.u), hit.v / self.height, texel, hit.grain)
            return colour if glow is None else np.asarray(colour + 0.05 * glow * rgb(0.8, 1, 0.4), np.float32)

        canvas.face(self.place - right * width / 2, right * width, _UP * self.height, VEGETATION, shade, mask)


@dataclass(frozen=True, slots=True)
class Hedge:
    """A clipped hedge from one point of the ground to another."""

    start: Array
    end: Array
    height: float

    @property
    def place(self) -> Array:
        return self.start

    def cast(self, shadows: Shadows) -> None:
        shadows.block(
            np.stack([self.start[:2], self.end[:2], self.end[:2] + 0.3, self.start[:2] + 0.3]), self.height
        )

    def draw(self, canvas: Canvas, light: Light, noise: Noise, sunlit: float) -> None:
        across = self.end - self.start
        normal = unit(np.cross(across, _UP))
        if float((canvas.origin - self.start) @ normal) < 0:
            normal = -normal

        def mask(u: Array, v: Array, grain: Array) -> np.ndarray:
            rim = np.sin(u * 7.1) + np.sin(u * 17.3 + 1) + np.sin(u * 41.7 + 2)
            return np.asarray(v < self.height * 0.95 + 0.03 * rim)

        def shade(hit: Hit) -> Array:
            leaves = [(0.05, 0.3), (0.12, 0.28), (0.4, 0.22), (1.5, 0.2)]
            tone = np.clip(0.85 + noise.layers(hit.u, hit.v, hit.grain, leaves), 0.15, 2.2)
            tone = tone * (0.35 + 0.65 * np.clip(hit.v / self.height, 0, 1))
            return np.asarray(rgb(*GREENS[2]) * 1.3 * tone[:, None] * light.on(normal, hit.point), np.float32)

        canvas.face(self.start, across, _UP * self.height * 1.06, VEGETATION, shade, mask)
