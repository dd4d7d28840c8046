"""The grid on which a street is drawn: colour, depth and label of every sample, nearest surface first."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from render.camera import OVERSAMPLE, Array, Camera

NEAR = 0.3  # metres; nothing is drawn closer to the lens


class Hit(NamedTuple):
    """Where rays meet a face: N samples."""

    u: Array  # metres along the face
    v: Array  # metres up the face
    point: Array  # (N, 3) in the world
    view: Array  # (N, 3) unit vector from the camera
    grain: Array  # metres that one sample covers at this distance


FaceShader = Callable[[Hit], Array]
FaceMask = Callable[[Array, Array, Array], NDArray[np.bool_]]
MeshShader = Callable[[Array, Array], Array]


def unit(vectors: Array) -> Array:
    """The vectors along the last axis at length 1."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-9), np.float32)


class Canvas:
    """Colour (linear RGB), depth (metres forward) and label (Cityscapes id) of the 2H x 2W samples.

    A mirrored canvas sees the world as a puddle at z = 0 does: upside down, sample for sample where the plain
    canvas sees the puddle.
    """

    def __init__(self, camera: Camera, mirrored: bool = False) -> None:
        self.camera = camera
        self.flip = np.array([1, 1, -1 if mirrored else 1], np.float32)
        self.origin = camera.position * self.flip
        self.ray = camera.rays() * self.flip
        shape = self.ray.shape[:2]
        self.rgb = np.zeros((*shape, 3), np.float32)
        self.depth = np.full(shape, np.inf, np.float32)
        self.label = np.zeros(shape, np.uint8)

    def face(
        self,
        corner: Array,
        across: Array,
        up: Array,
        label: int,
        shade: FaceShader,
        mask: FaceMask | None = None,
    ) -> None:
        """Draw the rectangle corner + a * across + b * up (0 <= a, b <= 1); `across` and `up` stand square.

        `mask(u, v, grain)` cuts holes; `shade` colours the samples that stay visible.
        """
        box = self._box(np.stack([corner, corner + across, corner + across + up, corner + up]))
        if box is None:
            return
        ray = self.ray[box]
        normal = np.cross(across, up)
        facing = ray @ normal
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            depth = (normal @ (corner - self.origin)) / facing
            offset = depth[..., None] * ray + (self.origin - corner)
            width, height = np.linalg.norm(across), np.linalg.norm(up)
            u, v = offset @ (across / width), offset @ (up / height)
            seen = (
                (depth > NEAR)
                & (depth < self.depth[box])
                & (u >= 0)
                & (u <= width)
                & (v >= 0)
                & (v <= height)
            )
        grain = depth / (self.camera.focal * OVERSAMPLE)
        if mask is not None and seen.any():
            seen[seen] = mask(u[seen], v[seen], grain[seen])
        if seen.any():
            along = ray[seen]
            point = self.origin + depth[seen][:, None] * along
            self.rgb[box][seen] = shade(Hit(u[seen], v[seen], point, unit(along), grain[seen]))
            self.depth[box][seen] = depth[seen]
            self.label[box][seen] = label

    def mesh(
        self, corners: Array, traits: Array, triangles: NDArray[np.int64], label: int, shade: MeshShader
    ) -> None:
        """Draw triangles over corners (V, 3); `shade(traits, view)` gets the traits of what is seen."""
        spots = self.camera.project((corners * self.flip).astype(np.float32))
        ahead = spots[spots[:, 2] > NEAR, :2]
        if (ahead > self.depth.shape[::-1]).all(0).any() or (ahead < 0).all(0).any():
            return  # out of sight
        spots = spots[triangles]
        x, y, depth = spots[..., 0], spots[..., 1], spots[..., 2]
        area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
        rows, columns = self.ray.shape[:2]
        left, right = np.maximum(np.ceil(x.min(1)), 0), np.minimum(np.floor(x.max(1)), columns - 1)
        top, bottom = np.maximum(np.ceil(y.min(1)), 0), np.minimum(np.floor(y.max(1)), rows - 1)
        drawn = (depth.min(1) > NEAR) & (np.abs(area) > 1e-6) & (right >= left) & (bottom >= top)
        which = np.flatnonzero(drawn)
        if not which.size:
            return
        wide = (right - left + 1)[which].astype(np.int64)
        count = wide * (bottom - top + 1)[which].astype(np.int64)
        # All samples of all triangles' boxes in one list: faster than a loop over the triangles.
        step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        t = np.repeat(which, count)
        wide = np.repeat(wide, count)
        column, row = left[t] + step % wide, top[t] + step // wide
        weights = [
            ((x[t, (k + 1) % 3] - column) * (y[t, (k + 2) % 3] - row)
             - (x[t, (k + 2) % 3] - column) * (y[t, (k + 1) % 3] - row)) / area[t]
            for k in range(3)
        ]  # fmt: skip
        share = np.stack(weights, axis=1).astype(np.float32)
        inside = np.flatnonzero((share >= -1e-4).all(1))  # rounding must not open seams
        t, share = t[inside], share[inside]
        spot = row[inside].astype(np.int64) * columns + column[inside].astype(np.int64)
        distance = 1 / (share / depth[t]).sum(1)
        closer = np.flatnonzero(distance < self.depth.ravel()[spot])
        order = closer[np.argsort(-distance[closer], kind="stable")]
        winner = np.full(self.depth.size, -1, np.int64)
        winner[spot[order]] = order  # the last, nearest one stays
        keep = winner[winner >= 0]
        where = np.unravel_index(spot[keep], self.depth.shape)
        blend = np.einsum("nk,nka->na", share[keep], traits[triangles[t[keep]]])
        self.rgb[where] = shade(blend.astype(np.float32), unit(self.ray[where]))
        self.depth[where] = distance[keep]
        self.label[where] = label

    def resolve(self) -> tuple[Array, NDArray[np.uint8]]:
        """The picture, (H, W, 3) linear light, and its label, (H, W)."""
        tent = np.array([0.25, 0.5, 0.25], np.float32)  # centred on the even samples
        soft = np.asarray(
            cv2.sepFilter2D(self.rgb, -1, tent, tent, borderType=cv2.BORDER_REPLICATE), np.float32
        )
        return soft[::OVERSAMPLE, ::OVERSAMPLE], self.label[::OVERSAMPLE, ::OVERSAMPLE].copy()

    def _box(self, polygon: Array) -> tuple[slice, slice] | None:
        """The samples that the polygon may cover, or None."""
        polygon = (polygon * self.flip).astype(np.float32)
        depth = (polygon - self.camera.position) @ self.camera.axes[2]
        corners = []
        for i in range(len(polygon)):  # cut at the near plane: behind the lens nothing can be projected
            j = (i + 1) % len(polygon)
            if depth[i] > NEAR:
                corners.append(polygon[i])
            if (depth[i] > NEAR) != (depth[j] > NEAR):
                share = (NEAR * 1.01 - depth[i]) / (depth[j] - depth[i])
                corners.append(polygon[i] + share * (polygon[j] - polygon[i]))
        if not corners:
            return None
        spots = self.camera.project(np.stack(corners))[:, :2]
        rows, columns = self.ray.shape[:2]
        left, top = np.maximum(np.floor(spots.min(0)), 0).astype(int)
        right, bottom = np.minimum(np.ceil(spots.max(0)) + 1, (columns, rows)).astype(int)
        return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None
