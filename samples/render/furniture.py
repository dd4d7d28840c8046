"""What stands at the roadside: posts, lamps, traffic lights, signs, fences, walls, rails, parked bicycles."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from render.camera import Array
from render.canvas import Canvas, Hit, unit
from render.ground import stroke
from render.light import Light, rgb
from render.noise import Noise
from render.plants import Cutout
from render.road import BICYCLE, FENCE, GUARD_RAIL, LIGHT, POLE, SIGN, WALL
from render.shadow import Shadows

UP = rgb(0, 0, 1)
STEEL = (0.16, 0.165, 0.17)
_TEXELS = 96  # a sign's picture


@dataclass(frozen=True, slots=True)
class Post:
    """A round post."""

    place: Array
    height: float
    radius: float
    colour: tuple[float, float, float] = STEEL
    banded: bool = False  # with a dark band, as on a delineator

    def cast(self, shadows: Shadows) -> None:
        r = self.radius
        foot = self.place[:2] + np.array([[-r, -r], [r, -r], [r, r], [-r, r]], np.float32)
        shadows.block(foot, self.height)

    def draw(self, canvas: Canvas, light: Light, noise: Noise, sunlit: float) -> None:
        sight = unit(self.place[:2] - canvas.origin[:2])
        right = rgb(sight[1], -sight[0], 0)

        def shade(hit: Hit) -> Array:
            side = np.clip(hit.u / self.radius - 1, -1, 1)[:, None]
            normal = side * right - np.sqrt(1 - side**2) * rgb(*sight, 0)
            colour = (
                rgb(*self.colour) * (1 + 0.1 * noise.layers(hit.u, hit.v, hit.grain, [(0.3, 1.0)]))[:, None]
            )
            if self.banded:
                colour = np.where(((hit.v > 0.62) & (hit.v < 0.84))[:, None], rgb(0.02, 0.02, 0.02), colour)
            return np.asarray(colour * light.on(normal, hit.point, sunlit), np.float32)

        canvas.face(self.place - right * self.radius, right * 2 * self.radius, UP * self.height, POLE, shade)


@dataclass(frozen=True, slots=True)
class Board:
    """A flat picture that stands upright and faces `heading` (radians right of +y)."""

    place: Array  # middle of its lower edge
    heading: float
    width: float
    height: float
    look: Cutout
    label: int = SIGN
    glow: float = 0.0

    def cast(self, shadows: Shadows) -> None:
        """Too small to matter."""

    def draw(self, canvas: Canvas, light: Light, noise: Noise, sunlit: float) -> None:
        normal = rgb(np.sin(self.heading), np.cos(self.heading), 0)
        right = rgb(-normal[1], normal[0], 0)
        bare = False
        if float((canvas.origin - self.place) @ normal) < 0:
            normal, right = -normal, -right
            bare = self.label in (SIGN, LIGHT)  # seen from behind
        texel = self.width / _TEXELS

        def mask(u: Array, v: Array, grain: Array) -> NDArray[np.bool_]:
            return self.look.covers(u / self.width, v / self.height, texel, grain)

        def shade(hit: Hit) -> Array:
            if bare:
                return np.asarray(rgb(0.2, 0.2, 0.2) * light.on(normal, hit.point, sunlit), np.float32)
            colour = self.look.colour(hit.u / self.width, hit.v / self.height, texel, hit.grain)
            back = 0.5 if light.night and self.label == SIGN else 0.0  # the film throws our light back
            shone = colour * (light.on(normal, hit.point, sunlit) + back)
            return np.asarray(shone + self.glow * colour * (colour.max(1, keepdims=True) > 0.3), np.float32)

        canvas.face(
            self.place - right * self.width / 2, right * self.width, UP * self.height, self.label, shade, mask
        )


@dataclass(frozen=True, slots=True)
class Barrier:
    """Something long and low, from start to end: 'wall', 'concrete', 'rail', 'bars' or 'mesh'."""

    start: Array
    end: Array
    kind: str
    height: float

    @property
    def place(self) -> Array:
        return self.start

    def cast(self, shadows: Shadows) -> None:
        if self.kind in ("wall", "concrete"):
            thick = np.array([0.2, 0.0], np.float32)
            foot = np.stack([self.start[:2], self.end[:2], self.end[:2] + thick, self.start[:2] + thick])
            shadows.block(foot, self.height)

    def draw(self, canvas: Canvas, light: Light, noise: Noise, sunlit: float) -> None:
        across = self.end - self.start
        normal = unit(np.cross(across, UP))
        if float((canvas.origin - self.start) @ normal) < 0:
            normal = -normal
        label = {"wall": WALL, "concrete": WALL, "rail": GUARD_RAIL}.get(self.kind, FENCE)

        def mask(u: Array, v: Array, grain: Array) -> NDArray[np.bool_]:
            if self.kind == "rail":
                return np.asarray(((v > 0.42) & (v < 0.75)) | ((np.mod(u, 4.0) < 0.12) & (v < 0.7)))
            if self.kind == "bars":
                bars = (np.mod(u, 0.13) < 0.03) | (np.mod(u, 2.6) < 0.07)
                return np.asarray(bars | (np.abs(v - 0.15) < 0.02) | (np.abs(v - self.height + 0.12) < 0.02))
            if self.kind == "mesh":
                wire = np.minimum(np.mod(u + v, 0.09), np.mod(u - v, 0.09)) < 0.012
                return np.asarray(wire | (np.mod(u, 2.5) < 0.06) | (v > self.height - 0.05))
            return np.ones(u.shape, bool)

        def shade(hit: Hit) -> Array:
            tone = 1 + noise.layers(hit.u, hit.v, hit.grain, [(0.1, 0.07), (0.5, 0.08), (3.0, 0.12)])
            if self.kind == "rail":
                tone = tone * (0.75 + 0.45 * np.cos((hit.v - 0.58) * 38))
                colour = rgb(0.24, 0.245, 0.25)
            elif self.kind == "wall":
                row = np.floor(hit.v / 0.09)
                joint = stroke(np.mod(hit.v, 0.09) - 0.045, 0.012, hit.grain)
                joint = np.maximum(joint, stroke(np.mod(hit.u + 0.15 * row, 0.3) - 0.15, 0.012, hit.grain))
                tone = tone * (1 - 0.3 * joint) * (0.7 + 0.3 * np.clip(hit.v / 0.4, 0, 1))
                colour = rgb(0.22, 0.13, 0.095)
            elif self.kind == "concrete":
                tone = tone * (1 - 0.3 * stroke(np.mod(hit.u, 4.0), 0.04, hit.grain))
                colour = rgb(0.33, 0.32, 0.29)
            else:
                colour = rgb(0.045, 0.055, 0.05)
            return np.asarray(colour * tone[:, None] * light.on(normal, hit.point, sunlit), np.float32)

        canvas.face(self.start, across, UP * self.height, label, shade, mask)


def _picture() -> tuple[Array, NDArray[np.uint8]]:
    return np.zeros((_TEXELS, _TEXELS, 3), np.float32), np.zeros((_TEXELS, _TEXELS), np.uint8)


_STROKES = {  # on a grid 1 wide and 2 high; OpenCV's own fonts differ between its versions
    "0": ((0, 0), (1, 0), (1, 2), (0, 2), (0, 0)),
    "3": ((0, 0), (1, 0), (0.4, 0.85), (1, 1.2), (1, 2), (0, 2)),
    "5": ((1, 0), (0, 0), (0, 0.85), (1, 0.95), (1, 2), (0, 2)),
    "P": ((0, 2), (0, 0), (1, 0), (1, 1), (0, 1)),
}


def _write(
    face: Array, letter: str, place: tuple[int, int], size: int, colour: tuple[float, float, float]
) -> None:
    strokes = np.array(_STROKES[letter]) * size * np.array([1.0, 0.9]) + place
    cv2.polylines(face, [np.round(strokes).astype(np.int32)], False, colour, max(5, size // 4))


def sign_picture(kind: str) -> Cutout:
    """A sign: '30', '50', 'no entry', 'priority', 'yield', 'crossing', 'parking' or 'direction'."""
    face, cover = _picture()
    red, white, blue, yellow = (0.42, 0.016, 0.02), (0.62, 0.62, 0.60), (0.012, 0.06, 0.28), (0.6, 0.38, 0.02)
    middle = (48, 48)

    def polygon(
        corners: list[tuple[int, int]], colour: tuple[float, float, float], cut: bool = False
    ) -> None:
        cv2.fillPoly(face, [np.array(corners, np.int32)], colour)
        if cut:
            cv2.fillPoly(cover, [np.array(corners, np.int32)], 255)

    if kind in ("30", "50", "no entry"):
        cv2.circle(cover, middle, 46, 255, -1)
        cv2.circle(face, middle, 47, red, -1)
        if kind == "no entry":
            cv2.rectangle(face, (16, 40), (80, 56), white, -1)
        else:
            cv2.circle(face, middle, 35, white, -1)
            for i, digit in enumerate(kind):
                _write(face, digit, (27 + 23 * i, 32), 18, (0.02, 0.02, 0.02))
    elif kind == "priority":
        polygon([(48, 1), (95, 48), (48, 95), (1, 48)], white, cut=True)
        polygon([(48, 14), (82, 48), (48, 82), (14, 48)], yellow)
    elif kind == "yield":
        polygon([(2, 8), (94, 8), (48, 90)], red, cut=True)
        polygon([(22, 20), (74, 20), (48, 67)], white)
    elif kind == "direction":
        cover[:] = 255
        face[:] = blue
        cv2.rectangle(face, (2, 3), (93, 92), white, 2)
        for y, wide in ((26, 50), (48, 36), (70, 58)):
            for x in range(14, 14 + wide, 7):
                cv2.rectangle(face, (x, y - 5), (x + 4, y + 4), white, -1)
        cv2.arrowedLine(face, (82, 78), (82, 22), white, 3, tipLength=0.25)
    else:
        cover[:] = 255
        face[:] = blue
        if kind == "crossing":
            polygon([(48, 10), (86, 84), (10, 84)], white)
            cv2.circle(face, (48, 38), 5, (0.02, 0.02, 0.02), -1)
            for foot in ((38, 76), (60, 76)):
                cv2.line(face, (48, 44), foot, (0.02, 0.02, 0.02), 5)
        else:
            _write(face, "P", (32, 18), 34, white)
    return Cutout(face, (cover > 0).astype(np.float32))


def signal_picture(lit: str) -> Cutout:
    """A traffic light's three lamps, of which 'red', 'yellow' or 'green' shines."""
    face, cover = _picture()
    cover[:] = 255
    face[:] = 0.015
    lamps = (("red", (0.9, 0.03, 0.02)), ("yellow", (0.9, 0.5, 0.02)), ("green", (0.05, 0.85, 0.45)))
    for i, (name, colour) in enumerate(lamps):
        shown = colour if name == lit else tuple(0.05 * c for c in colour)
        cv2.ellipse(face, (48, 16 + 32 * i), (34, 12), 0, 0, 360, shown, -1)
    return Cutout(face, (cover > 0).astype(np.float32))


