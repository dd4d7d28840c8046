"""Ground that nobody laid: snow, sand and trodden earth, as colours of points given in metres."""

import numpy as np

from render.camera import Array
from render.light import rgb
from render.noise import Noise
from render.road import LANE, Spots

BANK = 1.0  # metres of a road that ploughs leave snow on
_TRACK = 0.78  # metres from a lane's middle to where tyres run
_HEAPS = ((0.12, 0.15), (0.6, 0.25), (2.6, 0.35), (11.0, 0.3))


def sand(noise: Noise, p: Spots) -> Array:
    """(N, 3) the albedo of sand with a little scrub."""
    ripples = [(0.05, 0.05), (0.3, 0.05), (1.4, 0.06), (7.0, 0.08), (40.0, 0.10)]
    colour = (1 + noise.layers(p.x, p.y, p.grain, ripples))[:, None] * rgb(0.44, 0.335, 0.21)
    scrub = noise.layers(p.x + 9, p.y, p.grain, [(0.5, 0.5), (2.5, 0.6), (12.0, 0.6)])
    cover = np.clip((scrub - 1.1) * 3, 0, 0.8)[:, None]
    return np.asarray(colour + cover * (rgb(0.13, 0.12, 0.055) - colour), np.float32)


def earth(noise: Noise, p: Spots, lanes: tuple[float, ...], warm: float) -> Array:
    """(N, 3) the albedo of an unpaved road: ruts where tyres run, stones and tufts between them.

    `warm` is -1 for grey gravel .. 1 for red earth.
    """
    stones = [(0.03, 0.22), (0.09, 0.15), (0.4, 0.08), (2.0, 0.10), (9.0, 0.12)]
    tone = 1 + noise.layers(p.x, p.y, p.grain, stones)
    tone += noise.layers(p.d, p.s / 18, p.grain, [(0.3, 0.06), (1.0, 0.08)])  # vehicles draw it lengthwise
    rut = np.zeros(p.s.shape, np.float32)
    for lane in lanes:
        wander = 0.18 * noise.at(p.s, np.zeros_like(p.s) + lane, 14.0)
        for tyre in (-_TRACK, _TRACK):
            rut = np.maximum(rut, np.exp(-(((p.d - lane - tyre - wander) / 0.34) ** 2)))
    share = 0.5 + 0.5 * warm
    dry = rgb(0.25, 0.235, 0.21) * (1 - share) + rgb(0.30, 0.185, 0.105) * share
    colour = (tone * (0.88 + 0.22 * rut))[:, None] * dry
    tufts = noise.layers(p.x, p.y + 5, p.grain, [(0.15, 0.5), (0.6, 0.5), (3.0, 0.7)]) - 1.9 * rut
    cover = np.clip((tufts - 0.9) * 2, 0, 0.75)[:, None]
    return np.asarray(colour + cover * (rgb(0.10, 0.12, 0.04) - colour), np.float32)


def snow_cover(noise: Noise, p: Spots, on_road: float | None) -> Array:
    """(N,) how much of each spot is under snow, 0..1: all of it beside a road (None), less where tyres run.

    `on_road` is 0 where it lies along the kerb alone .. 1 for a road that is white between its tracks.
    """
    heaps = noise.layers(p.x, p.y, p.grain, _HEAPS)
    if on_road is None:
        return np.asarray(np.clip(2.9 + heaps, 0, 1))
    bank = np.exp(-np.abs(p.out) / (BANK / 2))
    amount = 2.2 * on_road - 1.3 - 1.5 * _driven(p) * (1.2 - on_road) + 1.6 * bank
    return np.asarray(np.clip(0.5 + 1.6 * (amount + 0.6 * heaps), 0, 1), np.float32)


def snowed(noise: Noise, colour: Array, p: Spots, cover: Array) -> Array:
    """`colour` (N, 3) under that much snow, which is dirtier the closer to the road."""
    heaps = noise.layers(p.x, p.y, p.grain, _HEAPS)
    clean = 0.86 - 0.24 * np.exp(-np.maximum(p.out, 0) / 0.3)
    white = (clean * (1 + 0.05 * heaps))[:, None] * rgb(0.98, 0.99, 1.02)
    return np.asarray(colour + cover[:, None] * (white - colour), np.float32)


def _driven(p: Spots) -> Array:
    """(N,) 1 where tyres run, in lanes of the usual width .. 0."""
    aside = np.abs(np.mod(p.d, LANE) - LANE / 2)
    return np.asarray(np.exp(-(((aside - _TRACK) / 0.42) ** 2)), np.float32)
