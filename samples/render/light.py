"""Light and weather: the sun, the sky's colour, lamps, haze and wetness."""

from dataclasses import dataclass, replace

import numpy as np

from render.camera import Array
from render.canvas import unit
from render.noise import Noise


def rgb(*values: float) -> Array:
    return np.array(values, np.float32)


@dataclass(frozen=True, slots=True)
class Light:
    """What shines on a street. Colours are linear RGB; a white surface in noon sun is about 1."""

    sun: Array  # (3,) unit vector towards the sun
    sun_rgb: Array
    sky_rgb: Array  # light that falls from the whole sky
    zenith: Array  # the sky's colour overhead
    horizon: Array  # the sky's colour low down, and the colour of haze
    clouds: float  # 0 clear .. 1 closed
    haze: float = 0.0007  # share of light lost per metre
    wet: float = 0.0  # 0 dry .. 1 mirrors
    exposure: float = 1.0
    night: bool = False
    lamps: tuple[tuple[float, float, float], ...] = ()  # positions of street lamps
    beam: tuple[float, float, float] | None = None  # own headlights: x, y, heading

    def on(self, normal: Array, point: Array, sunlit: Array | float = 1.0) -> Array:
        """(N, 3) light that a matt surface at `point` (N, 3) with unit `normal` ((N, 3) or (3,)) receives."""
        normal = np.broadcast_to(normal, point.shape)
        open_sky = (0.6 + 0.4 * normal[:, 2:]) * self.sky_rgb
        direct = np.maximum(normal @ self.sun, 0.0)[:, None] * self.sun_rgb
        total = open_sky + direct * np.reshape(np.asarray(sunlit, np.float32), (-1, 1))
        for lamp in self.lamps:
            to_lamp = rgb(*lamp) - point
            squared = (to_lamp**2).sum(1)
            facing = np.maximum((to_lamp * normal).sum(1) / np.sqrt(squared) * 0.8 + 0.2, 0)
            total = total + (9.0 * facing / (squared + 4))[:, None] * rgb(1.0, 0.72, 0.42)
        if self.beam is not None:
            x, y, heading = self.beam
            east, north = point[:, 0] - x, point[:, 1] - y
            ahead = np.maximum(east * np.sin(heading) + north * np.cos(heading), 0.1)
            aside = east * np.cos(heading) - north * np.sin(heading)
            cone = np.exp(-((aside / (1.2 + 0.28 * ahead)) ** 2)) * np.exp(-point[:, 2] / 1.2)
            strength = 1.1 * cone * ahead / (ahead + 4) * np.exp(-ahead / 22)
            total = total + strength[:, None] * rgb(1.0, 0.95, 0.85)
        return total.astype(np.float32)

    def sky(self, ray: Array, noise: Noise) -> Array:
        """(N, 3) the sky along unit rays (N, 3)."""
        high = np.maximum(ray[:, 2], 0.0)
        mix = (1 - np.exp(-3.5 * high))[:, None]
        colour = self.horizon * (1 - mix) + self.zenith * mix
        towards = np.maximum(ray @ self.sun, 0)[:, None]
        if self.clouds > 0:
            plane = ray[:, :2] / (high + 0.12)[:, None]
            x, y = plane[:, 0].copy(), plane[:, 1].copy()
            flat = np.full(x.shape, 0.03, np.float32)
            heap = noise.layers(x, y, flat, [(3.1, 0.8), (1.4, 0.5), (0.6, 0.3), (0.27, 0.18), (0.12, 0.1)])
            cover = np.clip((heap + 2.6 * self.clouds - 1.3) * 1.3, 0, 1)[:, None]
            shade = noise.layers(x + 0.3, y + 0.2, flat, [(2.3, 0.5), (0.9, 0.35), (0.4, 0.2)])[:, None]
            white = (self.sky_rgb * 1.1 + 0.35 * self.sun_rgb) * (1 + 0.16 * shade - 0.10 * cover)
            colour = colour + (white - colour) * cover * np.clip(high * 14, 0, 1)[:, None]
        glow = 0.5 * towards**24 + 1.5 * towards**300 + 6.0 * towards**4000
        return np.asarray(colour + glow * self.sun_rgb * (1.1 - self.clouds), np.float32)

    def mirrored(self, ray: Array) -> Array:
        """(N, 3) what a glossy surface shows along reflected unit rays: sky, dark houses, the ground."""
        up = ray[:, 2:]
        sky = self.horizon + (self.zenith - self.horizon) * np.clip(up * 1.4, 0, 1)
        sky = sky * (1 - 0.5 * self.clouds) + 0.5 * self.clouds * self.sky_rgb
        street = 0.16 * self.sky_rgb + 0.05 * self.sun_rgb
        ground = 0.11 * (self.sky_rgb + self.sun_rgb)
        above = np.clip((up - 0.22) * 7, 0, 1)
        below = np.clip((-up - 0.02) * 12, 0, 1)
        flash = np.maximum(ray @ self.sun, 0)[:, None] ** 600 * 14 * self.sun_rgb
        return np.asarray(
            sky * above + street * (1 - above) * (1 - below) + ground * below + flash, np.float32
        )


