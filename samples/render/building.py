"""Houses: boxes with windows, doors, shops and a roof."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from render.camera import Array
from render.canvas import Canvas, FaceShader, Hit, unit
from render.ground import scatter, stroke
from render.light import Light, rgb
from render.noise import Noise
from render.road import BUILDING
from render.shadow import Shadows

UPRIGHT: Final = rgb(0, 0, 1)

PLASTERS = (
    (0.42, 0.37, 0.29), (0.46, 0.44, 0.40), (0.38, 0.30, 0.20), (0.30, 0.25, 0.20), (0.44, 0.39, 0.33),
    (0.33, 0.33, 0.31), (0.40, 0.31, 0.26), (0.27, 0.28, 0.28), (0.48, 0.43, 0.30), (0.22, 0.20, 0.18),
    (0.55, 0.54, 0.51), (0.58, 0.55, 0.47), (0.50, 0.50, 0.50),
)  # fmt: skip
BRICKS = ((0.20, 0.09, 0.06), (0.24, 0.12, 0.08), (0.17, 0.10, 0.075))


@dataclass(frozen=True, slots=True)
class House:
    """A box on `foot`: its four corners (4, 2) seen from above, the street's side from first to second."""

    foot: Array
    base: float  # height of the ground
    floors: int
    colour: tuple[float, float, float]
    seed: int
    style: str = "plaster"  # plaster, brick or office
    shop: bool = False
    roof: float = 0.0  # height of the gable above the eaves; 0 is flat
    storey: float = 3.1
    bay: float = 2.7

    @property
    def height(self) -> float:
        return self.floors * self.storey + (0.9 if self.shop else 0.5)

    @property
    def place(self) -> Array:
        return np.append(self.foot[:2].mean(0), self.base).astype(np.float32)

    def cast(self, shadows: Shadows) -> None:
        shadows.block(self.foot, self.height + 0.6 * self.roof)

    def draw(self, canvas: Canvas, light: Light, noise: Noise, sunlit: float) -> None:
        corners = np.concatenate([self.foot, np.full((4, 1), self.base - 0.3)], axis=1).astype(np.float32)
        up = UPRIGHT * (self.height + 0.3)
        eye = canvas.origin[:2]
        for i in range(4):
            start, end = corners[i], corners[(i + 1) % 4]
            across = end - start
            normal = unit(np.cross(across, UPRIGHT))
            if float((eye - start[:2]) @ normal[:2]) <= 0:
                continue  # the back of the box
            length = float(np.linalg.norm(across))
            canvas.face(start, across, up, BUILDING, self._wall(normal, length, light, noise, front=i == 0))
        if self.roof:
            self._draw_roof(canvas, corners + up, light, noise)

    def _draw_roof(self, canvas: Canvas, eaves: Array, light: Light, noise: Noise) -> None:
        """A gable along the street: two slopes, and the walls below them at either end."""
        ridge = [
            (eaves[0] + eaves[3]) / 2 + UPRIGHT * self.roof,
            (eaves[1] + eaves[2]) / 2 + UPRIGHT * self.roof,
        ]
        dark = self.seed % 2 == 0
        tile = rgb(0.085, 0.085, 0.09) if dark else rgb(0.20, 0.085, 0.055)

        def slope(normal: Array) -> FaceShader:
            def shade(hit: Hit) -> Array:
                rows = 1 - 0.3 * stroke(np.mod(hit.v, 0.34) - 0.17, 0.06, hit.grain)
                moss = 1 + noise.layers(hit.u + self.seed, hit.v, hit.grain, [(0.3, 0.12), (2.0, 0.12)])
                return np.asarray(tile * (rows * moss)[:, None] * light.on(normal, hit.point), np.float32)

            return shade

        for low, high in (((0, 1), (0, 1)), ((2, 3), (1, 0))):
            corner, across = eaves[low[0]], eaves[low[1]] - eaves[low[0]]
            up = ridge[high[0]] - corner
            canvas.face(corner, across, up, BUILDING, slope(unit(np.cross(across, up))))
        for a, b, top in ((1, 2, ridge[1]), (3, 0, ridge[0])):
            across = eaves[b] - eaves[a]
            length = float(np.linalg.norm(across))
            normal = unit(np.cross(across, UPRIGHT))

            def gable(u: Array, v: Array, grain: Array, length: float = length) -> np.ndarray:
                return np.asarray(v < self.roof * (1 - np.abs(2 * u / length - 1)))

            def plain(hit: Hit, normal: Array = normal) -> Array:
                return np.asarray(rgb(*self.colour) * 0.92 * light.on(normal, hit.point), np.float32)

            canvas.face(eaves[a], across, UPRIGHT * (top[2] - eaves[a][2]), BUILDING, plain, gable)

    def _wall(self, normal: Array, length: float, light: Light, noise: Noise, front: bool) -> FaceShader:
        bays = max(1, round(length / self.bay))
        bay = length / bays
        first = self.height - self.floors * self.storey + self.storey  # top of the ground floor

        def shade(hit: Hit) -> Array:
            u, v, grain = hit.u, hit.v - 0.3, hit.grain
            floor = np.floor((v - first) / self.storey)
            low = floor < 0
            up = np.where(low, v, (v - first) - floor * self.storey)
            number = np.floor(u / bay)
            aside = u - (number + 0.5) * bay
            key = self.seed * 17.0 + floor * 3.1
            luck = scatter(number + 31 * front, np.asarray(key, np.float32))
            colour = self._masonry(u, v, grain, noise)

            half, sill, top = (np.full(u.shape, measure) for measure in self._window(bay))
            if self.shop and front:
                half = np.where(low, bay / 2 - 0.22, half)
                sill, top = np.where(low, 0.45, sill), np.where(low, 2.9, top)
            blind = not front and self.seed % 3 == 0  # many side walls have no windows
            inside = np.minimum(half - np.abs(aside), np.minimum(up - sill, top - up))
            cover = np.zeros_like(u) if blind else np.clip(inside / grain + 0.5, 0, 1)

            glass, lit = self._glass(hit, luck, up - sill, light, noise)
            bars = np.maximum(
                stroke(aside, 0.08, grain) * ~(low & self.shop), np.clip((0.09 - inside) / grain, 0, 1)
            )
            bars = np.where(np.full(u.shape, self.style == "office"), 0.6 * bars, bars)
            frame = rgb(0.5, 0.5, 0.48) if self.seed % 4 else rgb(0.12, 0.10, 0.09)
            ledge = np.clip((half + 0.1 - np.abs(aside)) / grain, 0, 1) * stroke(
                up - sill + 0.07, 0.12, grain
            )
            colour = colour * (1 + 0.35 * ledge * (not blind))[:, None]
            under = np.exp(-np.maximum(sill - up, 0) / 0.5) * (np.abs(aside) < half) * (up < sill)
            colour = colour * (1 - 0.10 * under)[:, None]
            reveal = np.clip((0.16 - (top - up)) / 0.16, 0, 1)  # the lintel's shadow on the glass
            sunlit = light.on(normal, hit.point)
            wall = colour * sunlit
            pane = glass * (1 - 0.6 * reveal)[:, None]
            pane = pane + bars[:, None] * (frame * sunlit * (1 - 0.5 * reveal)[:, None] - pane) + lit
            wall = wall + cover[:, None] * (pane - wall)
            if self.shop and front:
                wall = self._sign_band(wall, u, v, grain, sunlit, light)
            eaves = np.clip((v - self.height + 0.35) / grain, 0, 1) - 0.5 * stroke(
                v - self.height + 0.4, 0.12, grain
            )
            return np.asarray(wall * (1 + 0.2 * eaves)[:, None], np.float32)

        return shade

    def _window(self, bay: float) -> tuple[float, float, float]:
        """Half width, sill and top of an ordinary window, metres above its floor."""
        if self.style == "office":
            return bay / 2 - 0.06, 0.9, 2.6
        return min(bay * 0.24, 0.62), 0.85, 2.45

    def _masonry(self, u: Array, v: Array, grain: Array, noise: Noise) -> Array:
        stain = [(0.25, 0.04), (1.2, 0.04), (5.0, 0.06)]
        tone = 1 + noise.layers(u + 7.7 * self.seed, v, grain, stain)
        tone += noise.layers(u + 3.1 * self.seed, v / 9, grain, [(0.5, 0.04)])  # rain runs down
        if self.style == "brick":
            row = np.floor(v / 0.075)
            brick = np.mod(u / 0.25 + 0.5 * np.mod(row, 2), 1) - 0.5
            joint = np.maximum(
                stroke(brick * 0.25, 0.012, grain), stroke(np.mod(v, 0.075) - 0.0375, 0.012, grain)
            )
            tone = tone * (1 - 0.25 * joint)
        colour = tone[:, None] * rgb(*self.colour)
        plinth = np.clip((0.7 - v) / grain + 0.5, 0, 1)[:, None]
        return np.asarray(colour + plinth * (0.55 * rgb(0.3, 0.28, 0.26) - colour * 0.6), np.float32)

    def _glass(self, hit: Hit, luck: Array, up: Array, light: Light, noise: Noise) -> tuple[Array, Array]:
        """The panes' colour, and the light that comes out of them."""
        mirror = 0.10 + 0.38 * np.mod(luck * 7.3, 1)
        wave = noise.at(hit.u + 3 * luck, hit.v, 2.5)
        sky = (mirror * np.clip(0.55 + 0.35 * wave, 0.1, 1.2))[:, None] * light.horizon
        curtain = np.where((np.mod(luck * 13.7, 1) > 0.5) & (np.mod(luck * 3.7, 1) * 1.9 < up), 0.22, 0.015)
        glass = curtain[:, None] * rgb(1, 0.98, 0.92) * light.sky_rgb + 0.45 * sky
        share = 0.30 if light.night else 0.03
        ground = (hit.v < self.storey + 0.6) & self.shop
        on = (np.mod(luck * 29.3, 1) < share) | (ground & light.night)
        warm = rgb(1.0, 0.68, 0.34) + np.mod(luck * 5.1, 1)[:, None] * rgb(-0.1, 0.12, 0.35)
        glow = (0.22 + 0.3 * np.mod(luck * 3.3, 1)) * np.clip(0.8 + 0.4 * wave, 0.3, 1.5)
        return glass, (on * glow)[:, None] * warm * (1.0 if light.night else 0.6)

    def _sign_band(self, wall: Array, u: Array, v: Array, grain: Array, sunlit: Array, light: Light) -> Array:
        """A board above the shop windows with a made-up name on it."""
        unit_number = np.floor(u / 7.0)
        luck = scatter(unit_number, np.full(u.shape, self.seed, np.float32))
        paint = np.stack([np.mod(luck * k, 1) for k in (3.7, 9.1, 5.3)], axis=1) ** 2 * 0.5 + 0.03
        aside = np.abs(u - (unit_number + 0.5) * 7.0)
        band = np.clip((0.28 - np.abs(v - 3.25)) / grain + 0.5, 0, 1) * (aside < 3.2)
        letter = scatter(np.floor(u / 0.16), np.floor(v / 0.16)) > 0.45
        written = letter & (np.abs(v - 3.25) < 0.15) & (aside < 0.6 + 1.4 * luck)
        paint = np.where(written[:, None], 0.7 - paint, paint)
        glow = 0.35 if light.night else 0.0
        return np.asarray(wall + band[:, None] * (paint * (sunlit + glow) - wall), np.float32)
