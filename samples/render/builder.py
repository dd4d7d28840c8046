"""Puts things where they belong along a road."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from render import furniture as kit
from render.building import BRICKS, PLASTERS, House
from render.camera import Array
from render.canvas import Canvas, unit
from render.dice import Dice
from render.layout import BAY, OPPOSITE
from render.light import Light
from render.noise import Noise
from render.person import Person
from render.plan import Plan
from render.plants import Tree, paint_tree
from render.road import LANE, Road
from render.shadow import Shadows
from render.vehicle import PAINTS, Vehicle

FAR_END = 190.0  # metres; beyond it only the skyline is left
_CARS = ("hatch", "hatch", "sedan", "estate", "estate", "suv", "van")


class Thing(Protocol):
    """Anything that stands in the street."""

    @property
    def place(self) -> Array:
        """(3,) where it stands."""

    def cast(self, shadows: Shadows) -> None:
        """Darken the ground."""

    def draw(self, canvas: Canvas, light: Light, noise: Noise, sunlit: float) -> None:
        """Draw it; `sunlit` is the share of sun that reaches it."""


@dataclass(frozen=True, slots=True)
class Driver:
    """A vehicle in traffic: where it is at time 0, and how fast (m/s, negative: towards us)."""

    model: str
    s: float
    d: float
    speed: float
    paint: tuple[float, float, float]
    braking: bool = False


class Builder:
    """What stands and drives in a street; places are (s, d): metres along the road and to its right."""

    def __init__(self, plan: Plan, road: Road, light: Light, rng: np.random.Generator) -> None:
        self.plan, self.road, self.light, self.dice = plan, road, light, Dice(rng)
        self.standing: list[Thing] = []
        self.lamps: list[Array] = []
        self.drivers: list[Driver] = []
        self._trees = [(kind, paint_tree(rng, kind, light)) for kind in ("round", "tall", "round", "bush")]

    def out(self, side: int, metres: float) -> float:
        """The d of what stands so many metres outside the kerb on the left (-1) or right (1)."""
        return self.road.right + metres if side > 0 else self.road.left - metres

    def free(self, s: float, margin: float) -> bool:
        """Whether s lies clear of the street that crosses."""
        crossing = self.road.crossing
        return crossing is None or not crossing[0] - margin < s < crossing[1] + margin

    def _off_zebra(self, s: float) -> bool:
        return self.plan.zebra is None or not self.plan.zebra - 5 < s < self.plan.zebra + 8

    def house(
        self, side: int, s: float, length: float, out: float, deep: float, floors: int, roof: float = 0.0,
        shop: bool = False,
    ) -> None:  # fmt: skip
        """A house whose front stands `out` metres from the kerb."""
        d = self.out(side, out)
        near, far = self.road.point(s, d), self.road.point(s + length, d)
        first, second = (near, far) if side < 0 else (far, near)
        along = unit(second[:2] - first[:2])
        back = np.array([-along[1], along[0]], np.float32) * deep
        foot = np.stack([first[:2], second[:2], second[:2] + back, first[:2] + back])
        brick = self.dice.chance(0.2)
        self.standing.append(
            House(
                foot,
                float(min(near[2], far[2])),
                floors,
                colour=self.dice.pick(BRICKS if brick else PLASTERS),
                seed=self.dice.whole(1, 900),
                style="brick" if brick else "plaster",
                shop=shop,
                roof=roof,
                storey=self.dice.between(2.9, 3.5),
                bay=self.dice.between(2.3, 3.3),
            )
        )

    def row_of_houses(self, side: int, out: float) -> None:
        """Houses wall to wall, with a gap now and then, and round the corners of the crossing."""
        dice, floors, s = self.dice, self.plan.floors, -25.0
        crossing, margin = self.road.crossing, self.plan.pavement + 1.0
        while s < FAR_END:
            length = dice.between(9, 22)
            if crossing is not None:
                before, after = crossing[0] - margin, crossing[1] + margin
                if s < before < s + length + 6:
                    length = before - s
                elif before <= s < after:
                    s = after
            if length > 3:
                roof = dice.between(2.0, 4.0) if dice.chance(0.5) else 0.0
                self.house(side, s, length, out, 11.0, dice.whole(*floors), roof, shop=dice.chance(0.45))
            s += length + (dice.between(3, 9) if dice.chance(0.12) else 0.0)
        if crossing is not None:
            for start in (crossing[1] + margin, crossing[0] - margin - 11):
                for i in range(1, 4):
                    self.house(side, start, 11.0, out + 12.5 * i, 12.0, dice.whole(*floors))

    def tree(self, s: float, d: float, height: float, kinds: tuple[str, ...]) -> None:
        kind, look = self.dice.pick([tree for tree in self._trees if tree[0] in kinds])
        self.standing.append(Tree(self.road.point(s, d), height, look, kind, self.dice.whole(0, 999)))

    def lamps_along(self, out: float, step: float, height: float, sides: tuple[int, ...]) -> None:
        for side in sides:
            for s in np.arange(self.dice.between(6, 16), 140, step):
                if self.free(s, 2):
                    foot = self.road.point(s, self.out(side, out))
                    aim = self.road.point(s, 0)[:2] - foot[:2]
                    parts, lamp = kit.street_lamp(foot, aim, height, self.light.night)
                    self.standing += parts
                    self.lamps.append(lamp)

    def signs(self, out: float, kinds: tuple[str, ...], count: int) -> None:
        for _ in range(count):
            s, side = self.dice.between(9, 60), self.dice.pick((-1, 1, 1))
            if self.free(s, 3):
                facing = self.road.heading(s) + (np.pi if side > 0 else 0.0)
                place = self.road.point(s, self.out(side, out))
                self.standing += kit.sign_post(place, facing, self.dice.pick(kinds))

    def walkers(self, nearest: float, farthest: float) -> None:
        """People on the pavement, so many metres from the kerb, and on the zebra."""
        dice, zebra = self.dice, self.plan.zebra
        for _ in range(self.plan.people):
            s, d = dice.between(7, 55), self.out(dice.pick((-1, 1)), dice.between(nearest, farthest))
            self._person(s, d, self.road.heading(s) + dice.pick((0.0, np.pi)))
        for _ in range(self.plan.people // 3 if zebra is not None else 0):
            self._person(
                (zebra or 0.0) + dice.between(0.6, 3), dice.between(-4, 4), dice.pick((-np.pi, np.pi)) / 2
            )

    def _person(self, s: float, d: float, heading: float) -> None:
        dice = self.dice
        height, turn = dice.between(1.58, 1.9), dice.near(heading, 0.2)
        self.standing.append(
            Person(self.road.point(s, d), turn, height, dice.whole(0, 9999), dice.between(0, 6.28))
        )

    def parked_cars(self) -> None:
        dice = self.dice
        for side in (-1, 1):
            s = dice.between(-4, 3)
            while s < 110 and self.plan.parked:
                if dice.chance(self.plan.parked) and self.free(s, 7) and self._off_zebra(s):
                    inside = BAY / 2 if self.plan.bays else -BAY / 2
                    place = self.road.point(s, self.out(side, dice.near(inside, 0.06)))
                    heading = self.road.heading(s) + (np.pi if side < 0 else 0.0) + dice.near(0, 0.015)
                    self.standing.append(Vehicle(dice.pick(_CARS), place, heading, dice.pick(PAINTS)))
                s += dice.between(5.6, 6.6)

    def traffic(self, speed: float) -> None:
        """Vehicles in the lanes, with room between them and to us."""
        dice, motorway = self.dice, self.plan.place == "motorway"
        lanes = self.road.lanes + tuple(OPPOSITE - (i + 0.5) * LANE for i in range(2) if motorway)
        speeds = {d: speed * dice.between(0.95, 1.15) * (-1 if d < 0 else 1) for d in lanes}
        taken = [(0.0, self.plan.view.d)]
        for _ in range(self.plan.traffic * 4):
            d, s = dice.pick(lanes), dice.between(9, 75)
            crowded = any(abs(s - other) < 13 and abs(d - aside) < 2.5 for other, aside in taken)
            if crowded or not self._off_zebra(s) or len(taken) > self.plan.traffic:
                continue
            taken.append((s, d))
            heavy = dice.chance(0.25 if motorway else 0.08) and s > 22
            model = dice.pick(("lorry", "bus") if heavy else _CARS)
            paint = dice.pick(PAINTS[:3] if heavy else PAINTS)
            braking = d > 0 and dice.chance(0.3)
            self.drivers.append(Driver(model, s, dice.near(d, 0.15), speeds[d], paint, braking))