def towards(azimuth: float, elevation: float) -> Array:
    """The unit vector to the sun; degrees, azimuth clockwise from straight ahead."""
    a, e = np.radians(azimuth), np.radians(elevation)
    return unit(rgb(np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), np.sin(e)))


_OVERCAST = Light(
    towards(40, 55),
    rgb(0.10, 0.10, 0.09),
    rgb(0.80, 0.83, 0.87),
    rgb(0.78, 0.82, 0.88),
    rgb(0.92, 0.93, 0.94),
    0.85,
)
_SUNNY = Light(
    towards(40, 50),
    rgb(1.45, 1.34, 1.16),
    rgb(0.27, 0.33, 0.43),
    rgb(0.16, 0.32, 0.66),
    rgb(0.66, 0.80, 0.96),
    0.35,
)
_NIGHT = Light(
    towards(0, -5), rgb(0, 0, 0), rgb(0.035, 0.04, 0.055), rgb(0.012, 0.016, 0.030), rgb(0.06, 0.055, 0.055),
    clouds=0.4, night=True, exposure=1.9,
)  # fmt: skip
WEATHERS = {
    "overcast": _OVERCAST,
    "bright": replace(_OVERCAST, sun_rgb=rgb(0.35, 0.33, 0.29), clouds=0.62, zenith=rgb(0.42, 0.55, 0.75)),
    "sunny": _SUNNY,
    "clear": replace(_SUNNY, clouds=0.0),
    "low-sun": replace(
        _SUNNY, sun_rgb=rgb(1.6, 1.12, 0.70), sky_rgb=rgb(0.24, 0.27, 0.33), horizon=rgb(0.95, 0.80, 0.62),
        zenith=rgb(0.26, 0.38, 0.58), clouds=0.3, haze=0.0016,
    ),
    "fog": replace(
        _OVERCAST, sun_rgb=rgb(0.02, 0.02, 0.02), haze=0.011, horizon=rgb(0.80, 0.82, 0.83),
        zenith=rgb(0.78, 0.80, 0.82), clouds=0.0,
    ),
    "rain": replace(
        _OVERCAST, sun_rgb=rgb(0.02, 0.02, 0.02), sky_rgb=rgb(0.62, 0.65, 0.70),
        horizon=rgb(0.74, 0.77, 0.80), zenith=rgb(0.52, 0.56, 0.62), clouds=0.75, haze=0.002, wet=0.6,
        exposure=1.08,
    ),
    "dusk": replace(
        _NIGHT, sky_rgb=rgb(0.16, 0.18, 0.24), zenith=rgb(0.10, 0.15, 0.28), horizon=rgb(0.50, 0.36, 0.28),
        clouds=0.3, exposure=1.7, sun=towards(10, 3), sun_rgb=rgb(0.08, 0.05, 0.03),
    ),
    "night": _NIGHT,
    "tunnel": replace(
        _OVERCAST, sun_rgb=rgb(0, 0, 0), sky_rgb=rgb(0.34, 0.30, 0.22), horizon=rgb(0.34, 0.31, 0.25),
        zenith=rgb(0.5, 0.52, 0.55), haze=0.002, exposure=1.9,
    ),
}  # fmt: skip


def weather(name: str, azimuth: float, elevation: float) -> Light:
    """The light of a named weather with the sun (where there is one) in that direction, in degrees."""
    light = WEATHERS[name]
    return light if light.night else replace(light, sun=towards(azimuth, elevation))
