"""The pinhole camera: from samples of the picture to rays, and from points of the world to samples."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

OVERSAMPLE = 2  # samples per pixel along each axis; sample (2r, 2c) is the centre of pixel (r, c)


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera at (x, y, z); yaw to the right, pitch upwards, roll clockwise, in radians; focal in pixels."""

    width: int
    height: int
    focal: float
    x: float
    y: float
    z: float
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    @property
    def position(self) -> Array:
        return np.array([self.x, self.y, self.z], np.float32)

    @property
    def axes(self) -> Array:
        """3x3; the rows are the picture's right, down and forward directions in the world."""
        sin_yaw, cos_yaw = np.sin(self.yaw), np.cos(self.yaw)
        sin_pitch, cos_pitch = np.sin(self.pitch), np.cos(self.pitch)
        forward = np.array([sin_yaw * cos_pitch, cos_yaw * cos_pitch, sin_pitch])
        level = np.array([cos_yaw, -sin_yaw, 0.0])
        down = np.cross(forward, level)
        right = np.cos(self.roll) * level + np.sin(self.roll) * down
        return np.array([right, np.cross(forward, right), forward], np.float32)

    def rays(self) -> Array:
        """(2H, 2W, 3): the direction through every sample, scaled so that its forward part is 1."""
        columns = np.arange(self.width * OVERSAMPLE, dtype=np.float32) / OVERSAMPLE
        rows = np.arange(self.height * OVERSAMPLE, dtype=np.float32) / OVERSAMPLE
        right, down, forward = self.axes
        across = (columns - (self.width - 1) / 2) / self.focal
        below = (rows - (self.height - 1) / 2) / self.focal
        return np.asarray(forward + across[None, :, None] * right + below[:, None, None] * down, np.float32)

    def project(self, points: Array) -> Array:
        """(N, 3) points -> (N, 3): sample column, sample row, depth. Only depths > 0 are in front."""
        seen = (points - self.position) @ self.axes.T
        depth = seen[:, 2:]
        safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
        centre = np.array([(self.width - 1) / 2, (self.height - 1) / 2], np.float32)
        samples = (seen[:, :2] / safe * self.focal + centre) * OVERSAMPLE
        return np.concatenate([samples, depth], axis=1).astype(np.float32)
