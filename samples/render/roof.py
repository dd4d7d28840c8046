"""What spans the road: bridges and tunnels."""

from dataclasses import dataclass

import numpy as np

from render.camera import Array
from render.canvas import Canvas, Hit, unit
from render.ground import stroke
from render.light import Light, rgb
from render.noise import Noise
from render.road import WALL, Road, Zone
from render.shadow import Shadows

_DOWN = rgb(0, 0, -1)
_UP = rgb(0, 0, 1)
_COLOUR = rgb(0.33, 0.32, 0.29)
_LAMP_EVERY, _LAMP = 8.0, (2.2, 0.25)  # metres along; length and width of a light on the ceiling
CLEAR = 5.0  # metres between the road and what spans it
DEEP = 1.4  # metres from its underside to its top
_SUNK = 0.3 * _UP  # walls go down into the ground, which may be uneven
_PIER = 3.0  # metres that it reaches out beyond its walls


@dataclass(frozen=True, slots=True)
class Span:
    """A slab over a straight, level road from s = `start` to `end`, on walls at d = `left` and `right`.

    lit: it is a tunnel's. Either is labelled `wall`: Cityscapes' own `bridge` and `tunnel` are void, and
    would not teach that a ceiling is no road.
    """

    road: Road
    start: float
    end: float
    left: float
    right: float
    lit: bool

    @property
    def place(self) -> Array:
        return self.road.point(self.start, 0.0)

    def cast(self, shadows: Shadows) -> None:
        near_left, near_right, far_left, far_right = self._corners()
        outline = np.stack([near_left, near_right, far_right, far_left])[:, :2]
        shadows.underneath(outline, 0.75)
        if not self.lit:
            shadows.block(outline, CLEAR + DEEP)

    def _corners(self) -> list[Array]:
        """On the ground: left and right at the start, then at the end."""
        return [self.road.point(s, d) for s in (self.start, self.end) for d in (self.left, self.right)]

    def draw(self, canvas: Canvas, light: Light, noise: Noise, sunlit: float) -> None:
        near_left, near_right, far_left, far_right = self._corners()
        along, across = far_left - near_left, near_right - near_left

        def concrete(normal: Array, share: float) -> "_Concrete":
            return _Concrete(normal, light, noise, share, self.lit)

        canvas.face(near_left + CLEAR * _UP, along, across, WALL, concrete(_DOWN, 0.35))
        for foot, side in ((near_left, 1.0), (near_right, -1.0)):
            canvas.face(foot - _SUNK, along, CLEAR * _UP + _SUNK, WALL, concrete(side * unit(across), 0.6))
        pier = _PIER * unit(across)
        for left, right, facing in ((near_left, near_right, -1.0), (far_left, far_right, 1.0)):
            front = concrete(facing * unit(along), 1.0)
            canvas.face(left - pier + CLEAR * _UP, across + 2 * pier, DEEP * _UP, WALL, front)
            for foot in (left - pier, right):
                canvas.face(foot - _SUNK, pier, CLEAR * _UP + _SUNK, WALL, front)


@dataclass(frozen=True, slots=True)
class _Concrete:
    """Concrete with stains; lit, with lamps along the ceiling's middle and both of its edges."""

    normal: Array
    light: Light
    noise: Noise
    sky: float  # the share of the sky's light that comes here
    lit: bool

    def __call__(self, hit: Hit) -> Array:
        stains = [(0.2, 0.06), (0.9, 0.08), (4.0, 0.12)]
        tone = 1 + self.noise.layers(hit.u, hit.v, hit.grain, stains)
        tone *= 1 - 0.25 * stroke(np.mod(hit.u, 3.0) - 1.5, 0.03, hit.grain)
        share = 1.0 if self.lit else self.sky
        received = self.light.on(self.normal, hit.point, 0.0 if self.sky < 1 else 1.0) * share
        colour = np.asarray(_COLOUR * tone[:, None] * received, np.float32)
        if self.lit and self.normal[2] < 0:
            lane = np.abs(np.mod(hit.v, 4.0) - 2.0) < _LAMP[1] / 2
            lamp = lane & (np.mod(hit.point[:, 1], _LAMP_EVERY) < _LAMP[0])
            colour[lamp] = rgb(2.6, 2.4, 1.9)
        return colour


def span(road: Road, start: float, end: float, *, lit: bool) -> Span:
    """A bridge (or a tunnel, `lit`) that reaches over the road and all that belongs to it."""

    def wide(zones: tuple[Zone, ...]) -> float:
        return max(sum(zone.width for zone in zones[:-1]), 1.2)  # a tunnel's only strip goes on for ever

    return Span(road, start, end, road.left - wide(road.left_zones), road.right + wide(road.right_zones), lit)
