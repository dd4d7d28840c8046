"""Cars, vans, lorries and buses: one lofted body each, whose parts are told by where on it a sample lies."""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from render.camera import Array
from render.canvas import Canvas, unit
from render.light import Light, rgb
from render.noise import Noise
from render.road import BUS, CAR, TRUCK
from render.shadow import Shadows

Profile = tuple[tuple[float, float], ...]


class Model(NamedTuple):
    """A vehicle's measures. Profiles are (position, height) from the tail (-1) to the nose (1)."""

    length: float
    width: float
    top: Profile  # bonnet, windscreen, roof, tail
    belt: float  # height at which the windows begin
    roof: float  # height at which they end
    side: tuple[float, float]  # where the side windows begin and end, -1..1
    pillars: tuple[float, ...]
    wheel: float  # radius
    axles: tuple[float, float]
    label: int = CAR
    boxy: float = 7.0  # how square the body is seen from the front


HATCH: Profile = (
    (-1, 0.85), (-0.97, 1.0), (-0.80, 1.38), (-0.62, 1.46), (0.0, 1.50), (0.16, 1.45), (0.50, 1.0),
    (0.90, 0.82), (1, 0.70),
)  # fmt: skip
SEDAN: Profile = (
    (-1, 0.88), (-0.95, 1.02), (-0.66, 1.06), (-0.40, 1.38), (-0.05, 1.44), (0.12, 1.40), (0.46, 0.98),
    (0.90, 0.80), (1, 0.66),
)  # fmt: skip
ESTATE: Profile = (
    (-1, 0.86), (-0.98, 1.02), (-0.86, 1.38), (-0.70, 1.47), (0.0, 1.49), (0.12, 1.45), (0.46, 1.0),
    (0.90, 0.82), (1, 0.68),
)  # fmt: skip
SUV: Profile = (
    (-1, 0.95), (-0.98, 1.12), (-0.86, 1.58), (-0.72, 1.68), (0.0, 1.71), (0.14, 1.65), (0.46, 1.16),
    (0.92, 1.02), (1, 0.85),
)  # fmt: skip
VAN: Profile = (
    (-1, 1.75), (-0.985, 1.98), (-0.9, 2.05), (0.35, 2.05), (0.45, 1.98), (0.72, 1.20),
    (0.93, 1.05), (1, 0.8),
)  # fmt: skip
LORRY: Profile = ((-1, 3.5), (0.99, 3.5), (1, 3.4))
COACH: Profile = ((-1, 2.9), (-0.97, 3.05), (0.97, 3.05), (1, 2.9))
MODELS = {
    "hatch": Model(4.1, 1.76, HATCH, 0.94, 1.36, (-0.80, 0.42), (-0.45, -0.02), 0.31, (-0.60, 0.64)),
    "sedan": Model(4.7, 1.82, SEDAN, 0.94, 1.31, (-0.52, 0.38), (-0.34, -0.06), 0.32, (-0.58, 0.64)),
    "estate": Model(4.7, 1.82, ESTATE, 0.95, 1.36, (-0.88, 0.38), (-0.60, -0.32, -0.02), 0.32, (-0.58, 0.64)),
    "suv": Model(4.6, 1.88, SUV, 1.10, 1.57, (-0.86, 0.38), (-0.56, -0.30, 0.0), 0.36, (-0.58, 0.62)),
    "van": Model(5.2, 1.98, VAN, 1.15, 1.88, (0.05, 0.66), (0.3,), 0.34, (-0.62, 0.66), boxy=11),
    "lorry": Model(9.5, 2.5, LORRY, 9.0, 9.0, (0, 0), (), 0.5, (-0.66, 0.74), TRUCK, boxy=40),
    "bus": Model(
        11.5,
        2.55,
        COACH,
        1.25,
        2.55,
        (-0.97, 0.95),
        (-0.6, -0.25, 0.1, 0.45, 0.75),
        0.48,
        (-0.55, 0.6),
        BUS,
        boxy=16,
    ),
}
PAINTS = (
    (0.55, 0.55, 0.54), (0.30, 0.31, 0.32), (0.14, 0.145, 0.15), (0.02, 0.02, 0.022), (0.012, 0.012, 0.014),
    (0.05, 0.055, 0.06), (0.02, 0.045, 0.14), (0.22, 0.014, 0.014), (0.16, 0.165, 0.17), (0.05, 0.09, 0.13),
)  # fmt: skip
_BODY, _TYRE, _RIM, _MIRROR = 0.0, 1.0, 2.0, 3.0


