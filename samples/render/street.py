"""Builds a street from a plan: the road, and everything that stands or drives there."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from render import furniture as kit
from render.building import BRICKS, PLASTERS, House
from render.camera import Array, Camera
from render.canvas import Canvas, unit
from render.ground import Ground
from render.light import Light, weather
from render.noise import Noise
from render.person import Person
from render.plan import Plan, View
from render.plants import Hedge, Tree, paint_tree
from render.road import PARKING, ROAD, SIDEWALK, TERRAIN, Arrow, Line, Paint, Road, Zebra, Zone
from render.shadow import Shadows
from render.vehicle import PAINTS, Vehicle

LANE = 3.3
FAR_END = 190.0  # metres; beyond it only the skyline is left
_CARS = ("hatch", "hatch", "sedan", "estate", "estate", "suv", "van")


class Thing(Protocol):
    """Anything that stands in the street."""

    @property
    def place(self) -> Array: ...
    def cast(self, shadows: Shadows) -> None: ...
    def draw(self, canvas: Canvas, light: Light, noise: Noise, sunlit: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Driver:
    """A vehicle in traffic: where it is at time 0, and how fast (m/s, negative: towards us)."""

    model: str
    s: float
    d: float
    speed: float
    paint: tuple[float, float, float]
    braking: bool = False


class Street:
    """A street of a plan; `things(time)` lists what is there then."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rng = np.random.default_rng(plan.seed)
        self.light = weather(plan.weather, *plan.sun)
        self.road = self._lay_road()
        self.ground = Ground(self.road, plan.wear, self.rng)
        self.noise = self.ground.noise
        kinds = ("round", "tall", "round", "bush")
        self._looks = [(kind, paint_tree(self.rng, kind, self.light)) for kind in kinds]
        self._standing: list[Thing] = []
        self._lamps: list[Array] = []
        self._drivers: list[Driver] = []
        {"city": self._city, "suburb": self._suburb, "country": self._country, "motorway": self._motorway}[
            plan.place
        ]()
        self._add_traffic()

    def things(self, time: float) -> list[Thing]:
        """Everything that stands or moves in the street at `time` seconds."""
        moving: list[Thing] = []
        lit = self.light.night or self.plan.weather in ("fog", "rain", "dusk")
        for car in self._drivers:
            s = car.s + car.speed * time
            heading = self.road.heading(s) + (np.pi if car.d < 0 and car.speed <= 0 else 0.0)
            moving.append(Vehicle(car.model, self.road.point(s, car.d), heading, car.paint, lit, car.braking))
        return self._standing + moving

    def light_at(self, camera: Camera) -> Light:
        """The light with the street lamps and headlights that matter to this camera."""
        if not self.light.night:
            return self.light
        near = sorted(self._lamps, key=lambda lamp: float(np.hypot(*(lamp[:2] - camera.position[:2]))))
        lamps = tuple((float(x), float(y), float(z)) for x, y, z in near[:9])
        return replace(self.light, lamps=lamps, beam=(camera.x, camera.y, camera.yaw))

    def camera(self, width: int, height: int, view: View) -> Camera:
        """The camera of a car that follows the road."""
        x, y, ground = (float(v) for v in self.road.point(view.s, view.d))
        yaw = self.road.heading(view.s) + np.radians(view.yaw)
        return Camera(width, height, view.focal * width, x, y, ground + view.height, yaw,
                      float(np.radians(view.pitch)), float(np.radians(view.roll)))  # fmt: skip

    # The road

    def _lay_road(self) -> Road:
        plan = self.plan
        oncoming, ours = plan.lanes
        middles = tuple((i + 0.5) * LANE for i in range(-oncoming, ours))
        kerbside = 2.1 if plan.parked and not plan.bays else 0.35
        left, right = -oncoming * LANE - kerbside, ours * LANE + kerbside
        grass = "dry grass" if plan.dry else "grass"
        paint: list[Paint] = []
        if plan.markings:
            paint += [Line(i * LANE, on=3, off=6) for i in range(-oncoming + 1, ours) if i]
            if oncoming:
                paint.append(Line(0.0, on=4, off=4, yellow=plan.yellow))
        rough = 0.0
        if plan.place == "motorway":
            left, right = -0.6, ours * LANE + 2.7
            paint += [Line(-0.1, 0.15, yellow=plan.yellow), Line(ours * LANE, 0.2)]
            paint += [Line(-5.4, 0.15), Line(-5.4 - LANE, on=3, off=6), Line(-5.4 - 2 * LANE, on=3, off=6)]
            sides = (
                (Zone(1.6, "gravel", TERRAIN), Zone(1.9, grass, TERRAIN), Zone(13.5, "asphalt", ROAD), Zone(0, grass, TERRAIN)),
                (Zone(0.7, "gravel", TERRAIN), Zone(0, grass, TERRAIN)),
            )  # fmt: skip
        elif plan.place == "country":
            rough = 0.10
            if plan.markings:
                paint += [Line(left + 0.3), Line(right - 0.3)]
            side = (Zone(0.7, "gravel", TERRAIN), Zone(5.0, grass, TERRAIN), Zone(0, "field", TERRAIN))
            sides = (side, side)
        else:
            walk = [Zone(0.22, "kerb", SIDEWALK)]
            if plan.bays:
                walk.insert(0, Zone(2.1, "setts", PARKING))
            if plan.pavement > 3.5:
                walk += [Zone(0.9, plan.paving, SIDEWALK), Zone(1.3, "red bike path", SIDEWALK)]
            walk.append(Zone(plan.pavement, plan.paving, SIDEWALK))
            walk.append(
                Zone(
                    0,
                    grass if plan.place == "suburb" else plan.paving,
                    TERRAIN if plan.place == "suburb" else SIDEWALK,
                )
            )
            sides = (tuple(walk), tuple(walk))
        if plan.zebra is not None:
            paint.append(Zebra(plan.zebra))
        if plan.crossing is not None:
            paint.append(Zebra(plan.crossing[0] - 1.6, 0.45, bars=False, left=0.1))
            paint += [Arrow(plan.crossing[0] - 14, d) for d in middles if d > 0 and ours > 1]
        return Road(left, right, *sides, tuple(paint), middles, plan.bends, plan.climb, plan.crossing,
                    rough_edge=rough, surface=plan.surface)  # fmt: skip

    # What stands beside it

    def _out(self, side: int, out: float) -> float:
        """The d of what stands `out` metres outside the kerb."""
        return self.road.right + out if side > 0 else self.road.left - out

    def _free(self, s: float, margin: float) -> bool:
        """Whether s lies clear of the crossing."""
        crossing = self.road.crossing
        return crossing is None or not crossing[0] - margin < s < crossing[1] + margin

    def _house(self, side: int, s: float, length: float, out: float, deep: float, **look: object) -> None:
        near, far = (
            self.road.point(s, self._out(side, out)),
            self.road.point(s + length, self._out(side, out)),
        )
        first, second = (near, far) if side < 0 else (far, near)
        along = unit(second[:2] - first[:2])
        back = np.array([-along[1], along[0]], np.float32) * deep
        foot = np.stack([first[:2], second[:2], second[:2] + back, first[:2] + back])
        brick = self.rng.uniform() < 0.2
        colours = BRICKS if brick else PLASTERS
        self._standing.append(
            House(
                foot,
                float(min(near[2], far[2])),
                colour=colours[int(self.rng.integers(len(colours)))],
                seed=int(self.rng.integers(1, 900)),
                style="brick" if brick else "plaster",
                bay=float(self.rng.uniform(2.3, 3.3)),
                storey=float(self.rng.uniform(2.9, 3.5)),
                **look,  # type: ignore[arg-type]
            )  # fmt: skip
        )

    def _row_of_houses(self, side: int, out: float) -> None:
        plan, s = self.plan, -25.0
        while s < FAR_END:
            length = float(self.rng.uniform(9, 22))
            margin = plan.pavement + 1.0
            if self.road.crossing is not None:
                before, after = self.road.crossing[0] - margin, self.road.crossing[1] + margin
                if s < before < s + length + 6:
                    length = before - s
                elif before <= s < after:
                    s = after
            floors = int(self.rng.integers(plan.floors[0], plan.floors[1] + 1))
            roof = float(self.rng.uniform(2.0, 4.0)) if self.rng.uniform() < 0.5 else 0.0
            if length > 3:
                self._house(
                    side, s, length, out, 11.0, floors=floors, roof=roof, shop=bool(self.rng.uniform() < 0.45)
                )
            s += length + (float(self.rng.uniform(3, 9)) if self.rng.uniform() < 0.12 else 0.0)
        if self.road.crossing is not None:  # along the street that crosses
            for start in (self.road.crossing[1] + margin, self.road.crossing[0] - margin - 11):
                for i in range(1, 4):
                    floors = int(self.rng.integers(plan.floors[0], plan.floors[1] + 1))
                    self._house(side, start, 11.0, out + 12.5 * i, 12.0, floors=floors)

    def _tree(self, s: float, d: float, height: float, kinds: tuple[str, ...]) -> None:
        options = [look for look in self._looks if look[0] in kinds]
        kind, look = options[int(self.rng.integers(len(options)))]
        self._standing.append(Tree(self.road.point(s, d), height, look, kind, int(self.rng.integers(1000))))

    def _lamps_along(self, out: float, step: float, height: float, sides: tuple[int, ...]) -> None:
        for side in sides:
            for s in np.arange(float(self.rng.uniform(6, 16)), 140, step):
                if self._free(float(s), 2):
                    foot, middle = (
                        self.road.point(float(s), self._out(side, out)),
                        self.road.point(float(s), 0),
                    )
                    parts, lamp = kit.street_lamp(foot, middle[:2] - foot[:2], height, self.light.night)
                    self._standing += parts
                    self._lamps.append(lamp)

    def _signs(self, out: float, kinds: tuple[str, ...], count: int) -> None:
        for _ in range(count):
            s, side = float(self.rng.uniform(9, 60)), int(self.rng.choice([-1, 1, 1]))
            if self._free(s, 3):
                facing = self.road.heading(s) + (np.pi if side > 0 else 0.0)
                kind = kinds[int(self.rng.integers(len(kinds)))]
                self._standing += kit.sign_post(self.road.point(s, self._out(side, out)), facing, kind)

    def _walkers(self, wide: float) -> None:
        for _ in range(self.plan.people):
            side, s = int(self.rng.choice([-1, 1])), float(self.rng.uniform(7, 55))
            d = self._out(side, (2.1 if self.plan.bays else 0.0) + float(self.rng.uniform(0.7, wide)))
            self._person(s, d, self.road.heading(s) + float(self.rng.choice([0, np.pi])))
        if self.plan.zebra is not None:
            for _ in range(self.plan.people // 3):
                s, d = self.plan.zebra + float(self.rng.uniform(0.6, 3)), float(self.rng.uniform(-4, 4))
                self._person(s, d, np.pi / 2 * float(self.rng.choice([-1, 1])))

    def _person(self, s: float, d: float, heading: float) -> None:
        height, seed = float(self.rng.uniform(1.58, 1.9)), int(self.rng.integers(10000))
        step = float(self.rng.uniform(0, 6.28))
        self._standing.append(
            Person(self.road.point(s, d), heading + float(self.rng.normal(0, 0.2)), height, seed, step)
        )

    def _parked_cars(self) -> None:
        for side in (-1, 1):
            s = float(self.rng.uniform(-4, 3))
            while s < 110 and self.plan.parked:
                if self.rng.uniform() < self.plan.parked and self._free(s, 7) and self._clear_of_zebra(s):
                    model = _CARS[int(self.rng.integers(len(_CARS)))]
                    inside = 1.05 if self.plan.bays else -1.05
                    place = self.road.point(s, self._out(side, inside + float(self.rng.normal(0, 0.06))))
                    heading = (
                        self.road.heading(s) + (np.pi if side < 0 else 0.0) + float(self.rng.normal(0, 0.015))
                    )
                    self._standing.append(Vehicle(model, place, heading, self._paint()))
                s += float(self.rng.uniform(5.6, 6.6))

    def _clear_of_zebra(self, s: float) -> bool:
        return self.plan.zebra is None or not self.plan.zebra - 5 < s < self.plan.zebra + 8

    def _paint(self) -> tuple[float, float, float]:
        return PAINTS[int(self.rng.integers(len(PAINTS)))]

    # Places

    def _city(self) -> None:
        plan = self.plan
        strip = (2.1 if plan.bays else 0.0) + 0.22
        walk = strip + plan.pavement + (2.2 if plan.pavement > 3.5 else 0.0)
        for side in (-1, 1):
            self._row_of_houses(side, walk)
            for s in np.arange(float(self.rng.uniform(5, 14)), 130, 11.0):
                if self.rng.uniform() < plan.trees and self._free(float(s), 4):
                    self._tree(
                        float(s),
                        self._out(side, strip + 0.7),
                        float(self.rng.uniform(6, 10)),
                        ("round", "tall"),
                    )
        self._lamps_along(strip + 0.4, 27, 7.5, (-1, 1) if plan.lanes[0] + plan.lanes[1] > 2 else (1,))
        self._signs(strip + 0.35, ("30", "50", "no entry", "priority", "parking"), 3)
        self._parked_cars()
        self._walkers(walk - 0.4)
        for _ in range(plan.people // 3):
            s, side = float(self.rng.uniform(8, 30)), int(self.rng.choice([-1, 1]))
            if self._free(s, 4):
                where, turn = self.road.point(s, self._out(side, walk - 0.5)), self.road.heading(s)
                self._standing.append(kit.bicycle(where, turn, self._paint()))
        if plan.crossing is not None:
            for side in (-1, 1):
                s = plan.crossing[0] - 1.0 if side > 0 else plan.crossing[1] + 1.0
                lit = ("red", "green", "yellow")[int(self.rng.integers(3))]
                where = self.road.point(s, self._out(side, strip + 0.4))
                self._standing += kit.traffic_light(where, self.road.heading(s) + np.pi, lit)
        if plan.zebra is not None:
            for side in (-1, 1):
                where = self.road.point(plan.zebra - 0.5, self._out(side, strip + 0.4))
                self._standing += kit.sign_post(where, self.road.heading(plan.zebra) + np.pi, "crossing")

    def _suburb(self) -> None:
        plan = self.plan
        strip = (2.1 if plan.bays else 0.0) + 0.22
        walk = strip + plan.pavement
        for side in (-1, 1):
            s = -20.0
            while s < FAR_END:
                length = float(self.rng.uniform(9, 13))
                if self._free(s, length + 3):
                    self._house(side, s, length, walk + float(self.rng.uniform(4, 8)), 10.0, floors=int(self.rng.integers(1, 3)),
                                roof=float(self.rng.uniform(3, 4.5)))  # fmt: skip
                s += length + float(self.rng.uniform(3, 8))
            for s in np.arange(-6, 130, 6.5):
                if not (self._free(float(s), 3) and self._free(float(s) + 6, 3)):
                    continue
                ends = [self.road.point(float(s) + step, self._out(side, walk + 0.2)) for step in (0.0, 6.4)]
                luck = self.rng.uniform()
                if luck < 0.35:
                    self._standing.append(Hedge(*ends, float(self.rng.uniform(0.9, 1.7))))
                elif luck < 0.7:
                    kind = ("bars", "wall", "mesh")[int(self.rng.integers(3))]
                    self._standing.append(kit.Barrier(*ends, kind, float(self.rng.uniform(0.8, 1.3))))
                if self.rng.uniform() < plan.trees:
                    self._tree(float(s) + 3, self._out(side, walk + float(self.rng.uniform(1.5, 4))),
                               float(self.rng.uniform(3, 9)), ("round", "tall", "bush"))  # fmt: skip
        self._lamps_along(strip + 0.3, 32, 6.0, (1,))
        self._signs(strip + 0.3, ("30", "yield", "priority"), 2)
        self._parked_cars()
        self._walkers(plan.pavement)

    def _country(self) -> None:
        for side in (-1, 1):
            for s in np.arange(-5, 320, 5.0):
                if self.rng.uniform() < self.plan.trees:
                    out = float(self.rng.choice([3.0, 5.0, 9.0, 16.0, 30.0])) + float(self.rng.uniform(0, 3))
                    bush = self.rng.uniform() < 0.4
                    height = float(self.rng.uniform(1.5, 3.5) if bush else self.rng.uniform(6, 13))
                    self._tree(
                        float(s), self._out(side, out), height, ("bush",) if bush else ("round", "tall")
                    )
            for s in np.arange(8, 160, 25.0):
                where = self.road.point(float(s), self._out(side, 0.9))
                self._standing.append(kit.Post(where, 1.0, 0.06, (0.6, 0.6, 0.58), bands=1.0))
        for s in (70.0, 96.0):
            self._house(1, s, 12.0, 14.0, 9.0, floors=2, roof=4.0)
        self._signs(1.2, ("50", "priority"), 1)
        self._walkers(1.0)

    def _motorway(self) -> None:
        road = self.road
        for s in np.arange(-8, 260, 4.0):
            for d in (road.left - 1.7, road.right + 1.1):
                self._standing.append(
                    kit.Barrier(road.point(float(s), d), road.point(float(s) + 4, d), "rail", 0.8)
                )
        for side in (-1, 1):
            for s in np.arange(0, 300, 7.0):
                if self.rng.uniform() < self.plan.trees:
                    out = float(self.rng.uniform(5, 25)) + (18 if side < 0 else 0)
                    self._tree(
                        float(s),
                        self._out(side, out),
                        float(self.rng.uniform(4, 12)),
                        ("round", "tall", "bush"),
                    )
        board = kit.sign_picture("direction")
        where = road.point(60.0, road.right + 4.5)
        for aside in (-1.6, 1.6):
            self._standing.append(kit.Post(where + np.array([aside, 0.1, 0], np.float32), 5.8, 0.1))
        facing = road.heading(60.0) + np.pi
        self._standing.append(kit.Board(where + kit.UP * 2.6, facing, 4.6, 3.2, board))

    def _add_traffic(self) -> None:
        """Cars in the lanes, with room between them and to us."""
        taken: list[tuple[float, float]] = [(0.0, self.plan.view.d)]
        motorway = self.plan.place == "motorway"
        lanes = self.road.lanes + ((-5.4 - LANE / 2, -5.4 - 1.5 * LANE) if motorway else ())
        speed = {"motorway": 28.0, "country": 20.0}.get(self.plan.place, 9.0)
        for _ in range(self.plan.traffic * 4):
            if len(taken) > self.plan.traffic:
                return
            d, s = float(self.rng.choice(lanes)), float(self.rng.uniform(9, 75))
            if any(abs(s - other) < 13 and abs(d - aside) < 2.5 for other, aside in taken):
                continue
            if not self._clear_of_zebra(s):
                continue
            heavy = self.rng.uniform() < (0.25 if motorway else 0.08) and s > 22
            model = (
                ("lorry", "bus")[int(self.rng.integers(2))]
                if heavy
                else _CARS[int(self.rng.integers(len(_CARS)))]
            )
            taken.append((s, d))
            speed_now = speed * float(self.rng.uniform(0.85, 1.15)) * (-1 if d < 0 else 1)
            braking = bool(self.rng.uniform() < 0.3) and d > 0
            d += float(self.rng.normal(0, 0.15))
            self._drivers.append(Driver(model, s, d, speed_now, self._paint(), braking))
