"""A plan is what somebody orders: which kind of street, in which weather, seen how."""

from dataclasses import dataclass, field

from render.ground import Wear
from render.lens import Lens


@dataclass(frozen=True, slots=True)
class View:
    """The camera in the car: metres, degrees, and the focal length in picture widths."""

    focal: float = 1.05
    height: float = 1.35
    d: float = 1.7  # to the right of the road's middle
    s: float = 0.0  # along the road
    yaw: float = 0.0
    pitch: float = -2.0
    roll: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A street scene. `place` is a name of places.PLACES; `weather` one of light.WEATHERS."""

    seed: int
    place: str
    weather: str = "overcast"
    sun: tuple[float, float] = (50.0, 40.0)  # azimuth from straight ahead, elevation, degrees
    view: View = field(default_factory=View)
    wear: Wear = field(default_factory=Wear)
    lanes: tuple[int, int] = (1, 1)  # oncoming, ours
    parked: float = 0.0  # share of the kerb with parked cars
    bays: bool = False  # parked cars stand in paved bays, not on the carriageway
    bends: tuple[tuple[float, float, float], ...] = ()
    climb: tuple[float, float, float] | None = None
    crossing: tuple[float, float] | None = None
    zebra: float | None = None
    surface: str = "asphalt"
    pavement: float = 3.0
    paving: str = "slabs"
    markings: bool = True
    yellow: bool = False
    traffic: int = 4
    people: int = 4
    trees: float = 0.5
    floors: tuple[int, int] = (3, 6)
    dry: bool = False  # the grass is yellow
    verge: str | None = None  # a village's or a country road's, in place of grass: a surface of the ground
    walled: float | None = None  # a motorway's: metres of paved shoulder before a wall in its middle
    span: tuple[float, float] | None = None  # from where to where a bridge or a tunnel is over the road
    bonnet: bool = False
    skyline: int | None = None  # seed of other hills than those of the samples
    lens: Lens = field(default_factory=Lens)
    tint: tuple[float, float, float] = (0.93, 1.02, 0.94)  # white balance; Cityscapes is greenish