@cache
def _shape(name: str, steps: int) -> tuple[Array, Array, NDArray[np.int64]]:
    """Corners (V, 3) in the car's axes (x right, y ahead), traits (V, 7) = corner, normal, part; triangles.

    More `steps` make a smoother body.
    """
    model = MODELS[name]
    sill = 0.20 if model.label == CAR else 0.35
    turn = np.linspace(-np.pi / 2, np.pi / 2, steps + 1)
    plan = 9.0  # squareness seen from above
    reach = (np.abs(np.cos(turn)) ** plan + np.abs(np.sin(turn)) ** plan) ** (-1 / plan)
    along, wide = np.sin(turn) * reach, np.cos(turn) * reach
    along[0], along[-1] = -1, 1
    tops = np.interp(along, *np.array(model.top).T)
    round_ = np.linspace(0, np.pi, steps * 5 // 8 + 1)
    n = model.boxy
    reach = (np.abs(np.cos(round_)) ** n + np.abs(np.sin(round_)) ** n) ** (-1 / n)
    x = np.cos(round_) * reach
    z = sill + (tops[:, None] - sill) * np.sin(round_) * reach
    lean = np.clip((z - model.belt) / 0.5, 0, 1.2) * 0.20  # windows lean inwards
    tuck = np.clip((0.55 - z) / 0.35, 0, 1) ** 2 * 0.07
    half = model.width / 2 * np.clip(wide, 0, 1)[:, None] * (1 - lean - tuck)
    y = np.broadcast_to(along[:, None] * model.length / 2, z.shape)
    grid = np.stack([x * half, y, z], axis=-1)
    normal = np.cross(np.gradient(grid, axis=1), np.gradient(grid, axis=0))
    outward = grid - np.array([0, 0, 0.6]) - np.stack([np.zeros_like(y), y * 0.8, np.zeros_like(y)], -1)
    normal = unit(normal * np.sign((normal * outward).sum(-1, keepdims=True) + 1e-12))
    corners, triangles = [grid.reshape(-1, 3)], [lattice(*z.shape)]
    traits = [np.concatenate([corners[0], normal.reshape(-1, 3), np.full((z.size, 1), _BODY)], axis=1)]
    for side in (-1, 1):
        for axle in model.axles:
            for part, radius, rim in ((_TYRE, model.wheel, 0.0), (_RIM, model.wheel, 0.012)):
                ring = np.linspace(0, 2 * np.pi, 29)
                face = np.stack([np.zeros(29), np.cos(ring) * radius, np.sin(ring) * radius], -1)
                face += [side * (model.width / 2 - 0.01 + rim), axle * model.length / 2, model.wheel]
                inner = (
                    face - [side * 0.22, 0, 0] if part == _TYRE else np.broadcast_to(face.mean(0), face.shape)
                )
                wheel = np.stack([face, inner])
                flat = np.zeros_like(wheel)
                if part == _TYRE:
                    flat[..., 1], flat[..., 2] = np.cos(ring), np.sin(ring)
                else:
                    flat[..., 0] = side
                start = sum(map(len, corners))
                corners.append(wheel.reshape(-1, 3))
                traits.append(
                    np.concatenate([corners[-1], flat.reshape(-1, 3), np.full((58, 1), part)], axis=1)
                )
                triangles.append(lattice(2, 29) + start)
    return (np.concatenate(corners).astype(np.float32), np.concatenate(traits).astype(np.float32),
            np.concatenate(triangles))  # fmt: skip


def lattice(rows: int, columns: int) -> NDArray[np.int64]:
    """The triangles of a grid of corners."""
    corner = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (
        part.ravel() for part in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1])
    )
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A vehicle of a MODELS name at a place, with its nose towards `heading` (radians right of +y)."""

    model: str
    place: Array  # (3,) the middle of its foot
    heading: float
    paint: tuple[float, float, float]
    lamps: bool = False
    braking: bool = False

    def _axes(self) -> Array:
        sin, cos = np.sin(self.heading), np.cos(self.heading)
        return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float32)

    def outline(self, margin: float = 0.0) -> Array:
        """(4, 2) the foot seen from above."""
        model = MODELS[self.model]
        x, y = model.width / 2 + margin, model.length / 2 + margin
        box = np.array([[-x, -y], [x, -y], [x, y], [-x, y]], np.float32)
        return np.asarray(box @ self._axes()[:2, :2] + self.place[:2], np.float32)

    def cast(self, shadows: Shadows) -> None:
        height = max(h for _, h in MODELS[self.model].top)
        shadows.underneath(self.outline(0.35), 0.22)
        shadows.underneath(self.outline(0.12), 0.5)
        shadows.underneath(self.outline(-0.08), 0.86)
        shadows.block(self.outline(-0.15), height * 0.85)

    def draw(self, canvas: Canvas, light: Light, noise: Noise, sunlit: float) -> None:
        distance = float(np.hypot(*(self.place[:2] - canvas.origin[:2])))
        corners, traits, triangles = _shape(self.model, 64 if distance < 25 else 32)
        axes, model = self._axes(), MODELS[self.model]

        def shade(trait: Array, view: Array) -> Array:
            local, normal, part = trait[:, :3], unit(trait[:, 3:6] @ axes), np.round(trait[:, 6])
            normal = np.where(((normal * view).sum(1) > 0)[:, None], -normal, normal)
            point = local @ axes + self.place
            falling = light.on(normal, point, sunlit)
            bounce = view - 2 * (view * normal).sum(1, keepdims=True) * normal
            fresnel = 0.045 + 0.9 * (1 - np.clip(-(view * normal).sum(1), 0, 1)) ** 5
            mirror = light.mirrored(unit(bounce)) * (0.4 + 0.6 * sunlit)
            colour, gloss, glow = _parts(self, model, local, trait[:, 3:6], part, light)
            occluded = np.clip(0.35 + local[:, 2:] / 0.9, 0.35, 1)  # little light near the ground
            return np.asarray(
                colour * falling * occluded + (gloss * fresnel)[:, None] * mirror + glow, np.float32
            )

        canvas.mesh(corners @ axes + self.place, traits, triangles, model.label, shade)


def _parts(
    car: Vehicle, model: Model, local: Array, normal: Array, part: Array, light: Light
) -> tuple[Array, Array, Array]:
    """Albedo (N, 3), gloss (N,) and emitted light (N, 3) of places on a vehicle."""
    x, y, z = np.abs(local[:, 0]), local[:, 1], local[:, 2]
    half, long = model.width / 2, model.length / 2
    ahead, count = y / long, x.size
    colour = np.broadcast_to(rgb(*car.paint), (count, 3)).copy()
    gloss, glow = np.ones(count, np.float32), np.zeros((count, 3), np.float32)

    def put(where: NDArray[np.bool_], albedo: tuple[float, float, float], shine: float) -> None:
        colour[where], gloss[where] = albedo, shine

    sideways, endways = np.abs(normal[:, 0]) > 0.62, np.abs(normal[:, 1]) > 0.6
    front, back = (ahead > 0.9) & endways, (ahead < -0.9) & endways
    if model.label == TRUCK:
        cab = ahead > 0.6
        put(~cab, (0.45, 0.46, 0.48), 0.4)
        put((~cab) & (z < 1.0), (0.03, 0.03, 0.03), 0.1)
        put((np.abs(ahead - 0.6) < 0.02), (0.01, 0.01, 0.01), 0.0)
        put(cab & (z > 2.9), (0.2, 0.25, 0.3), 0.5)
        put(front & (z > 1.6) & (z < 2.6) & (x < half - 0.15), (0.015, 0.018, 0.02), 3.0)
        put(
            cab & sideways & (z > 1.6) & (z < 2.5) & (ahead > 0.7) & (ahead < 0.93), (0.015, 0.018, 0.02), 3.0
        )
        put(back & (x < 0.03), (0.1, 0.1, 0.1), 0.2)
    roofline = np.interp(ahead, *np.array(model.top).T)
    greenhouse = (z > model.belt + 0.02) & (z < np.minimum(model.roof + 0.05, roofline - 0.07))
    lean = half * (1 - np.clip((z - model.belt) / 0.5, 0, 1.2) * 0.20)
    glass = greenhouse & sideways & (ahead > model.side[0]) & (ahead < model.side[1])
    for pillar in model.pillars:
        glass &= np.abs(ahead - pillar) * long > 0.045
    screens = (
        (z > model.belt + 0.03) & (z < model.roof + 0.03) & (x < lean - 0.10) & (np.abs(normal[:, 1]) > 0.25)
    )
    glass |= screens & ~sideways
    dark = (0.012, 0.015, 0.016)
    put(glass, dark, 1.9)
    if light.night and model.label == BUS:
        glow[glass & sideways] = (0.22, 0.19, 0.13)
    put((z < 0.34) & (part == _BODY), (0.02, 0.02, 0.02), 0.2)
    put(
        (np.abs(z - 0.58) < 0.008) & (np.abs(ahead) > 0.8) & (part == _BODY), (0.01, 0.01, 0.01), 0.1
    )  # bumper
    seams = sideways & (z < model.belt) & (z > 0.4)
    for pillar in model.pillars:
        seams_here = seams & (np.abs(ahead - pillar) * long < 0.012)
        colour[seams_here] *= 0.35
    for axle in model.axles:
        arch = np.hypot(y - axle * long, z - model.wheel) < model.wheel * 1.17
        put(arch & (x > half * 0.7) & (part == _BODY), (0.008, 0.008, 0.008), 0.0)
    low, high = (0.62, 0.76) if model.label == CAR else (0.7, 0.95)
    put(front & (z > 0.36) & (z < 0.56) & (x < half * 0.62), (0.015, 0.015, 0.016), 0.4)
    lamp = (ahead > 0.86) & (z > low) & (z < high + 0.03) & (x > half - 0.42) & (normal[:, 2] < 0.8)
    put(lamp, (0.35, 0.36, 0.37), 3.0)
    put(front & (x < 0.26) & (z > 0.40) & (z < 0.51), (0.55, 0.55, 0.53), 0.3)
    tail_low = min(model.belt - 0.22, 1.1)
    lens = ((half - 0.06 - x) / 0.30) ** 4 + ((z - tail_low - 0.1) / 0.11) ** 4  # a rounded lamp
    tail = (ahead < -0.88) & (lens < 1) & ~greenhouse
    put(tail, (0.24, 0.008, 0.008), 1.5)
    put(
        tail & (np.abs(z - tail_low - 0.05) < 0.025) & (x < half - 0.12), (0.5, 0.5, 0.5), 1.5
    )  # reversing lamp
    put(back & (x < 0.26) & (z > 0.62) & (z < 0.73), (0.55, 0.55, 0.53), 0.3)
    rung = (ahead < -0.7) & (np.abs(z - model.roof - 0.06) < 0.018) & (x < 0.3)
    put(rung, (0.20, 0.01, 0.01), 0.5)
    put(back & (z < 0.42) & (part == _BODY), (0.03, 0.03, 0.032), 0.3)
    if car.lamps:
        glow[lamp & front] = (5.0, 4.6, 4.0) if light.night else (1.3, 1.25, 1.15)
        glow[tail & back] = (0.8, 0.03, 0.02)
    if car.braking:
        glow[tail & back] = (2.2, 0.08, 0.05)
    mirror = part == _MIRROR
    put(mirror, car.paint, 1.0)
    put(mirror & (normal[:, 1] < -0.75), dark, 2.0)
    put(part == _TYRE, (0.016, 0.016, 0.017), 0.1)
    rim = part == _RIM
    for axle in model.axles:
        here = rim & (np.abs(y - axle * long) < model.wheel)
        dy, dz = y - axle * long, z - model.wheel
        radius, spoke = np.hypot(dy, dz) / model.wheel, np.cos(5 * np.arctan2(dz, dy))
        put(here & (radius >= 0.66), (0.018, 0.018, 0.019), 0.1)
        put(here & (radius < 0.66), (0.03, 0.03, 0.03), 0.2)
        put(
            here & (radius < 0.64) & ((spoke > -0.1) | (radius > 0.56) | (radius < 0.2)),
            (0.26, 0.26, 0.27),
            1.0,
        )
    return colour, gloss, glow