def bicycle_picture(colour: tuple[float, float, float]) -> Cutout:
    """A parked bicycle from its side."""
    face, cover = _picture()
    for layer, tube in ((cover, 255), (face, colour)):
        dark = 255 if layer is cover else (0.015, 0.015, 0.015)
        for x in (22, 74):
            cv2.circle(layer, (x, 66), 19, dark, 3)
        frame = ((22, 66), (36, 38), (66, 36), (46, 66), (36, 38)), ((22, 66), (46, 66)), ((74, 66), (64, 28))
        for line in frame:
            cv2.polylines(layer, [np.array(line, np.int32)], False, tube, 3)
        cv2.line(layer, (58, 27), (69, 25), dark, 4)
        cv2.line(layer, (30, 33), (42, 33), dark, 5)
        cv2.line(layer, (36, 38), (35, 33), dark, 3)
    return Cutout(face, (cover > 0).astype(np.float32))


def street_lamp(place: Array, aim: Array, height: float, lit: bool) -> tuple[list[Post | Board], Array]:
    """A lamp post whose arm reaches towards `aim` (2,), and where its lamp hangs."""
    reach = unit(rgb(aim[0], aim[1], 0)) * 1.3
    heading = float(np.arctan2(reach[1], -reach[0]))
    bar = Cutout(np.full((16, _TEXELS, 3), 0.17, np.float32), np.ones((16, _TEXELS), np.float32))
    head = Cutout(np.full((16, _TEXELS, 3), 0.45, np.float32), np.ones((16, _TEXELS), np.float32))
    top = place + UP * height
    parts: list[Post | Board] = [
        Post(place, height, 0.075),
        Board(top + reach / 2 - UP * 0.06, heading, float(np.linalg.norm(reach)), 0.07, bar, POLE),
        Board(top + reach - UP * 0.16, heading, 0.7, 0.14, head, POLE, glow=9.0 * lit),
    ]
    return parts, top + reach


