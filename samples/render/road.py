"""The road's course and cross-section: where on the ground is what."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from render.camera import Array

# Cityscapes label ids (cityscapesScripts, helpers/labels.py)
EGO, ROAD, SIDEWALK, PARKING = 1, 7, 8, 9
UNLABELED = 0
BUILDING, WALL, FENCE, GUARD_RAIL, POLE, LIGHT, SIGN = 11, 12, 13, 14, 17, 19, 20
VEGETATION, TERRAIN, SKY, PERSON, CAR, TRUCK, BUS, BICYCLE = 21, 22, 23, 24, 26, 27, 28, 33

LANE = 3.3  # metres
FAR = 900.0  # metres; the road's course is known from 60 behind the start to here


class Zone(NamedTuple):
    """A strip beside the carriageway; zones follow each other outwards, the last one goes on for ever."""

    width: float
    surface: str
    label: int


class Line(NamedTuple):
    """Paint along the road at distance d from its middle; dashed where `off` > 0."""

    d: float
    width: float = 0.12
    on: float = 1.0
    off: float = 0.0
    yellow: bool = False


class Zebra(NamedTuple):
    """A pedestrian crossing from s to s + length, or (bars=False) a stop line."""

    s: float
    length: float = 3.5
    bars: bool = True
    left: float = -99.0  # it begins at this d


class Arrow(NamedTuple):
    """A painted arrow that starts at s in the lane whose middle is d."""

    s: float
    d: float


Paint = Line | Zebra | Arrow


class Spots(NamedTuple):
    """N points of the ground, in the world and along the road."""

    x: Array
    y: Array
    s: Array  # metres along the road
    d: Array  # metres to the right of its middle
    out: Array  # metres outside the kerb line; negative on the carriageway
    grain: Array  # metres that one sample covers


@dataclass(frozen=True)
class Road:
    """A carriageway from `left` to `right` of the middle line, which bends and climbs, and its two sides.

    `bends` are (start, length, degrees) in metres along y: over that length the heading turns by so much.
    `climb` is (start, length, height): the ground rises by that height. `crossing` is (start, end): another
    road of that width crosses there.
    """

    left: float
    right: float
    left_zones: tuple[Zone, ...]
    right_zones: tuple[Zone, ...]
    paint: tuple[Paint, ...] = ()
    lanes: tuple[float, ...] = (1.75,)  # middles of the lanes, where tyres run
    bends: tuple[tuple[float, float, float], ...] = ()
    climb: tuple[float, float, float] | None = None
    crossing: tuple[float, float] | None = None
    corner: float = 4.0  # radius of the crossing's corners
    rough_edge: float = 0.0  # how much a verge without kerb wanders, metres
    gutter: float = 0.0  # width of the rows of setts along the kerb
    surface: str = "asphalt"
    _course: dict[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        y = np.arange(-60, FAR, 0.5)
        heading = np.zeros_like(y)
        for start, length, degrees in self.bends:
            share = np.clip((y - start) / length, 0, 1)
            heading += np.radians(degrees) * share * share * (3 - 2 * share)
        step = np.tan(heading) * 0.5
        x = np.cumsum(step) - step
        s = np.cumsum(0.5 / np.cos(heading))
        here = int(np.searchsorted(y, 0.0))
        wander = np.random.default_rng(7).standard_normal(y.size)
        self._course.update(y=y, heading=heading, x=x - x[here], s=s - s[here], wander=wander)

    def heading(self, s: float) -> float:
        """The road's direction at s, radians to the right of +y."""
        return float(np.interp(s, self._course["s"], self._course["heading"]))

    def point(self, s: float, d: float, z: float = 0.0) -> Array:
        """The world's point at s metres along and d to the right, z above the ground."""
        y = float(np.interp(s, self._course["s"], self._course["y"]))
        x = float(np.interp(y, self._course["y"], self._course["x"])) + d / np.cos(self.heading(s))
        return np.array([x, y, float(self.height(np.array([y]))[0]) + z], np.float32)

    def height(self, y: NDArray[np.floating]) -> NDArray[np.float64]:
        """The ground's height at y: it climbs ahead, never to the side."""
        if self.climb is None:
            return np.zeros(y.shape)
        start, length, rise = self.climb
        share = np.clip((y - start) / length, 0, 1)
        return np.asarray(rise * share * share * (3 - 2 * share))

    def spots(self, x: Array, y: Array, grain: Array) -> Spots:
        """Road coordinates of the ground's points (N,)."""
        course = self._course
        s = np.interp(y, course["y"], course["s"])
        d = (x - np.interp(y, course["y"], course["x"])) * np.cos(
            np.interp(y, course["y"], course["heading"])
        )
        edge = np.interp(s * 2.5, np.arange(course["wander"].size), course["wander"]) * self.rough_edge
        aside = np.maximum(d - self.right, self.left - d) + edge
        if self.crossing is not None:
            beyond = np.maximum(self.crossing[0] - s, s - self.crossing[1])
            straight = np.minimum(aside, beyond)
            r = self.corner
            round_off = (aside > 0) & (beyond > 0) & (aside < r) & (beyond < r)
            aside = np.where(round_off, r - np.hypot(r - aside, r - beyond), straight)
        along, across, out = (a.astype(np.float32) for a in (s, d, aside))
        return Spots(x, y, along, across, out, grain)

    def zones(self, spots: Spots) -> list[tuple[NDArray[np.int64], str, int]]:
        """Which spots lie in what: (indices, surface, label), the carriageway first."""
        parts = [(np.flatnonzero(spots.out < 0), self.surface, ROAD)]
        for zones, side in ((self.left_zones, spots.d < 0), (self.right_zones, spots.d >= 0)):
            start = 0.0
            for i, zone in enumerate(zones):
                end = np.inf if i == len(zones) - 1 else start + zone.width
                inside = side & (spots.out >= start) & (spots.out < end)
                parts.append((np.flatnonzero(inside), zone.surface, zone.label))
                start = end
        return parts
