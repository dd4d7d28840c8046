"""Vehicles in the street: paint, glass and lamps, told by where on the shape a sample lies."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from render.bodywork import BODY, MIRROR, MODELS, RIM, TYRE, Model, shape
from render.camera import Array
from render.canvas import Canvas, unit
from render.light import Light, rgb
from render.noise import Noise
from render.road import BUS, CAR, TRUCK
from render.shadow import Shadows

PAINTS = (
    (0.55, 0.55, 0.54), (0.30, 0.31, 0.32), (0.14, 0.145, 0.15), (0.02, 0.02, 0.022), (0.012, 0.012, 0.014),
    (0.05, 0.055, 0.06), (0.02, 0.045, 0.14), (0.22, 0.014, 0.014), (0.16, 0.165, 0.17), (0.05, 0.09, 0.13),
)  # fmt: skip


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
        corners, traits, triangles = shape(self.model, 64 if distance < 25 else 32)
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
    lean = half * (1 - np.clip((z - model.belt) / 0.5, 0, 1.2) * model.lean)
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
    put((z < 0.34) & (part == BODY), (0.02, 0.02, 0.02), 0.2)
    put(
        (np.abs(z - 0.58) < 0.008) & (np.abs(ahead) > 0.8) & (part == BODY), (0.01, 0.01, 0.01), 0.1
    )  # bumper
    seams = sideways & (z < model.belt) & (z > 0.4)
    for pillar in model.pillars:
        seams_here = seams & (np.abs(ahead - pillar) * long < 0.012)
        colour[seams_here] *= 0.35
    for axle in model.axles:
        arch = np.hypot(y - axle * long, z - model.wheel) < model.wheel * 1.17
        put(arch & (x > half * 0.7) & (part == BODY), (0.008, 0.008, 0.008), 0.0)
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
    put(back & (z < 0.42) & (part == BODY), (0.03, 0.03, 0.032), 0.3)
    if car.lamps:
        glow[lamp & front] = (5.0, 4.6, 4.0) if light.night else (1.3, 1.25, 1.15)
        glow[tail & back] = (0.8, 0.03, 0.02)
    if car.braking:
        glow[tail & back] = (2.2, 0.08, 0.05)
    mirror = part == MIRROR
    put(mirror, car.paint, 1.0)
    put(mirror & (normal[:, 1] < -0.75), dark, 2.0)
    put(part == TYRE, (0.016, 0.016, 0.017), 0.1)
    rim = part == RIM
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
