"""The shapes of cars, vans, lorries and buses: a lofted body, wheels and mirrors, as triangles."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from render.camera import Array
from render.canvas import unit
from render.road import BUS, CAR, TRUCK

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
    lean: float = 0.20  # share of the width by which the windows lean inwards


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
    "van": Model(5.2, 1.98, VAN, 1.15, 1.88, (0.05, 0.66), (0.3,), 0.34, (-0.62, 0.66), boxy=11, lean=0.1),
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
        lean=0.03,
    ),
}
BODY, TYRE, RIM, MIRROR = 0.0, 1.0, 2.0, 3.0  # parts


class Patch(NamedTuple):
    """A grid of corners, (rows, columns, 3), with their normals, all of one part."""

    corners: Array
    normals: Array
    part: float


@cache
def shape(name: str, steps: int) -> tuple[Array, Array, NDArray[np.int64]]:
    """Corners (V, 3) in the car's axes (x right, y ahead), traits (V, 7) = corner, normal, part; triangles.

    More `steps` make a smoother body.
    """
    model = MODELS[name]
    patches = [_body(model, steps), *_wheels(model), *(_mirrors(model) if model.label == CAR else ())]
    traits, triangles, start = [], [], 0
    for corners, normals, part in patches:
        rows, columns = corners.shape[:2]
        label = np.full((rows, columns, 1), part)
        traits.append(np.concatenate([corners, normals, label], axis=2).reshape(-1, 7))
        triangles.append(lattice(rows, columns) + start)
        start += rows * columns
    every = np.concatenate(traits).astype(np.float32)
    return every[:, :3], every, np.concatenate(triangles)


def _rounded(turn: Array, square: float) -> Array:
    """How far a superellipse of that squareness reaches at these angles; a circle reaches 1."""
    return np.asarray((np.abs(np.cos(turn)) ** square + np.abs(np.sin(turn)) ** square) ** (-1 / square))


def _body(model: Model, steps: int) -> Patch:
    sill = 0.20 if model.label == CAR else 0.35
    turn = np.linspace(-np.pi / 2, np.pi / 2, steps + 1)  # seen from above, from the tail to the nose
    along, wide = np.sin(turn) * _rounded(turn, 9.0), np.cos(turn) * _rounded(turn, 9.0)
    along[0], along[-1] = -1, 1
    tops = np.interp(along, *np.array(model.top).T)
    arch = np.linspace(0, np.pi, steps * 5 // 8 + 1)  # seen from the front, from sill to sill
    x = np.cos(arch) * _rounded(arch, model.boxy)
    z = sill + (tops[:, None] - sill) * np.sin(arch) * _rounded(arch, model.boxy)
    lean = np.clip((z - model.belt) / 0.5, 0, 1.2) * model.lean
    tuck = np.clip((0.55 - z) / 0.35, 0, 1) ** 2 * 0.07
    half = model.width / 2 * np.clip(wide, 0, 1)[:, None] * (1 - lean - tuck)
    y = np.broadcast_to(along[:, None] * model.length / 2, z.shape)
    grid = np.stack([x * half, y, z], axis=-1)
    normal = np.cross(np.gradient(grid, axis=1), np.gradient(grid, axis=0))
    outward = grid - [0, 0, 0.6] - np.stack([np.zeros_like(y), y * 0.8, np.zeros_like(y)], -1)
    return Patch(grid, unit(normal * np.sign((normal * outward).sum(-1, keepdims=True) + 1e-12)), BODY)


def _wheels(model: Model) -> list[Patch]:
    ring = np.linspace(0, 2 * np.pi, 29)
    round_ = np.stack([np.zeros_like(ring), np.cos(ring), np.sin(ring)], -1)
    patches = []
    for side in (-1, 1):
        for axle in model.axles:
            hub = np.array([side * model.width / 2, axle * model.length / 2, model.wheel])
            edge = hub + round_ * model.wheel
            patches.append(Patch(np.stack([edge, edge - [side * 0.22, 0, 0]]), np.stack([round_] * 2), TYRE))
            disc = np.stack([edge, np.broadcast_to(hub, edge.shape)])
            patches.append(Patch(disc, np.broadcast_to([float(side), 0, 0], disc.shape), RIM))
    return patches


def _mirrors(model: Model) -> list[Patch]:
    turn, ring = np.meshgrid(np.linspace(0, np.pi, 7), np.linspace(0, 2 * np.pi, 9), indexing="ij")
    ball = np.stack([np.cos(turn), np.sin(turn) * np.cos(ring), np.sin(turn) * np.sin(ring)], -1)
    y, z = (model.side[1] - 0.1) * model.length / 2, model.belt + 0.07
    hinges = ([side * (model.width / 2 + 0.02), y, z] for side in (-1, 1))
    return [Patch(ball * [0.12, 0.06, 0.08] + hinge, ball, MIRROR) for hinge in hinges]


def lattice(rows: int, columns: int) -> NDArray[np.int64]:
    """The triangles of a grid of corners."""
    corner = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (
        part.ravel() for part in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1])
    )
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
