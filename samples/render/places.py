"""Kinds of places: what stands along a city street, in a suburb, in the country and by a motorway."""

from collections.abc import Callable

import numpy as np

from render import furniture as kit
from render.builder import FAR_END, Builder
from render.layout import BAY, BIKE_PATH, KERB, WALL_BASE, wide_pavement
from render.plants import Hedge
from render.vehicle import PAINTS


def city(b: Builder) -> None:
    """Rows of tall houses, shops, street trees, a crossing with lights."""
    plan, dice = b.plan, b.dice
    kerb = (BAY if plan.bays else 0.0) + KERB
    walls = kerb + plan.pavement + (BIKE_PATH if wide_pavement(plan) else 0.0)
    for side in (-1, 1):
        b.row_of_houses(side, walls)
        for s in np.arange(dice.between(5, 14), 130, 11.0):
            if dice.chance(plan.trees) and b.free(s, 4):
                b.tree(s, b.out(side, kerb + 0.7), dice.between(6, 10), ("round", "tall"))
    b.lamps_along(kerb + 0.4, 27, 7.5, (-1, 1) if sum(plan.lanes) > 2 else (1,))
    b.signs(kerb + 0.35, ("30", "50", "no entry", "priority", "parking"), 3)
    b.parked_cars()
    b.walkers(kerb + 0.5, walls - 0.4)
    for _ in range(plan.people // 3):
        s, side = dice.between(8, 30), dice.pick((-1, 1))
        if b.free(s, 4):
            place = b.road.point(s, b.out(side, walls - 0.5))
            b.standing.append(kit.bicycle(place, b.road.heading(s), dice.pick(PAINTS)))
    for side in (-1, 1):
        if plan.crossing is not None:
            s = plan.crossing[0] - 1.0 if side > 0 else plan.crossing[1] + 1.0
            place = b.road.point(s, b.out(side, kerb + 0.4))
            lit = dice.pick(("red", "green", "yellow"))
            b.standing += kit.traffic_light(place, b.road.heading(s) + np.pi, lit)
        if plan.zebra is not None:
            place = b.road.point(plan.zebra - 0.5, b.out(side, kerb + 0.4))
            b.standing += kit.sign_post(place, b.road.heading(plan.zebra) + np.pi, "crossing")
    b.traffic(9.0)


def suburb(b: Builder) -> None:
    """Small houses with gables behind gardens, hedges and fences."""
    plan, dice = b.plan, b.dice
    kerb = (BAY if plan.bays else 0.0) + KERB
    garden = kerb + plan.pavement
    for side in (-1, 1):
        s = -20.0
        while s < FAR_END:
            length = dice.between(9, 13)
            if b.free(s, length + 3):
                out, roof = garden + dice.between(4, 8), dice.between(3, 4.5)
                b.house(side, s, length, out, 10.0, dice.whole(1, 2), roof)
            s += length + dice.between(3, 8)
        for s in np.arange(-6, 130, 6.5):
            if not (b.free(s, 3) and b.free(s + 6, 3)):
                continue
            start, end = (b.road.point(s + step, b.out(side, garden + 0.2)) for step in (0.0, 6.4))
            if dice.chance(0.35):
                b.standing.append(Hedge(start, end, dice.between(0.9, 1.7)))
            elif dice.chance(0.55):
                kind = dice.pick(("bars", "wall", "mesh"))
                b.standing.append(kit.Barrier(start, end, kind, dice.between(0.8, 1.3)))
            if dice.chance(plan.trees):
                d = b.out(side, garden + dice.between(1.5, 4))
                b.tree(s + 3, d, dice.between(3, 9), ("round", "tall", "bush"))
    b.lamps_along(kerb + 0.3, 32, 6.0, (1,))
    b.signs(kerb + 0.3, ("30", "yield", "priority"), 2)
    b.parked_cars()
    b.walkers(kerb + 0.5, garden)
    b.traffic(9.0)


def country(b: Builder) -> None:
    """Verges, delineators, trees, bushes and a farm."""
    dice = b.dice
    for side in (-1, 1):
        for s in np.arange(-5, 320, 5.0):
            if dice.chance(b.plan.trees):
                d = b.out(side, dice.pick((3.0, 5.0, 9.0, 16.0, 30.0)) + dice.between(0, 3))
                if dice.chance(0.4):
                    b.tree(s, d, dice.between(1.5, 3.5), ("bush",))
                else:
                    b.tree(s, d, dice.between(6, 13), ("round", "tall"))
        for s in np.arange(8, 160, 25.0):
            place = b.road.point(s, b.out(side, 0.9))
            b.standing.append(kit.Post(place, 1.0, 0.06, (0.6, 0.6, 0.58), banded=True))
    for s in (70.0, 96.0):
        b.house(1, s, 12.0, 14.0, 9.0, floors=2, roof=4.0)
    b.signs(1.2, ("50", "priority"), 1)
    b.walkers(0.6, 1.0)
    b.traffic(20.0)


def motorway(b: Builder) -> None:
    """Guard rails or concrete walls, a sign board, trees beyond the verges."""
    road, dice = b.road, b.dice
    kind, height, inner, outer, nearest = "rail", 0.8, 1.7, 1.1, 5
    if b.plan.walled is not None:
        kind, height, nearest = "concrete", dice.between(0.8, 1.5), 2
        inner = outer = WALL_BASE / 2
    for s in np.arange(-8, 260, 4.0):
        for d in (road.left - inner, road.right + outer):
            b.standing.append(kit.Barrier(road.point(s, d), road.point(s + 4, d), kind, height))
    for side in (-1, 1):
        for s in np.arange(0, 300, 7.0):
            if dice.chance(b.plan.trees):
                out = dice.between(nearest, 25) + (18 if side < 0 else 0)  # beyond the other carriageway
                b.tree(s, b.out(side, out), dice.between(4, 12), ("round", "tall", "bush"))
    b.standing += kit.sign_board(road.point(60.0, road.right + 4.5), road.heading(60.0) + np.pi)
    b.traffic(28.0)


def village(b: Builder) -> None:
    """Low houses, walls and trees beside a road without pavements."""
    plan, dice = b.plan, b.dice
    for side in (-1, 1):
        s = -20.0
        while s < FAR_END:
            length, out = dice.between(5, 12), plan.pavement + dice.between(0.3, 6)
            if dice.chance(0.6):
                roof = dice.between(1, 3) if dice.chance(0.5) else 0.0
                b.house(side, s, length, out, 8.0, dice.whole(1, 2), roof, shop=dice.chance(0.35))
            elif dice.chance(0.5):
                start, end = (b.road.point(s + step, b.out(side, out)) for step in (0.0, length))
                kind = dice.pick(("wall", "bars", "mesh"))
                b.standing.append(kit.Barrier(start, end, kind, dice.between(1.0, 2.2)))
            if dice.chance(plan.trees):
                b.tree(
                    s, b.out(side, out + dice.between(-0.5, 6)), dice.between(3, 9), ("round", "tall", "bush")
                )
            s += length + dice.between(0, 9)
    b.lamps_along(0.8, 40, 7.0, (1,))
    b.signs(0.8, ("30", "50", "priority"), 1)
    b.walkers(-0.8, plan.pavement)
    b.traffic(8.0)


def tunnel(b: Builder) -> None:
    """Nothing but traffic: what is over the road is the street's."""
    b.traffic(18.0)


PLACES: dict[str, Callable[[Builder], None]] = {
    "city": city,
    "suburb": suburb,
    "country": country,
    "motorway": motorway,
    "village": village,
    "tunnel": tunnel,
}
