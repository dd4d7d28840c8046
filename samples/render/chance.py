"""Plans by chance: streets, weathers and cameras of all kinds, for a data set to train on."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np

from render.dice import Dice
from render.ground import Wear
from render.lens import Lens
from render.plan import Plan, View
from render.road import LANE

# How often each is drawn; the two of a pair of lanes are oncoming and ours.
_PLACES = {"city": 0.4, "suburb": 0.2, "country": 0.2, "motorway": 0.2}
_WEATHERS = {
    "overcast": 0.13, "bright": 0.15, "sunny": 0.20, "clear": 0.12, "low-sun": 0.12,
    "fog": 0.05, "rain": 0.09, "dusk": 0.07, "night": 0.07,
}  # fmt: skip
_LANES = {
    "city": ((1, 1), (1, 2), (2, 2), (0, 2), (0, 1), (2, 3)),
    "suburb": ((1, 1), (0, 1), (1, 1)),
    "country": ((1, 1), (1, 1), (1, 2)),
    "motorway": ((0, 2), (0, 3), (0, 4)),
}
_FLOORS = ((1, 2), (2, 4), (3, 6), (5, 9))
_BUILT_UP = ("city", "suburb")


def plan_by_chance(seed: int) -> Plan:
    """The plan that the dice of `seed` give: the same for the same seed."""
    dice = Dice(np.random.default_rng([seed, 7]))
    place = dice.draw(_PLACES)
    built_up = place in _BUILT_UP
    lanes = dice.pick(_LANES[place])
    crossing = _crossing(dice) if place == "city" and dice.chance(0.35) else None
    zebra = None
    if built_up and dice.chance(0.3):
        zebra = dice.between(6, 40) if crossing is None else max(4.0, crossing[0] - dice.between(3, 6))
    return Plan(
        seed=seed,
        skyline=seed,
        place=place,
        weather=dice.draw(_WEATHERS),
        sun=(dice.between(-180, 180), dice.between(12, 65)),
        view=_view(dice, (dice.whole(0, lanes[1] - 1) + 0.5) * LANE),
        wear=_wear(dice),
        lanes=lanes,
        parked=dice.between(0.2, 0.8) if built_up and dice.chance(0.65) else 0.0,
        bays=dice.chance(0.35),
        bends=_bends(dice, place),
        climb=_climb(dice) if dice.chance(0.25) else None,
        crossing=crossing,
        zebra=zebra,
        surface="setts" if built_up and dice.chance(0.12) else "asphalt",
        pavement=dice.between(1.4, 5.0),
        paving=dice.pick(("slabs", "bricks")),
        markings=place == "motorway" or dice.chance(0.75),
        yellow=dice.chance(0.35),
        traffic=dice.whole(0, 9),
        people=dice.whole(0, 9) if built_up else 0,
        trees=dice.between(0, 1),
        floors=dice.pick(_FLOORS),
        dry=dice.chance(0.4),
        bonnet=dice.chance(0.3),
        tint=_tint(dice),
    )


def _crossing(dice: Dice) -> tuple[float, float]:
    start = dice.between(6, 45)
    return start, start + dice.between(8, 14)


def _view(dice: Dice, d: float) -> View:
    """A camera of any lens in a car, a van or a lorry, not quite level and not quite in the lane's middle."""
    low, high = dice.draw({(1.0, 1.5): 0.5, (1.2, 1.8): 0.35, (1.8, 2.8): 0.15})
    return View(
        focal=dice.between(0.6, 1.45),
        height=dice.between(low, high),
        d=dice.near(d, 0.35),
        yaw=dice.near(0, 4),
        pitch=dice.between(-7, 2.5),
        roll=dice.near(0, 1.2),
    )


def _wear(dice: Dice) -> Wear:
    return Wear(
        tone=dice.between(0.06, 0.24),
        warm=dice.between(-0.8, 1.0),
        cracks=dice.between(0, 1.2),
        patches=dice.whole(0, 9),
        seams=dice.whole(0, 4),
        covers=dice.whole(0, 4),
        paint=dice.between(0.2, 1.0),
        leaves=dice.between(0.3, 1.0) if dice.chance(0.12) else 0.0,
    )


def _bends(dice: Dice, place: str) -> tuple[tuple[float, float, float], ...]:
    """None, one or two: where each begins and ends, in metres, and by how many degrees it turns."""
    most = 10.0 if place == "motorway" else 28.0
    bends, start = [], dice.between(5, 25)
    for _ in range(dice.draw({0: 0.45, 1: 0.4, 2: 0.15})):
        end = start + dice.between(25, 70)
        bends.append((start, end, dice.between(-most, most)))
        start = end + dice.between(5, 30)
    return tuple(bends)


def _climb(dice: Dice) -> tuple[float, float, float]:
    """Where it begins, over how many metres the ground rises, and by how many."""
    return dice.between(10, 40), dice.between(60, 110), dice.between(-3, 5)


def _tint(dice: Dice) -> tuple[float, float, float]:
    """A white balance that is off by some 6 % a channel."""
    red, green, blue = (float(np.exp(dice.near(0, 0.06))) for _ in range(3))
    mean = (red + green + blue) / 3
    return red / mean, green / mean, blue / mean


