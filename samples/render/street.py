"""A street built from a plan: what is where at any time, in which light, and the camera that drives there."""

from dataclasses import replace

import numpy as np

from render.builder import Builder, Thing
from render.camera import Camera
from render.ground import Ground
from render.layout import lay_road
from render.light import Light, weather
from render.places import PLACES
from render.plan import Plan, View
from render.roof import span
from render.vehicle import Vehicle

_LAMPS = 9  # so many street lamps near the camera are worth their time


class Street:
    """A street of a plan; the same plan gives the same street."""

    def __init__(self, plan: Plan) -> None:
        rng = np.random.default_rng(plan.seed)
        self.plan = plan
        self.light = weather(plan.weather, *plan.sun)
        self.road = lay_road(plan)
        self.ground = Ground(self.road, plan.wear, rng)
        self.noise = self.ground.noise
        self._built = Builder(plan, self.road, self.light, rng)
        PLACES[plan.place](self._built)
        if plan.span is not None:
            self._built.standing.append(span(self.road, *plan.span, lit=plan.place == "tunnel"))

    def things(self, time: float) -> list[Thing]:
        """Everything that stands or moves in the street at `time` seconds."""
        moving: list[Thing] = []
        lit = self.light.night or self.plan.weather in ("fog", "rain")
        for car in self._built.drivers:
            s = car.s + car.speed * time
            heading = self.road.heading(s) + (np.pi if car.speed < 0 else 0.0)
            place = self.road.point(s, car.d)
            moving.append(Vehicle(car.model, place, heading, car.paint, lit, car.braking))
        return self._built.standing + moving

    def light_at(self, camera: Camera) -> Light:
        """The light; at night with the street lamps near this camera and its own headlights."""
        if not self.light.night:
            return self.light
        near = sorted(self._built.lamps, key=lambda lamp: float(np.hypot(*(lamp[:2] - camera.position[:2]))))
        lamps = tuple((float(x), float(y), float(z)) for x, y, z in near[:_LAMPS])
        return replace(self.light, lamps=lamps, beam=(camera.x, camera.y, camera.yaw))

    def camera(self, width: int, height: int, view: View) -> Camera:
        """The camera of a car that follows the road."""
        x, y, ground = (float(v) for v in self.road.point(view.s, view.d))
        yaw = self.road.heading(view.s) + float(np.radians(view.yaw))
        pitch, roll = float(np.radians(view.pitch)), float(np.radians(view.roll))
        return Camera(width, height, view.focal * width, x, y, ground + view.height, yaw, pitch, roll)
