"""The sample pictures: what each of them shows."""

from dataclasses import replace
from typing import Final

from render.ground import Wear
from render.plan import Plan, View

_OLD = Wear(tone=0.11, cracks=1.1, patches=9, seams=4, paint=0.5)
_NEW = Wear(tone=0.085, cracks=0.0, patches=0, seams=1, covers=1, paint=0.95)
_PALE = Wear(tone=0.17, warm=0.5, cracks=0.7, patches=6, seams=3, paint=0.65)
_AUTUMN = Wear(leaves=1.0)

# city -> its scenes, in the order of their numbers
TRAIN: Final[dict[str, list[Plan]]] = {
    "brunnfeld": [
        Plan(seed=101, place="city", parked=0.75, bonnet=True, traffic=3),
        Plan(
            seed=102,
            place="city",
            weather="bright",
            sun=(150, 45),
            lanes=(2, 2),
            crossing=(32, 42),
            zebra=26,
            people=9,
            wear=_OLD,
            paving="bricks",
            view=View(d=4.9, height=1.5),
        ),
        Plan(
            seed=103,
            place="city",
            weather="sunny",
            sun=(-75, 52),
            trees=0.9,
            parked=0.5,
            bays=True,
            wear=_PALE,
            floors=(2, 4),
            view=View(yaw=5, focal=0.9),
        ),
        Plan(seed=104, place="suburb", bends=((12, 50, 22),), parked=0.3, bonnet=True, view=View(pitch=-4)),
        Plan(
            seed=105,
            place="city",
            paving="bricks",
            weather="rain",
            traffic=5,
            lanes=(1, 2),
            people=6,
            view=View(height=1.25, yaw=-3),
        ),
        Plan(
            seed=106,
            place="suburb",
            paving="bricks",
            weather="sunny",
            sun=(15, 40),
            trees=0.9,
            parked=0.3,
            bends=((25, 45, -16),),
            wear=_PALE,
        ),
        Plan(seed=107, place="city", weather="dusk", parked=0.5, traffic=5, wear=_NEW, view=View(focal=1.3)),
        Plan(
            seed=108,
            place="city",
            weather="bright",
            surface="setts",
            markings=False,
            parked=0.6,
            pavement=2.0,
            people=8,
            floors=(2, 4),
            trees=0.1,
            bonnet=True,
        ),
    ],
    "eichwald": [
        Plan(
            seed=201,
            place="country",
            weather="sunny",
            sun=(-65, 42),
            trees=0.45,
            bends=((25, 60, -18),),
            people=0,
            climb=(60, 90, 4.0),
            wear=_PALE,
        ),
        Plan(
            seed=202,
            place="motorway",
            weather="bright",
            lanes=(0, 3),
            traffic=8,
            trees=0.6,
            wear=_NEW,
            view=View(d=4.9, focal=1.2),
        ),
        Plan(
            seed=203,
            place="suburb",
            paving="bricks",
            weather="fog",
            traffic=3,
            trees=0.7,
            view=View(roll=-1.5, yaw=-4),
        ),
        Plan(seed=204, place="city", weather="night", parked=0.5, traffic=6),
        Plan(
            seed=205,
            place="city",
            weather="sunny",
            sun=(165, 38),
            lanes=(1, 2),
            crossing=(20, 32),
            people=7,
            traffic=6,
            view=View(yaw=6, focal=0.9),
        ),
        Plan(
            seed=206,
            place="city",
            pavement=4.0,
            trees=0.8,
            lanes=(2, 2),
            wear=_AUTUMN,
            bonnet=True,
            bends=((10, 70, -14),),
            view=View(d=4.9, height=1.5),
        ),
        Plan(
            seed=207,
            place="country",
            trees=0.8,
            people=0,
            wear=_OLD,
            bends=((8, 40, 24),),
            traffic=2,
            view=View(roll=1.2, height=1.15),
        ),
        Plan(
            seed=208,
            place="suburb",
            weather="low-sun",
            sun=(-28, 17),
            parked=0.5,
            bays=True,
            trees=0.7,
            view=View(height=1.9, pitch=-5),
        ),
    ],
}