def rare_plan_by_chance(seed: int) -> Plan:
    """As `plan_by_chance`, but of a kind that it never gives: one of `_RARE`, and more often a poor lens."""
    dice = Dice(np.random.default_rng([seed, 9]))
    plan = dice.draw(_RARE)(plan_by_chance(seed), dice)
    return replace(
        plan,
        lens=Lens(
            barrel=dice.between(0.03, 0.3) if dice.chance(0.4) else 0.0,
            drops=dice.whole(4, 40) if dice.chance(0.5 if plan.weather == "rain" else 0.08) else 0,
            mount=_mount(dice) if dice.chance(0.25) else None,
            clock=dice.chance(0.3),
        ),
    )


def _mount(dice: Dice) -> tuple[float, float, float]:
    return dice.pick((-1.0, 1.0)), dice.between(0.5, 0.9), dice.between(0.1, 0.3)


def _freeway(plan: Plan, dice: Dice) -> Plan:
    """A motorway between concrete walls, whose shade falls on paved shoulders."""
    return _in_lane(
        dice,
        plan,
        place="motorway",
        lanes=dice.pick(((0, 2), (0, 3), (0, 4), (0, 5))),
        walled=dice.between(0.8, 4.2),
        weather=dice.pick(("sunny", "sunny", "clear", "clear", "low-sun", "bright", "overcast", "dusk")),
        sun=(dice.pick((-1, -1, 1)) * dice.between(40, 140), dice.between(8, 50)),
        surface=dice.pick(("asphalt", "asphalt", "concrete")),
        yellow=dice.chance(0.7),
        dry=dice.chance(0.6),
    )


def _snow(plan: Plan, dice: Dice) -> Plan:
    weather = dice.pick(("overcast", "overcast", "bright", "clear", "low-sun", "fog", "dusk", "night"))
    wear = replace(plan.wear, snow=dice.between(0, 1), leaves=0.0)
    return replace(plan, weather=weather, wear=wear, trees=plan.trees / 3)


# Training takes a void region at the picture's foot for the own car's bonnet. So where there is trodden
# earth, which is void, there is no bonnet that it could run into.


def _unpaved(plan: Plan, dice: Dice) -> Plan:
    verge = dice.pick((None, None, "sand", "gravel"))
    return _in_lane(
        dice,
        plan,
        place="country",
        bonnet=False,
        lanes=dice.pick(((0, 1), (1, 1))),
        surface="earth",
        markings=False,
        verge=verge,
        traffic=plan.traffic // 3,
    )


def _concrete(plan: Plan, dice: Dice) -> Plan:
    return replace(plan, surface="concrete", wear=replace(plan.wear, tone=dice.between(0.2, 0.38)))


def _village(plan: Plan, dice: Dice) -> Plan:
    return _in_lane(
        dice,
        plan,
        place="village",
        bonnet=False,
        lanes=dice.pick(((1, 1), (1, 1), (0, 1), (2, 2))),
        verge=dice.pick((None, "sand", "gravel")),
        pavement=dice.between(0.6, 3.5),
        dry=dice.chance(0.6),
        surface="asphalt",
        markings=dice.chance(0.4),
        people=dice.whole(0, 9),
    )


def _desert(plan: Plan, dice: Dice) -> Plan:
    place = dice.pick(("country", "motorway"))
    return _in_lane(
        dice,
        plan,
        place=place,
        lanes=dice.pick(_LANES[place]),
        verge="sand",
        wear=replace(plan.wear, leaves=0.0),
        dry=True,
        trees=plan.trees / 8,
        weather=dice.pick(("sunny", "clear", "clear", "low-sun", "bright")),
        surface="asphalt",
    )


def _tunnel(plan: Plan, dice: Dice) -> Plan:
    return _in_lane(
        dice,
        plan,
        place="tunnel",
        weather="tunnel",
        lanes=dice.pick(((0, 2), (0, 3), (1, 1))),
        span=(-30.0, dice.pick((60.0, 120.0, 400.0))),
        bends=(),
        climb=None,
        surface="asphalt",
        wear=replace(plan.wear, leaves=0.0),
    )


def _bridge(plan: Plan, dice: Dice) -> Plan:
    start = dice.between(4, 55)
    return replace(plan, span=(start, start + dice.between(5, 30)), bends=(), climb=None, crossing=None)


def _in_lane(dice: Dice, plan: Plan, **changes: Any) -> Plan:
    """The plan with other lanes, the camera in one of them, and no streets or bays beside them."""
    ours = changes["lanes"][1]
    view = replace(plan.view, d=dice.near((dice.whole(0, ours - 1) + 0.5) * LANE, 0.35))
    plain = replace(plan, view=view, crossing=None, zebra=None, parked=0.0, bays=False)
    return replace(plain, **changes)


# How often each is drawn.
_RARE: Final[dict[Callable[[Plan, Dice], Plan], float]] = {
    _freeway: 0.34, _snow: 0.14, _unpaved: 0.10, _village: 0.14, _concrete: 0.08, _desert: 0.08,
    _tunnel: 0.05, _bridge: 0.07,
}  # fmt: skip
