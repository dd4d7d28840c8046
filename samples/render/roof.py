"""What spans the road: bridges and tunnels."""

from dataclasses import dataclass

import numpy as np

from render.camera import Array
from render.canvas import Canvas, Hit, unit
from render.ground import stroke
from render.light import Light, rgb
from render.noise import Noise
from render.road import BRIDGE, TUNNEL, Road, Zone
from render.shadow import Shadows

_DOWN = rgb(0, 0, -1)
_UP = rgb(0, 0, 1)
_COLOUR = rgb(0.33, 0.32, 0.29)
_LAMP_EVERY, _LAMP = 8.0, (2.2, 0.25)  # metres along; length and width of a light on the ceiling
CLEAR = 5.0  # metres between the road and what spans it
DEEP = 1.4  # metres from its underside to its top
_PIER = 3.0  # metres that it reaches out beyond its walls


@dataclass(frozen=True, slots=True)
class Span:
    """A slab over the road from s = `start` to `end`, on walls at d = `left` and `right`; lit: a tunnel's."""

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
        outline = self._outline(self.start, self.end)
        shadows.underneath(outline, 0.75)
        if not self.lit:
            shadows.block(outline, CLEAR + DEEP)
            shadows.block(outline, 0.0)

    def _outline(self, start: float, end: float) -> Array:
        corners = ((start, self.left), (start, self.right), (end, self.right), (end, self.left))
        return np.stack([self.road.point(s, d)[:2] for s, d in corners])

    def draw(self, canvas: Canvas, light: Light, noise: Noise, sunlit: float) -> None:
        label = TUNNEL if self.lit else BRIDGE

        def concrete(normal: Array, share: float) -> "_Concrete":
            return _Concrete(normal, light, noise, share, self.lit)

        for s in np.arange(self.start, self.end, 6.0):
            end = min(s + 6.0, self.end)
            low_left, low_right = self.road.point(s, self.left), self.road.point(s, self.right)
            far_left, far_right = self.road.point(end, self.left), self.road.point(end, self.right)
            along = far_left - low_left
            across = unit(np.cross(along, _UP)) * (self.right - self.left)
            ceiling = low_left + CLEAR * _UP
            # A little longer than the chord, so that no seam opens where the road bends.
            canvas.face(ceiling, 1.02 * along, across, label, concrete(_DOWN, 0.35))
            for foot, to, side in ((low_left, along, 1.0), (low_right, far_right - low_right, -1.0)):
                normal = side * unit(across)
                canvas.face(foot - 0.3 * _UP, to, (CLEAR + 0.3) * _UP, label, concrete(normal, 0.6))
        for s, facing in ((self.start, -1.0), (self.end, 1.0)):
            ends = [
                self.road.point(s, d) for d in (self.left - _PIER, self.left, self.right, self.right + _PIER)
            ]
            across = ends[3] - ends[0]
            front = concrete(facing * unit(np.cross(_UP, across)), 1.0)
            canvas.face(ends[0] + CLEAR * _UP, across, DEEP * _UP, label, front)
            for foot, far in (ends[:2], ends[2:]):
                canvas.face(foot - 0.3 * _UP, far - foot, (CLEAR + 0.3) * _UP, label, front)


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
        return max(sum(zone.width for zone in zones[:-1]), 1.2)

    return Span(road, start, end, road.left - wide(road.left_zones), road.right + wide(road.right_zones), lit)
