"""The ground: asphalt, paving, grass and paint, as colours of points given in metres."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from render.camera import Array
from render.canvas import NEAR, Canvas, unit
from render.light import Light, rgb
from render.loose import BANK, earth, sand, snow_cover, snowed
from render.noise import Noise
from render.road import FAR, LANE, ROAD, UNLABELED, Arrow, Line, Road, Spots, Zebra
from render.shadow import Shadows

UP = rgb(0, 0, 1)


@dataclass(frozen=True, slots=True)
class Wear:
    """How the road looks after its years."""

    tone: float = 0.125  # albedo of the asphalt
    warm: float = 0.0  # -1 bluish .. 1 brownish
    cracks: float = 0.4  # 0 none .. 1 many
    patches: int = 5
    seams: int = 2
    covers: int = 3
    paint: float = 0.75  # 0 worn off .. 1 fresh
    leaves: float = 0.0
    snow: float | None = None  # 0 along the edges .. 1 all over; None: none


class Patch(NamedTuple):
    """A mended place in the asphalt."""

    s: float
    d: float
    length: float
    width: float
    tone: float  # brightness against the rest


class Ground:
    """Draws a road and what lies beside it."""

    def __init__(self, road: Road, wear: Wear, rng: np.random.Generator) -> None:
        self.road, self.wear = road, wear
        self.noise = Noise(rng)
        width = road.right - road.left
        side = rng.uniform(road.left + 0.8, road.right - 0.8, wear.patches)
        self._patches = [
            Patch(
                s=float(rng.uniform(0, 70)),
                d=float(d),
                length=float(rng.uniform(1.5, 9)),
                width=float(rng.uniform(0.7, width / 3)),
                tone=float(rng.choice([0.72, 0.82, 1.15, 1.25])),
            )
            for d in side
        ]
        self._seams = [float(d) for d in rng.uniform(road.left + 0.5, road.right - 0.5, wear.seams)]
        self._joints = [float(s) for s in rng.uniform(5, 90, wear.seams + 1)]
        self._covers = [
            (float(rng.uniform(6, 50)), float(rng.choice(road.lanes)) + float(rng.normal(0, 0.5)))
            for _ in range(wear.covers)
        ]
        self._surfaces = {
            "asphalt": self._asphalt, "setts": self._setts, "slabs": self._slabs, "bricks": self._bricks,
            "kerb": self._kerb, "grass": self._grass, "dry grass": self._dry_grass, "gravel": self._gravel,
            "red bike path": self._bike_path, "field": self._field, "concrete": self._concrete,
            "earth": self._earth, "sand": partial(sand, self.noise),
        }  # fmt: skip

    def draw(self, canvas: Canvas, light: Light, shadows: Shadows, mirrored: Array | None) -> None:
        """Draw the ground where nothing is nearer; `mirrored`, (2H, 2W, 3), is what puddles show."""
        ray, (x, y, z) = canvas.ray, canvas.camera.position
        # Height depends on y alone, so a ray's slope says where it first meets the ground: one table for all.
        ahead = np.geomspace(0.3, FAR, 6000)
        slope = np.maximum.accumulate((self.road.height(ahead + y) - z) / ahead)
        slope += np.arange(slope.size) * 1e-12
        with np.errstate(divide="ignore", invalid="ignore"):
            wanted = np.where(ray[..., 1] > 1e-3, ray[..., 2] / ray[..., 1], np.inf)
            depth = np.interp(wanted, slope, ahead, left=np.inf, right=np.inf) / ray[..., 1]
        seen = (depth > NEAR) & (depth < canvas.depth) & np.isfinite(depth)
        far, along = depth[seen].astype(np.float32), ray[seen]
        view = unit(along)
        wide = far / (canvas.camera.focal * 2)
        grain = wide / np.sqrt(
            np.maximum(-view[:, 2], 0.004)
        )  # mean of the sample's width and its longer length
        spots = self.road.spots(x + far * along[:, 0], y + far * along[:, 1], grain)
        albedo, gloss, label = self._colours(spots)
        if mirrored is None:
            wet = np.zeros(far.shape, np.float32)
        else:
            pools = self.noise.layers(spots.x, spots.y, grain, [(5.0, 0.7), (1.3, 0.4), (0.4, 0.2)])
            wet = light.wet * gloss * np.clip(0.55 + 0.35 * pools, 0.12, 1)
            albedo = albedo * (1 - 0.55 * wet)[:, None]
        ground = np.stack([spots.x, spots.y, np.zeros_like(far)], axis=1)
        colour = albedo * light.on(UP, ground, shadows.sun_at(spots.x, spots.y))
        colour = colour * shadows.sky_at(spots.x, spots.y)[:, None]
        graze = np.clip(1 + view[:, 2], 0, 1) ** 5
        colour = colour + (0.05 * graze * gloss)[:, None] * (light.horizon + 0.5 * light.sun_rgb)
        if mirrored is not None:
            share = (wet * (0.03 + 0.45 * graze))[:, None]
            colour = colour * (1 - share) + share * mirrored[seen]
        canvas.rgb[seen], canvas.depth[seen], canvas.label[seen] = colour, far, label

    def _colours(self, spots: Spots) -> tuple[Array, Array, NDArray[np.uint8]]:
        """Albedo (N, 3), gloss (N,) and label (N,)."""
        count = spots.s.size
        albedo, gloss = np.zeros((count, 3), np.float32), np.full(count, 0.25, np.float32)
        label = np.zeros(count, np.uint8)
        for index, surface, zone_label in self.road.zones(spots):
            if not index.size:
                continue
            part = Spots(*(a[index] for a in spots))
            colour = self._surfaces[surface](part)
            if zone_label == ROAD:
                colour = self._painted(colour, part)
                gloss[index] = 1.0
            elif surface in ("slabs", "bricks", "kerb", "setts"):
                gloss[index] = 0.35
            label[index] = zone_label
            if self.wear.snow is not None:
                paved = zone_label == ROAD
                cover = snow_cover(self.noise, part, self.wear.snow if paved else None)
                colour = snowed(self.noise, colour, part, cover)
                # Where a closed bank lies along the edge nobody could tell where the road ends.
                label[index[paved & (part.out > -BANK) & (cover > 0.8)]] = UNLABELED
            albedo[index] = colour
        return albedo, gloss, label

    def _asphalt(self, p: Spots) -> Array:
        wear, noise = self.wear, self.noise
        grit = [
            (0.012, 0.16),
            (0.03, 0.10),
            (0.10, 0.035),
            (0.4, 0.025),
            (1.7, 0.035),
            (6.0, 0.05),
            (23.0, 0.06),
        ]
        tone = 1 + noise.layers(p.x, p.y, p.grain, grit)
        streak = noise.layers(
            p.d, p.s / 26, p.grain, [(0.35, 0.035), (1.1, 0.05)]
        )  # traffic draws it lengthwise
        tone += streak
        for lane in self.road.lanes:
            for tyre in (-0.78, 0.78):
                tone -= 0.075 * np.exp(-(((p.d - lane - tyre) / 0.26) ** 2)) * (1 + 5 * streak)
            tone -= 0.045 * np.exp(-(((p.d - lane) / 0.22) ** 2))  # oil
        for patch in self._patches:
            wobble = 0.03 * noise.at(p.x, p.y, 0.6)
            along, aside = np.abs(p.s - patch.s) - patch.length / 2, np.abs(p.d - patch.d) - patch.width / 2
            edge = np.maximum(along, aside) + wobble
            tone *= np.where(edge < 0, patch.tone, 1.0)
            tone *= 1 - 0.4 * stroke(edge, 0.05, p.grain)
        for d in self._seams:
            wander = d + 0.05 * noise.at(p.s, np.zeros_like(p.s), 9.0)
            tone *= 1 - 0.4 * stroke(p.d - wander, 0.045, p.grain)
        for s in self._joints:
            wander = s + 0.06 * noise.at(p.d, np.zeros_like(p.d), 3.0)
            tone *= 1 - 0.3 * stroke(p.s - wander, 0.05, p.grain)
        if wear.cracks:
            broken = np.clip(noise.at(p.x, p.y, 9.0) + wear.cracks - 0.5, 0, 1)
            line = noise.at(p.x, p.y, 4.5) + 0.25 * noise.at(p.x, p.y, 1.1) + 0.07 * noise.at(p.x, p.y, 0.25)
            tone *= 1 - 0.6 * broken * stroke(line, 0.03, 0.6 * p.grain)
        tone *= 1 - 0.20 * np.exp(-np.abs(p.out) / 0.35)  # dirt along the edge
        colour = wear.tone * tone[:, None] * rgb(1 + 0.07 * wear.warm, 1.0, 1.0 - 0.09 * wear.warm)
        for s, d in self._covers:
            radius = np.hypot(p.s - s, p.d - d)
            iron = np.where(np.sin(p.s * 70) * np.sin(p.d * 70) > 0, 0.07, 0.11)[:, None] * rgb(1, 0.97, 0.93)
            colour = np.where((radius < 0.32)[:, None], iron, colour)
            colour *= (1 - 0.5 * stroke(radius - 0.36, 0.07, p.grain))[:, None]
        if self.road.gutter:
            rim = np.clip((p.out + self.road.gutter) / p.grain + 0.5, 0, 1) * (p.out < 0)
            colour += rim[:, None] * (1.25 * self._setts(p) - colour)
        if wear.leaves:
            fallen = (
                noise.at(p.x, p.y, 0.11) + 0.8 * noise.at(p.x, p.y, 2.2) + 1.1 * np.exp(-np.abs(p.out) / 0.9)
            )
            cover = np.clip((fallen - 2.9 + wear.leaves) * 2, 0, 0.85)[:, None]
            colour += cover * (rgb(0.26, 0.15, 0.05) * (1 + 0.4 * noise.at(p.x, p.y, 0.3))[:, None] - colour)
        return np.asarray(colour, np.float32)

    def _concrete(self, p: Spots) -> Array:
        lanes = (
            np.abs(np.mod(p.d, LANE) - LANE / 2) - LANE / 2
        )  # a joint between two lanes, and one every five metres
        joint = np.maximum(stroke(lanes, 0.03, p.grain), stroke(np.mod(p.s, 5.0) - 2.5, 0.03, p.grain))
        return np.asarray(self._asphalt(p) * (1 - 0.45 * joint)[:, None], np.float32)

    def _earth(self, p: Spots) -> Array:
        return earth(self.noise, p, self.road.lanes, self.wear.warm)

    def _painted(self, colour: Array, p: Spots) -> Array:
        cover, yellow = np.zeros(p.s.shape, np.float32), np.zeros(p.s.shape, np.float32)
        crossing = self.road.crossing
        free = (
            np.ones(p.s.shape, bool)
            if crossing is None
            else (p.s < crossing[0] - 1) | (p.s > crossing[1] + 1)
        )
        for paint in self.road.paint:
            if isinstance(paint, Line):
                part = stroke(p.d - paint.d, paint.width, p.grain) * free
                if paint.off:
                    phase = np.mod(p.s, paint.on + paint.off)
                    part *= np.clip((paint.on / 2 - np.abs(phase - paint.on / 2)) / p.grain + 0.5, 0, 1)
                yellow = np.maximum(yellow, part * paint.yellow)
            elif isinstance(paint, Zebra):
                part = np.clip(
                    (paint.length / 2 - np.abs(p.s - paint.s - paint.length / 2)) / p.grain + 0.5, 0, 1
                )
                part *= (p.out < -0.25) & (p.d > paint.left)
                if paint.bars:
                    part *= np.clip((0.25 - np.abs(np.mod(p.d, 1.0) - 0.5)) / p.grain + 0.5, 0, 1)
            else:
                part = _arrow(paint, p)
            cover = np.maximum(cover, part)
        grit = [(0.04, 0.25), (0.15, 0.3), (0.7, 0.35), (4.0, 0.3)]
        worn = np.clip(self.wear.paint + 0.35 * self.noise.layers(p.x + 5, p.y, p.grain, grit), 0.12, 1.0)
        shade = np.where(yellow[:, None] > 0.01, rgb(0.66, 0.42, 0.05), rgb(0.72, 0.72, 0.70))
        return np.asarray(colour + (cover * worn)[:, None] * (shade - colour), np.float32)

    def _setts(self, p: Spots) -> Array:
        row = np.floor(p.s / 0.13)
        stone = np.floor(p.d / 0.15 + 0.5 * np.mod(row, 2))
        near = 1 / (1 + (p.grain / 0.06) ** 2)
        tint = scatter(row, stone)
        gap = np.minimum(
            np.abs(np.mod(p.s / 0.13, 1) - 0.5), np.abs(np.mod(p.d / 0.15 + 0.5 * np.mod(row, 2), 1) - 0.5)
        )
        joint = np.clip((gap - 0.38) * 12, 0, 1) * near
        tone = 0.13 * (1 + 0.35 * (tint - 0.5) * near + self._rough(p)) * (1 - 0.55 * joint)
        return np.asarray(tone[:, None] * rgb(1.02, 1.0, 0.97), np.float32)

    def _slabs(self, p: Spots) -> Array:
        return self._tiles(p, 0.5, 0.5, rgb(0.285, 0.265, 0.235), 0.22)

    def _bricks(self, p: Spots) -> Array:
        return self._tiles(p, 0.2, 0.1, rgb(0.235, 0.16, 0.13), 0.4)

    def _bike_path(self, p: Spots) -> Array:
        return self._tiles(p, 0.2, 0.2, rgb(0.22, 0.10, 0.075), 0.2)

    def _tiles(self, p: Spots, length: float, width: float, colour: Array, variety: float) -> Array:
        row = np.floor(p.d / width)
        along = p.s / length + 0.5 * np.mod(row, 2)
        tint = (scatter(row, np.floor(along)) - 0.5) * variety / (1 + (p.grain / width) ** 2)
        joint = np.maximum(
            stroke((np.mod(along, 1) - 0.5) * length, 0.018, p.grain),
            stroke((np.mod(p.d / width, 1) - 0.5) * width, 0.018, p.grain),
        )
        tone = (1 + tint + self._rough(p)) * (1 - 0.5 * joint)
        return np.asarray(tone[:, None] * colour, np.float32)

    def _rough(self, p: Spots) -> Array:
        return self.noise.layers(p.x, p.y, p.grain, [(0.03, 0.09), (0.2, 0.07), (0.9, 0.08), (5.0, 0.09)])

    def _kerb(self, p: Spots) -> Array:
        wall = np.clip((0.09 - p.out) / p.grain + 0.5, 0, 1)  # the kerb's upright face is darker than its top
        joint = stroke(np.mod(p.s + p.d * 0, 1.0) - 0.5, 0.015, p.grain)
        tone = (0.36 - 0.23 * wall) * (1 + self._rough(p)) * (1 - 0.4 * joint)
        return np.asarray(tone[:, None] * rgb(1, 0.98, 0.94), np.float32)

    def _grass(self, p: Spots) -> Array:
        return self._lawn(p, rgb(0.075, 0.105, 0.03), rgb(0.13, 0.13, 0.045))

    def _dry_grass(self, p: Spots) -> Array:
        return self._lawn(p, rgb(0.17, 0.14, 0.065), rgb(0.27, 0.21, 0.11))

    def _field(self, p: Spots) -> Array:
        return self._lawn(p, rgb(0.11, 0.125, 0.035), rgb(0.20, 0.18, 0.06))

    def _lawn(self, p: Spots, low: Array, high: Array) -> Array:
        mix = self.noise.layers(p.x, p.y, p.grain, [(0.35, 0.2), (1.6, 0.25), (7.0, 0.3), (31.0, 0.3)])
        blades = self.noise.layers(p.x, p.y * 0.35, p.grain, [(0.03, 0.3), (0.08, 0.3), (0.25, 0.2)])
        colour = low + (high - low) * np.clip(0.5 + mix, 0, 1)[:, None]
        return np.asarray(colour * np.clip(1 + blades, 0.25, 2)[:, None], np.float32)

    def _gravel(self, p: Spots) -> Array:
        stones = self.noise.layers(p.x, p.y, p.grain, [(0.02, 0.3), (0.06, 0.2), (0.8, 0.1), (4.0, 0.15)])
        return np.asarray((1 + stones)[:, None] * rgb(0.24, 0.185, 0.115), np.float32)


def stroke(across: Array, width: float, grain: Array) -> Array:
    """How much of a sample of size `grain` a stroke of that width covers, `across` metres from its middle."""
    soft = np.maximum(grain, 1e-4)
    inside = np.clip((width / 2 - np.abs(across)) / soft + 0.5, 0, 1)
    return np.asarray(inside * np.minimum(1, width / soft), np.float32)


def scatter(a: Array, b: Array) -> Array:
    """A random-looking number, 0..1, for each pair of whole numbers."""
    mixed = np.sin(a * 12.9898 + b * 78.233).astype(np.float64) * 43758.5453
    return np.asarray(mixed - np.floor(mixed), np.float32)


def _arrow(arrow: Arrow, p: Spots) -> Array:
    """A straight arrow, 5 m long as on German roads."""
    along, aside = p.s - arrow.s, np.abs(p.d - arrow.d)
    shaft = (along > 0) & (along < 3.2) & (aside < 0.09)
    head = (along >= 3.0) & (along < 5.0) & (aside < 0.45 * (5.0 - along) / 2.0)
    return np.asarray(shaft | head, np.float32)