def traffic_light(place: Array, heading: float, lit: str) -> list[Post | Board]:
    """A traffic light on its post, facing `heading`."""
    toward = rgb(np.sin(heading), np.cos(heading), 0)
    return [
        Post(place, 3.4, 0.06),
        Board(place + UP * 2.5 + toward * 0.12, heading, 0.32, 0.95, signal_picture(lit), LIGHT, glow=1.6),
    ]


def sign_post(place: Array, heading: float, kind: str) -> list[Post | Board]:
    """A sign on its post, facing `heading`."""
    toward = rgb(np.sin(heading), np.cos(heading), 0)
    size = 0.62
    return [
        Post(place, 2.75, 0.032),
        Board(place + UP * 2.1 + toward * 0.06, heading, size, size, sign_picture(kind)),
    ]


def sign_board(place: Array, heading: float) -> list[Post | Board]:
    """A motorway's board on two posts."""
    aside = rgb(np.cos(heading), -np.sin(heading), 0) * 1.6
    toward = rgb(np.sin(heading), np.cos(heading), 0) * 0.12
    board = Board(place + UP * 2.6 + toward, heading, 4.6, 3.2, sign_picture("direction"))
    return [Post(place - aside, 5.8, 0.1), Post(place + aside, 5.8, 0.1), board]


def bicycle(place: Array, heading: float, colour: tuple[float, float, float]) -> Board:
    """A bicycle parked along `heading`."""
    return Board(place - UP * 0.13, heading + np.pi / 2, 1.75, 1.3, bicycle_picture(colour), BICYCLE)
