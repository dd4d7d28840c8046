"""People on foot: a body of rounded limbs."""

from dataclasses import dataclass

import numpy as np

from render.bodywork import lattice
from render.camera import Array
from render.canvas import Canvas, unit
from render.light import Light, rgb
from render.noise import Noise
from render.road import PERSON
from render.shadow import Shadows

CLOTHES = (
    (0.02, 0.025, 0.04), (0.04, 0.05, 0.09), (0.10, 0.10, 0.11), (0.25, 0.04, 0.04), (0.30, 0.29, 0.27),
    (0.05, 0.08, 0.05), (0.16, 0.12, 0.08), (0.03, 0.03, 0.03), (0.12, 0.16, 0.24), (0.35, 0.25, 0.08),
)  # fmt: skip
_SKIN = ((0.42, 0.27, 0.19), (0.30, 0.18, 0.12), (0.12, 0.065, 0.04))
_RINGS, _ROUND = 9, 12

Spot = tuple[float, float, float]
RGB = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at a place who walks towards `heading`, at `step` (radians) of the walk."""

    place: Array
    heading: float
    height: float
    seed: int
    step: float = 0.0

    def cast(self, shadows: Shadows) -> None:
        spot = self.place[:2] + 0.2 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
        shadows.underneath(spot, 0.45)
        shadows.block(spot, self.height * 0.95)

    def draw(self, canvas: Canvas, light: Light, noise: Noise, sunlit: float) -> None:
        rng = np.random.default_rng(self.seed)
        top, legs = (CLOTHES[int(rng.integers(len(CLOTHES)))] for _ in range(2))
        skin = _SKIN[int(rng.integers(len(_SKIN)))]
        hair = (0.025, 0.018, 0.012) if rng.uniform() < 0.7 else (0.2, 0.14, 0.07)
        swing = 0.42 * np.sin(self.step)
        hip, shoulder = 0.50, 0.81  # of the height
        limbs: list[tuple[Spot, Spot, float, float, RGB]] = [
            ((0, 0, hip - 0.03), (0, 0.01, shoulder), 0.095, 0.115, top),
            ((0, 0.01, shoulder), (0, 0.015, 0.87), 0.045, 0.035, skin),
            ((0, 0.015, 0.90), (0, 0.015, 0.945), 0.056, 0.058, skin),
            ((0, 0.0, 0.93), (0, -0.005, 0.955), 0.058, 0.055, hair),
        ]
        for side in (-1, 1):
            reach = side * swing
            knee, foot = (side * 0.05, reach * 0.26, 0.27), (side * 0.05, reach * 0.46 - 0.02, 0.03)
            limbs += [((side * 0.05, 0, hip), knee, 0.06, 0.047, legs), (knee, foot, 0.045, 0.032, legs)]
            limbs += [(foot, (side * 0.055, foot[1] + 0.08, 0.02), 0.03, 0.026, (0.02, 0.02, 0.02))]
            elbow = (side * 0.135, -reach * 0.10, 0.63)
            limbs += [((side * 0.115, 0, shoulder - 0.02), elbow, 0.036, 0.031, top)]
            limbs += [(elbow, (side * 0.13, -reach * 0.28 + 0.05, 0.5), 0.028, 0.022, top)]
        corners, normals, colours = (
            np.concatenate(p) for p in zip(*(_limb(*limb) for limb in limbs), strict=True)
        )
        triangles = np.concatenate([lattice(_RINGS, _ROUND) + i * _RINGS * _ROUND for i in range(len(limbs))])
        sin, cos = np.sin(self.heading), np.cos(self.heading)
        axes = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float32)
        world = corners * self.height @ axes + self.place

        def shade(trait: Array, view: Array) -> Array:
            fold = 1 + 0.25 * noise.at(trait[:, 0] + trait[:, 1], trait[:, 2], 0.12)
            falling = light.on(unit(trait[:, 6:9]), trait[:, :3], sunlit)
            return np.asarray(trait[:, 3:6] * fold[:, None] * falling, np.float32)

        traits = np.concatenate([world, colours, normals @ axes], axis=1).astype(np.float32)
        canvas.mesh(world.astype(np.float32), traits, triangles, PERSON, shade)


def _limb(start: Spot, end: Spot, thick: float, thin: float, colour: RGB) -> tuple[Array, Array, Array]:
    """Corners, normals and colours of a rounded stick from start (radius thick) to end (radius thin)."""
    a, b = np.array(start), np.array(end)
    axis = unit(b - a)
    side = unit(np.cross(axis, [0.0, 1.0, 0.0] if abs(axis[1]) < 0.9 else [1.0, 0.0, 0.0]))
    other = np.cross(axis, side)
    t = np.linspace(0, np.pi, _RINGS)
    round_ = np.linspace(0, 2 * np.pi, _ROUND)
    share = np.clip(-np.cos(t) * 0.75 + 0.5, 0, 1)
    radius = (thick + (thin - thick) * share) * np.sin(t) ** 0.5
    bulge = -np.cos(t) * np.where(np.cos(t) > 0, thick, thin) * np.abs(np.cos(t)) ** 3
    around = np.cos(round_)[:, None] * side + np.sin(round_)[:, None] * other
    centre = a + share[:, None] * (b - a) + bulge[:, None] * axis
    corners = centre[:, None] + radius[:, None, None] * around
    normals = np.sin(t)[:, None, None] * around - np.cos(t)[:, None, None] * axis
    flat = corners.reshape(-1, 3).astype(np.float32)
    return flat, normals.reshape(-1, 3).astype(np.float32), np.broadcast_to(rgb(*colour), flat.shape)
