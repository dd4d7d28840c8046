"""From a street to a photograph: draws everything, then does what a camera does."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from render.builder import Thing
from render.camera import Array, Camera
from render.canvas import Canvas, unit
from render.light import Light, rgb
from render.noise import Noise
from render.plan import View
from render.road import EGO, SKY, VEGETATION
from render.shadow import Shadows
from render.street import Street

_STEPS = 2880  # around the horizon


class Hills(NamedTuple):
    """A ridge on the horizon: its height and roughness (slopes as seen by the camera), colour and haze."""

    seed: int
    height: float
    rough: float
    bumps: tuple[int, ...]  # so many around the horizon
    colour: tuple[float, float, float]
    haze: float

    def crest(self) -> Array:
        """(_STEPS,) its height around the horizon."""
        rng = np.random.default_rng(self.seed)
        crest = np.full(_STEPS, self.height, np.float32)
        for count in self.bumps:
            bumps = rng.uniform(-1, 1, (1, count)).astype(np.float32)
            wave = cv2.resize(bumps, (_STEPS, 1), interpolation=cv2.INTER_CUBIC)[0]
            crest += self.rough / count**0.5 * wave
        return crest


_FAR_HILLS = Hills(3, 0.030, 0.080, (24, 60, 150), (0.10, 0.13, 0.13), haze=0.5)
_NEAR_WOODS = Hills(4, 0.014, 0.040, (24, 90, 300, 900), (0.05, 0.07, 0.03), haze=0.15)


def _skyline(seed: int | None) -> list[Hills]:
    """The ridges of the samples, or those that the dice of `seed` give."""
    ridges = [_FAR_HILLS, _NEAR_WOODS]
    if seed is None:
        return ridges
    rng = np.random.default_rng([seed, 8])
    return [
        ridge._replace(
            seed=int(rng.integers(1 << 30)),
            height=ridge.height * float(rng.uniform(0.2, 2.0)),
            rough=ridge.rough * float(rng.uniform(0.3, 1.8)),
        )
        for ridge in ridges
    ]


def photograph(
    street: Street, width: int, height: int, view: View, time: float = 0.0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The street at `time` seconds: (H, W, 3) uint8 RGB, and its Cityscapes label ids, (H, W) uint8."""
    camera = street.camera(width, height, view)
    light = street.light_at(camera)
    things = sorted(
        street.things(time), key=lambda thing: float(np.hypot(*(thing.place[:2] - camera.position[:2])))
    )
    shadows, sunlit = _shadows(things, light, camera)
    canvas = Canvas(camera)
    for thing, share in zip(things, sunlit, strict=True):
        thing.draw(canvas, light, street.noise, share)
    skyline = _skyline(street.plan.skyline)
    mirrored = _mirrored(camera, things, sunlit, light, street.noise, skyline)
    street.ground.draw(canvas, light, shadows, mirrored)
    _sky(canvas, light, street.noise, skyline)
    if street.plan.bonnet:
        _bonnet(canvas, light)
    plan, lens = street.plan, street.plan.lens
    linear, label = lens.drawn_in(*canvas.resolve())
    rng = np.random.default_rng([plan.seed, round(time * 1000)])
    linear, label = lens.mounted(lens.rained_on(linear, rng), label)
    return lens.stamped(develop(linear, light.exposure, plan.tint, light.night, rng), rng), label


def _shadows(things: list[Thing], light: Light, camera: Camera) -> tuple[Shadows, list[float]]:
    """The shadows on the ground, and the share of sun that reaches each thing."""
    shadows = Shadows(light, camera.y, camera.x)
    small = [
        hasattr(thing, "heading") for thing in things
    ]  # vehicles and people: they stand in others' shade
    for thing, is_small in zip(things, small, strict=True):
        if not is_small:
            thing.cast(shadows)
    places = np.stack([thing.place for thing in things])
    share = np.where(small, shadows.sun_at(places[:, 0], places[:, 1]), 1.0)
    for thing, is_small in zip(things, small, strict=True):
        if is_small:
            thing.cast(shadows)
    shadows.finish()
    return shadows, [float(v) for v in share]


def _mirrored(
    camera: Camera,
    things: list[Thing],
    sunlit: list[float],
    light: Light,
    noise: Noise,
    skyline: list[Hills],
) -> Array | None:
    """What a wet road shows at each sample: the street upside down, drawn out by the rough surface."""
    if not light.wet:
        return None
    canvas = Canvas(camera, mirrored=True)
    for thing, share in zip(things, sunlit, strict=True):
        thing.draw(canvas, light, noise, share)
    _sky(canvas, light, noise, skyline)
    return np.asarray(cv2.GaussianBlur(canvas.rgb, (0, 0), sigmaX=1.6, sigmaY=camera.height / 22), np.float32)