VAL: Final[dict[str, list[Plan]]] = {
    "marlingen": [
        Plan(seed=301, place="city", parked=0.6, traffic=4, trees=0.7, bonnet=True, view=View(yaw=2)),
        Plan(
            seed=302,
            place="city",
            weather="sunny",
            sun=(-25, 48),
            paving="bricks",
            zebra=14,
            people=8,
            wear=_PALE,
            trees=0.4,
        ),
        Plan(
            seed=303,
            place="suburb",
            weather="bright",
            climb=(20, 60, 3.0),
            parked=0.4,
            bonnet=True,
            view=View(focal=0.85),
        ),
        Plan(
            seed=304, place="motorway", weather="clear", lanes=(0, 3), traffic=7, dry=True, view=View(d=4.9)
        ),
        Plan(
            seed=305,
            place="city",
            paving="bricks",
            weather="rain",
            lanes=(2, 2),
            crossing=(38, 48),
            traffic=6,
            people=6,
            view=View(d=4.9, focal=1.3, pitch=-1),
        ),
        Plan(seed=306, place="country", weather="fog", trees=0.6, people=0, bends=((15, 50, 16),)),
        Plan(seed=307, place="city", weather="night", lanes=(1, 2), traffic=6, people=5, wear=_OLD),
        Plan(
            seed=308,
            place="city",
            weather="bright",
            sun=(-120, 50),
            crossing=(9, 21),
            people=8,
            traffic=5,
            view=View(yaw=-5, focal=0.9, height=1.6),
        ),
    ]
}

# path below frames/, width, height, plan
_FRAMES: list[tuple[str, int, int, Plan]] = [
    (
        "avenue.jpg",
        960,
        540,
        Plan(
            seed=401,
            place="city",
            weather="sunny",
            sun=(-30, 58),
            trees=1.0,
            parked=0.4,
            floors=(2, 3),
            pavement=3.4,
        ),
    ),
    (
        "bend.jpg",
        640,
        360,
        Plan(
            seed=402,
            place="country",
            weather="clear",
            sun=(100, 40),
            bends=((8, 45, -24),),
            trees=0.5,
            people=0,
            yellow=True,
            dry=True,
            view=View(height=1.6, pitch=-5),
        ),
    ),
    (
        "market-street.jpg",
        960,
        540,
        Plan(seed=403, place="city", weather="bright", people=12, zebra=16, view=View(focal=0.85, yaw=3)),
    ),
    (
        "motorway.jpg",
        960,
        540,
        Plan(
            seed=404,
            place="motorway",
            weather="sunny",
            sun=(70, 45),
            lanes=(0, 3),
            traffic=8,
            dry=True,
            yellow=True,
            trees=0.5,
            wear=_NEW,
            view=View(d=4.9, pitch=-1),
        ),
    ),
    (
        "village.jpg",
        640,
        360,
        Plan(
            seed=405,
            place="suburb",
            paving="bricks",
            trees=0.8,
            bends=((14, 40, 20),),
            climb=(20, 60, 2.5),
            parked=0.3,
            wear=_OLD,
        ),
    ),
    (
        "weather/fog.jpg",
        640,
        360,
        Plan(seed=406, place="city", weather="fog", parked=0.4, view=View(focal=1.25)),
    ),
    ("weather/night.jpg", 640, 360, Plan(seed=407, place="city", weather="night", lanes=(1, 2), traffic=6)),
    (
        "weather/rain.jpg",
        960,
        540,
        Plan(
            seed=408,
            place="city",
            paving="bricks",
            weather="rain",
            lanes=(2, 2),
            traffic=6,
            people=6,
            view=View(d=4.9, pitch=-4),
        ),
    ),
]

# A drive down a city street with a bend
_DRIVE = Plan(
    seed=501,
    place="city",
    weather="sunny",
    sun=(-155, 48),
    parked=0.45,
    trees=0.5,
    people=7,
    traffic=5,
    bends=((30, 60, 20),),
)

_DASHCAM = (1.0, 0.99, 0.98)  # white balance; the Cityscapes scenes keep that data set's greenish cast
FRAMES: Final = [(path, width, height, replace(plan, tint=_DASHCAM)) for path, width, height, plan in _FRAMES]
DRIVE: Final = replace(_DRIVE, tint=_DASHCAM)
