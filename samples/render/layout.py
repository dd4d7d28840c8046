"""The road of a plan: its lanes, its paint, and the strips of ground on either side."""

from render.plan import Plan
from render.road import (
    LANE,
    PARKING,
    ROAD,
    SIDEWALK,
    TERRAIN,
    UNLABELED,
    WALL,
    Arrow,
    Line,
    Paint,
    Road,
    Zebra,
    Zone,
)

BAY = 2.1  # the width that a parked car takes
KERB = 0.26
WALL_BASE = 0.6  # metres that a motorway's concrete wall stands on
BIKE_PATH = 2.2  # metres that the bicycle path and the strip beside it add to a wide pavement
OPPOSITE = -5.4  # where a motorway's other carriageway begins

Zones = tuple[Zone, ...]


def wide_pavement(plan: Plan) -> bool:
    """Whether the pavement has room for a bicycle path."""
    return plan.pavement > 3.5


def lay_road(plan: Plan) -> Road:
    """The road that the plan orders."""
    oncoming, ours = plan.lanes
    middles = tuple((i + 0.5) * LANE for i in range(-oncoming, ours))
    kerbside = BAY if plan.parked and not plan.bays else 0.8
    left, right = -oncoming * LANE - kerbside, ours * LANE + kerbside
    paint: list[Paint] = []
    if plan.markings:
        paint += [Line(i * LANE, on=3, off=6) for i in range(-oncoming + 1, ours) if i]
        if oncoming:
            paint.append(Line(0.0, on=4, off=4, yellow=plan.yellow))
    if plan.place == "motorway":
        left, right = -(plan.walled or 0.6), ours * LANE + 2.7  # a hard shoulder
        paint += [Line(-0.1, 0.15, yellow=plan.yellow), Line(ours * LANE, 0.2), Line(OPPOSITE, 0.15)]
        paint += [Line(OPPOSITE - i * LANE, on=3, off=6) for i in (1, 2)]
    elif plan.place == "country" and plan.markings:
        paint += [Line(left + 0.3), Line(right - 0.3)]
    if plan.zebra is not None:
        paint.append(Zebra(plan.zebra))
    if plan.crossing is not None:
        paint.append(Zebra(plan.crossing[0] - 1.6, 0.45, bars=False, left=0.1))
        paint += [Arrow(plan.crossing[0] - 14, d) for d in middles if d > 0 and ours > 1]
    left_zones, right_zones = _sides(plan)
    return Road(
        left, right, left_zones, right_zones, tuple(paint), middles, plan.bends, plan.climb, plan.crossing,
        rough_edge=_rough_edge(plan), surface=plan.surface,
        gutter=0.32 if plan.place in ("city", "suburb") else 0.0,
    )  # fmt: skip


def _rough_edge(plan: Plan) -> float:
    if plan.place == "village" or plan.surface == "earth":
        return 0.13
    return 0.10 if plan.place == "country" else 0.0


def _sides(plan: Plan) -> tuple[Zones, Zones]:
    """The strips to the left and to the right, from the kerb outwards."""
    grass = Zone(0, plan.verge or ("dry grass" if plan.dry else "grass"), TERRAIN)
    if plan.walled is not None:
        base = Zone(WALL_BASE, "kerb", WALL)
        return (base, Zone(15.0, plan.surface, ROAD), grass), (base, grass)
    if plan.place == "motorway":
        verge, middle = Zone(0.6, "gravel", TERRAIN), Zone(0.7, "gravel", TERRAIN)
        return (middle, grass._replace(width=2.8), Zone(13.5, plan.surface, ROAD), grass), (verge, grass)
    if plan.place == "village" or plan.surface == "earth":
        # Whether one may drive on trodden earth beside a road is what data sets do not agree on: void.
        trodden = Zone(0.5 if plan.surface == "earth" else plan.pavement, "earth", UNLABELED)
        return (trodden, grass), (trodden, grass)
    if plan.place == "tunnel":
        walk = (Zone(KERB, "kerb", SIDEWALK), Zone(0, "slabs", SIDEWALK))
        return walk, walk
    if plan.place == "country":
        side = (
            Zone(0.45, "gravel", TERRAIN),
            grass._replace(width=5.0),
            Zone(0, plan.verge or "field", TERRAIN),
        )
        return side, side
    walk = [Zone(BAY, "setts", PARKING)] if plan.bays else []
    walk.append(Zone(KERB, "kerb", SIDEWALK))
    if wide_pavement(plan):
        walk += [Zone(0.9, plan.paving, SIDEWALK), Zone(1.3, "red bike path", SIDEWALK)]
    walk.append(Zone(plan.pavement, plan.paving, SIDEWALK))
    walk.append(grass if plan.place == "suburb" else Zone(0, plan.paving, SIDEWALK))
    return tuple(walk), tuple(walk)