def _sky(canvas: Canvas, light: Light, noise: Noise, skyline: list[Hills]) -> None:
    """Fill what is still empty with sky and a skyline of hills, then hang haze before everything."""
    empty = np.isinf(canvas.depth)
    ray = unit(canvas.ray[empty])
    colour, label = light.sky(ray, noise), np.full(len(ray), SKY, np.uint8)
    for hills in skyline:
        behind = np.arctan2(ray[:, 0], ray[:, 1]) + np.pi  # the seam of the skyline lies behind the camera
        place = behind / (2 * np.pi) * _STEPS
        below = ray[:, 2] < np.interp(place, np.arange(_STEPS), hills.crest())
        leaf = 1 + 0.25 * noise.at(place[below], ray[below, 2] * 900, 2.0)
        tone = rgb(*hills.colour) * leaf[:, None] * (light.sky_rgb + 0.6 * light.sun_rgb)
        colour[below] = tone + hills.haze * (light.horizon - tone)
        label[below] = VEGETATION
    canvas.rgb[empty], canvas.label[empty] = colour, label
    distance = np.where(empty, 500.0, np.minimum(canvas.depth, 500.0))
    clear = np.exp(-light.haze * distance)
    clear[empty] = np.where(label == SKY, 1.0, clear[empty])
    canvas.rgb = light.horizon + (canvas.rgb - light.horizon) * clear[..., None].astype(np.float32)


def _bonnet(canvas: Canvas, light: Light) -> None:
    """Our own car's bonnet at the foot of the picture, with the street mirrored in it."""
    rows, columns = canvas.ray.shape[:2]
    aside = (np.arange(columns) - columns / 2) / columns
    edge = rows * (0.925 + 0.22 * aside**2)
    row = np.arange(rows)[:, None]
    metal = row >= edge
    above = np.clip(2.2 * edge - 1.2 * row - 2, 0, rows - 1)
    image = cv2.remap(
        cv2.GaussianBlur(canvas.rgb, (0, 0), rows / 90),
        np.broadcast_to(np.arange(columns, dtype=np.float32), (rows, columns)), above.astype(np.float32),
        cv2.INTER_LINEAR,
    )  # fmt: skip
    into = np.clip((row - edge) / (rows * 0.075), 0, 1)[..., None]
    paint = 0.02 * light.sky_rgb + (0.45 - 0.3 * into) * image + 0.10 * (1 - into) ** 3 * light.horizon
    canvas.rgb[metal], canvas.label[metal] = paint[metal], EGO


def develop(
    linear: Array, exposure: float, tint: tuple[float, float, float], night: bool, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A camera's picture of (H, W, 3) linear light: glare, lens, white balance, noise, tone curve."""
    height, width = linear.shape[:2]
    bright = np.maximum(linear - 1.0, 0)
    glare = cv2.GaussianBlur(np.minimum(bright, 6), (0, 0), width / 170) * 0.35
    glare += cv2.GaussianBlur(np.minimum(bright, 6), (0, 0), width / 28) * (0.10 if night else 0.04)
    light = (linear + glare) * exposure * rgb(*tint)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    corner = ((x - width / 2) ** 2 + (y - height / 2) ** 2) / (width / 2) ** 2
    light = cv2.GaussianBlur(light * (1 - 0.16 * corner)[..., None], (0, 0), 0.45)
    grain = rng.standard_normal(light.shape[:2], np.float32)[..., None] * 0.7
    blotch = cv2.GaussianBlur(rng.standard_normal(light.shape, np.float32), (0, 0), 1.0) * 1.3
    strength = 0.0016 * (1.7 if night else 1.0)
    light = light + (grain + blotch) * np.sqrt(strength**2 + strength * 0.02 * np.maximum(light, 0))
    grey = light.mean(axis=2, keepdims=True)
    light = np.maximum(grey + 1.18 * (light - grey), 0)  # colours as vivid as a camera's
    shoulder = np.where(light > 0.7, 0.7 + 0.3 * np.tanh((light - 0.7) / 0.45), light)  # highlights roll off
    encoded = np.where(shoulder < 0.0031308, shoulder * 12.92, 1.055 * shoulder ** (1 / 2.4) - 0.055)  # sRGB
    encoded = np.clip(encoded, 0, 1)
    contrast = encoded * encoded * (3 - 2 * encoded)  # cameras deepen shadows and lift lights
    return np.asarray(np.round((0.6 * encoded + 0.4 * contrast) * 255), np.uint8)
